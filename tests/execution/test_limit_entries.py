"""Entries with a limit: how they are worded, how they end, and that what they filled is protected."""

import asyncio
from decimal import Decimal

import pytest

from tests.execution.fakes import BTC, Reject
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import both_acks
from tradingd.domain.account import RejectKind
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import CancelOrders, Enter, Side, TimeInForce
from tradingd.domain.orders import OrderKind, OrderStatus

pytestmark = both_acks
S = OrderStatus
LIMIT = Decimal(49_900)
MINUTE_MS = 60_000


async def resting(world, **fields):
    """An entry that rests; its request."""
    world.enter(limit_price=LIMIT, **fields)
    await world.until(lambda: world.venue.open_now())
    return world.sent(Purpose.ENTRY)[-1]


def status(world):
    return world.last(Purpose.ENTRY).status


@pytest.mark.parametrize(
    ("fields", "time_in_force", "post_only"),
    [
        ({}, TimeInForce.GTC, False),
        ({"time_in_force": "IOC"}, TimeInForce.IOC, False),
        ({"time_in_force": "FOK"}, TimeInForce.FOK, False),
        ({"post_only": True}, TimeInForce.GTC, True),
    ],
)
@in_virtual_time
async def test_a_limit_entry_says_how_long_it_may_rest(make_world, fields, time_in_force, post_only):
    world = await make_world().boot()
    request = await resting(world, **fields)
    assert (request.kind, request.limit_price) == (OrderKind.LIMIT, LIMIT)
    assert (request.time_in_force, request.post_only) == (time_in_force, post_only)


@pytest.mark.parametrize(("kind", "code"), [(RejectKind.WOULD_NOT_REST, "-5022"), (RejectKind.NOT_FILLABLE, "-5021")])
@in_virtual_time
async def test_an_entry_that_the_venue_will_not_take_fails_with_its_reason_and_is_not_tried_again(
    make_world, kind, code
):
    world = await make_world().boot()
    world.venue.always[Purpose.ENTRY] = Reject(kind, code)
    intent = world.enter(limit_price=LIMIT, post_only=True)
    await world.until(lambda: world.outcome(intent)[0] == "failed")
    assert world.outcome(intent) == ("failed", kind.value)
    assert code in world.rows("SELECT detail FROM intents WHERE intent_id = ?", intent)[0][0]
    await asyncio.sleep(10)
    assert len(world.sent(Purpose.ENTRY)) == 1 and world.held() == 0


@pytest.mark.parametrize(("limit", "stop"), [(Decimal(40_000), Decimal(39_000)), (Decimal(60_000), Decimal(49_000))])
@in_virtual_time
async def test_a_limit_far_from_the_price_is_denied(make_world, limit, stop):
    world = await make_world().boot()
    assert await world.outcome_of(world.enter(limit_price=limit, stop_loss=stop)) == ("denied", "price_band")


@pytest.mark.parametrize("candles", [1, 3])
@in_virtual_time
async def test_it_ends_when_so_many_candles_have_closed_since_the_decision(make_world, candles):
    world = await make_world().boot()
    await asyncio.sleep(7)
    fields = {"limit_price": LIMIT, "expire_candles": candles, "quantity": Decimal("0.1")}
    world.enter(**fields)
    await world.until(lambda: world.venue.open_now())
    end_ms = (world.clock.now_ms() // MINUTE_MS + candles) * MINUTE_MS
    assert world.last(Purpose.ENTRY).expire_ms == end_ms
    await world.until(lambda: status(world) is S.CANCELED, 60 * candles + 5)
    assert end_ms <= world.clock.now_ms() < end_ms + 500


@in_virtual_time
async def test_its_candles_are_counted_from_the_decision_and_not_from_when_it_was_sent(make_world):
    world = await make_world().boot()
    await asyncio.sleep((MINUTE_MS - world.clock.now_ms() % MINUTE_MS) / 1000 + 1)
    cause_ms = world.clock.now_ms() - 3_000
    entry = Enter(BTC, Side.BUY, quantity=Decimal("0.1"), limit_price=LIMIT, stop_loss=LIMIT - 900, expire_candles=2)
    world.submit(entry, cause_ms=cause_ms)
    await world.until(lambda: world.venue.open_now())
    assert world.last(Purpose.ENTRY).expire_ms == (cause_ms // MINUTE_MS + 2) * MINUTE_MS


@pytest.mark.parametrize("early_s", [0, 0.05])
@in_virtual_time
async def test_a_strategy_that_quotes_anew_on_each_candle_is_not_told_that_its_last_entry_is_pending(
    make_world, early_s
):
    world = await make_world().boot()
    request = await resting(world)
    close_ms = world.order(request.client_order_id).expire_ms
    # the venue's clock may be ahead of ours: the candle that has closed says what time it is
    await asyncio.sleep((close_ms - world.clock.now_ms()) / 1000 - early_s)
    entry = Enter(BTC, Side.BUY, quantity=Decimal("0.1"), limit_price=LIMIT - 100, stop_loss=Decimal(49_000))
    again = world.submit(entry, cause_ms=close_ms)
    assert await world.outcome_of(again) == ("ordered", "")
    await world.until(lambda: world.venue.open_now())  # its outcome is known before its request has left
    assert [order.limit_price for order in world.venue.open_now()] == [LIMIT - 100]


@in_virtual_time
async def test_an_entry_that_filled_at_the_last_moment_denies_the_next_and_is_protected(make_world):
    world = await make_world().boot()
    request = await resting(world)
    await asyncio.sleep((world.order(request.client_order_id).expire_ms - world.clock.now_ms()) / 1000)
    world.venue.mute = True
    world.venue.fill(request.client_order_id, Decimal("0.1"))
    assert await world.outcome_of(world.enter(limit_price=LIMIT - 100)) == ("denied", "position_open")
    await world.until(world.is_covered, 5)


@in_virtual_time
async def test_cancel_orders_ends_it_and_leaves_what_is_filled_with_its_stop(make_world):
    world = await make_world().boot()
    request = await resting(world)
    world.venue.fill(request.client_order_id, Decimal("0.03"))
    await world.until(world.is_covered, 1)
    await world.outcome_of(world.submit(CancelOrders(BTC)))
    await world.until(lambda: status(world) is S.CANCELED)
    assert world.is_covered() and world.held() == Decimal("0.03")


@in_virtual_time
async def test_an_exit_ends_the_rest_of_an_entry_and_closes_what_it_filled(make_world):
    world = await make_world().boot()
    request = await resting(world)
    world.venue.fill(request.client_order_id, Decimal("0.03"))
    await world.until(world.is_covered, 1)
    await world.close_position()
    assert status(world) is S.CANCELED and world.held() == 0


@pytest.mark.parametrize(("downtime_s", "post_only"), [(2, False), (90, False), (2, True)])
@in_virtual_time
async def test_an_entry_that_rested_over_a_crash_still_ends_in_time_and_its_fills_are_protected(
    make_world, downtime_s, post_only
):
    world = await make_world().boot()
    request = await resting(world, post_only=post_only)
    await world.crash()
    world.venue.fill(request.client_order_id, Decimal("0.03"))
    await asyncio.sleep(downtime_s)
    await world.boot()
    await world.until(world.is_covered, 5)
    await world.until(lambda: world.order(request.client_order_id).status is S.CANCELED, 65)
    assert world.is_covered() and world.held() == Decimal("0.03")


@in_virtual_time
async def test_each_later_fill_is_covered_within_five_seconds_whatever_became_of_the_stop_between(make_world):
    world = await make_world().boot()
    request = await resting(world)
    for part in ("0.02", "0.03", "0.05"):
        world.venue.fill(request.client_order_id, Decimal(part))
        await world.until(lambda: world.held() and world.is_covered(), 5)
        world.venue.end(world.last(Purpose.STOP).client_order_id, S.CANCELED)
    await world.until(world.is_covered, 5)
    assert world.held() == Decimal("0.1") and "emergency_close" not in world.incidents()
