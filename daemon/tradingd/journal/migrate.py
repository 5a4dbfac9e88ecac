"""Bringing a journal to the schema of this code: one transaction, with a backup before, safe to be killed at any point.

Alembic is imported only when there is something to migrate. Views are dropped before and made again after the
migrations in the same transaction: a table that is rebuilt under a view leaves its temporary copy behind, which breaks
every later start.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from tradingd.journal.identity import APPLICATION_ID, SCHEMA_VERSION
from tradingd.journal.refusals import refusal
from tradingd.journal.views import VIEWS

KEPT_BACKUPS = 3
FILE_MODE = 0o640
"""The group reads: an analyst need not be the service's user."""


def schema_version(connection: sqlite3.Connection) -> int:
    """The journal's revision as a number; 0 for an empty database."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(path: Path, scripts: Path, now_ms: int, head: int = SCHEMA_VERSION) -> Path | None:
    """Upgrade the journal at `path` to `head`; returns the backup made before, if any. Raises JournalRefused."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("PRAGMA synchronous = FULL")
        before = schema_version(connection)
        if before == head and _views_are_current(connection):
            return None
        backup = _back_up(connection, path, before, now_ms) if 0 < before < head else None
        try:
            with _one_transaction(connection):
                _drop_views(connection)
                if before < head:
                    _upgrade(connection, scripts, head)
                    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    connection.execute(f"PRAGMA user_version = {head}")
                _make_views(connection)
        except Exception as error:
            kept = f" A backup from before is {backup}." if backup else ""
            otherwise = f"Nothing was changed: mend the cause, or start the former version of tradingd.{kept}"
            what = f"could not be migrated from schema {before} to {head}"
            raise refusal(path, what, error, otherwise) from error
        return backup
    except sqlite3.Error as error:
        raise refusal(path, "cannot be read", error) from error
    finally:
        connection.close()


@contextmanager
def _one_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _upgrade(connection: sqlite3.Connection, scripts: Path, head: int) -> None:
    """Run Alembic's upgrade inside the open transaction."""
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config
    from sqlalchemy.pool import StaticPool

    # the driver stays in autocommit and the transaction is ours: SQLAlchemy's begin, commit and rollback reach a
    # connection that ignores them, so that nothing can commit half a migration
    engine = sa.create_engine("sqlite://", creator=lambda: _Borrowed(connection), poolclass=StaticPool)
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with engine.connect() as borrowed:
        config.attributes["connection"] = borrowed
        command.upgrade(config, f"{head:04d}")
    if not connection.in_transaction:
        raise RuntimeError("a migration ended the transaction")


class _Borrowed:
    """A driver connection whose commit, rollback and close are left to its owner."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def commit(self) -> None:
        """Does nothing: the owner commits."""

    def rollback(self) -> None:
        """Does nothing: the owner rolls back."""

    def close(self) -> None:
        """Does nothing: the owner closes."""


def _drop_views(connection: sqlite3.Connection) -> None:
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'")]
    for name in names:
        connection.execute(f'DROP VIEW "{name}"')


def _views_digest() -> str:
    return sha256("\n".join(VIEWS.values()).encode()).hexdigest()


def _views_are_current(connection: sqlite3.Connection) -> bool:
    """Whether the journal has the views of this code."""
    present = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'view'").fetchone()[0]
    stored = connection.execute("SELECT value FROM meta WHERE name = 'views_sha256'").fetchone()
    return bool(stored == (_views_digest(),) and present == len(VIEWS))


def _make_views(connection: sqlite3.Connection) -> None:
    for name, text in VIEWS.items():
        connection.execute(f"CREATE VIEW {name} AS {text}")
    for name in VIEWS:
        connection.execute(f"SELECT * FROM {name} LIMIT 0")  # a view on a column that is gone is found only when asked
    connection.execute(
        "INSERT INTO meta (name, value, set_ms) VALUES ('views_sha256', ?, 0)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_views_digest(),),
    )


def _back_up(connection: sqlite3.Connection, path: Path, version: int, now_ms: int) -> Path:
    """A whole, compact copy beside the journal, under its final name only once it is complete."""
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    backup = path.with_name(f"{path.name}.{stamp}.schema-{version}.backup")
    unfinished = backup.with_name(f"{backup.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        connection.execute("VACUUM INTO ?", (str(unfinished),))
        with unfinished.open("rb+") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            os.fsync(file.fileno())
        unfinished.replace(backup)
        for old in sorted(path.parent.glob(f"{path.name}.*.backup"))[:-KEPT_BACKUPS]:
            old.unlink()
    except (OSError, sqlite3.Error) as error:
        otherwise = f"Nothing was changed: give {path.parent} space for one more copy and start again."
        what = f"needs a migration from schema {version}, but no backup could be made"
        raise refusal(path, what, error, otherwise) from error
    return backup
