"""A position has its stop within 5 s of being reachable, or is being closed (P5)."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from tests.execution.fakes import BINANCE, BTC, Accept, Lose, Reject, Silence
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import both_acks
from tradingd.domain.account import RejectKind
from tradingd.domain.events import VenueState
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderStatus

pytestmark = both_acks
S = OrderStatus


@in_virtual_time
async def test_the_stop_is_placed_at_once_on_the_tick_close_position_and_reduce_only_by_that(make_world):
    world = await make_world().boot()
    world.enter(stop_loss=Decimal("49000.04"))
    began = await world.naked()
    await world.until(world.is_covered)
    assert world.clock.monotonic() - began < 0.2
    (stop,) = world.sent(Purpose.STOP)
    assert (stop.trigger_price, stop.side, stop.close_position, stop.quantity) == (49_000, Side.SELL, True, None)
    assert world.rows("SELECT state FROM protection") == [("covered",)]


@in_virtual_time
async def test_where_the_venue_has_no_close_position_stops_the_stop_is_reduce_only_and_follows_the_size(make_world):
    world = make_world()
    world.venue.limits = msgspec.structs.replace(world.venue.limits, close_position_stops=False)
    await world.boot()
    world.venue.fill_fraction = Decimal("0.4")
    world.enter(limit_price=None, quantity=Decimal("0.1"))
    await world.until(world.is_covered)
    first = world.sent(Purpose.STOP)[0]
    assert (first.quantity, first.reduce_only) == (Decimal("0.04"), True)
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.06"))
    await world.until(lambda: world.held() == Decimal("0.1") and world.is_covered(), 5)
    assert world.sent(Purpose.STOP)[-1].quantity == Decimal("0.1")


@pytest.mark.fault(45)
@in_virtual_time
async def test_a_stop_that_is_refused_for_more_than_five_seconds_closes_the_position(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.STOP] = Reject(RejectKind.OTHER, "-1000")
    world.enter()
    began = await world.naked()
    await world.until(lambda: world.sent(Purpose.EXIT), 10)
    assert 5.0 <= world.clock.monotonic() - began < 5.7
    await world.until_flat()
    assert world.incidents().count("emergency_close") == 1
    assert "stop_not_placed" in world.incidents()
    assert len(world.sent(Purpose.STOP)) < 25


@pytest.mark.fault(45)
@pytest.mark.parametrize("answer", [Silence(), Lose(), Lose(taken=False, delay_s=1.9)])
@in_virtual_time
async def test_a_stop_that_is_never_answered_closes_the_position_within_six_seconds(make_world, answer):
    world = await make_world().boot()
    world.venue.always[Purpose.STOP] = answer
    world.enter()
    began = await world.naked()
    await world.until(lambda: world.sent(Purpose.EXIT), 12)
    # the lane is serial: one try that began just before the limit may take submit_timeout_s longer
    assert 5.0 <= world.clock.monotonic() - began <= 7.1
    await world.until_flat()


@pytest.mark.parametrize("hanging", ["find_order", "fills", "open_orders", "cancel", "server_time_ms", "account"])
@in_virtual_time
async def test_a_look_up_that_hangs_holds_up_neither_the_stop_nor_the_emergency_exit(make_world, hanging):
    world = await make_world().boot()
    world.venue.always[Purpose.STOP] = Lose()
    world.enter()
    began = await world.naked()
    world.venue.hanging = {hanging}
    await world.until(lambda: world.sent(Purpose.EXIT), 20)
    assert world.clock.monotonic() - began <= 7.1


@in_virtual_time
async def test_an_entry_in_doubt_whose_look_up_hangs_does_not_hold_up_its_own_stop(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].append(Silence())
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY) and world.last(Purpose.ENTRY).status is S.IN_DOUBT)
    world.venue.hanging = {"find_order", "server_time_ms", "fills"}
    await asyncio.sleep(2)
    world.venue.take(world.sent(Purpose.ENTRY)[0])
    began = await world.naked()
    await world.until(world.is_covered, 10)
    assert world.clock.monotonic() - began <= 5.0


@in_virtual_time
async def test_a_timed_sweep_that_hangs_does_not_hold_up_a_stop(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    world.venue.hanging = {"open_orders"}
    world.execution.pipeline.sweep_all(BINANCE)
    await asyncio.sleep(0.5)
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.1"))
    began = await world.naked()
    await world.until(world.is_covered, 10)
    assert world.clock.monotonic() - began <= 5.0


@in_virtual_time
async def test_a_second_stop_may_be_tried_while_the_first_is_in_doubt(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.STOP].append(Lose())
    world.enter()
    await world.until(world.is_covered, 3)
    first, second = world.sent(Purpose.STOP)
    assert first.client_order_id != second.client_order_id
    assert world.order(first.client_order_id).status is S.IN_DOUBT
    assert world.order(second.client_order_id).status is S.ACCEPTED


@pytest.mark.fault(57)
@in_virtual_time
async def test_a_stop_refused_as_duplicate_is_found_among_ours_and_adopted(make_world):
    world = await make_world(acks_first=False).boot()  # an ack would not tell that the entry has filled
    world.venue.mute = True
    world.venue.hidden = set()
    world.venue.answers[Purpose.STOP].append(Lose(taken=True))
    world.venue.unreachable = {"find_order"}
    world.enter()
    await world.until(world.is_covered, 4)
    first, second = world.sent(Purpose.STOP)
    assert world.order(first.client_order_id).status is S.ACCEPTED
    assert world.order(second.client_order_id).reject_code == "-4130"
    assert world.execution.protection.covers[BTC].stop_order == first.client_order_id
    assert "emergency_close" not in world.incidents()


@in_virtual_time
async def test_a_duplicate_that_is_not_ours_is_no_protection_of_ours(make_world):
    world = await make_world().boot()
    world.venue.foreign_order(BTC, close_position=True, quantity=None)
    world.venue.mute = True  # nobody told us of it
    world.venue.hidden = {order.client_order_id for order in world.venue.open_now()}
    world.enter()
    await world.until(lambda: world.sent(Purpose.EXIT), 10)
    assert "emergency_close" in world.incidents()
    assert world.venue.cancelled == []


@pytest.mark.fault(43)
@in_virtual_time
async def test_a_stop_that_would_trigger_at_once_closes_at_market_at_once(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.STOP] = Reject(RejectKind.WOULD_TRIGGER, "-2021")
    world.enter()
    began = await world.naked()
    await world.until(lambda: world.sent(Purpose.EXIT), 3)
    assert world.clock.monotonic() - began < 0.5
    await world.until_flat()
    assert world.incidents().count("emergency_close") == 1


@in_virtual_time
async def test_a_stop_that_is_refused_behind_its_position_raises_no_alarm(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.STOP] = Reject(RejectKind.WOULD_TRIGGER, "-2021", delay_s=1.0)
    world.enter()
    await world.until(world.held)
    world.venue.execute(BTC, Side.SELL, abs(world.held()), Decimal(48_900))
    await world.until(lambda: not world.held(), 1)
    await asyncio.sleep(5)
    assert "emergency_close" not in world.incidents()
    assert world.sent(Purpose.EXIT) == []


@in_virtual_time
async def test_a_take_profit_already_reached_closes_at_market(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.TAKE_PROFIT] = Reject(RejectKind.WOULD_TRIGGER, "-2021")
    world.enter(take_profit=Decimal(50_100))
    await world.until(lambda: world.sent(Purpose.EXIT), 5)
    await world.until_flat()


@in_virtual_time
async def test_a_take_profit_that_is_refused_is_given_up_and_the_stop_stays(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.TAKE_PROFIT] = Reject()
    world.enter(take_profit=Decimal(52_000))
    await world.until(lambda: "take_profit_not_placed" in world.incidents(), 60)
    await asyncio.sleep(5)
    assert len(world.sent(Purpose.TAKE_PROFIT)) == 5
    assert world.is_covered()
    assert world.sent(Purpose.EXIT) == []


@pytest.mark.fault(44, 67)
@pytest.mark.parametrize("status", [S.CANCELED, S.EXPIRED, S.REJECTED])
@in_virtual_time
async def test_a_stop_that_somebody_took_away_is_placed_anew(make_world, status):
    world = await make_world().boot()
    await world.open_position()
    world.venue.end(world.last(Purpose.STOP).client_order_id, status)
    await world.until(lambda: not world.is_covered())
    assert await world.until(world.is_covered, 5) < 1
    assert len(world.sent(Purpose.STOP)) == 2


@pytest.mark.fault(52)
@pytest.mark.parametrize("state", [VenueState.DOWN, VenueState.BANNED])
@in_virtual_time
async def test_time_without_a_venue_is_not_time_without_a_stop(make_world, state):
    world = await make_world().boot()
    world.venue.always[Purpose.STOP] = Silence()
    world.enter()
    await world.naked()
    world.execution.router.mark(BINANCE, state, "gone")
    await asyncio.sleep(30)
    assert world.sent(Purpose.EXIT) == []
    assert world.execution.protection.unprotected_s(BTC) == 0
    world.execution.router.mark(BINANCE, VenueState.DEGRADED, "back")
    back = world.clock.monotonic()
    await world.until(lambda: world.sent(Purpose.EXIT), 10)
    assert 5.0 <= world.clock.monotonic() - back <= 7.1


@in_virtual_time
async def test_a_position_that_comes_out_of_an_outage_gets_its_stop_and_is_not_closed(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.STOP] = Silence()
    world.enter()
    await world.naked()
    world.execution.router.mark(BINANCE, VenueState.DOWN, "gone")
    await asyncio.sleep(30)
    world.venue.always[Purpose.STOP] = Accept()
    world.execution.router.mark(BINANCE, VenueState.READY, "back")
    await world.until(world.is_covered, 5)
    await asyncio.sleep(10)
    assert world.sent(Purpose.EXIT) == []


@in_virtual_time
async def test_a_position_found_naked_after_a_restart_gets_its_stop_again(make_world):
    world = await make_world().boot()
    await world.open_position()
    stop = world.last(Purpose.STOP).client_order_id
    world.venue.mute = True
    world.venue.end(stop, S.CANCELED)
    world.venue.mute = False
    await world.restart()
    await world.until(world.is_covered, 5)
    assert world.sent(Purpose.STOP)[-1].trigger_price == Decimal(49_000)


@in_virtual_time
async def test_a_restart_leaves_a_standing_stop_where_it_is(make_world):
    world = await make_world().boot()
    await world.open_position()
    await world.restart()
    await asyncio.sleep(3)
    assert world.is_covered()
    assert len(world.sent(Purpose.STOP)) == 1
    assert world.venue.cancelled == []


@in_virtual_time
async def test_an_entry_that_wants_no_stop_is_left_alone_when_none_is_required(make_world):
    world = await make_world(risk="require_stop = false").boot()
    world.enter(stop_loss=None)
    await world.until(lambda: world.held())
    await asyncio.sleep(10)
    assert world.sent(Purpose.STOP) == []
    assert world.sent(Purpose.EXIT) == []


@in_virtual_time
async def test_a_limit_entry_has_its_stop_with_the_first_fill(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    assert world.sent(Purpose.STOP) == []
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.03"))
    await world.until(world.is_covered, 1)
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.07"))
    await asyncio.sleep(1)
    assert world.is_covered()
    assert len(world.sent(Purpose.STOP)) == 1


@in_virtual_time
async def test_a_late_fill_of_an_entry_that_ended_long_ago_gets_its_stop(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    entry = world.sent(Purpose.ENTRY)[0].client_order_id
    world.venue.end(entry, OrderStatus.CANCELED)
    await asyncio.sleep(1)
    for _ in range(20):
        await world.open_position()
        await world.close_position()
    before = len(world.sent(Purpose.STOP))
    world.venue.execute(BTC, Side.BUY, Decimal("0.1"), order=world.venue.orders[entry])
    await world.until(lambda: len(world.sent(Purpose.STOP)) > before, 10)
    await world.until(world.is_covered)


@pytest.mark.parametrize(("call", "reason"), [("mark_price", "no_price"), ("open_orders", "sweep_not_proved")])
@in_virtual_time
async def test_an_entry_that_waits_for_an_answer_does_not_hold_up_the_stop_of_a_late_fill(make_world, call, reason):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    first = world.sent(Purpose.ENTRY)[0].client_order_id
    world.venue.end(first, OrderStatus.CANCELED)
    await asyncio.sleep(10)
    world.execution.sweeper.forget_venue(BINANCE)
    world.venue.hanging = {call}
    asked = world.venue.calls.count(call)
    world.enter()
    await world.until(lambda: world.venue.calls.count(call) > asked)
    world.venue.execute(BTC, Side.BUY, Decimal("0.1"), order=world.venue.orders[first])
    seconds = await world.until(lambda: world.sent(Purpose.STOP), limit_s=10)
    assert seconds <= 5
    assert world.denials() == [reason]
