"""A venue that counts the last second whenever one looks: nothing is exceeded, the urgent go first (P13)."""

import asyncio
from bisect import bisect_right
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.execution.fakes import VirtualClock
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.errors import VenueBanned
from tradingd.domain.ids import VenueId
from tradingd.domain.records import BanRecord
from tradingd.execution.rate_budget import RatePlan
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.execution.rolling_window import RollingLimit
from tradingd.ports import Priority
from tradingd.venues.bybit.quirks import BYBIT

VENUE = VenueId("bybit")
PLAN = BYBIT.rate_plan()
CREATE, STOP, CANCEL = "POST /v5/order/create", "POST /v5/position/trading-stop", "POST /v5/order/cancel"
LIMIT, LEFT, RESETS = "X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp"
NARROW = RatePlan(
    windows=(), weights={}, order_endpoints=frozenset({"POST a"}), headers=PLAN.headers,
    rolling=(RollingLimit("a", 1.0, 4, frozenset({"POST a"})), RollingLimit("b", 1.0, 6, frozenset({"POST b"})),
             RollingLimit("all", 5.0, 25)),
)  # fmt: skip
TRAVEL_S, BACK_S = 0.4, 3.0
"""So long a request may be on its way to the venue at most, and the answer on its way back."""


class Bench:
    """A limiter before a venue that counts arrivals as this one does, and answers."""

    def __init__(self, plan: RatePlan = PLAN) -> None:
        self.clock = VirtualClock()
        self.saved: list[BanRecord] = []
        self.plan = plan
        self.limiter = RateLimiter(self.clock, self.saved.append)
        self.limiter.add_venue(VENUE, plan)
        self.out: list[tuple[float, str, Priority]] = []
        self.arrivals: dict[str, list[float]] = defaultdict(list)
        self.refusals = 0

    def over(self, endpoint: str, now: float) -> bool:
        """Counts an arrival; whether it is one too many in any window."""
        self.arrivals[endpoint].append(now)
        for limit in self.plan.rolling:
            of_it = [each for name in self.arrivals for each in self.arrivals[name] if name in limit.endpoints or not
                     limit.endpoints]  # fmt: skip
            of_it.sort()
            if len(of_it) - bisect_right(of_it, now - limit.length_s) > limit.limit:
                return True
        return False

    async def send(self, endpoint: str, priority: Priority, there_s: float = 0.02, back_s: float = 0.02) -> None:
        await self.limiter.acquire(VENUE, endpoint, priority)
        self.out.append((self.clock.monotonic(), endpoint, priority))
        sent_ms = self.clock.now_ms()
        await asyncio.sleep(there_s)
        self.refusals += self.over(endpoint, self.clock.monotonic())
        if back_s < BACK_S:  # else the answer is lost
            await asyncio.sleep(back_s)
            self.limiter.observe(VENUE, 200, {}, sent_ms, endpoint)


@in_virtual_time
async def test_a_hundred_entries_and_one_exit_exceed_no_window_and_the_exit_leaves_first():
    bench = Bench()
    entries = [asyncio.create_task(bench.send(CREATE, Priority.ENTRY)) for _ in range(100)]
    await asyncio.sleep(0)
    began = bench.clock.monotonic()
    await bench.send(CREATE, Priority.EXIT)
    assert bench.clock.monotonic() - began < 0.1
    assert len([each for each in bench.out if each[2] is Priority.ENTRY]) == 7, "a quarter is kept for the urgent"
    await asyncio.gather(*entries)
    assert bench.refusals == 0 and len(bench.out) == 101
    assert 100 / 10 < bench.clock.monotonic() - began < 100 / 7 + 2, "nothing is wasted either"
    await bench.limiter.close()


@in_virtual_time
async def test_an_exit_that_comes_when_all_is_spent_goes_before_the_entries_that_wait():
    bench = Bench()
    for _ in range(10):
        await bench.limiter.acquire(VENUE, CREATE, Priority.PROTECT)
    entries = [asyncio.create_task(bench.send(CREATE, Priority.ENTRY)) for _ in range(20)]
    await asyncio.sleep(0.1)
    await bench.send(CREATE, Priority.EXIT)
    assert bench.out[0][2] is Priority.EXIT
    await asyncio.gather(*entries)
    await bench.limiter.close()


@in_virtual_time
async def test_who_waits_for_one_endpoint_holds_up_no_other():
    bench = Bench()
    entries = [asyncio.create_task(bench.send(CREATE, Priority.ENTRY)) for _ in range(20)]
    await asyncio.sleep(0.1)
    began = bench.clock.monotonic()
    await bench.send(STOP, Priority.PROTECT)
    await bench.send(CANCEL, Priority.CANCEL)
    assert bench.clock.monotonic() - began < 0.1
    await asyncio.gather(*entries)
    await bench.limiter.close()


@in_virtual_time
async def test_idle_time_is_credited_and_a_second_after_the_answers_all_is_free():
    bench = Bench()
    for _ in range(3):
        began = bench.clock.monotonic()
        await asyncio.gather(*(bench.send(CREATE, Priority.EXIT) for _ in range(10)))
        assert bench.clock.monotonic() - began < 0.1
        await asyncio.sleep(1.0)
    assert bench.refusals == 0
    await bench.limiter.close()


@in_virtual_time
async def test_what_another_process_spends_is_learned_from_the_headers():
    bench = Bench()
    await bench.send(CREATE, Priority.ENTRY)
    bench.limiter.observe(VENUE, 200, {LIMIT: "10", LEFT: "0"}, bench.clock.now_ms(), CREATE)
    began = bench.clock.monotonic()
    await bench.send(CANCEL, Priority.CANCEL)
    assert bench.clock.monotonic() - began < 0.1, "another endpoint"
    await bench.send(CREATE, Priority.EXIT)
    assert 0.9 < bench.clock.monotonic() - began < 1.2
    await bench.limiter.close()


@in_virtual_time
async def test_the_venues_count_of_our_own_requests_is_not_counted_twice():
    bench = Bench()
    for number in range(1, 11):
        await bench.limiter.acquire(VENUE, CREATE, Priority.EXIT)
        bench.limiter.observe(VENUE, 200, {LIMIT: "10", LEFT: str(10 - number)}, bench.clock.now_ms(), CREATE)
    assert bench.limiter.used_fraction(VENUE) == 1
    await asyncio.sleep(1.01)
    assert bench.limiter.used_fraction(VENUE) < 0.1
    await bench.limiter.close()


@in_virtual_time
async def test_an_account_of_a_higher_grade_uses_its_own_limit():
    bench = Bench()
    bench.limiter.observe(VENUE, 200, {LIMIT: "20", LEFT: "19"}, bench.clock.now_ms(), CREATE)
    began = bench.clock.monotonic()
    await asyncio.gather(*(bench.limiter.acquire(VENUE, CREATE, Priority.EXIT) for _ in range(19)))
    assert bench.clock.monotonic() == began
    await bench.limiter.close()


@pytest.mark.parametrize(("resets_in_ms", "closed_s"), [(400, 0.4), (-5_000, 0.0), (86_400_000, 2.0), (None, 1.0)])
def test_an_endpoint_that_refused_stays_closed_until_the_venue_says(resets_in_ms, closed_s):
    @in_virtual_time
    async def run() -> None:
        bench = Bench()
        await bench.limiter.acquire(VENUE, CREATE, Priority.ENTRY)
        headers = {} if resets_in_ms is None else {RESETS: str(bench.clock.now_ms() + resets_in_ms)}
        bench.limiter.observe(VENUE, 200, headers, bench.clock.now_ms(), CREATE, is_refusal=True)
        began = bench.clock.monotonic()
        await bench.limiter.acquire(VENUE, STOP, Priority.PROTECT)
        assert bench.clock.monotonic() == began
        await bench.limiter.acquire(VENUE, CREATE, Priority.EXIT)
        assert closed_s - 1e-6 <= bench.clock.monotonic() - began <= closed_s + 0.05
        await bench.limiter.close()

    run()


@in_virtual_time
async def test_a_ban_of_the_address_outlives_a_restart():
    bench = Bench()
    bench.limiter.ban(VENUE, bench.clock.now_ms() + 600_000, "HTTP 403")
    await asyncio.sleep(60)
    after = RateLimiter(bench.clock, bench.saved.append)
    after.add_venue(VENUE, PLAN)
    after.restore(bench.saved[-1])
    with pytest.raises(VenueBanned):
        await after.acquire(VENUE, STOP, Priority.PROTECT)
    await asyncio.sleep(541)
    await after.acquire(VENUE, STOP, Priority.PROTECT)


@in_virtual_time
async def test_a_run_that_is_killed_while_it_reads_all_it_may_and_the_next_one_together_exceed_no_window():
    bench = Bench()

    async def read_all() -> list["asyncio.Task[None]"]:
        """Candles as fast as the limiter lets them, for 1.5 s; those that wait are never sent."""
        asked = [asyncio.create_task(bench.send("GET /v5/market/kline", Priority.DATA)) for _ in range(700)]
        await asyncio.sleep(1.5)
        return asked

    await asyncio.sleep(6)
    for _ in range(2):
        killed = await read_all()
        for task in killed:
            task.cancel()
        await asyncio.gather(*killed, return_exceptions=True)
        await bench.limiter.close()
        before, bench.limiter = len(bench.out), RateLimiter(bench.clock, bench.saved.append)
        bench.limiter.add_venue(VENUE, PLAN)
    assert bench.refusals == 0 and before > 500
    began = bench.clock.monotonic()
    await asyncio.gather(*(bench.send(CREATE, Priority.EXIT) for _ in range(10)))
    assert bench.clock.monotonic() - began < 0.1, "a second is over before a process has started"
    await bench.limiter.close()


STEP = st.tuples(
    st.sampled_from(["POST a", "POST a", "POST b", "GET c"]),
    st.sampled_from(list(Priority)),
    st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.3, 1.0, 4.0]),
    st.floats(0.0, TRAVEL_S),
    st.floats(0.0, BACK_S),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, min_size=5, max_size=60))
def test_however_long_requests_and_answers_travel_no_rolling_window_is_exceeded(steps):
    @in_virtual_time
    async def run() -> None:
        bench = Bench(NARROW)
        tasks = []
        for endpoint, priority, pause_s, there_s, back_s in steps:
            tasks.append(asyncio.create_task(bench.send(endpoint, priority, there_s, back_s)))
            await asyncio.sleep(pause_s)
        await asyncio.wait_for(asyncio.gather(*tasks), 600)
        assert bench.refusals == 0 and len(bench.out) == len(steps)
        await bench.limiter.close()

    run()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["POST a", "POST b"]), st.sampled_from(list(Priority))), max_size=50))
def test_of_those_who_wait_together_the_urgent_leave_first(asked):
    @in_virtual_time
    async def run() -> None:
        bench = Bench(NARROW)
        await asyncio.gather(
            *(bench.send(endpoint, priority) for endpoint, priority in [("POST a", Priority.EXIT)] * 4)
        )
        bench.out.clear()
        tasks = [asyncio.create_task(bench.send(*each)) for each in asked]
        await asyncio.gather(*tasks)
        left = [priority for _, endpoint, priority in bench.out if endpoint == "POST a"]
        assert left == sorted(left)
        await bench.limiter.close()

    run()
