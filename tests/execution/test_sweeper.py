"""After flat nothing of ours is left, and what is not ours is never touched (P7)."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from tests.execution.fakes import BINANCE, BTC, Silence
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import both_acks
from tradingd.domain.account import CancelVerdict
from tradingd.domain.ids import ClientOrderId, Purpose
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderKind, OrderStatus

pytestmark = both_acks


async def proved(world):
    """A world whose last sweep of BTC proved it clean."""
    await world.boot()
    await world.until(lambda: world.execution.sweeper.has_proof(BTC))
    return world


@in_virtual_time
async def test_the_proof_of_a_sweep_stands_for_the_next_entry_and_the_venue_is_not_asked_again(make_world):
    world = await proved(make_world())
    asked = world.venue.calls.count("open_orders")
    assert await world.outcome_of(world.enter()) == ("ordered", "")
    assert world.venue.calls.count("open_orders") == asked


@in_virtual_time
async def test_always_asks_the_venue_each_time(make_world):
    world = await proved(make_world(execution='sweep_before_entry = "always"'))
    asked = world.venue.calls.count("open_orders")
    assert await world.outcome_of(world.enter()) == ("ordered", "")
    assert world.venue.calls.count("open_orders") == asked + 1


@pytest.mark.parametrize("what", ["stream break", "foreign order", "own stop"])
@in_virtual_time
async def test_a_proof_is_void_after(make_world, what):
    world = await proved(make_world())
    if what == "stream break":
        world.execution.sweeper.forget_venue(BINANCE)
    elif what == "foreign order":
        order = world.venue.foreign_order(BTC, kind=OrderKind.LIMIT, trigger_price=None, limit_price=Decimal(40_000))
        await asyncio.sleep(0.1)
        world.venue.end(str(order.client_order_id), OrderStatus.CANCELED)
    else:
        world.enter()
        await world.until(world.is_covered)
    assert not world.execution.sweeper.has_proof(BTC)


@pytest.mark.parametrize("what", ["stream break", "foreign order"])
@in_virtual_time
async def test_what_voids_a_proof_while_the_books_are_being_read_voids_that_reading_too(make_world, what):
    world = await proved(make_world())
    world.execution.sweeper.forget(BTC)
    world.venue.read_delay_s = 0.5
    world.execution.pipeline.sweep_all(BINANCE)
    await asyncio.sleep(0.1)
    if what == "stream break":
        world.execution.sweeper.forget_venue(BINANCE)
    else:
        world.venue.foreign_order(BTC, kind=OrderKind.LIMIT, trigger_price=None)
    await asyncio.sleep(0.45)
    assert not world.execution.sweeper.has_proof(BTC)


@pytest.mark.fault(68)
@in_virtual_time
async def test_a_foreign_conditional_order_denies_entries_is_told_and_never_cancelled(make_world):
    world = await proved(make_world())
    order = world.venue.foreign_order(BTC)
    await asyncio.sleep(0.1)
    assert await world.outcome_of(world.enter()) == ("denied", "foreign_orders")
    assert "foreign_order" in world.incidents()
    world.execution.pipeline.sweep_all(BINANCE)
    await asyncio.sleep(2)
    assert world.venue.cancelled == []
    world.venue.end(str(order.client_order_id), OrderStatus.CANCELED)
    world.execution.pipeline.sweep_all(BINANCE)
    await asyncio.sleep(2)
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@in_virtual_time
async def test_a_foreign_order_that_was_there_before_us_denies_entries_too(make_world):
    world = make_world()
    world.venue.foreign_order(BTC)
    await world.boot()
    assert await world.outcome_of(world.enter()) == ("denied", "foreign_orders")


@in_virtual_time
async def test_foreign_orders_can_be_ignored_and_are_still_not_touched(make_world):
    world = make_world(execution='foreign_orders = "ignore"')
    world.venue.foreign_order(BTC)
    await world.boot()
    await world.open_position()
    world.exit()
    await world.until(lambda: world.held() == 0)
    await asyncio.sleep(2)
    assert [order.client_order_id for order in world.venue.open_now()] == ["web_1"]


@in_virtual_time
async def test_a_foreign_resting_order_without_a_trigger_denies_nothing(make_world):
    world = make_world()
    world.venue.foreign_order(BTC, kind=OrderKind.LIMIT, trigger_price=None, limit_price=Decimal(40_000))
    await world.boot()
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@pytest.mark.fault(39)
@pytest.mark.parametrize("verdict", [CancelVerdict.FAILED, CancelVerdict.AMBIGUOUS])
@in_virtual_time
async def test_a_leftover_that_cannot_be_cancelled_denies_the_entry(make_world, verdict):
    world = await proved(make_world())
    await world.open_position()
    world.venue.cancel_answer = verdict
    world.exit()
    await world.until(lambda: world.held() == 0 and not world.execution.exits.goals)
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)
    assert await world.outcome_of(world.enter()) == ("denied", "sweep_not_proved")
    assert "leftover_not_cancelled" in world.incidents()
    world.venue.cancel_answer = None
    await world.until_flat()
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@in_virtual_time
async def test_books_that_cannot_be_read_deny_the_entry(make_world):
    world = await proved(make_world())
    world.execution.sweeper.forget(BTC)
    world.venue.unreachable = {"open_orders"}
    assert await world.outcome_of(world.enter()) == ("denied", "sweep_not_proved")


@in_virtual_time
async def test_a_sweep_while_the_position_was_open_proves_nothing_of_the_time_after_it(make_world):
    world = await proved(make_world())
    await world.open_position()
    world.execution.pipeline.sweep_all(BINANCE)
    await asyncio.sleep(0.5)
    world.venue.unreachable = {"open_orders"}
    world.exit()
    await world.until(lambda: world.held() == 0 and not world.execution.exits.goals)
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)
    assert await world.outcome_of(world.enter()) == ("denied", "sweep_not_proved")
    world.venue.unreachable = set()
    await world.until(lambda: not world.venue.open_now(), 5)


@in_virtual_time
async def test_the_protection_of_an_open_position_is_never_a_leftover(make_world):
    world = await proved(make_world())
    await world.open_position(take_profit=Decimal(52_000))
    await world.until(lambda: len(world.venue.open_now()) == 2)
    for _ in range(3):
        world.execution.pipeline.sweep_all(BINANCE)
        await asyncio.sleep(1)
    assert world.venue.cancelled == []


@in_virtual_time
async def test_a_second_stop_of_ours_beside_the_standing_one_is_a_leftover(make_world):
    world = await proved(make_world())
    await world.open_position(Side.BUY)
    stop = world.sent(Purpose.STOP)[0]
    # as after two tries of which the first answered late, on a venue that allows both
    extra = world.execution.idempotency.next_id(Purpose.STOP)
    order = world.last(Purpose.STOP)
    request = msgspec.structs.replace(stop, client_order_id=extra)
    await world.execution.recorder.add_order(msgspec.structs.replace(order, request=request), ())
    world.venue.take(request)
    await asyncio.sleep(0.1)
    world.execution.pipeline.sweep_all(BINANCE)
    await asyncio.sleep(1)
    assert [each.client_order_id for each in world.venue.open_now()] == [stop.client_order_id]


@in_virtual_time
async def test_a_leftover_that_memory_forgot_is_known_from_the_journal_and_swept(make_world):
    world = await proved(make_world())
    await world.open_position()
    await world.close_position()
    stop = world.sent(Purpose.STOP)[0]
    key = ClientOrderId(stop.client_order_id)
    world.execution.state.put_order(world.order(key))
    world.execution.state._final_ids.pop(key, None)
    del world.execution.state.orders[key]
    world.venue.sink, sink = None, world.venue.sink
    world.venue.take(stop)
    world.venue.sink = sink
    world.execution.pipeline.sweep_all(BINANCE)
    await world.until(lambda: not world.venue.open_now(), 5)
    assert world.execution.switches.halted == ""


@pytest.mark.fault(38)
@in_virtual_time
async def test_a_cancel_without_an_answer_holds_the_lane_no_longer_than_a_create_does(make_world):
    world = await proved(make_world())
    await world.open_position()
    world.venue.hanging = {"cancel"}
    world.exit()
    await world.until(lambda: world.venue.cancelled)
    began = world.clock.monotonic()
    await world.until(lambda: len(world.venue.cancelled) > 1, limit_s=5)
    assert world.clock.monotonic() - began < 2.5
    world.venue.hanging = set()
    await world.until_flat(limit_s=5)


@in_virtual_time
async def test_a_stop_in_doubt_that_arrives_behind_the_sweep_is_swept_before_the_next_entry(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.STOP].append(Silence())
    world.enter()
    await world.until(lambda: world.sent(Purpose.STOP))
    late = world.sent(Purpose.STOP)[0]
    world.exit()
    await world.until(lambda: not world.venue.positions.get(BTC))
    await asyncio.sleep(1.5)
    assert world.order(late.client_order_id).status is OrderStatus.IN_DOUBT
    world.venue.take(late)
    await world.until(lambda: world.order(late.client_order_id).status is OrderStatus.ACCEPTED)
    world.enter(stop_loss=Decimal(48_000))
    await world.until(world.is_covered)
    assert [each.trigger_price for each in world.venue.open_now()] == [Decimal(48_000)]
