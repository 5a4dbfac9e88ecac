"""Progress: what counts as standing still, in virtual time. The real daemon's messages are in tests/acceptance."""

import asyncio

from tests.execution.fakes import BTC, VirtualClock
from tests.execution.virtual_time import in_virtual_time
from tradingd.app.jobs import Jobs
from tradingd.app.service import JOB_LIMIT_S, LANE_LIMIT_S, Progress
from tradingd.execution.lanes import Lane
from tradingd.ports import Priority
from tradingd.timers import ScheduledTimers


class World:
    """Jobs on the scheduler and one lane."""

    def __init__(self) -> None:
        clock = VirtualClock()
        self.faults: list[BaseException] = []
        self.jobs = Jobs(ScheduledTimers(clock, self.faults.append), clock, lambda record: None, lambda event: None)
        self.lane = Lane(BTC, lambda instrument, step, error: self.faults.append(error))
        self.lane.start()
        self.progress = Progress(clock, self.jobs, lambda: [self.lane])
        self.hanging = False
        for name in ("tick", "health"):
            self.jobs.every(name, 1.0, self._job)

    async def _job(self) -> None:
        if self.hanging:
            await asyncio.sleep(10**6)

    async def watch(self, seconds: int) -> list[str | None]:
        """What is in trouble, asked each second."""
        found = []
        for _ in range(seconds):
            await asyncio.sleep(1)
            found.append(self.progress.trouble())
        return found

    async def end(self) -> None:
        await self.jobs.stop()
        await self.lane.stop()
        assert not self.faults


@in_virtual_time
async def test_nothing_to_do_is_no_trouble():
    world = World()
    assert set(await world.watch(300)) == {None}
    await world.end()


@in_virtual_time
async def test_a_job_whose_runs_do_not_end_by_themselves_is_trouble():
    world = World()
    await world.watch(5)
    world.hanging = True
    found = await world.watch(60)
    assert found[: int(JOB_LIMIT_S) - 2] == [None] * (int(JOB_LIMIT_S) - 2)
    assert "no run of tick has ended for 6" in str(found[-1])
    await world.end()


@in_virtual_time
async def test_a_lane_that_stays_in_one_step_is_trouble_until_it_goes_on():
    world = World()
    go_on = asyncio.Event()

    async def step() -> None:
        await go_on.wait()

    world.lane.add(Priority.ENTRY, "enter", step)
    found = await world.watch(int(LANE_LIMIT_S) + 5)
    assert found[:100] == [None] * 100
    assert found[-1] is not None and "in the step enter" in found[-1]
    go_on.set()
    assert await world.watch(3) == [None] * 3
    await world.end()


@in_virtual_time
async def test_a_lane_that_is_busy_with_one_step_after_another_is_no_trouble():
    world = World()

    async def step() -> None:
        await asyncio.sleep(50)

    for _ in range(10):
        world.lane.add(Priority.ENTRY, "enter", step, coalesce=False)
    assert set(await world.watch(500)) == {None}
    await world.end()
