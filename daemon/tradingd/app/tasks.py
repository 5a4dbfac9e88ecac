"""The daemon's own tasks: each named, each watched; none dies unheard (fault 88)."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import structlog

from tradingd.domain.errors import JournalError, VenueError
from tradingd.ports import Clock

log = structlog.get_logger(__name__)


class Tasks:
    """Starts tasks that must live as long as the daemon; the first that ends by an error ends the daemon."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
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

        async def loop() -> None:
            while True:
                await self._clock.sleep(seconds)
                try:
                    await job()
                except (VenueError, JournalError) as error:
                    log.warning("job_failed", job=name, reason=str(error))

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
