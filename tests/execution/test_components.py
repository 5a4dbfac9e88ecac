"""Each component does its part in the real flow: its scenario fails when a pass-through takes its place."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.execution.fakes import BINANCE, BTC, Lose, Reject
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import World
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderStatus
from tradingd.execution.clearance import Clearance
from tradingd.execution.order_router import EntryDraft
from tradingd.execution.rate_budget import RatePlan
from tradingd.ports import Approved

Scenario = Callable[[World], Awaitable[None]]
NARROW = RatePlan(
    windows=(("orders", 60_000, 4, "", True),), weights={}, order_endpoints=frozenset({"POST order", "POST algo"})
)


# --- what each must see to ---------------------------------------------------------------------------------------


async def a_lost_answer_is_a_doubt(world: World) -> None:
    world.venue.answers[Purpose.ENTRY].append(Lose())
    world.enter()
    await asyncio.sleep(1)
    assert world.last(Purpose.ENTRY).status is OrderStatus.IN_DOUBT


async def quantities_and_prices_are_cut_to_what_the_venue_takes(world: World) -> None:
    world.enter(quantity=Decimal("0.10049"), limit_price=Decimal("49900.06"))
    await asyncio.sleep(1)
    assert [(each.quantity, each.limit_price) for each in world.venue.submitted] == [
        (Decimal("0.1"), Decimal("49900.1"))
    ]


async def an_entry_without_margin_is_denied(world: World) -> None:
    intent = world.enter(quantity=Decimal(10))
    assert await world.outcome_of(intent) == ("denied", "insufficient_margin")
    assert world.venue.submitted == []


async def refused_stops_are_tried_with_growing_pauses(world: World) -> None:
    world.venue.always[Purpose.STOP] = Reject()
    world.enter()
    await world.until(lambda: world.sent(Purpose.EXIT), 10)
    assert len(world.sent(Purpose.STOP)) <= 15


async def the_leg_is_committed_before_it_leaves(world: World) -> None:
    rows: list[Any] = []
    world.venue.on_submit = lambda request: rows.append(world.rows("SELECT status FROM orders"))
    world.enter()
    await world.until(lambda: rows)
    assert rows[0] == [("SUBMITTED",)]


async def entries_leave_the_last_of_the_budget_to_protection(world: World) -> None:
    await world.open_position(limit_price=None)
    await world.close_position()
    denied = world.enter()
    assert await world.outcome_of(denied) == ("denied", "rate_budget")


async def no_entry_before_the_account_agrees_with_the_last_fill(world: World) -> None:
    await world.open_position()
    world.venue.shown_account = lambda shown: msgspec.structs.replace(shown, requested_ms=0)
    world.exit()
    await world.until(lambda: world.held() == 0 and not world.execution.exits.goals)
    assert await world.outcome_of(world.enter()) == ("denied", "account_not_converged")


async def what_another_hand_closed_unheard_is_known_after_a_reconcile(world: World) -> None:
    await world.open_position()
    world.venue.mute = True
    world.venue.execute(BTC, Side.SELL, Decimal("0.04"))
    await world.execution.reconciler.reconcile(BINANCE)
    assert world.held() == Decimal("0.06")
    assert world.rows("SELECT count(*) FROM fills") == [(2,)]


async def a_stop_off_the_tick_never_leaves(world: World) -> None:
    world.enter(limit_price=Decimal(49_900))
    await world.until(world.venue.open_now)
    real = world.execution.protection.legs._orders.protection

    def off_tick(*parts: Any, **more: Any) -> Any:
        return msgspec.structs.replace(real(*parts, **more), trigger_price=Decimal("49000.05"))

    world.execution.protection.legs._orders.protection = off_tick  # type: ignore[method-assign]
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.04"))
    await asyncio.sleep(1)
    assert world.held() and world.sent(Purpose.STOP) == []


async def no_entry_in_the_hold_period(world: World) -> None:
    await world.open_position()
    await world.close_position()
    assert await world.outcome_of(world.enter()) == ("denied", "hold_period")


async def a_leftover_is_swept_before_the_entry_leaves(world: World) -> None:
    await world.open_position()
    world.venue.hidden = {world.last(Purpose.STOP).client_order_id}
    world.exit()
    await world.until(lambda: world.held() == 0 and not world.execution.exits.goals)
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)
    world.venue.hidden = set()
    world.execution.sweeper.forget_venue(BINANCE)
    left: list[int] = []
    world.venue.on_submit = lambda request: left.append(len(world.venue.open_now(BTC)))
    world.enter()
    await world.until(lambda: left)
    assert left[0] == 0


async def a_position_gets_its_stop(world: World) -> None:
    world.enter()
    await world.until(lambda: world.venue.positions.get(BTC))
    await asyncio.sleep(1)
    assert world.is_covered()


# --- and what takes its place -----------------------------------------------------------------------------------


def through_exchange_router(world: World) -> None:
    async def submit(clearance: Any, approved: Approved, priority: Any, timeout_s: float) -> Any:
        return await world.venue.submit(approved, clearance.order.signed_ms, priority, clearance)

    world.execution.router.submit = submit  # type: ignore[method-assign]


def through_order_router(world: World) -> None:
    orders = world.execution.pipeline._entries._orders
    real = orders.entry

    def entry(intent: Any, rules: Any, mark_price: Decimal, equity: Decimal | None) -> Any:
        draft = real(intent, rules, mark_price, equity)
        assert isinstance(draft, EntryDraft)
        asked = msgspec.structs.replace(draft.request, quantity=intent.quantity, limit_price=intent.limit_price)
        return msgspec.structs.replace(draft, request=asked)

    orders.entry = entry  # type: ignore[method-assign]


def through_risk_guard(world: World) -> None:
    world.execution.risk.approve_entry = lambda draft, view: Approved(draft.request, ())  # type: ignore[method-assign]


def through_risk_guard_reducing(world: World) -> None:
    world.execution.risk.approve_reducing = lambda request, rules: Approved(request, ())  # type: ignore[method-assign]


def through_retry_policy(world: World) -> None:
    world.execution.retry.delay_s = lambda attempt: 0.0  # type: ignore[method-assign]


def through_idempotency_manager(world: World) -> None:
    async def proved() -> None:
        return None

    def write_ahead(order: Any, records: Any, venue: Any, veto: Any) -> Clearance:
        submitted = msgspec.structs.replace(order, status=OrderStatus.SUBMITTED)
        world.execution.state.put_order(submitted)
        applied = asyncio.Event()
        applied.set()
        return Clearance(submitted, proved, lambda order, why: None, world.clock, applied)

    world.execution.idempotency.write_ahead = write_ahead  # type: ignore[method-assign]


def through_rate_limiter(world: World) -> None:
    async def acquire(venue: Any, endpoint: str, priority: Any) -> None:
        return

    world.limiter.acquire = acquire  # type: ignore[method-assign]


def through_balance_reconciler(world: World) -> None:
    world.execution.reconciler.check = lambda venue: None  # type: ignore[method-assign]


def through_reconcile(world: World) -> None:
    async def reconcile(venue: Any) -> None:
        return

    world.execution.reconciler.reconcile = reconcile  # type: ignore[method-assign, assignment]


def through_hold_period_guard(world: World) -> None:
    world.execution.hold.check = lambda instrument, now_ms: None  # type: ignore[method-assign]


def through_leftover_sweeper(world: World) -> None:
    async def sweep(instrument: Any, priority: Any) -> bool:
        return True

    world.execution.sweeper.sweep = sweep  # type: ignore[method-assign]


def through_protection(world: World) -> None:
    async def step(instrument: Any) -> None:
        return

    world.execution.protection.step = step  # type: ignore[method-assign]


CASES: list[tuple[str, Scenario, Callable[[World], None], dict[str, Any]]] = [
    ("ExchangeRouter", a_lost_answer_is_a_doubt, through_exchange_router, {}),
    ("OrderRouter", quantities_and_prices_are_cut_to_what_the_venue_takes, through_order_router, {}),
    ("RiskGuard", an_entry_without_margin_is_denied, through_risk_guard, {}),
    ("RiskGuard reducing", a_stop_off_the_tick_never_leaves, through_risk_guard_reducing, {}),
    ("RetryPolicy", refused_stops_are_tried_with_growing_pauses, through_retry_policy, {}),
    ("IdempotencyManager", the_leg_is_committed_before_it_leaves, through_idempotency_manager, {}),
    ("RateLimiter", entries_leave_the_last_of_the_budget_to_protection, through_rate_limiter, {"plan": NARROW}),
    ("BalanceReconciler", no_entry_before_the_account_agrees_with_the_last_fill, through_balance_reconciler, {}),
    (
        "BalanceReconciler reconcile",
        what_another_hand_closed_unheard_is_known_after_a_reconcile,
        through_reconcile,
        {},
    ),
    ("HoldPeriodGuard", no_entry_in_the_hold_period, through_hold_period_guard, {"hold": 3}),
    ("LeftoverSweeper", a_leftover_is_swept_before_the_entry_leaves, through_leftover_sweeper, {}),
    ("Protection", a_position_gets_its_stop, through_protection, {}),
]
NAMES = [case[0] for case in CASES]


@pytest.mark.parametrize(("name", "scenario", "through", "options"), CASES, ids=NAMES)
@in_virtual_time
async def test_the_component_does_its_part_in_the_real_flow(make_world, name, scenario, through, options):
    await scenario(await make_world(**options).boot())


@pytest.mark.parametrize(("name", "scenario", "through", "options"), CASES, ids=NAMES)
@in_virtual_time
async def test_a_pass_through_in_its_place_is_noticed(make_world, name, scenario, through, options):
    world = await make_world(**options).boot()
    through(world)
    with pytest.raises(AssertionError):
        await scenario(world)
