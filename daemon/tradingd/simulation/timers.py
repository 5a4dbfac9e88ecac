"""The Timers port in virtual time: each job is a task that waits on the simulated clock, so that nothing else decides
when it runs. APScheduler hands its wake-ups over as a thread would, which a simulated loop refuses."""

import asyncio
from collections.abc import Awaitable, Callable

from tradingd.ports import Clock


class _Job:
    def __init__(self) -> None:
        self.soon = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class SimTimers:
    """Same promises as tradingd.timers; tests/app/test_timers.py holds the two to them."""

    def __init__(self, clock: Clock, on_fault: Callable[[BaseException], None]) -> None:
        self._clock = clock
        self._on_fault = on_fault
        self._jobs: dict[str, _Job] = {}

    def every(self, name: str, seconds: float, run: Callable[[], Awaitable[None]]) -> None:
        """Begin a job under a name of its own."""
        job = self._jobs[name] = _Job()
        job.task = asyncio.get_running_loop().create_task(self._loop(job, seconds, run), name=name)

    def soon(self, name: str) -> None:
        """Let a job run at once; while it runs, once more after that."""
        if name in self._jobs:
            self._jobs[name].soon.set()

    async def stop(self) -> None:
        """End all jobs; a run that is under way is cancelled and waited for."""
        tasks = {job.task for job in self._jobs.values() if job.task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _loop(self, job: _Job, seconds: float, run: Callable[[], Awaitable[None]]) -> None:
        due_s = self._clock.monotonic() + seconds
        while True:
            if await self._is_due(job, due_s):
                due_s = self._after(due_s, seconds)
            job.soon.clear()
            try:
                await run()
            except Exception as error:
                self._on_fault(error)
                return
            if due_s <= self._clock.monotonic():
                due_s = self._after(due_s, seconds)
                job.soon.set()

    def _after(self, due_s: float, seconds: float) -> float:
        """The next time on the job's grid that is still to come; `due_s` is over, if only by a rounding."""
        behind_s = max(0.0, self._clock.monotonic() - due_s)
        return due_s + seconds * (behind_s // seconds + 1)

    async def _is_due(self, job: _Job, due_s: float) -> bool:
        """Waits until then, or until the job is wanted soon: whether its time has come."""
        try:
            async with asyncio.timeout(max(0.0, due_s - self._clock.monotonic())):
                await job.soon.wait()
        except TimeoutError:
            return True
        return due_s <= self._clock.monotonic()
