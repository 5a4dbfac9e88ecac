"""Who waits for one window holds up nobody who needs another; bans, counts and waits that end (P5, P13)."""

import asyncio
from typing import Any

import msgspec
import pytest

from tests.execution.fakes import BINANCE, BTC, Silence, VirtualClock
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.errors import VenueBanned, VenueUnreachable
from tradingd.domain.ids import Purpose, VenueId
from tradingd.domain.intents import DenyReason
from tradingd.domain.records import BanRecord, BanScope
from tradingd.execution.rate_budget import RatePlan
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.ports import Priority

MINUTE = 60_000
WINDOWS = (
    ("weight", MINUTE, 40, "x-weight", False),
    ("orders 10 s", 10_000, 5, "x-orders", True),
    ("orders 1 m", MINUTE, 15, "", True),
)
PLAN = RatePlan(WINDOWS, {"GET heavy": 10, "POST order": 0}, frozenset({"POST order"}))
DEAR = msgspec.structs.replace(PLAN, weights={"GET heavy": 10, "POST order": 0, "POST dear": 10},
                               order_endpoints=frozenset({"POST order", "POST dear"}))  # fmt: skip


def limiter(plan: RatePlan = PLAN) -> tuple[RateLimiter, VirtualClock]:
    clock = VirtualClock()
    made = RateLimiter(clock, lambda ban: None)
    made.add_venue(BINANCE, plan)
    return made, clock


def ask(made: RateLimiter, endpoint: str, priority: Priority) -> "asyncio.Task[None]":
    return asyncio.create_task(made.acquire(BINANCE, endpoint, priority))


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@in_virtual_time
async def test_a_stop_that_costs_no_weight_passes_a_look_up_that_waits_for_weight():
    made, clock = limiter()
    made.observe(BINANCE, 200, {"x-weight": "40"})
    look_up = ask(made, "GET light", Priority.PROTECT)
    await asyncio.sleep(0.01)
    began = clock.monotonic()
    await made.acquire(BINANCE, "POST order", Priority.PROTECT)
    assert clock.monotonic() == began and not look_up.done()
    await look_up
    assert clock.monotonic() - began > 50


@in_virtual_time
async def test_one_who_comes_late_and_small_does_not_overtake_one_who_waits_for_the_same_window():
    made, _ = limiter()
    made.observe(BINANCE, 200, {"x-weight": "20"})
    large = ask(made, "GET heavy", Priority.DATA)
    await settle()
    small = ask(made, "GET light", Priority.DATA)
    await settle()
    assert not large.done() and not small.done()
    more_urgent = ask(made, "GET light", Priority.PROTECT)
    await settle()
    assert more_urgent.done()
    await asyncio.gather(large, small)


@in_virtual_time
async def test_one_who_is_short_in_one_window_keeps_his_share_of_the_others():
    made, _ = limiter(DEAR)
    for _ in range(5):
        await made.acquire(BINANCE, "POST order", Priority.PROTECT)
    made.observe(BINANCE, 200, {"x-weight": "25"})
    dear = ask(made, "POST dear", Priority.PROTECT)  # no order left before ten seconds have passed
    await settle()
    look_ups = [ask(made, "GET light", Priority.PROTECT) for _ in range(10)]
    await settle()
    assert [each.done() for each in look_ups] == [True] * 5 + [False] * 5
    await asyncio.sleep(10.1)
    assert dear.done()
    await asyncio.gather(*look_ups)


@in_virtual_time
async def test_who_waited_behind_one_that_gave_up_is_served_at_once():
    made, clock = limiter()
    made.observe(BINANCE, 200, {"x-weight": "20"})
    large = ask(made, "GET heavy", Priority.DATA)
    await settle()
    small = ask(made, "GET light", Priority.DATA)
    await settle()
    began = clock.monotonic()
    large.cancel()
    await small
    assert clock.monotonic() == began


@in_virtual_time
async def test_a_clock_that_ran_an_hour_ahead_does_not_stop_the_windows_for_an_hour():
    made, clock = limiter()
    clock.step_ms = 60 * MINUTE
    for _ in range(4):
        await made.acquire(BINANCE, "GET heavy", Priority.PROTECT)
    clock.step_ms = 0
    began = clock.monotonic()
    await made.acquire(BINANCE, "GET heavy", Priority.PROTECT)
    assert 0 < clock.monotonic() - began <= 61


@in_virtual_time
async def test_the_death_of_the_waker_is_told_and_leaves_nobody_waiting():
    made, clock = limiter()
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    real = clock.sleep

    async def broken(seconds: float) -> None:
        raise RuntimeError("no timers")

    clock.sleep = broken  # type: ignore[method-assign]
    made.observe(BINANCE, 200, {"x-weight": "40"})
    with pytest.raises(VenueUnreachable):
        await made.acquire(BINANCE, "GET light", Priority.PROTECT)
    assert [str(each["exception"]) for each in told] == ["no timers"]
    clock.sleep = real  # type: ignore[method-assign]
    await made.acquire(BINANCE, "GET light", Priority.PROTECT)


@in_virtual_time
async def test_a_plan_with_a_request_that_fits_no_empty_window_is_refused():
    with pytest.raises(ValueError, match="GET heavy"):
        RateLimiter(VirtualClock(), lambda ban: None).add_venue(
            BINANCE, RatePlan((("weight", MINUTE, 12, "", False),), {"GET heavy": 10}, frozenset())
        )


@in_virtual_time
async def test_a_ban_that_lands_between_the_grant_and_its_request_still_stops_it():
    made, clock = limiter()
    made.observe(BINANCE, 200, {"x-weight": "40"})
    asked = ask(made, "GET light", Priority.PROTECT)
    await settle()
    real = clock.sleep

    async def sleep(seconds: float) -> None:
        await real(seconds)
        if clock.now_ms() % MINUTE < 1_000:  # the window begins anew: the grant comes in this very step
            asyncio.get_running_loop().call_soon(made.ban, BINANCE, clock.now_ms() + MINUTE, "HTTP 418")

    clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(VenueBanned):
        await asked


# --- what the venue counts ---


@in_virtual_time
async def test_a_count_of_the_minute_before_does_not_fill_the_one_that_has_begun():
    made, clock = limiter()
    await asyncio.sleep(59.9)
    sent_ms = clock.now_ms()
    await asyncio.sleep(0.2)
    made.observe(BINANCE, 200, {"x-weight": "39"}, sent_ms)
    assert made.used_fraction(BINANCE) == 0
    made.observe(BINANCE, 200, {"x-weight": "4"}, clock.now_ms())
    assert made.used_fraction(BINANCE) == 0.1


@in_virtual_time
async def test_each_count_belongs_to_its_own_window():
    made, clock = limiter()
    await asyncio.sleep(9.9)
    sent_ms = clock.now_ms()
    await asyncio.sleep(0.2)
    made.observe(BINANCE, 200, {"x-weight": "20", "x-orders": "5"}, sent_ms)
    assert made.used_fraction(BINANCE) == 0.5  # the minute goes on, the ten seconds are new


@in_virtual_time
async def test_in_the_first_moments_a_count_is_believed_only_beyond_the_error_of_the_clock():
    made, clock = limiter()
    clock.error_ms = 40
    await asyncio.sleep(60.03)
    made.observe(BINANCE, 200, {"x-weight": "39"}, clock.now_ms())
    await asyncio.sleep(0.02)
    assert made.used_fraction(BINANCE) == 0
    made.observe(BINANCE, 200, {"x-weight": "8"}, clock.now_ms())
    assert made.used_fraction(BINANCE) == 0.2


# --- bans ---


@in_virtual_time
async def test_each_new_or_longer_ban_is_told_once_when_nothing_can_leave_any_more():
    made, clock = limiter()
    heard: list[tuple[int, str, int | None]] = []
    made.on_ban = lambda venue, until_ms, reason: heard.append((until_ms, reason, made.banned_until_ms(venue)))
    until_ms = clock.now_ms() + MINUTE
    made.ban(BINANCE, until_ms, "HTTP 429")
    made.ban(BINANCE, until_ms, "HTTP 429")
    made.ban(BINANCE, until_ms - 5_000, "HTTP 429")
    made.ban(BINANCE, until_ms + MINUTE, "HTTP 418")
    assert heard == [(until_ms, "HTTP 429", until_ms), (until_ms + MINUTE, "HTTP 418", until_ms + MINUTE)]


@in_virtual_time
async def test_a_ban_stands_though_whoever_hears_of_it_or_writes_it_down_fails():
    made, clock = limiter()
    until_ms = clock.now_ms() + MINUTE

    def fail(*_: Any) -> None:
        raise RuntimeError("disk full")

    made.on_ban = fail
    made.observe(BINANCE, 200, {"x-weight": "40"})
    waiting = ask(made, "GET light", Priority.PROTECT)
    await settle()
    with pytest.raises(RuntimeError):
        made.ban(BINANCE, until_ms, "HTTP 418")
    with pytest.raises(VenueBanned):
        await waiting
    assert made.banned_until_ms(BINANCE) == until_ms


@in_virtual_time
async def test_an_earlier_runs_ban_does_not_shorten_the_one_that_stands():
    made, clock = limiter()
    now_ms = clock.now_ms()
    made.ban(BINANCE, now_ms + 2 * MINUTE, "HTTP 418")
    made.restore(BanRecord(BINANCE, now_ms + MINUTE, "before", now_ms))
    assert made.banned_until_ms(BINANCE) == now_ms + 2 * MINUTE


@pytest.mark.fault(12)
@in_virtual_time
async def test_too_many_orders_close_only_what_places_orders_and_stops_and_exits_wait_in_line():
    saved: list[BanRecord] = []
    clock = VirtualClock()
    made = RateLimiter(clock, saved.append)
    made.add_venue(BINANCE, PLAN)
    heard: list[VenueId] = []
    made.on_ban = lambda venue, until_ms, reason: heard.append(venue)
    for _ in range(5):
        await made.acquire(BINANCE, "POST order", Priority.PROTECT)
    entry, stop = (ask(made, "POST order", priority) for priority in (Priority.ENTRY, Priority.PROTECT))
    await settle()
    until_ms, began = clock.now_ms() + 10_000, clock.monotonic()
    made.close_orders(BINANCE, until_ms, "-1015")
    with pytest.raises(VenueBanned, match=r"takes no order for 10\.0 s: its limit of orders is used up") as raised:
        await entry
    assert raised.value.until_ms == until_ms and raised.value.orders_only
    with pytest.raises(VenueBanned):
        made.refuse_banned(BINANCE, "POST order")
    with pytest.raises(VenueBanned):
        await made.acquire(BINANCE, "POST order", Priority.ENTRY)
    await made.acquire(BINANCE, "GET light", Priority.CANCEL)
    assert made.banned_until_ms(BINANCE) is None and heard == []
    assert [(each.until_ms, each.scope) for each in saved] == [(until_ms, BanScope.ORDERS)]
    assert not stop.done()
    await stop
    assert 10 <= clock.monotonic() - began < 11


@in_virtual_time
async def test_a_short_limit_of_orders_does_not_overwrite_the_record_of_a_long_ban():
    saved: list[BanRecord] = []
    clock = VirtualClock()
    made = RateLimiter(clock, saved.append)
    made.add_venue(BINANCE, PLAN)
    now_ms = clock.now_ms()
    made.ban(BINANCE, now_ms + 60 * MINUTE, "HTTP 418")
    made.close_orders(BINANCE, now_ms + 10_000, "-1015")
    assert [each.until_ms for each in saved] == [now_ms + 60 * MINUTE]
    with pytest.raises(VenueBanned) as raised:
        made.refuse_banned(BINANCE, "POST order")
    assert raised.value.until_ms == now_ms + 60 * MINUTE


def restored(*bans: BanRecord, uptime_s: float = 500.0, wall_step_ms: int = 0) -> RateLimiter:
    """A limiter of a later run: the host has been up for `uptime_s`, and its clock was set by `wall_step_ms`."""
    clock = VirtualClock()
    clock.step_ms = wall_step_ms
    shift = clock.monotonic() - uptime_s
    clock.monotonic = lambda: asyncio.get_running_loop().time() - shift  # type: ignore[method-assign]
    clock._began = uptime_s
    made = RateLimiter(clock, lambda ban: None)
    made.add_venue(BINANCE, PLAN)
    for ban in bans:
        made.restore(ban)
    return made


def is_closed(made: RateLimiter, endpoint: str) -> bool:
    try:
        made.refuse_banned(BINANCE, endpoint)
    except VenueBanned:
        return True
    return False


HOUR_MS = 60 * MINUTE


def ban_of_two_minutes(uptime_ms: int | None = 470_000, scope: BanScope = BanScope.ALL) -> BanRecord:
    """Recorded 30 s before the next run, by an uptime of 500 s."""
    now_ms = VirtualClock().now_ms()
    return BanRecord(BINANCE, now_ms + 90_000, "HTTP 418", now_ms - 30_000, scope, uptime_ms)


@pytest.mark.fault(28)
@pytest.mark.parametrize("wall_step_ms", [0, HOUR_MS, -HOUR_MS])
@in_virtual_time
async def test_an_earlier_runs_ban_ends_in_time_whatever_the_hosts_clock_says(wall_step_ms):
    made = restored(ban_of_two_minutes(), wall_step_ms=wall_step_ms)
    await asyncio.sleep(89)
    assert is_closed(made, "GET light")
    await asyncio.sleep(2)
    assert not is_closed(made, "GET light")


@pytest.mark.parametrize(("uptime_ms", "uptime_s", "waits_s"), [(470_000, 20.0, 100), (None, 500.0, 120)])
@in_virtual_time
async def test_after_a_boot_of_the_host_a_ban_ends_rather_late_than_early(uptime_ms, uptime_s, waits_s):
    made = restored(ban_of_two_minutes(uptime_ms), uptime_s=uptime_s)
    await asyncio.sleep(waits_s - 1)
    assert is_closed(made, "GET light")
    await asyncio.sleep(2)
    assert not is_closed(made, "GET light")


@in_virtual_time
async def test_a_ban_from_days_ago_is_not_waited_out_after_each_boot_of_the_host():
    made = restored(ban_of_two_minutes(None), wall_step_ms=25 * HOUR_MS)
    assert not is_closed(made, "GET light")


@pytest.mark.parametrize("ahead_ms", [3 * 24 * HOUR_MS, -3 * 24 * HOUR_MS])
@pytest.mark.parametrize(("later_s", "uptime_s", "closed"), [(60, 560.0, True), (60, 5.0, True), (90_000, 5.0, False)])
@in_virtual_time
async def test_a_ban_by_a_venue_whose_clock_is_days_off_the_hosts_lasts_as_long(ahead_ms, later_s, uptime_s, closed):
    saved: list[BanRecord] = []
    clock = VirtualClock()
    clock.wall_ms = lambda: clock.now_ms() + ahead_ms  # type: ignore[method-assign]
    shift = clock.monotonic() - 500
    clock.monotonic = lambda: asyncio.get_running_loop().time() - shift  # type: ignore[method-assign]
    clock._began = 500
    made = RateLimiter(clock, saved.append)
    made.add_venue(BINANCE, PLAN)
    made.ban(BINANCE, clock.now_ms() + 2 * MINUTE, "HTTP 418")
    await asyncio.sleep(later_s)
    after = restored(*saved, uptime_s=uptime_s, wall_step_ms=later_s * 1000 + ahead_ms)
    assert is_closed(after, "GET light") == closed


@in_virtual_time
async def test_an_earlier_runs_limit_of_orders_closes_orders_alone():
    made = restored(ban_of_two_minutes(scope=BanScope.ORDERS))
    assert is_closed(made, "POST order") and not is_closed(made, "GET light")
    assert made.banned_until_ms(BINANCE) is None
    await asyncio.sleep(91)
    assert not is_closed(made, "POST order")


# --- the budget of one order ---

ORDERS = RatePlan((("orders", MINUTE, 4, "x-orders", True),), {}, frozenset({"POST order", "POST algo"}))


@in_virtual_time
async def test_an_exit_that_finds_no_budget_is_told_so_in_time_and_closes_once_there_is_some(make_world):
    world = await make_world(plan=ORDERS).boot()
    await world.open_position()
    world.limiter.observe(BINANCE, 200, {"x-orders": "4"})
    world.exit()
    await asyncio.sleep(10)
    goal = world.execution.exits.goals[BTC]
    assert goal.tries >= 3 and not world.sent(Purpose.EXIT)
    await world.until(lambda: world.held() == 0, 70)


@pytest.mark.parametrize(("timeout_s", "waited_s"), [(None, 2.0), (0.5, 0.5)])
@in_virtual_time
async def test_the_wait_for_the_budget_of_a_stop_is_bounded(make_world, timeout_s, waited_s):
    world = await make_world(plan=ORDERS).boot()
    await world.open_position()
    world.limiter.observe(BINANCE, 200, {"x-orders": "4"})
    request = world.sent(Purpose.STOP)[0]
    began = world.clock.monotonic()
    sender = world.execution.protection.legs._sender
    denial = await sender.reserve(request, Priority.PROTECT, timeout_s)
    assert denial is not None and denial.reason is DenyReason.RATE_BUDGET
    assert world.clock.monotonic() - began == pytest.approx(waited_s)


@in_virtual_time
async def test_the_clock_of_the_fence_is_read_as_urgently_as_the_look_up_behind_it(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].append(Silence())
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    order = world.last(Purpose.ENTRY)
    asked: list[Priority] = []
    real = world.venue.server_time_ms

    async def server_time_ms(priority: Priority = Priority.RECONCILE) -> int:
        asked.append(priority)
        return int(await real(priority))

    world.venue.server_time_ms = server_time_ms
    world.clock.step_ms += MINUTE
    await world.execution.idempotency.settle(order, world.venue, Priority.PROTECT)
    assert asked[0] is Priority.PROTECT


@in_virtual_time
async def test_a_budget_that_fails_denies_and_does_not_end_the_step(make_world):
    world = await make_world(plan=ORDERS).boot()
    await world.open_position()

    def broken(venue: Any, endpoint: str, priority: Priority) -> bool:
        raise VenueUnreachable("the rate budget failed")

    world.limiter.take_now = broken
    denial = await world.execution.protection.legs._sender.reserve(world.sent(Purpose.STOP)[0], Priority.PROTECT)
    assert denial is not None and denial.reason is DenyReason.RATE_BUDGET
