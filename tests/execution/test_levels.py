"""Where a venue keeps stop and take profit as a state of the position: set, read back, and put right."""

import asyncio
from decimal import Decimal

import pytest

from tests.execution.fakes import BINANCE, BTC, Accept, Lose, Reject, Silence
from tests.execution.levels_world import FURTHER, NEW, OLD, TARGET, carried, child, held
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.account import RejectKind
from tradingd.domain.events import ProtectionChanged, VenueState
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderStatus
from tradingd.ports import Priority

# --- set -----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_both_levels_are_set_at_once_on_the_tick_and_no_order_is_sent(make_levels):
    world = await make_levels().boot()
    world.enter(stop_loss=Decimal("49000.04"), take_profit=TARGET)
    began = await world.naked()
    await world.until(world.is_covered)
    assert world.clock.monotonic() - began < 0.2
    assert world.levels.sets == [(BTC, OLD, TARGET, Priority.PROTECT)]
    await asyncio.sleep(10)
    assert len(world.levels.sets) == 1
    assert world.sent(Purpose.STOP) == world.sent(Purpose.TAKE_PROFIT) == []
    assert world.rows("SELECT state, stop_loss, take_profit, stop_order FROM protection") == [
        ("covered", 49_000.0, 52_000.0, None)
    ]
    assert {"protection_changed", "stop_not_placed"}.isdisjoint(world.incidents())


@in_virtual_time
async def test_what_is_wanted_is_committed_before_it_is_set_and_its_outcome_behind_it(make_levels):
    world = make_levels()
    before = []
    world.levels.on_set = lambda: before.append(world.rows("SELECT stop_loss, outcome, why FROM protection_sets"))
    await world.boot()
    await world.open_position()
    assert before == [[(49_000.0, None, "wanted")]]
    assert world.rows("SELECT stop_loss, take_profit, outcome, strategy, intent_id FROM protection_sets") == [
        (49_000.0, None, "accepted", "trend", "i1")
    ]


@in_virtual_time
async def test_a_stop_is_set_with_the_first_fill_and_not_again_with_later_ones(make_levels):
    world = await make_levels().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    key = world.sent(Purpose.ENTRY)[0].client_order_id
    for part in ("0.04", "0.03", "0.03"):
        world.venue.fill(key, Decimal(part))
        await world.until(world.is_covered, 1)
    assert len(world.levels.sets) == 1


@in_virtual_time
async def test_a_refusal_for_more_than_five_seconds_closes_the_position(make_levels):
    world = await make_levels().boot()
    world.levels.always = Reject(RejectKind.OTHER, "110057")
    world.enter()
    began = await world.naked()
    await world.until(lambda: world.sent(Purpose.EXIT), 10)
    assert 5.0 <= world.clock.monotonic() - began < 5.7
    await world.until_flat()
    assert world.incidents().count("emergency_close") == 1
    assert len(world.levels.sets) < 25
    rejections = world.rows("SELECT DISTINCT what, raw_code, intent_id FROM v_rejections")
    assert rejections == [("set_protection", "110057", "i1")]


@pytest.mark.parametrize("answer", [Silence(), Lose(), Lose(delay_s=1.9)])
@in_virtual_time
async def test_a_setting_that_is_never_answered_nor_read_closes_the_position_in_time(make_levels, answer):
    world = await make_levels().boot()
    world.levels.always = answer
    world.enter()
    began = await world.naked()
    await world.until(lambda: world.sent(Purpose.EXIT), 12)
    assert 5.0 <= world.clock.monotonic() - began <= 7.1
    await world.until_flat()


@pytest.mark.parametrize("answer", [Lose(taken=True), Accept(silent=True)])
@in_virtual_time
async def test_a_lost_answer_is_read_back_and_not_set_again(make_levels, answer):
    world = await make_levels().boot()
    world.levels.answers.append(answer)
    world.enter()
    began = await world.naked()
    await world.until(world.is_covered, 5)
    assert world.clock.monotonic() - began < 2.2
    await asyncio.sleep(5)
    assert len(world.levels.sets) == 1
    assert world.rows("SELECT outcome FROM protection_sets") == [("unknown",)]
    assert "stop_not_placed" not in world.incidents()


@in_virtual_time
async def test_a_lost_setting_that_did_not_arrive_is_set_again_at_once(make_levels):
    world = await make_levels().boot()
    world.levels.answers.append(Lose())
    world.enter()
    began = await world.naked()
    await world.until(world.is_covered, 5)
    assert world.clock.monotonic() - began < 1.2
    assert len(world.levels.sets) == 2


@in_virtual_time
async def test_the_same_value_again_is_success(make_levels):
    world = await make_levels().boot()
    world.levels.lag_ms = 60_000  # nobody can read that it arrived
    world.levels.answers.append(Lose(taken=True))
    world.enter()
    await world.until(world.is_covered, 5)
    await world.until(lambda: len(world.rows("SELECT 1 FROM protection_sets WHERE answered_ms > 0")) == 2)
    codes = world.rows("SELECT outcome, raw_code FROM protection_sets ORDER BY sequence")
    assert codes == [("unknown", None), ("accepted", "34040")]


@in_virtual_time
async def test_a_stop_beyond_the_price_closes_at_once(make_levels):
    world = await make_levels().boot()
    world.levels.on_set = lambda: setattr(world.venue, "mark", Decimal(48_900))
    world.enter()
    began = await world.naked()
    await world.until(lambda: world.sent(Purpose.EXIT), 2)
    assert world.clock.monotonic() - began < 0.5
    assert "emergency_close" in world.incidents()


@in_virtual_time
async def test_a_take_profit_that_is_reached_closes_and_the_stop_stands_until_then(make_levels):
    world = await make_levels().boot()
    world.levels.on_set = lambda: setattr(world.venue, "mark", Decimal(52_100))
    world.enter(take_profit=TARGET)
    await world.until(lambda: world.sent(Purpose.EXIT), 2)
    assert [each[1:3] for each in world.levels.sets[:2]] == [(OLD, TARGET), (OLD, None)]
    assert "emergency_close" not in world.incidents()
    await world.until_flat()


@in_virtual_time
async def test_a_take_profit_that_is_refused_is_given_up_and_the_stop_stays(make_levels):
    world = await make_levels().boot()
    refuse = world.levels._refusal
    world.levels._refusal = lambda each, stop, target: (
        (RejectKind.OTHER, "110058") if target is not None else refuse(each, stop, target)
    )
    world.enter(take_profit=TARGET)
    await world.until(lambda: "take_profit_not_placed" in world.incidents(), 60)
    assert world.is_covered() and carried(world) == (OLD, None)
    sets = len(world.levels.sets)
    await asyncio.sleep(10)
    assert len(world.levels.sets) == sets and world.sent(Purpose.EXIT) == []


@in_virtual_time
async def test_a_position_that_the_venue_does_not_know_is_read_anew(make_levels):
    world = await make_levels().boot()

    def close():
        world.levels.on_set = lambda: None
        world.venue.mute = True
        world.venue.execute(BTC, Side.SELL, Decimal("0.1"))

    world.levels.on_set = close
    world.enter()
    await world.until(lambda: world.held() != 0)
    await world.until(lambda: world.held() == 0, 8)
    assert world.sent(Purpose.EXIT) == [] or world.venue.positions[BTC] == 0


@pytest.mark.parametrize("state", [VenueState.DOWN, VenueState.BANNED])
@in_virtual_time
async def test_time_without_a_venue_does_not_count(make_levels, state):
    world = await make_levels().boot()
    world.levels.always = Reject(RejectKind.NOT_SENT, "")
    world.enter()
    await world.naked()
    world.levels.always = Silence()
    world.execution.router.mark(BINANCE, state, "test")
    await asyncio.sleep(20)
    world.levels.always = None
    world.execution.router.mark(BINANCE, VenueState.READY, "back")
    await world.until(world.is_covered, 5)


@in_virtual_time
async def test_while_the_journal_cannot_commit_the_stop_is_set_all_the_same(make_levels):
    world = await make_levels().boot()
    world.levels.on_set = lambda: None
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    world.store.broken = True
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.1"))
    await world.until(lambda: carried(world)[0] == OLD, 2)
    world.store.broken = False
    await world.until(lambda: world.rows("SELECT outcome FROM protection_sets") == [("accepted",)], 10)


# --- read ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_reading_that_lags_behind_the_setting_proves_nothing_and_at_most_has_the_same_set_again(make_levels):
    world = await make_levels(execution="look_every_s = 0.5").boot()
    world.levels.lag_ms = 1_500
    await world.open_position()
    await asyncio.sleep(3)
    settings = len(world.levels.sets)
    await asyncio.sleep(7)
    assert 1 < len(world.levels.sets) == settings <= 4 and len(set(world.levels.sets)) == 1
    assert len(world.levels.reads) > 10
    assert "protection_changed" not in world.incidents()
    assert [event.covered for event in world.events if isinstance(event, ProtectionChanged)] == [True]


@in_virtual_time
async def test_levels_that_vanish_right_after_they_were_set_are_back_in_time_though_a_setting_is_lost(make_levels):
    """A reading without them was disbelieved for the visibility margin, which is as long as P5 allows."""
    world = await held(make_levels)
    await asyncio.sleep(0.2)
    world.levels.by_hand(BTC, None)
    world.levels.answers.append(Lose(taken=False))
    took = await world.until(lambda: carried(world)[0] == OLD, 10)
    assert took < 5
    assert "emergency_close" not in world.incidents()


@pytest.mark.parametrize("shown", [(None, None), (Decimal(30_000), None)])
@in_virtual_time
async def test_a_stop_that_a_human_moved_or_removed_is_put_right(make_levels, shown):
    world = await held(make_levels)
    await asyncio.sleep(3)
    world.levels.by_hand(BTC, *shown)
    took = await world.until(lambda: carried(world)[0] == OLD, 5)
    assert took <= 2.2
    await world.until(world.is_covered)
    assert world.incidents().count("protection_changed") == 1
    assert world.rows("SELECT why FROM protection_sets ORDER BY sequence")[-1][0].startswith("the venue showed")


@in_virtual_time
async def test_a_humans_change_is_told_though_the_answer_to_the_setting_that_put_it_right_was_lost(make_levels):
    world = await held(make_levels)
    await asyncio.sleep(3)
    world.levels.answers.append(Lose(taken=True))
    world.levels.by_hand(BTC, None)
    await world.until(lambda: carried(world)[0] == OLD, 5)
    await world.until(world.is_covered, 10)
    await asyncio.sleep(10)
    assert len(world.levels.sets) == 2
    assert world.incidents().count("protection_changed") == 1


@in_virtual_time
async def test_a_take_profit_that_a_human_moved_is_put_right(make_levels):
    world = await held(make_levels, take_profit=TARGET)
    await asyncio.sleep(3)
    world.levels.by_hand(BTC, OLD, FURTHER)
    await world.until(lambda: carried(world) == (OLD, TARGET), 5)


@in_virtual_time
async def test_a_take_profit_that_a_human_added_where_none_is_wanted_is_his(make_levels):
    world = await held(make_levels)
    await asyncio.sleep(3)
    world.levels.by_hand(BTC, OLD, TARGET)
    await asyncio.sleep(5)
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("done", "replaced")
    assert carried(world) == (NEW, TARGET)


@in_virtual_time
async def test_what_the_stream_tells_of_a_level_is_looked_at_before_its_time(make_levels):
    world = await make_levels(execution="look_every_s = 4").boot()
    await world.open_position()
    await asyncio.sleep(2.5)
    world.levels.by_hand(BTC, None)
    world.venue._push(lambda sink: sink.on_order(child(world, OrderStatus.CANCELED)))
    assert await world.until(lambda: carried(world)[0] == OLD, 5) < 1


@pytest.mark.parametrize("after_s", [0.5, 3])
@in_virtual_time
async def test_a_reading_that_lags_hides_no_stop_whose_end_the_stream_told_of(make_levels, after_s):
    world = await make_levels().boot()
    await world.open_position()
    await asyncio.sleep(after_s)
    world.levels.lag_ms = 800
    world.levels.by_hand(BTC, None)
    world.venue._push(lambda sink: sink.on_order(child(world, OrderStatus.CANCELED)))
    assert await world.until(lambda: carried(world)[0] == OLD, 5) < 1.6


@in_virtual_time
async def test_a_stop_is_missing_from_when_the_stream_told_of_its_end_on(make_levels):
    world = await held(make_levels)
    await asyncio.sleep(3)
    world.levels.lag_ms = 1_900
    world.levels.always = Lose(taken=False)
    world.levels.by_hand(BTC, None)
    world.venue._push(lambda sink: sink.on_order(child(world, OrderStatus.CANCELED)))
    assert 4.9 < await world.until(lambda: not world.venue.positions.get(BTC), 8) < 5.6


@in_virtual_time
async def test_an_old_word_of_a_stops_end_is_no_end_of_the_one_that_was_set_since(make_levels):
    world = await held(make_levels)
    await asyncio.sleep(3)
    old = child(world, OrderStatus.CANCELED, updated_ms=world.clock.now_ms() - 4_000)
    world.venue._push(lambda sink: sink.on_order(old))
    await asyncio.sleep(6)
    assert len(world.levels.sets) == 1 and len(world.levels.reads) < 7


@in_virtual_time
async def test_a_position_that_is_gone_while_nobody_told_is_found_by_the_look(make_levels):
    world = await held(make_levels)
    await asyncio.sleep(3)
    world.venue.mute = True
    world.levels.fire(BTC)
    assert await world.until(lambda: world.held() == 0, 6) < 4
    assert world.rows("SELECT cause, strategy FROM last_closes") == [("stop_loss", "trend")]
