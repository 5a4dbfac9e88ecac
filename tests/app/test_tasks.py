"""The daemon's own tasks: named, watched, and none dies unheard."""

import asyncio

import pytest

from tests.execution.fakes import VirtualClock
from tests.execution.virtual_time import in_virtual_time
from tradingd.app.tasks import Tasks
from tradingd.domain.errors import JournalError, VenueBanned, VenueError, VenueUnreachable
from tradingd.domain.records import JobRecord


def forget(record: JobRecord) -> None:
    """For those who do not ask what was recorded."""


@in_virtual_time
async def test_a_job_runs_each_interval_and_never_twice_at_once():
    tasks = Tasks(VirtualClock(), forget)
    began: list[float] = []
    running = most = 0

    async def job() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        began.append(asyncio.get_running_loop().time() - 1_000)
        await asyncio.sleep(2.5)
        running -= 1

    tasks.every("slow", 1.0, job)
    await asyncio.sleep(11)
    await tasks.stop()
    assert began == [1.0, 4.5, 8.0]
    assert most == 1


@pytest.mark.parametrize(
    "error",
    [VenueUnreachable("reset"), VenueError("busy"), VenueBanned("418", until_ms=1), JournalError("disk is full")],
    ids=lambda error: type(error).__name__,
)
@in_virtual_time
async def test_a_venue_or_a_journal_that_fails_does_not_end_a_job(error):
    tasks = Tasks(VirtualClock(), forget)
    runs = 0

    async def job() -> None:
        nonlocal runs
        runs += 1
        raise error

    tasks.every("job", 1.0, job)
    await asyncio.sleep(5.5)
    assert runs == 5
    assert not tasks.failed.done()
    await tasks.stop()


@in_virtual_time
async def test_the_first_fault_of_ours_is_what_ends_the_daemon():
    tasks = Tasks(VirtualClock(), forget)

    async def job() -> None:
        raise KeyError("ours")

    async def later() -> None:
        await asyncio.sleep(2)
        raise ValueError("too late")

    tasks.every("job", 1.0, job)
    tasks.start("later", later())
    assert isinstance(await tasks.failed, KeyError)
    await asyncio.sleep(3)
    assert isinstance(tasks.failed.result(), KeyError)
    await tasks.stop()


@in_virtual_time
async def test_stopping_cancels_and_waits_and_is_no_failure():
    tasks = Tasks(VirtualClock(), forget)
    ended = []

    async def forever() -> None:
        try:
            await asyncio.sleep(10**6)
        finally:
            ended.append(True)

    tasks.start("forever", forever())
    await asyncio.sleep(1)
    await tasks.stop()
    assert ended == [True]
    assert not tasks.failed.done()


@in_virtual_time
async def test_the_last_run_of_a_job_is_recorded_at_most_once_a_minute():
    clock = VirtualClock()
    records: list[JobRecord] = []
    tasks = Tasks(clock, records.append)

    async def job() -> None:
        return

    began_ms = clock.now_ms()
    tasks.every("often", 1.0, job)
    tasks.every("seldom", 90.0, job)
    await asyncio.sleep(185)
    await tasks.stop()
    seen = {
        name: [each.last_run_ms - began_ms for each in records if each.name == name] for name in ("often", "seldom")
    }
    assert seen == {"often": [1_000, 61_000, 121_000, 181_000], "seldom": [90_000, 180_000]}
    assert {(each.ok, each.detail) for each in records} == {(True, "")}


@in_virtual_time
async def test_a_failure_between_two_records_is_told_by_the_next():
    clock = VirtualClock()
    records: list[JobRecord] = []
    tasks = Tasks(clock, records.append)
    runs = 0

    async def job() -> None:
        nonlocal runs
        runs += 1
        if runs in (5, 7):
            raise VenueUnreachable(f"reset in run {runs}")

    tasks.every("job", 1.0, job)
    await asyncio.sleep(125)
    await tasks.stop()
    assert [(each.ok, each.detail) for each in records] == [(True, ""), (False, "reset in run 7"), (True, "")]
