"""A stream that is connected and says nothing: what rests is looked at all the same."""

import asyncio
from decimal import Decimal

import pytest

from tests.execution.fakes import BTC, Reject
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import both_acks
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderStatus
from tradingd.execution.history_marks import FILL_OVERLAP_MS

pytestmark = both_acks


@pytest.mark.fault(18, 64)
@in_virtual_time
async def test_a_resting_entry_that_fills_while_the_stream_is_deaf_gets_its_stop_within_seconds(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    world.venue.mute = True
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.04"))
    seconds = await world.until(lambda: bool(world.sent(Purpose.STOP)), limit_s=10)
    assert seconds <= 4.0


@pytest.mark.fault(18)
@in_virtual_time
async def test_a_stop_whose_end_the_stream_never_told_is_ended_by_the_sweep_that_finds_it_gone(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.mute = True
    world.exit()
    await world.until(lambda: world.last(Purpose.STOP).status is OrderStatus.CANCELED, limit_s=20)
    assert not world.venue.open_now()


@in_virtual_time
async def test_a_stop_that_ended_unheard_is_replaced_within_five_seconds(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.mute = True
    world.venue.end(world.last(Purpose.STOP).client_order_id, OrderStatus.EXPIRED)
    seconds = await world.until(lambda: len(world.sent(Purpose.STOP)) == 2, limit_s=10)
    assert seconds <= 2.5
    await world.until(world.is_covered)


@in_virtual_time
async def test_a_look_at_a_stop_that_brings_no_answer_is_repeated_at_once(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.mute = True
    world.venue.end(world.last(Purpose.STOP).client_order_id, OrderStatus.EXPIRED)
    world.venue.hanging = {"find_order"}
    await world.until(lambda: "find_order" in world.venue.calls, limit_s=5)
    world.venue.hanging = set()
    seconds = await world.until(lambda: len(world.sent(Purpose.STOP)) == 2, limit_s=10)
    assert seconds <= 2.8


@in_virtual_time
async def test_a_stop_costs_one_small_request_every_two_seconds_and_none_once_flat(make_world):
    world = await make_world().boot()
    await world.open_position()
    await asyncio.sleep(5)
    world.venue.calls.clear()
    await asyncio.sleep(30)
    assert 14 <= world.venue.calls.count("find_order") <= 16
    assert "fills" not in world.venue.calls
    await world.close_position()
    await asyncio.sleep(5)
    world.venue.calls.clear()
    await asyncio.sleep(30)
    assert "find_order" not in world.venue.calls


@in_virtual_time
async def test_a_stop_that_fired_unheard_is_booked_within_seconds(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.mute = True
    world.venue.trigger(world.last(Purpose.STOP).client_order_id)
    await world.until(lambda: not world.held(), limit_s=5)
    await world.until_flat(limit_s=10)
    assert world.rows("SELECT count(*) FROM fills") == [(2,)]


@in_virtual_time
async def test_an_entry_that_rests_is_looked_at_without_reading_its_fills_each_time(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    await asyncio.sleep(5)
    world.venue.calls.clear()
    await asyncio.sleep(20)
    assert 9 <= world.venue.calls.count("find_order") <= 11
    assert "fills" not in world.venue.calls


@in_virtual_time
async def test_a_stop_whose_end_was_told_late_is_a_close_five_seconds_after_that_end(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.mute = True
    world.venue.always[Purpose.STOP] = Reject()
    world.venue.end(world.last(Purpose.STOP).client_order_id, OrderStatus.EXPIRED)
    seconds = await world.until(lambda: bool(world.sent(Purpose.EXIT)), limit_s=10)
    assert 4.9 <= seconds <= 5.3


@in_virtual_time
async def test_the_end_of_an_earlier_positions_stop_says_nothing_about_the_next_one(make_world):
    world = await make_world().boot()
    await world.open_position()
    await world.close_position()
    await asyncio.sleep(180)
    world.venue.answers[Purpose.STOP].append(Reject())
    world.enter()
    await world.until(world.is_covered)
    assert "emergency_close" not in world.incidents()


@in_virtual_time
async def test_a_fill_of_a_silent_hour_is_booked_although_a_newer_one_is_pushed_first(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.unreachable = {"*"}
    world.venue.mute = True
    world.venue.execute(BTC, Side.SELL, Decimal("0.04"))
    world.clock.step_ms += 3_600_000
    world.venue.mute = False
    world.venue.execute(BTC, Side.SELL, Decimal("0.01"))
    await asyncio.sleep(0.05)
    world.venue.unreachable = set()
    await asyncio.sleep(60)
    await world.reconcile()
    assert world.rows("SELECT count(*) FROM fills") == [(3,)]
    assert "position_corrected" not in world.incidents()


@in_virtual_time
async def test_an_entry_waits_while_the_fills_of_a_whole_trade_are_missing(make_world):
    world = await make_world(hold=3).boot()
    world.venue.unreachable = {"fills"}
    world.venue.mute = True
    world.enter()
    await world.until(lambda: world.venue.positions.get(BTC) and world.sent(Purpose.STOP))
    world.exit()
    await world.until(lambda: not world.venue.positions.get(BTC))
    await asyncio.sleep(5)
    outcome = await world.outcome_of(world.enter())
    assert outcome == ("denied", "account_not_converged")
    assert len(world.sent(Purpose.ENTRY)) == 1


@in_virtual_time
async def test_a_fill_of_a_silent_hour_is_booked_although_a_crash_follows_the_newer_push(make_world):
    world = await make_world().boot()
    await world.open_position()
    await world.reconcile()
    world.venue.unreachable = {"*"}
    world.venue.mute = True
    world.venue.execute(BTC, Side.SELL, Decimal("0.04"))
    world.clock.step_ms += 3_600_000
    world.venue.mute = False
    world.venue.execute(BTC, Side.SELL, Decimal("0.01"))
    await asyncio.sleep(0.05)
    await world.crash()
    world.venue.unreachable = set()
    await world.boot()
    assert world.rows("SELECT count(*) FROM fills") == [(3,)]
    assert "position_corrected" not in world.incidents()


@in_virtual_time
async def test_a_restart_reads_the_history_from_where_the_last_run_read_it(make_world):
    world = await make_world().boot()
    asked = record_since(world)
    world.clock.step_ms += 3_600_000
    await world.open_position()
    await world.reconcile()
    filled_ms = world.venue.executions[-1].time_ms
    world.clock.step_ms += 3 * 86_400_000
    asked.clear()
    await world.restart()
    assert asked[0] == filled_ms - FILL_OVERLAP_MS


@in_virtual_time
async def test_a_quiet_instrument_is_asked_for_one_week_at_most(make_world):
    world = await make_world().boot()
    asked = record_since(world)
    for _ in range(4):
        world.clock.step_ms += 5 * 86_400_000
        await world.reconcile()
        await world.restart()
    assert world.clock.now_ms() - asked[-1] < 7 * 86_400_000


def record_since(world) -> list[int]:
    """From when on the history of BTC is asked for, each time."""
    asked: list[int] = []
    real = world.venue.fills

    async def fills(instrument, since_ms, priority):
        if instrument == BTC:
            asked.append(since_ms)
        return await real(instrument, since_ms, priority)

    world.venue.fills = fills
    return asked


# --- a venue's clock that was ahead for a while ---------------------------------------------------------------------


async def held_an_hour_ahead(make_world, levels=False):
    """A position that was opened while the venue's clock was an hour ahead; it is right again."""
    world = make_world()
    if levels:
        world.levels = world.venue.keep_levels()
    await world.boot()
    world.clock.step_ms = 3_600_000
    await world.open_position()
    await world.reconcile()
    world.clock.step_ms = 0
    return world


@in_virtual_time
async def test_a_clock_that_was_an_hour_ahead_hides_no_later_fill(make_world):
    world = await held_an_hour_ahead(make_world)
    world.venue.mute = True
    world.venue.execute(BTC, Side.SELL, Decimal("0.1"))
    assert await world.execution.reconciler.book_missing(BTC) == 1 and world.held() == 0


@in_virtual_time
async def test_a_clock_that_was_an_hour_ahead_leaves_no_position_without_its_level(make_world):
    world = await held_an_hour_ahead(make_world, levels=True)
    world.levels.by_hand(BTC, None)
    assert await world.until(lambda: world.levels.carried[BTC][0] is not None, 30) < 15


@in_virtual_time
async def test_a_clock_that_was_an_hour_ahead_keeps_no_account_from_converging(make_world):
    world = await held_an_hour_ahead(make_world)
    await world.close_position()
