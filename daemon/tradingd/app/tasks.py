"""The daemon's own tasks: each named, each watched; none dies unheard, as a task does whose handle nobody keeps."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import structlog

from tradingd.domain.errors import JournalError, VenueError
from tradingd.domain.records import JobRecord
from tradingd.ports import Clock

log = structlog.get_logger(__name__)

RECORD_EVERY_S = 60.0
"""A job is recorded no more often: some run ten times a second."""


class _Runs:
    """What is to be recorded of one job: its last run, and whether one failed since the last record."""

    def __init__(self, name: str, clock: Clock, record: Callable[[JobRecord], None]) -> None:
        self._name, self._clock, self._record = name, clock, record
        self._due_s = clock.monotonic()
        self._failure: str | None = None

    def ended(self, failure: str | None = None) -> None:
        """One run is over; recorded when a record is due."""
        self._failure = failure if failure is not None else self._failure
        if self._clock.monotonic() < self._due_s:
            return
        self._due_s = self._clock.monotonic() + RECORD_EVERY_S
        self._record(JobRecord(self._name, self._clock.now_ms(), self._failure is None, self._failure or ""))
        self._failure = None


class Tasks:
    """Starts tasks that must live as long as the daemon; the first that ends by an error ends the daemon.

    `record` is given the last run of each job, at most once a minute each, with the last failure since the record
    before; it must not wait.
    """

    def __init__(self, clock: Clock, record: Callable[[JobRecord], None]) -> None:
        self._clock, self._record = clock, record
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def start(self, name: str, run: Coroutine[object, object, None]) -> None:
        """Run a task under its name."""
        task = asyncio.get_running_loop().create_task(run, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    def every(self, name: str, seconds: float, job: Callable[[], Awaitable[None]]) -> None:
        """Run `job` each `seconds` of real time, never two at once. A venue that does not answer, or a journal that
        cannot be read, is no error here: positions are still to be protected."""

        runs = _Runs(name, self._clock, self._record)

        async def loop() -> None:
            while True:
                await self._clock.sleep(seconds)
                try:
                    await job()
                except (VenueError, JournalError) as error:
                    log.warning("job_failed", job=name, reason=str(error))
                    runs.ended(str(error))
                else:
                    runs.ended()

        self.start(name, loop())

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.failed.done():
            return
        error = task.exception()
        if error is not None:
            self.failed.set_result(error)

    async def stop(self) -> None:
        """Cancel all of them and wait until they have ended."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()))
