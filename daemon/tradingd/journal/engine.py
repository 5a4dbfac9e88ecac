"""What is done on the SQLite connection, synchronously: the production store runs this on its connection's thread, the
simulation's store inline. Nothing here knows asyncio.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from tradingd.domain.errors import JournalError, JournalRefused, JournalUnitRefused
from tradingd.domain.ids import ClientOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Order
from tradingd.domain.records import Recovered
from tradingd.journal import recovery
from tradingd.journal.pins import pin
from tradingd.journal.place import Place
from tradingd.journal.refusals import describe
from tradingd.journal.rows import Statement

BUSY_TIMEOUT_MS = 5_000
"""How long a write waits for another program that holds the write lock; readers hold none in WAL mode."""

CHECKPOINT_STATEMENTS = 1_000
"""After so many statements the WAL is copied into the database, behind the batch, so that no caller waits for it."""

LONG_WAL_PAGES = 16_384
"""A longer WAL (64 MiB) is kept from restarting by a reader: the checkpoint then waits for it, but briefly."""

CHECKPOINT_WAIT_MS = 200

_WRITE_PROBE = (
    "INSERT INTO meta (name, value, set_ms) VALUES ('write_probe', '1', 0)"
    " ON CONFLICT (name) DO UPDATE SET value = value + 1"
)

T = TypeVar("T")


class Unit(msgspec.Struct, frozen=True):
    """Statements that commit together or not at all."""

    statements: tuple[Statement, ...]
    durable: bool


class Engine:
    """The journal's one writing connection. Used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: the driver's own begins and commits split units
        self._connection = connection
        self.path = Path(name) if (name := connection.execute("PRAGMA database_list").fetchone()[2]) else None
        self._full = True
        self._since_checkpoint = 0
        for pragma in (
            f"busy_timeout = {BUSY_TIMEOUT_MS}",
            "synchronous = FULL",
            "wal_autocheckpoint = 0",
            "temp_store = MEMORY",
            "trusted_schema = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # -wal and -shm are there from now on
        self._place = Place(self.path) if self.path else None

    def commit(self, units: Sequence[Unit], applied: Callable[[], None] = lambda: None) -> list[JournalError | None]:
        """Commit a batch: one transaction, a savepoint per unit. Returns each unit's error, or None for committed.

        A unit that cannot be stored is undone alone (JournalUnitRefused). When the transaction itself fails (disk full,
        locked, I/O, the file moved away), every unit of the batch has that error, and may be written again.
        `applied` is called when only the COMMIT is left.
        """
        try:
            if self._place is not None:
                self._place.check()
            self._synchronize(any(unit.durable for unit in units))
            self._connection.execute("BEGIN IMMEDIATE")
            errors = [self._apply(unit) for unit in units]
            applied()
            self._connection.execute("COMMIT")
        except (sqlite3.Error, MemoryError) as error:
            self._roll_back()
            return [JournalError(f"the journal could not commit: {describe(error)}")] * len(units)
        except JournalError as error:
            self._roll_back()
            return [error] * len(units)
        self._since_checkpoint += sum(len(unit.statements) for unit in units)
        return errors

    def _synchronize(self, full: bool) -> None:
        if full != self._full:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full = full

    def _apply(self, unit: Unit) -> JournalError | None:
        execute = self._connection.execute
        execute("SAVEPOINT unit")
        try:
            for sql, parameters in unit.statements:
                execute(sql, parameters)
        except (sqlite3.Error, ArithmeticError, ValueError) as error:
            if not self._connection.in_transaction or not _is_of_the_unit(error):
                raise  # disk full, locked, I/O, whether or not SQLite gave up the transaction: no unit is stored
            execute("ROLLBACK TO unit")
            execute("RELEASE unit")
            return JournalUnitRefused(f"the journal could not store a unit: {describe(error)}")
        execute("RELEASE unit")
        return None

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                # after an I/O error SQLite may have rolled back by itself; whatever is left, the next BEGIN tells
                return

    @property
    def checkpoint_due(self) -> bool:
        """Whether enough was written since the last checkpoint."""
        return self._since_checkpoint >= CHECKPOINT_STATEMENTS

    def checkpoint(self) -> int:
        """Copy the WAL into the database as far as readers allow; returns the pages still in the WAL.

        Never waits for a reader, unless the WAL has grown long: then at most CHECKPOINT_WAIT_MS, so that readers that
        overlap for ever cannot keep it growing for ever.
        """
        self._since_checkpoint = 0
        try:
            _, pages, copied = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages > LONG_WAL_PAGES:
                self._restart_wal("RESTART")
        except sqlite3.Error:
            return -1  # a checkpoint is housekeeping: its trouble shows again, loudly, in the next commit
        return int(pages - copied)

    def _restart_wal(self, kind: str) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_WAIT_MS}")
        try:
            self._connection.execute(f"PRAGMA wal_checkpoint({kind})").fetchone()
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")

    def recover(self, now_ms: int) -> Recovered:
        """Everything a start needs."""
        return self._reading(lambda: recovery.recover(self._connection, now_ms))

    def seen_trades(self, instrument: InstrumentId, since_ms: int) -> frozenset[str]:
        """Trade ids on the instrument since `since_ms`."""
        return self._reading(lambda: recovery.seen_trades(self._connection, instrument, since_ms))

    def find_order(self, client_order_id: ClientOrderId) -> Order | None:
        """An order by our id."""
        return self._reading(lambda: recovery.find_order(self._connection, client_order_id))

    def check_writable(self) -> None:
        """Prove that a durable commit succeeds, with a row of its own."""
        (error,) = self.commit([Unit(((_WRITE_PROBE, ()),), durable=True)])
        if error is not None:
            raise error

    def pin(self, pins: Mapping[str, str], now_ms: int) -> None:
        """Pin names to values for good; raises JournalRefused when one is pinned to another value."""
        try:
            pin(self._connection, pins, now_ms)
        except sqlite3.Error as error:
            self._roll_back()
            raise JournalError(f"the journal could not be pinned: {describe(error)}") from error
        except JournalRefused:
            self._roll_back()
            raise

    def close(self) -> None:
        """Empty the WAL and close, leaving -wal and -shm in place.

        The last connection to close deletes both files, and a reader who may not write into the directory could then
        not open a WAL database at all. A read-only connection that closes last cannot delete them.
        """
        keeper = self._keeper()
        try:
            self._restart_wal("TRUNCATE")
        except sqlite3.Error:
            return  # nothing is lost: what stays in the WAL is read from there at the next start
        finally:
            self._connection.close()
            if keeper is not None:
                keeper.close()

    def _keeper(self) -> sqlite3.Connection | None:
        """A read-only connection that has the files open; None where the journal is no longer at its path."""
        if self.path is None:
            return None
        keeper: sqlite3.Connection | None = None
        try:
            keeper = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)
            keeper.execute("SELECT count(*) FROM meta").fetchone()
        except sqlite3.Error:
            if keeper is not None:
                keeper.close()
            return None  # the journal is closed all the same
        return keeper

    def _reading(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except sqlite3.Error as error:
            raise JournalError(f"the journal could not be read: {describe(error)}") from error


def _is_of_the_unit(error: Exception) -> bool:
    """Whether what failed is in the unit's own rows (a constraint, a value), not in the disk or the database."""
    own = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
    if isinstance(error, own) or not isinstance(error, sqlite3.Error):
        return True
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
