"""The daemon's jobs: what each run may do and for how long, and what is remembered of it. Timers decide when."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from tradingd.domain.errors import JournalError, Severity, VenueError
from tradingd.domain.events import IncidentRaised
from tradingd.domain.records import JobRecord
from tradingd.ports import Clock, Timers

log = structlog.get_logger(__name__)

RECORD_EVERY_S = 60.0
"""A job is recorded no more often: some run ten times a second."""
FAILURES_FOR_INCIDENT = 3
LEAST_DEADLINE_S = 10.0


class _Job:
    """One job: its runs, counted and measured."""

    def __init__(self, name: str, run: Callable[[], Awaitable[None]], deadline_s: float, jobs: "Jobs") -> None:
        self.name, self.ended_s = name, jobs.clock.monotonic()
        self._run, self._deadline_s, self._jobs = run, deadline_s, jobs
        self._record_due_s = self.ended_s
        self._failure: str | None = None
        self._failures = 0

    async def run(self) -> None:
        """One run. A venue that does not answer, a journal that cannot be read, or a run that takes too long is no
        error of ours: positions are still to be protected. Anything else is, and is raised."""
        began_s = self._jobs.clock.monotonic()
        failure = None
        try:
            async with asyncio.timeout(self._deadline_s) as limit:
                await self._run()
        except (VenueError, JournalError, TimeoutError) as error:
            if isinstance(error, TimeoutError) and not limit.expired():
                raise
            failure = f"no end within {self._deadline_s:g} s" if limit.expired() else str(error)
            log.warning("job_failed", job=self.name, reason=failure)
        now_s = self._jobs.clock.monotonic()
        if not limit.expired():
            self.ended_s = now_s
        self._count(failure)
        self._record(failure, now_s, now_s - began_s)

    def _count(self, failure: str | None) -> None:
        self._failures = 0 if failure is None else self._failures + 1
        if self._failures == FAILURES_FOR_INCIDENT:
            self._jobs.raise_incident(
                IncidentRaised(
                    "job_failing", Severity.WARNING, f"{self.name} failed {self._failures} times in a row: {failure}"
                )
            )

    def _record(self, failure: str | None, now_s: float, took_s: float) -> None:
        """At most once a minute, with the last failure since the record before."""
        self._failure = failure if failure is not None else self._failure
        if now_s < self._record_due_s:
            return
        self._record_due_s = now_s + RECORD_EVERY_S
        ok, detail = self._failure is None, self._failure or ""
        self._failure = None
        now_ms = self._jobs.clock.now_ms()
        self._jobs.record(JobRecord(self.name, now_ms, ok, detail, round(took_s * 1000), self._failures))


class Jobs:
    """All jobs of one run. `record` is given their last runs and must not wait."""

    def __init__(
        self,
        timers: Timers,
        clock: Clock,
        record: Callable[[JobRecord], None],
        raise_incident: Callable[[IncidentRaised], None],
    ) -> None:
        self.clock = clock
        self.record = record
        self.raise_incident = raise_incident
        self._timers = timers
        self._jobs: dict[str, _Job] = {}

    def every(
        self, name: str, seconds: float, run: Callable[[], Awaitable[None]], deadline_s: float | None = None
    ) -> None:
        """Run `run` each `seconds` of real time, never two at once; one that takes longer than `deadline_s` (the
        interval, but at least 10 s) is broken off, which counts as failed."""
        limit_s = max(LEAST_DEADLINE_S, seconds) if deadline_s is None else deadline_s
        job = self._jobs[name] = _Job(name, run, limit_s, self)
        self._timers.every(name, seconds, job.run)

    def soon(self, name: str) -> None:
        """Let a job run at once instead of at its time."""
        self._timers.soon(name)

    def idle_s(self, name: str) -> float:
        """Real seconds since a run of the job has ended by itself, or since the job was begun."""
        return self.clock.monotonic() - self._jobs[name].ended_s

    async def stop(self) -> None:
        """End all of them."""
        await self._timers.stop()
