"""Reading a journal without the daemon's help and without its leave: works while it runs, when it does not, and for a
user who may only read the file. Plain sqlite3: the database libraries are not loaded.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import msgspec

from tradingd.domain.errors import JournalError, TradingdError
from tradingd.journal.identity import APPLICATION_ID, SCHEMA_VERSION
from tradingd.journal.views import VIEWS

Value = str | int | float | None

TIME_LIMIT_S = 5.0
BUSY_MS = 2_000
"""How long a lock of another program is waited for."""

_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_ALLOWED_PRAGMAS = {
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "user_version",
    "quick_check",
}


class QueryFailed(TradingdError):
    """The SQL is wrong, forbidden or too slow; the text has a hint."""


class Rows(msgspec.Struct, frozen=True):
    """What a query gave."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def objects(self) -> list[dict[str, Value]]:
        """One dict per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Reader:
    """A connection that can only read. Made by `open_reader`."""

    def __init__(self, connection: sqlite3.Connection, path: Path, schema: int) -> None:
        self._connection, self.path, self._schema = connection, path, schema

    @property
    def warning(self) -> str | None:
        """What to know before believing the answers; None for a journal of this release."""
        if self._schema == SCHEMA_VERSION:
            return None
        return (
            f"{self.path} has schema {self._schema}, this tradingd has {SCHEMA_VERSION}: names and meanings may differ,"
            " ask with the tradingd that wrote it."
        )

    def has_table(self, name: str) -> bool:
        """Whether the journal has it: a file that no daemon has opened since a release is as the last one left it."""
        return bool(self.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).rows)

    def query(
        self, sql: str, parameters: Sequence[Value] | Mapping[str, Value] = (), *, limit: int | None = None
    ) -> Rows:
        """The rows of one statement, at most `limit`; raises QueryFailed."""
        with self._hinting(), self._time_limit():
            cursor = self._connection.execute(sql, parameters)
            if cursor.description is None:
                raise QueryFailed(f"that gives no rows: only SELECT can be asked. {_views_hint()}")
            rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
            names = _distinct([column[0] for column in cursor.description])
            cursor.close()
        return Rows(names, tuple([tuple([_plain(value) for value in row]) for row in rows]))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        timer = Timer(TIME_LIMIT_S, self._connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @contextmanager
    def _hinting(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise QueryFailed(f"{_reason(error).rstrip('.')}. {self._hint(error)}") from error
        except (sqlite3.Warning, ValueError) as error:
            raise QueryFailed(f"{str(error).rstrip('.')}. Ask one statement at a time.") from error

    def _hint(self, error: sqlite3.DatabaseError) -> str:
        text = str(error)
        if "interrupted" in text:
            return "Narrow it, for example with WHERE time_ms > ... or LIMIT."
        if "authorized" in text or "prohibited" in text:
            return "The journal is read-only here: only SELECT, and PRAGMA table_info and the like, are allowed."
        if "malformed" in text or "not a database" in text:
            return f"{self.path} is damaged: restore a backup (*.backup beside it)."
        if self.warning is not None:
            return self.warning
        if "no such column" in text:
            return "Columns: tradingd journal query \"SELECT name FROM pragma_table_info('v_orders')\""
        return _views_hint()


def open_reader(path: Path) -> Reader:
    """Open the journal for reading only; raises JournalError saying what to do."""
    try:
        if path.is_dir():
            raise JournalError(f"{path} is a directory: name the file with --journal or in [journal] path.")
        path.stat()
        connection = _connect(path)
    except (FileNotFoundError, NotADirectoryError):
        raise JournalError(
            f"there is no journal at {path}: `tradingd run` makes one; another file is named by --journal."
        ) from None
    except (sqlite3.Error, OSError) as error:
        raise JournalError(_unreadable(path, error)) from error
    try:
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        schema = connection.execute("PRAGMA user_version").fetchone()[0]
        if application_id != APPLICATION_ID:
            raise JournalError(f"{path} is not a journal: name the right file with --journal or in [journal] path.")
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        connection.close()
        raise JournalError(_unreadable(path, error)) from error
    except JournalError:
        connection.close()
        raise
    connection.set_authorizer(_authorize)
    return Reader(connection, path, schema)


def _unreadable(path: Path, error: sqlite3.Error | OSError) -> str:
    """What is wrong with the file, and what to do, by SQLite's own code."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN) & 0xFF  # without what extends the code
    if code == sqlite3.SQLITE_NOTADB:
        return f"{path} is not an SQLite database: name the right file with --journal or in [journal] path."
    if code == sqlite3.SQLITE_CORRUPT:
        return f"journal {path} is corrupt: {error}. Restore a backup (*.backup beside it)."
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"journal {path} is locked by another program: {error}. Ask again when that one has ended."
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH):
        return f"journal {path} cannot be read: {error}. Look at its permissions; its owner's group may read it."
    return f"journal {path} cannot be read: {error}. Look at the disk and its file system."


def _connect(path: Path) -> sqlite3.Connection:
    """A read-only connection.

    Without -wal and -shm beside it, a WAL database can be read only by who may create them, or as a file that does not
    change. A running daemon has both in place, so their absence proves that nobody writes.
    """
    address = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(address, uri=True, isolation_level=None)
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return connection
    except sqlite3.DatabaseError as error:
        connection.close()
        if not _may_lack_shared_memory(error) or path.with_name(f"{path.name}-wal").exists():
            raise
    connection = sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _may_lack_shared_memory(error: sqlite3.DatabaseError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


def _authorize(action: int, first: str | None, second: str | None, _: str | None, __: str | None) -> int:
    if action == sqlite3.SQLITE_PRAGMA:
        return sqlite3.SQLITE_OK if first in _ALLOWED_PRAGMAS else sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and second == "load_extension":
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _reason(error: sqlite3.DatabaseError) -> str:
    return f"the query took longer than {TIME_LIMIT_S:g} s" if "interrupted" in str(error) else str(error)


def _views_hint() -> str:
    return f"Views: {', '.join(VIEWS)}; tables and columns are in docs/journal.md."


def _plain(value: Value | bytes) -> Value:
    """Values as they are, bytes as hexadecimal text."""
    return value.hex() if isinstance(value, bytes) else value


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Column names, the second of a name numbered, so that a JSON object loses none."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return tuple(distinct)
