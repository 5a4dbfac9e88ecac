"""The Timers port on APScheduler, for a daemon in real time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from tradingd.ports import Clock

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
Run = Callable[[], Awaitable[None]]


class _SteadyTime(tzinfo):
    """What the scheduler takes for its time zone. It asks the host's clock, `datetime.now(zone)`, and the zone, which
    has the last word, answers with monotonic time: a host clock that is set back an hour would stop every job for one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        """The steady time."""
        return _EPOCH.replace(tzinfo=self) + timedelta(seconds=self._clock.monotonic())

    def fromutc(self, _host: datetime) -> datetime:
        return self.now()

    def utcoffset(self, _when: datetime | None) -> timedelta:
        return timedelta(0)

    def dst(self, _when: datetime | None) -> None:
        return None

    def tzname(self, _when: datetime | None) -> str:
        return "monotonic"


class _Every(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Each so many seconds, on one grid. What was missed is skipped here in one step: APScheduler's own trigger counts
    it run by run, and would stall the loop for minutes after a laptop's night.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        if previous is None:
            return now + timedelta(seconds=self._seconds)
        behind = max(0.0, (now - previous).total_seconds())
        return previous + timedelta(seconds=self._seconds * (behind // self._seconds + 1))


class ScheduledTimers:
    """Timers of APScheduler: coalescing, one instance per job, no misfire is ever dropped.

    `on_fault` hears of a run that raised, which none of ours does on purpose; its job does not run again.
    """

    def __init__(self, clock: Clock, on_fault: Callable[[BaseException], None]) -> None:
        self._on_fault = on_fault
        self._zone = _SteadyTime(clock)
        self._missed: set[str] = set()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._scheduler = AsyncIOScheduler(
            timezone=self._zone, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        self._scheduler.add_listener(self._on_skipped, EVENT_JOB_MAX_INSTANCES)
        # it tells each start and each skipped run; what matters of that is told by app/jobs.py
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        self._scheduler.start()

    def every(self, name: str, seconds: float, run: Run) -> None:
        """Begin a job under a name of its own."""
        self._scheduler.add_job(partial(self._run, name, run), _Every(seconds), id=name, name=name)

    def soon(self, name: str) -> None:
        """Let a job run at once; while it runs, once more after that."""
        if name in self._running:
            self._missed.add(name)
        elif (job := self._scheduler.get_job(name)) is not None:
            job.modify(next_run_time=self._zone.now())

    async def stop(self) -> None:
        """End all jobs; a run that is under way is cancelled and waited for."""
        if not self._scheduler.running:
            return
        under_way = set(self._running.values())
        self._scheduler.remove_all_jobs()
        self._scheduler.shutdown(wait=False)
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)

    async def _run(self, name: str, run: Run) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._running[name] = task
        try:
            while True:
                self._missed.discard(name)
                await run()
                if name not in self._missed:
                    return
        except Exception as error:
            self._scheduler.remove_job(name)
            self._on_fault(error)
        finally:
            self._running.pop(name, None)

    def _on_skipped(self, event: JobSubmissionEvent) -> None:
        """Its time came while it ran: that run is made up when this one has ended."""
        self._missed.add(event.job_id)
