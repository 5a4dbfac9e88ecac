"""The one ordered queue before the journal's connection: group commit, and callers that cannot split a unit.

A caller holds a future, never the work: cancelling the caller cancels its future, and the unit still commits.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from tradingd.domain.errors import JournalError
from tradingd.journal.engine import Engine, Unit

MAX_BATCH_UNITS = 256
"""The most units in one transaction."""

MAX_QUEUED = 65_536
"""The most units that may wait; beyond it a unit is refused at once with JournalError, and entries stop (P10)."""

LINGER_S = 0.005
"""How long a unit that need not be durable waits for one that must be, to share its transaction: a decision is followed
by its order leg within a millisecond, and a commit of its own would stand in the leg's way."""

T = TypeVar("T")
OnConnection = Callable[..., Awaitable[Any]]
"""Runs a function on the connection's thread and gives its result."""


class _Work(NamedTuple):
    what: Unit | Callable[[], Any]
    future: "asyncio.Future[Any]"
    applied: Callable[[], None] | None


class _Batch(NamedTuple):
    units: list[Unit]
    futures: "list[asyncio.Future[Any]]"
    applied: list[Callable[[], None]]


class Writer:
    """Takes units and calls in order; units that wait together commit together."""

    def __init__(self, engine: Engine, on_connection: OnConnection, abandon: Callable[[], Awaitable[object]]) -> None:
        """`abandon` closes the connection when the loop is torn down without close(); no thread may outlive it."""
        self._engine, self._on_connection, self._abandon = engine, on_connection, abandon
        self._queue: deque[_Work] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._lingering: asyncio.TimerHandle | None = None
        self._task = asyncio.create_task(self._run(), name="journal-writer")

    @property
    def queued(self) -> int:
        """Units and calls that wait."""
        return len(self._queue)

    def submit(self, unit: Unit, applied: Callable[[], None] | None = None) -> "asyncio.Future[None]":
        """Queue one unit; the future ends after its COMMIT, or with JournalError. `applied` is called on the loop when
        only the COMMIT is left: until then the connection's thread needs the interpreter, from then on the disk."""
        return cast("asyncio.Future[None]", self._put(unit, lingers=not unit.durable, applied=applied))

    async def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the connection after everything queued before it."""
        return cast(T, await self._put(function, lingers=False))

    async def close(self) -> None:
        """Let the queue drain, then end. What is submitted later is refused."""
        self._closing = True
        self._begin()
        await asyncio.shield(self._task)

    def _put(
        self, work: Unit | Callable[[], Any], *, lingers: bool, applied: Callable[[], None] | None = None
    ) -> "asyncio.Future[Any]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self._closing or self._task.done():
            future.set_exception(JournalError("the journal is closed: nothing can be stored any more"))
        elif len(self._queue) >= MAX_QUEUED:
            future.set_exception(JournalError(f"the journal's queue is full: {MAX_QUEUED} units wait for the disk"))
        else:
            self._queue.append(_Work(work, future, applied))
            if not lingers or len(self._queue) >= MAX_BATCH_UNITS:
                self._begin()
            elif self._lingering is None:
                self._lingering = loop.call_later(LINGER_S, self._begin)
        return future

    def _begin(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        self._wake.set()

    async def _run(self) -> None:
        try:
            while self._queue or not self._closing:
                if self._queue:
                    await self._step()
                else:
                    self._wake.clear()
                    await self._wake.wait()
        except asyncio.CancelledError:
            await self._abandon()
            raise
        finally:
            while self._queue:
                _fail(self._queue.popleft().future, JournalError("the journal's writer was stopped before this unit"))

    async def _step(self) -> None:
        work, future, _ = self._queue[0]
        if not isinstance(work, Unit):
            self._queue.popleft()
            await self._call(work, future)
            return
        batch = self._take_batch()
        await self._commit(batch)
        if self._engine.checkpoint_due:
            await self._on_connection(self._engine.checkpoint)

    def _take_batch(self) -> "_Batch":
        batch = _Batch([], [], [])
        while self._queue and len(batch.units) < MAX_BATCH_UNITS:
            work, future, applied = self._queue[0]
            if not isinstance(work, Unit):
                break
            batch.units.append(work)
            batch.futures.append(future)
            if applied is not None:
                batch.applied.append(applied)
            self._queue.popleft()
        return batch

    async def _commit(self, batch: "_Batch") -> None:
        loop = asyncio.get_running_loop()

        def applied() -> None:
            if batch.applied:
                loop.call_soon_threadsafe(_call_each, batch.applied)

        def commit() -> list[JournalError | None]:
            """On the connection's thread. The futures are told from here: by way of this task it takes a turn more."""
            found = self._engine.commit(batch.units, applied)
            loop.call_soon_threadsafe(_tell, batch.futures, found)
            return found

        try:
            errors = await self._on_connection(commit)
        except asyncio.CancelledError:
            for future in batch.futures:
                _fail(future, JournalError("the journal's writer was stopped while this unit was being committed"))
            raise
        except Exception as error:
            errors = [JournalError(f"the journal could not commit: {error}")] * len(batch.units)
        _tell(batch.futures, errors)  # what is told already stays

    async def _call(self, function: Callable[[], Any], future: "asyncio.Future[Any]") -> None:
        try:
            result = await self._on_connection(function)
        except asyncio.CancelledError:
            _fail(future, JournalError("the journal's writer was stopped during this call"))
            raise
        except Exception as error:
            _fail(future, error)
        else:
            if not future.done():
                future.set_result(result)


def _call_each(functions: "Sequence[Callable[[], None]]") -> None:
    for function in functions:
        function()


def _tell(futures: "Sequence[asyncio.Future[None]]", errors: "Sequence[JournalError | None]") -> None:
    """End the futures of a batch, each as its unit ended."""
    for future, failure in zip(futures, errors, strict=True):
        if failure is not None:
            _fail(future, failure)
        elif not future.done():
            future.set_result(None)


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    """End the future with `error`, unless its caller was cancelled."""
    if not future.done():
        future.set_exception(error)
