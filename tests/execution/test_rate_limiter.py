"""No window is ever exceeded, the urgent go first, and a ban lets nothing out (P13)."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.execution.fakes import BINANCE, VirtualClock
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.errors import VenueBanned
from tradingd.domain.records import BanRecord
from tradingd.domain.text import moment
from tradingd.execution.rate_budget import RESERVED_FRACTION, RatePlan, Window
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.ports import Priority
from tradingd.venues.binance.quirks import BINANCE as BINANCE_QUIRKS

MINUTE = 60_000
PLAN = RatePlan(
    windows=(
        ("weight", MINUTE, 40, "X-MBX-USED-WEIGHT-1M", False),
        ("orders 10 s", 10_000, 5, "X-MBX-ORDER-COUNT-10S", True),
        ("orders 1 m", MINUTE, 15, "", True),
    ),
    weights={"GET heavy": 10, "POST order": 0},
    order_endpoints=frozenset({"POST order"}),
)
ENDPOINTS = ["GET light", "GET heavy", "POST order"]


class Bench:
    """A limiter over one plan, and what it let out: (ms, endpoint, priority)."""

    def __init__(self, plan: RatePlan = PLAN) -> None:
        self.clock = VirtualClock()
        self.saved: list[BanRecord] = []
        self.limiter = RateLimiter(self.clock, self.saved.append)
        self.limiter.add_venue(BINANCE, plan)
        self.out: list[tuple[int, str, Priority]] = []
        self.banned = 0

    async def ask(self, endpoint: str, priority: Priority, delay_s: float = 0.0) -> None:
        await asyncio.sleep(delay_s)
        try:
            await self.limiter.acquire(BINANCE, endpoint, priority)
        except VenueBanned:
            self.banned += 1
        else:
            self.out.append((self.clock.now_ms(), endpoint, priority))


REQUESTS = st.lists(
    st.tuples(st.sampled_from(ENDPOINTS), st.sampled_from(list(Priority)), st.integers(0, 90).map(float)), max_size=60
)


@settings(max_examples=60, deadline=None)
@given(REQUESTS)
def test_no_window_is_ever_exceeded_and_everybody_is_served(requests):
    bench = run_all(requests)
    assert len(bench.out) == len(requests)
    weight: Counter[int] = Counter()
    orders_10s: Counter[int] = Counter()
    orders_1m: Counter[int] = Counter()
    for now_ms, endpoint, _ in bench.out:
        weight[now_ms // MINUTE] += PLAN.weights.get(endpoint, 1)
        if endpoint in PLAN.order_endpoints:
            orders_10s[now_ms // 10_000] += 1
            orders_1m[now_ms // MINUTE] += 1
    assert max(weight.values(), default=0) <= 40
    assert max(orders_10s.values(), default=0) <= 5
    assert max(orders_1m.values(), default=0) <= 15


@settings(max_examples=60, deadline=None)
@given(REQUESTS, st.lists(st.integers(0, 500), min_size=1, max_size=9), st.integers(-40, 40))
def test_no_window_is_exceeded_by_the_venues_clock_however_long_requests_travel(requests, travel_ms, ahead_ms):
    bench = run_all(requests, error_ms=40)
    used: Counter[tuple[int, int, bool]] = Counter()
    for index, (now_ms, endpoint, _) in enumerate(bench.out):
        arrived_ms = now_ms + ahead_ms + travel_ms[index % len(travel_ms)]
        for _, length_ms, _, _, counts_orders in PLAN.windows:
            orders = int(endpoint in PLAN.order_endpoints)
            cost = orders if counts_orders else PLAN.weights.get(endpoint, 1)
            used[length_ms, arrived_ms // length_ms, counts_orders] += cost
    limits = {(length_ms, counts_orders): limit for _, length_ms, limit, _, counts_orders in PLAN.windows}
    assert all(spent <= limits[length_ms, orders] for (length_ms, _, orders), spent in used.items())


@in_virtual_time
async def test_an_exit_that_comes_behind_a_hundred_entries_leaves_first():
    """Binance's own numbers; the entries are as many as three of its ten seconds take."""
    plan = BINANCE_QUIRKS.rate_plan()
    bench = Bench(plan)
    order = "POST fapi/v1/order"
    for _ in range(180):  # of 225 that entries may spend in ten seconds
        await bench.ask(order, Priority.ENTRY)
    bench.out.clear()
    entries = [asyncio.create_task(bench.ask(order, Priority.ENTRY)) for _ in range(100)]
    await asyncio.sleep(0.1)
    assert len(bench.out) == 45
    left_ms = bench.clock.now_ms()
    await asyncio.wait_for(bench.ask(order, Priority.EXIT), 0.1)
    assert bench.out[-1] == (left_ms, order, Priority.EXIT)
    await asyncio.gather(*entries)
    assert len(bench.out) == 101
    assert bench.out[-1][0] - left_ms < 10_000


@in_virtual_time
async def test_after_an_hour_without_requests_all_that_a_window_has_leaves_at_once():
    bench = Bench(BINANCE_QUIRKS.rate_plan())
    await asyncio.sleep(3_600)
    began_ms = bench.clock.now_ms()
    await asyncio.gather(*(bench.ask("POST fapi/v1/order", Priority.ENTRY) for _ in range(225)))
    assert {now_ms for now_ms, *_ in bench.out} == {began_ms}


@in_virtual_time
async def test_the_venues_own_numbers_replace_ours_and_what_was_spent_stays_spent():
    bench = Bench()
    for _ in range(4):
        await bench.ask("POST order", Priority.PROTECT)
    bench.limiter.adopt(
        BINANCE,
        (("weight", MINUTE, 6_000, "w", False), ("orders", 10_000, 6, "o", True), ("day", 86_400_000, 9, "", True)),
    )
    for _ in range(2):
        await asyncio.wait_for(bench.ask("POST order", Priority.PROTECT), 0.1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bench.ask("POST order", Priority.PROTECT), 1)
    for _ in range(400):
        await asyncio.wait_for(bench.ask("GET heavy", Priority.PROTECT), 0.1)


@in_virtual_time
async def test_limits_by_which_a_request_could_never_leave_are_refused_and_change_nothing():
    bench = Bench()
    with pytest.raises(ValueError, match="GET heavy costs 10"):
        bench.limiter.adopt(BINANCE, (("weight", MINUTE, 5, "w", False), ("orders", 10_000, 300, "o", True)))
    await asyncio.wait_for(bench.ask("GET heavy", Priority.PROTECT), 0.1)


@settings(max_examples=60, deadline=None)
@given(REQUESTS)
def test_what_is_kept_for_the_urgent_is_never_spent_by_the_others(requests):
    bench = run_all(requests)
    for least in Priority:
        spent: Counter[int] = Counter()
        for now_ms, endpoint, priority in bench.out:
            if priority >= least:
                spent[now_ms // MINUTE] += PLAN.weights.get(endpoint, 1)
        assert max(spent.values(), default=0) <= 40 * (1 - RESERVED_FRACTION[least]) + 1e-9


@in_virtual_time
async def _run_all(requests, into, error_ms):
    bench = Bench()
    bench.clock.error_ms = error_ms
    into.append(bench)
    await asyncio.gather(*(bench.ask(*request) for request in requests))
    await bench.limiter.close()


def run_all(requests, error_ms: int = 0) -> Bench:
    into: list[Bench] = []
    _run_all(requests, into, error_ms)
    return into[0]


@in_virtual_time
async def test_those_who_wait_are_served_by_urgency_and_then_by_turn():
    bench = Bench()
    for _ in range(26):
        await bench.ask("GET light", Priority.DATA)
    waiting = [Priority.DATA, Priority.ENTRY, Priority.RECONCILE, Priority.CANCEL]
    tasks = [asyncio.create_task(bench.ask("GET heavy", priority)) for priority in waiting * 2]
    await asyncio.sleep(200)
    served = [priority for _, endpoint, priority in bench.out if endpoint == "GET heavy"]
    assert served == sorted(served)
    await asyncio.gather(*tasks)


@in_virtual_time
async def test_protection_passes_a_queue_of_entries_that_wait():
    bench = Bench()
    tasks = [asyncio.create_task(bench.ask("POST order", Priority.ENTRY)) for _ in range(8)]
    await asyncio.sleep(1)
    passed = len(bench.out)
    assert passed < 5
    await asyncio.wait_for(bench.ask("POST order", Priority.PROTECT), 0.1)
    await asyncio.gather(*tasks)


@in_virtual_time
async def test_one_who_gives_up_waiting_spends_nothing_and_holds_nobody_up():
    bench = Bench()
    for _ in range(5):
        await bench.ask("POST order", Priority.PROTECT)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await bench.ask("POST order", Priority.ENTRY)
    await bench.ask("POST order", Priority.ENTRY)
    assert len(bench.out) == 6
    assert bench.clock.monotonic() < 1_012


def test_what_left_at_the_end_of_a_window_counts_in_the_next_one_too_and_not_in_the_one_after():
    window = Window("orders", 10_000, 300, "", True)
    window.spend(50, arrives_ms=9_999)
    window.spend(200, arrives_ms=10_000)
    window.roll(10_001, 0)
    assert window.used == 200
    window.roll(20_001, 0)
    assert window.used == 0
    window.spend(7, arrives_ms=30_000)
    window.roll(40_001, 0)
    assert window.used == 0


@in_virtual_time
async def test_waiting_for_a_window_does_not_spin():
    bench = Bench()
    await bench.ask("POST order", Priority.PROTECT)
    await asyncio.sleep(11)
    for _ in range(4):
        await bench.ask("GET heavy", Priority.PROTECT)
    slept: list[float] = []
    real = bench.clock.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real(seconds)

    bench.clock.sleep = sleep  # type: ignore[method-assign]
    await bench.ask("GET heavy", Priority.PROTECT)
    assert len(slept) < 10


# --- bans ---


@in_virtual_time
async def test_a_ban_sends_home_who_waits_and_who_comes_and_is_written_down_once():
    bench = Bench()
    for _ in range(5):
        await bench.ask("POST order", Priority.PROTECT)
    waiting = [asyncio.create_task(bench.ask("POST order", priority)) for priority in Priority]
    await asyncio.sleep(1)
    until_ms = bench.clock.now_ms() + 120_000
    bench.limiter.ban(BINANCE, until_ms, "HTTP 418")
    bench.limiter.ban(BINANCE, until_ms - 1, "HTTP 429")
    await asyncio.gather(*waiting)
    for priority in Priority:
        await bench.ask("GET light", priority)
    assert bench.banned == 12
    assert [(each.until_ms, each.reason) for each in bench.saved] == [(until_ms, "HTTP 418")]
    assert bench.limiter.banned_until_ms(BINANCE) == until_ms
    await asyncio.sleep(119)
    await bench.ask("GET light", Priority.PROTECT, 0.5)
    assert bench.banned == 13
    await asyncio.sleep(1)
    await bench.ask("GET light", Priority.DATA)
    assert bench.out[-1][1] == "GET light"
    assert bench.limiter.banned_until_ms(BINANCE) is None


@in_virtual_time
async def test_a_ban_says_when_it_ends_as_a_person_reads_it():
    bench = Bench()
    until_ms = bench.clock.now_ms() + 120_000
    bench.limiter.ban(BINANCE, until_ms, "HTTP 418")
    with pytest.raises(VenueBanned, match=rf"banned us until {moment(until_ms)} \(venue time\): HTTP 418"):
        await bench.limiter.acquire(BINANCE, "GET light", Priority.PROTECT)
    assert moment(1_795_387_700_324) == "2026-11-22T22:48:20Z"


@in_virtual_time
async def test_a_longer_ban_replaces_a_shorter_one_and_an_earlier_runs_ban_is_obeyed():
    bench = Bench()
    now_ms = bench.clock.now_ms()
    bench.limiter.restore(BanRecord(BINANCE, now_ms + 10_000, "before", now_ms))
    await bench.ask("GET light", Priority.PROTECT)
    assert bench.banned == 1
    bench.limiter.ban(BINANCE, now_ms + 20_000, "again")
    await asyncio.sleep(11)
    await bench.ask("GET light", Priority.PROTECT)
    assert bench.banned == 2


@in_virtual_time
async def test_a_ban_that_was_dated_before_the_clock_was_set_hides_no_later_one():
    bench = Bench()
    then_ms = bench.clock.now_ms() + 600_000  # the host's clock was so far ahead, until the venue was asked
    bench.limiter.restore(BanRecord(BINANCE, then_ms + 5_000, "then", then_ms))
    await bench.ask("GET light", Priority.PROTECT)
    await bench.ask("GET light", Priority.PROTECT, 6)
    bench.limiter.ban(BINANCE, bench.clock.now_ms() + 20_000, "now")
    await bench.ask("GET light", Priority.PROTECT)
    assert (bench.banned, [each.reason for each in bench.saved]) == (2, ["now"])


# --- what the venue counts ---


@pytest.mark.fault(65)
@in_virtual_time
async def test_the_venues_own_count_counts_where_it_is_higher_and_never_where_it_is_lower():
    bench = Bench()
    bench.limiter.observe(BINANCE, 200, {"x-mbx-used-weight-1m": "30"})
    assert bench.limiter.used_fraction(BINANCE) == 0.75
    bench.limiter.observe(BINANCE, 200, {"X-MBX-USED-WEIGHT-1M": "3"})
    assert bench.limiter.used_fraction(BINANCE) == 0.75
    task = asyncio.create_task(bench.ask("GET light", Priority.DATA))
    await asyncio.sleep(1)
    assert bench.out == []
    await task
    assert bench.out[0][0] % MINUTE < 100


@pytest.mark.parametrize("text", ["", "-1", "1e3", "NaN", "4.5", "many", "²"])
@in_virtual_time
async def test_a_header_that_is_no_count_is_ignored(text):
    bench = Bench()
    bench.limiter.observe(BINANCE, 200, {"x-mbx-used-weight-1m": text})
    assert bench.limiter.used_fraction(BINANCE) == 0


@in_virtual_time
async def test_a_clock_that_goes_back_gives_no_new_budget():
    bench = Bench()
    await asyncio.sleep(61)
    for _ in range(4):
        await bench.ask("GET heavy", Priority.PROTECT)
    bench.clock.step_ms -= MINUTE
    assert bench.limiter.used_fraction(BINANCE) == 1
