"""What a run of a job may do, for how long, and what is remembered of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.execution.fakes import VirtualClock
from tests.execution.virtual_time import in_virtual_time
from tradingd.app.jobs import Jobs
from tradingd.domain.errors import JournalError, VenueBanned, VenueError, VenueUnreachable
from tradingd.domain.events import IncidentRaised
from tradingd.domain.records import JobRecord
from tradingd.timers import ScheduledTimers


class World:
    """Jobs on the real scheduler, in virtual time."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.began_ms = self.clock.now_ms()
        self.faults: list[BaseException] = []
        self.records: list[JobRecord] = []
        self.incidents: list[IncidentRaised] = []
        self.jobs = Jobs(
            ScheduledTimers(self.clock, self.faults.append), self.clock, self.records.append, self.incidents.append
        )

    async def run(self, job: Callable[[], Any], seconds: float, **options: Any) -> None:
        """One job, each second, for so long."""
        self.jobs.every("job", 1.0, job, **options)
        await asyncio.sleep(seconds)
        await self.jobs.stop()


def failing_in(runs: set[int], error: Exception) -> Callable[[], Any]:
    """A job that fails in those of its runs."""
    count = 0

    async def job() -> None:
        nonlocal count
        count += 1
        if count in runs:
            raise error

    return job


@pytest.mark.parametrize(
    "error",
    [VenueUnreachable("reset"), VenueError("busy"), VenueBanned("418", until_ms=1), JournalError("disk is full")],
    ids=lambda error: type(error).__name__,
)
@in_virtual_time
async def test_a_venue_or_a_journal_that_fails_does_not_end_a_job(error):
    world = World()
    await world.run(failing_in(set(range(1, 61)), error), 61.5)
    assert not world.faults
    assert [(each.ok, each.failures, each.detail) for each in world.records][:1] == [(False, 1, str(error))]
    assert [each.failures for each in world.records] == [1, 0]


@in_virtual_time
async def test_a_fault_of_ours_is_told_at_once():
    world = World()
    await world.run(failing_in({2}, KeyError("ours")), 5.5)
    assert [type(each) for each in world.faults] == [KeyError]


@in_virtual_time
async def test_a_time_limit_inside_of_a_job_that_nobody_caught_is_a_fault_of_ours():
    world = World()
    await world.run(failing_in({1}, TimeoutError()), 2.5)
    assert [type(each) for each in world.faults] == [TimeoutError]


@in_virtual_time
async def test_three_failures_in_a_row_are_one_incident_and_a_success_begins_anew():
    world = World()
    await world.run(failing_in({1, 2, 4, 5, 6, 7, 8, 9, 11, 12, 13}, VenueUnreachable("reset")), 15.5)
    assert [(each.kind, each.detail) for each in world.incidents] == [
        ("job_failing", "job failed 3 times in a row: reset"),
        ("job_failing", "job failed 3 times in a row: reset"),
    ]


@in_virtual_time
async def test_a_run_that_hangs_is_broken_off_at_its_deadline_and_the_next_one_comes():
    world = World()
    began: list[float] = []

    async def hanging() -> None:
        began.append(asyncio.get_running_loop().time() - 1_000)
        await asyncio.sleep(10**6)

    await world.run(hanging, 12.0, deadline_s=4.0)
    assert began == [1.0, 5.0, 9.0]
    assert [(each.detail, each.duration_ms) for each in world.records] == [("no end within 4 s", 4_000)]


@in_virtual_time
async def test_without_a_deadline_of_its_own_a_run_has_the_interval_but_ten_seconds_at_least():
    world = World()

    async def slow() -> None:
        await asyncio.sleep(9.5)

    async def slower() -> None:
        await asyncio.sleep(29)

    world.jobs.every("minute", 30.0, slower)
    await world.run(slow, 61)
    assert {each.name: each.ok for each in world.records} == {"job": True, "minute": True}


@in_virtual_time
async def test_the_last_run_is_recorded_at_most_once_a_minute_with_how_long_it_took():
    world = World()

    async def job() -> None:
        await asyncio.sleep(0.25)

    world.jobs.every("seldom", 90.0, job)
    await world.run(job, 185)
    seen = {
        name: [each.last_run_ms - world.began_ms for each in world.records if each.name == name]
        for name in ("job", "seldom")
    }
    assert seen == {"job": [1_250, 61_250, 121_250, 181_250], "seldom": [90_250, 180_250]}
    assert {(each.ok, each.detail, each.duration_ms, each.failures) for each in world.records} == {(True, "", 250, 0)}


@in_virtual_time
async def test_a_failure_between_two_records_is_told_by_the_next():
    world = World()
    await world.run(failing_in({5, 7}, VenueUnreachable("reset")), 125)
    assert [(each.ok, each.detail) for each in world.records] == [(True, ""), (False, "reset"), (True, "")]


@in_virtual_time
async def test_how_long_a_job_has_not_ended_is_known():
    world = World()
    hang = asyncio.Event()

    async def job() -> None:
        await hang.wait()

    hang.set()
    world.jobs.every("job", 1.0, job, deadline_s=100)
    await asyncio.sleep(3.5)
    assert world.jobs.idle_s("job") == pytest.approx(0.5)
    hang.clear()
    await asyncio.sleep(5)
    assert world.jobs.idle_s("job") == pytest.approx(5.5)
    await world.jobs.stop()
