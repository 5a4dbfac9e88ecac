"""Both adapters of the Timers port keep the same promises; APScheduler's keeps them when the host's clock jumps too."""

import asyncio
import datetime
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.execution.fakes import VirtualClock
from tests.execution.virtual_time import in_virtual_time
from tradingd.ports import Timers
from tradingd.simulation.timers import SimTimers
from tradingd.timers import ScheduledTimers

Make = Callable[..., Timers]
BOTH = pytest.mark.parametrize("make", [ScheduledTimers, SimTimers], ids=["apscheduler", "simulated"])


def since_start() -> float:
    return round(asyncio.get_running_loop().time() - 1_000, 6)


def unexpected(error: BaseException) -> None:
    raise AssertionError("no run raises here") from error


@BOTH
@in_virtual_time
async def test_a_job_runs_first_after_its_interval_and_then_on_one_grid(make: Make):
    timers = make(VirtualClock(), unexpected)
    began: list[float] = []

    async def job() -> None:
        began.append(since_start())
        await asyncio.sleep(0.3)

    timers.every("job", 1.0, job)
    await asyncio.sleep(4.5)
    await timers.stop()
    assert began == [1.0, 2.0, 3.0, 4.0]


@BOTH
@in_virtual_time
async def test_a_job_never_runs_twice_at_once_and_what_it_missed_is_made_up_by_one_run(make: Make):
    timers = make(VirtualClock(), unexpected)
    began: list[float] = []
    running = most = 0

    async def job() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        began.append(since_start())
        await asyncio.sleep(3.5 if len(began) == 1 else 0)
        running -= 1

    timers.every("slow", 1.0, job)
    await asyncio.sleep(7.5)
    await timers.stop()
    assert began == [1.0, 4.5, 5.0, 6.0, 7.0]
    assert most == 1


@BOTH
@in_virtual_time
async def test_jobs_do_not_wait_for_each_other(make: Make):
    timers = make(VirtualClock(), unexpected)
    runs = 0

    async def hanging() -> None:
        await asyncio.sleep(10**6)

    async def quick() -> None:
        nonlocal runs
        runs += 1

    timers.every("hanging", 1.0, hanging)
    timers.every("quick", 1.0, quick)
    await asyncio.sleep(5.5)
    await timers.stop()
    assert runs == 5


@BOTH
@in_virtual_time
async def test_a_job_that_is_wanted_soon_runs_at_once_and_once_more_when_it_was_running(make: Make):
    timers = make(VirtualClock(), unexpected)
    began: list[float] = []

    async def job() -> None:
        began.append(since_start())
        await asyncio.sleep(2)

    timers.every("daily", 86_400.0, job)
    await asyncio.sleep(5)
    timers.soon("daily")
    await asyncio.sleep(1)
    timers.soon("daily")
    timers.soon("daily")
    timers.soon("nobody")
    await asyncio.sleep(20)
    await timers.stop()
    assert began == [5.0, 7.0]


@BOTH
@in_virtual_time
async def test_a_run_that_raises_is_told_and_does_not_run_again(make: Make):
    faults: list[BaseException] = []
    timers = make(VirtualClock(), faults.append)

    async def job() -> None:
        raise KeyError("ours")

    timers.every("job", 1.0, job)
    await asyncio.sleep(5)
    await timers.stop()
    assert [type(each) for each in faults] == [KeyError]


@BOTH
@in_virtual_time
async def test_stopping_ends_runs_that_are_under_way_and_begins_none(make: Make):
    timers = make(VirtualClock(), unexpected)
    ended: list[float] = []

    async def job() -> None:
        try:
            await asyncio.sleep(10**6)
        finally:
            await asyncio.sleep(0.1)
            ended.append(since_start())

    timers.every("job", 1.0, job)
    timers.every("later", 3.0, job)
    await asyncio.sleep(2)
    await timers.stop()
    assert ended == [2.1]
    await asyncio.sleep(10)
    assert ended == [2.1]
    await timers.stop()


@pytest.mark.fault(28)
@pytest.mark.parametrize("jump", [-datetime.timedelta(days=1), datetime.timedelta(days=400)], ids=["back", "forth"])
@in_virtual_time
async def test_a_host_clock_that_jumps_moves_no_job_and_stalls_nothing(monkeypatch: pytest.MonkeyPatch, jump: Any):
    moved = datetime.timedelta(0)

    class HostTime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            host = datetime.datetime.now(datetime.UTC) + moved
            return host if tz is None else tz.fromutc(host.replace(tzinfo=tz))

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", HostTime)
    timers = ScheduledTimers(VirtualClock(), unexpected)
    began: list[float] = []

    async def job() -> None:
        began.append(since_start())

    timers.every("tick", 0.5, job)
    await asyncio.sleep(1.2)
    moved = jump
    at = time.perf_counter()
    await asyncio.sleep(1.0)
    assert time.perf_counter() - at < 0.5
    await timers.stop()
    assert began == [0.5, 1.0, 1.5, 2.0]


@in_virtual_time
async def test_a_loop_that_stood_for_a_day_makes_one_run_up(monkeypatch: pytest.MonkeyPatch):
    timers = ScheduledTimers(VirtualClock(), unexpected)
    began: list[float] = []

    async def job() -> None:
        began.append(since_start())

    timers.every("tick", 0.1, job)
    await asyncio.sleep(0.15)
    asyncio.get_running_loop().now += 86_400  # type: ignore[attr-defined]
    await asyncio.sleep(0.02)
    assert began == [0.1, 86_400.15]
    await timers.stop()
