"""Lanes are serial and the urgent go first; retries grow, jitter, and never help what cannot be helped."""

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.execution.fakes import BTC, MiddleRandom, VirtualClock
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.errors import VenueBanned, VenueError, VenueUnreachable
from tradingd.execution.lanes import MAX_WAITING_STEPS, Lane
from tradingd.execution.retry_policy import RetryPolicy
from tradingd.ports import Priority


class Bench:
    """A lane, what ran in it, and its faults."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.faults: list[tuple[str, BaseException]] = []
        self.running = 0
        self.most = 0
        self.lane = Lane(BTC, lambda instrument, step, error: self.faults.append((step, error)))

    def step(self, name: str, seconds: float = 0.1, error: Exception | None = None):
        async def run() -> None:
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.sleep(seconds)
                self.ran.append(name)
                if error is not None:
                    raise error
            finally:
                self.running -= 1

        return run


@in_virtual_time
async def test_steps_run_one_after_another_the_most_urgent_first_and_each_in_its_turn():
    bench = Bench()
    for number, priority in enumerate([*Priority, *Priority]):
        bench.lane.add(priority, f"{priority.name}{number // 6}", bench.step(f"{priority.name}{number // 6}"))
    bench.lane.start()
    await bench.lane.idle()
    assert bench.ran == [f"{priority.name}{turn}" for priority in Priority for turn in (0, 1)]
    assert bench.most == 1


@in_virtual_time
async def test_a_step_that_raises_is_told_and_does_not_end_the_lane():
    bench = Bench()
    bench.lane.start()
    bench.lane.add(Priority.PROTECT, "bad", bench.step("bad", error=RuntimeError("no")))
    bench.lane.add(Priority.CANCEL, "bad yielding", bench.step("x", error=ValueError("no")), yields=True)
    bench.lane.add(Priority.ENTRY, "good", bench.step("good"))
    await bench.lane.idle()
    assert [name for name, _ in bench.faults] == ["bad", "bad yielding"]
    assert bench.ran[-1] == "good"


@in_virtual_time
async def test_waiting_steps_of_one_name_are_one_step_and_a_running_one_is_not_counted():
    bench = Bench()
    bench.lane.start()
    bench.lane.add(Priority.EXIT, "exit", bench.step("exit"))
    await asyncio.sleep(0.05)
    assert bench.lane.running == "exit"
    for _ in range(5):
        assert bench.lane.add(Priority.EXIT, "exit", bench.step("exit"))
    assert bench.lane.waiting == 1
    await bench.lane.idle()
    assert bench.ran == ["exit", "exit"]


@in_virtual_time
async def test_a_full_lane_refuses_entries_and_never_what_protects():
    bench = Bench()
    for number in range(MAX_WAITING_STEPS):
        assert bench.lane.add(Priority.ENTRY, str(number), bench.step("entry"), coalesce=False)
    assert not bench.lane.add(Priority.ENTRY, "one more", bench.step("entry"), coalesce=False)
    assert bench.lane.add(Priority.PROTECT, "protect", bench.step("protect"))
    bench.lane.start()
    await asyncio.sleep(0.15)
    assert bench.ran == ["protect"]
    await bench.lane.stop()


@in_virtual_time
async def test_a_step_that_yields_is_broken_off_for_protection_and_begun_anew_behind_it():
    bench = Bench()
    bench.lane.start()
    bench.lane.add(Priority.CANCEL, "sweep", bench.step("sweep", 5), yields=True)
    await asyncio.sleep(1)
    bench.lane.add(Priority.RECONCILE, "look", bench.step("look"), yields=True)
    bench.lane.add(Priority.PROTECT, "protect", bench.step("protect"))
    await asyncio.sleep(0.15)
    assert bench.ran == ["protect"]
    await bench.lane.idle()
    assert bench.ran == ["protect", "sweep", "look"]
    assert bench.faults == []
    assert bench.most == 1


@in_virtual_time
async def test_a_step_that_does_not_yield_is_never_broken_off():
    bench = Bench()
    bench.lane.start()
    bench.lane.add(Priority.ENTRY, "enter", bench.step("enter", 2))
    await asyncio.sleep(1)
    bench.lane.add(Priority.PROTECT, "protect", bench.step("protect"))
    await bench.lane.idle()
    assert bench.ran == ["enter", "protect"]


@pytest.mark.parametrize("yields", [True, False])
@in_virtual_time
async def test_a_lane_that_is_stopped_ends_at_once_with_its_step(yields):
    bench = Bench()
    bench.lane.start()
    bench.lane.add(Priority.CANCEL, "long", bench.step("long", 100), yields=yields)
    await asyncio.sleep(1)
    await bench.lane.stop()
    assert bench.running == 0
    assert bench.ran == []
    await bench.lane.stop()


# --- retries ---


@given(st.integers(1, 10_000), st.integers(0, 2**32))
def test_a_pause_lies_between_half_and_the_whole_of_a_doubling_up_to_the_cap(attempt, seed):
    class Chance(MiddleRandom):
        def uniform(self, low: float, high: float) -> float:
            return Random(seed).uniform(low, high)

    policy = RetryPolicy(None, Chance(), first_s=0.2, cap_s=10.0)  # type: ignore[arg-type]
    whole = min(10.0, 0.2 * 2 ** min(attempt - 1, 60))
    assert whole / 2 <= policy.delay_s(attempt) <= whole


class Flaky:
    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


@in_virtual_time
async def test_a_call_that_may_help_is_tried_again_and_no_oftener_than_said():
    policy = RetryPolicy(VirtualClock(), MiddleRandom())
    call = Flaky(VenueUnreachable("reset"), VenueError("busy", transient=True))
    assert await policy.run(call, attempts=3) == "answer"
    call = Flaky(*[VenueUnreachable(f"reset {number}") for number in range(5)])
    with pytest.raises(VenueUnreachable, match="reset 2"):
        await policy.run(call, attempts=3)
    assert call.calls == 3


@pytest.mark.parametrize(
    "error", [VenueError("bad key", code="-2015"), VenueBanned("banned", until_ms=1), KeyError("x")]
)
@in_virtual_time
async def test_a_call_that_no_new_try_helps_is_made_once(error):
    policy = RetryPolicy(VirtualClock(), MiddleRandom())
    call = Flaky(error)
    with pytest.raises(type(error)):
        await policy.run(call, attempts=5)
    assert call.calls == 1
