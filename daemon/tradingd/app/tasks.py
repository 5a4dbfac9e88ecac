"""The daemon's own tasks: each named, each watched; none dies unheard, as a task does whose handle nobody keeps."""

import asyncio
from collections.abc import Coroutine


class Tasks:
    """Starts tasks that must live as long as the daemon; the first that ends by an error ends the daemon."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def start(self, name: str, run: Coroutine[object, object, None]) -> None:
        """Run a task under its name."""
        task = asyncio.get_running_loop().create_task(run, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    def fail(self, error: BaseException) -> None:
        """An error that nobody here can mend: the daemon ends by it, unless it does so already by another."""
        if not self.failed.done():
            self.failed.set_result(error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.fail(error)

    async def stop(self) -> None:
        """Cancel all of them and wait until they have ended."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()))


async def all_or_one(limit_s: float, *events: asyncio.Event) -> None:
    """Return once all are set, or after `limit_s` as soon as one is: who is late does not hold up who is there."""
    waits = [asyncio.ensure_future(each.wait()) for each in events]
    try:
        await asyncio.wait(waits, timeout=limit_s)
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
