"""What a journal is for: mode, endpoints and account ids are pinned at their first use and never change."""

import sqlite3
from collections.abc import Mapping

from tradingd.domain.errors import JournalRefused

_PREFIX = "pin."


def read_pins(connection: sqlite3.Connection) -> dict[str, str]:
    """What is pinned: `mode`, `endpoint.<venue>`, `account.<venue>`."""
    rows = connection.execute("SELECT name, value FROM meta WHERE name GLOB ?", (f"{_PREFIX}*",))
    return {name.removeprefix(_PREFIX): value for name, value in rows}


def check_pins(path: str, pinned: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raise JournalRefused when one of `wanted` is pinned to something else."""
    for name, value in wanted.items():
        before = pinned.get(name, value)
        if before != value:
            raise JournalRefused(
                f"journal {path} belongs to {_phrase(name)} {before!r}, but this run has {value!r}: their"
                " orders and positions would be mixed up. Set [journal] path to another file, or go back to the former."
            )


def pin(connection: sqlite3.Connection, pins: Mapping[str, str], now_ms: int) -> None:
    """Pin what is not pinned yet; raises JournalRefused for what is pinned otherwise. Commits."""
    path = connection.execute("PRAGMA database_list").fetchone()[2] or ":memory:"
    pinned = read_pins(connection)
    check_pins(path, pinned, pins)
    new = [(f"{_PREFIX}{name}", value, now_ms) for name, value in pins.items() if name not in pinned]
    if not new:
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO meta (name, value, set_ms) VALUES (?, ?, ?)", new)
    connection.execute("COMMIT")


def _phrase(name: str) -> str:
    kind, _, venue = name.partition(".")
    return f"{kind} of {venue}" if venue else kind
