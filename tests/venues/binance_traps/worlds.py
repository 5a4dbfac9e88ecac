"""Runs of the real daemon core on the built-in venue in virtual time, whose answers are scripted minute by minute."""

import sqlite3
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.simulation.worlds import SCRIPT
from tests.venues.binance_traps.codes import Row
from tradingd.emulator.faults.language import Rule, Script
from tradingd.simulation.clock import START_MS
from tradingd.simulation.run import evidence_of
from tradingd.simulation.world import World, WorldOptions

MINUTE_MS = 60_000


def minute_ms(number: int) -> int:
    """Venue time at which the candle with this number, from 1, closes."""
    return START_MS + number * MINUTE_MS


def answering(row: Row, on: str, minute: int, *, times: int | None = 1, for_s: int = 50) -> Rule:
    """The venue answers so to requests for a purpose, from just before a candle closes."""
    from_ms = minute_ms(minute) - 2_000
    text = row.text.format(until_ms=from_ms + 95_000)
    what: list[tuple[str, Any]] = [("status", row.status)]
    what += [("code", row.code)] if row.code else []
    what += [("text", text)] if text else []
    until_ms = from_ms + for_s * 1000
    return Rule(do="answer", on=(on,), since_ms=from_ms, until_ms=until_ms, times=times, what=tuple(sorted(what)))


class Told:
    """What a run left behind: the journal's rows, and what went over the wire."""

    def __init__(self, world: World) -> None:
        with sqlite3.connect(f"file:{world.settings.journal_path}?mode=ro", uri=True) as db:
            db.row_factory = sqlite3.Row
            self.events = [
                dict(row)
                for row in db.execute(
                    "SELECT e.*, o.purpose, o.symbol, o.status FROM order_events e"
                    " JOIN orders o USING (client_order_id) ORDER BY e.sequence"
                )
            ]
            self.intents = [dict(row) for row in db.execute("SELECT * FROM intents ORDER BY created_ms")]
            self.incidents = [dict(row) for row in db.execute("SELECT * FROM incidents ORDER BY raised_ms")]
            self.rejections = [dict(row) for row in db.execute("SELECT * FROM v_rejections")]
            self.fills = [dict(row) for row in db.execute("SELECT * FROM fills ORDER BY time_ms")]
            self.closes = [dict(row) for row in db.execute("SELECT * FROM last_closes")]
            self.positions = [dict(row) for row in db.execute("SELECT * FROM positions")]
            self.ledger = [dict(row) for row in db.execute("SELECT * FROM ledger")]
            self.bans = [dict(row) for row in db.execute("SELECT * FROM bans")]
        self.evidence = evidence_of(world)
        self.requests = list(world.network.log.requests)
        self.played = list(world.network.faults.played)
        self.ready = world.is_ready
        self.trouble = world.trouble

    def within(self, rows: Iterable[dict[str, Any]], minute: int, minutes: int = 1, key: str = "time_ms") -> list[Any]:
        """Those rows that belong to a slot."""
        from_ms = minute_ms(minute) - 2_000
        return [row for row in rows if from_ms <= row[key] < from_ms + minutes * MINUTE_MS]

    def sent(self, path: str, from_ms: int, until_ms: int, method: str = "GET") -> list[Any]:
        """Requests of a path between two venue times."""
        return [
            each
            for each in self.requests
            if each.method == method and each.path == path and from_ms <= START_MS + each.sent_us // 1000 < until_ms
        ]


def play(
    lines: str,
    rules: Iterable[Rule],
    minutes: float,
    during: Callable[[World], None] = lambda world: None,
    **changes: Any,
) -> Told:
    """Run a world on a script of intents and one of faults; `during` may act on it before its journal is read."""
    with TemporaryDirectory() as directory:
        hold, notional = changes.pop("hold", 0), changes.pop("notional", "500")
        strategies = SCRIPT.format(lines=lines, hold=hold, notional=notional, venue="binance")
        world = World(Path(directory), WorldOptions(symbols=("BTCUSDT",), strategies=strategies, **changes))
        try:
            world.start()
            world.run_for(50)
            assert world.is_ready
            world.network.faults.begin(Script(rules=tuple(rules)))
            world.run_for(minutes * 60)
            during(world)
            return Told(world)
        finally:
            world.close()


@cache
def once(name: str, make: Callable[[], Told]) -> Told:
    """One run for many tests."""
    return make()
