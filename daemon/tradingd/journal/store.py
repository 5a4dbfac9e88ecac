"""The two adapters of the `Store` port: SQLite behind a queue and a thread, and the same SQL inline."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import aiosqlite

from tradingd.domain.errors import JournalError
from tradingd.domain.ids import ClientOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Order
from tradingd.domain.records import Record, Recovered
from tradingd.journal import refused
from tradingd.journal.engine import Engine, Unit
from tradingd.journal.rows import statement_of
from tradingd.journal.writer import OnConnection, Writer

CACHED_STATEMENTS = 256
"""Prepared statements that the driver keeps: more than we have."""

READ_LIMIT_S = 2.0
"""Who compares with the venue waits no longer for a commit that hangs, learns nothing, and tries again; exits that
queue behind it in a lane would wait with it."""

T = TypeVar("T")


class SqliteStore:
    """Production: one aiosqlite connection and one ordered queue. Made by `opening.open_journal`."""

    def __init__(self, connection: aiosqlite.Connection, engine: Engine, release: Callable[[], None]) -> None:
        self._connection, self._engine, self._release = connection, engine, release
        # one private call per batch: the public API takes one round trip per statement and costs four times as much
        self._on_connection: OnConnection = connection._execute
        self._writer = Writer(engine, self._on_connection, connection.close)
        self._closed: asyncio.Task[None] | None = None

    @staticmethod
    async def connect(path: Path, release: Callable[[], None] = lambda: None) -> "SqliteStore":
        """A store on a journal that exists and is checked; `release` is called after its close."""
        connection = await aiosqlite.connect(path, isolation_level=None, cached_statements=CACHED_STATEMENTS)
        try:
            on_connection: OnConnection = connection._execute
            engine = await on_connection(lambda: Engine(connection._conn))
        except BaseException:
            await connection.close()
            raise
        return SqliteStore(connection, engine, release)

    @property
    def queued(self) -> int:
        """How many units and reads wait; for health and heartbeat."""
        return self._writer.queued

    def submit(
        self, records: Sequence[Record], *, durable: bool = True, applied: Callable[[], None] | None = None
    ) -> "asyncio.Future[None]":
        """Queue one unit at once; the future ends after its COMMIT, or with JournalError. FULL sync when durable."""
        try:
            unit = _unit(records, durable)
        except JournalError as error:
            return _failed(error)
        return self._writer.submit(unit, applied)

    async def recover(self, now_ms: int) -> Recovered:
        """What a start needs."""
        return await self._writer.call(lambda: self._engine.recover(now_ms))

    async def seen_trades(self, instrument: InstrumentId, since_ms: int) -> frozenset[str]:
        """Trade ids on the instrument since `since_ms`, with everything submitted before this call."""
        return await self._read(lambda: self._engine.seen_trades(instrument, since_ms))

    async def find_order(self, client_order_id: ClientOrderId) -> Order | None:
        """An order by our id, final or not, with everything submitted before this call."""
        return await self._read(lambda: self._engine.find_order(client_order_id))

    async def _read(self, read: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                return await self._writer.call(read)
        except TimeoutError:
            raise JournalError(f"the journal could not be read within {READ_LIMIT_S:g} s: a commit hangs") from None

    async def check_writable(self) -> None:
        """Prove that a commit succeeds; raises JournalError."""
        await self._writer.call(self._engine.check_writable)

    def set_aside(self, records: Sequence[Record], reason: str) -> str:
        """Keep a unit that was refused in a file beside the journal, on the disk when this returns; raises OSError.
        Returns the file's name."""
        return refused.keep(self._engine.path, records, reason)

    async def pin(self, pins: Mapping[str, str], now_ms: int) -> None:
        """Pin `account.<venue>` and the like once they are known; raises JournalRefused on a mismatch."""
        await self._writer.call(lambda: self._engine.pin(pins, now_ms))

    async def close(self) -> None:
        """Drain the queue, then close. A second call waits for the first; cancelling the caller does not stop it."""
        if self._closed is None:
            self._closed = asyncio.create_task(self._close(), name="journal-close")
        await asyncio.shield(self._closed)

    async def _close(self) -> None:
        try:
            await self._writer.close()
        finally:
            try:
                await self._on_connection(self._engine.close)
            finally:
                await self._connection.close()
                self._release()


class InlineStore:
    """Simulation and tests: each unit commits inside `submit`, on the caller's thread."""

    def __init__(self, connection: sqlite3.Connection, release: Callable[[], None] = lambda: None) -> None:
        self._engine, self._release = Engine(connection), release
        self._is_closed = False

    def submit(
        self, records: Sequence[Record], *, durable: bool = True, applied: Callable[[], None] | None = None
    ) -> "asyncio.Future[None]":
        """Commit one unit now; the future is done when this returns."""
        try:
            self.submit_now(records, durable=durable)
        except JournalError as error:
            return _failed(error)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    def submit_now(self, records: Sequence[Record], *, durable: bool = True) -> None:
        """The same without a loop; raises JournalError."""
        self._check_open()
        (error,) = self._engine.commit([_unit(records, durable)])
        if error is not None:
            raise error
        if self._engine.checkpoint_due:
            self._engine.checkpoint()

    async def recover(self, now_ms: int) -> Recovered:
        """What a start needs."""
        self._check_open()
        return self._engine.recover(now_ms)

    async def seen_trades(self, instrument: InstrumentId, since_ms: int) -> frozenset[str]:
        """Trade ids on the instrument since `since_ms`."""
        self._check_open()
        return self._engine.seen_trades(instrument, since_ms)

    async def find_order(self, client_order_id: ClientOrderId) -> Order | None:
        """An order by our id, final or not."""
        self._check_open()
        return self._engine.find_order(client_order_id)

    async def check_writable(self) -> None:
        """Prove that a commit succeeds; raises JournalError."""
        self._check_open()
        self._engine.check_writable()

    def set_aside(self, records: Sequence[Record], reason: str) -> str:
        """Keep a unit that was refused in a file beside the journal; raises OSError. Returns the file's name."""
        return refused.keep(self._engine.path, records, reason)

    async def pin(self, pins: Mapping[str, str], now_ms: int) -> None:
        """Pin names to values; raises JournalRefused on a mismatch."""
        self._check_open()
        self._engine.pin(pins, now_ms)

    async def close(self) -> None:
        """Close; a second call does nothing."""
        self.close_now()

    def close_now(self) -> None:
        """The same without a loop."""
        if not self._is_closed:
            self._is_closed = True
            try:
                self._engine.close()
            finally:
                self._release()

    def _check_open(self) -> None:
        if self._is_closed:
            raise JournalError("the journal is closed: nothing can be stored any more")


def _unit(records: Sequence[Record], durable: bool) -> Unit:
    return Unit(tuple([statement_of(record) for record in records]), durable)


def _failed(error: JournalError) -> "asyncio.Future[None]":
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return future
