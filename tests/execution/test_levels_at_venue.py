"""What a venue makes of levels that it keeps as a state of the position, and what we make of that."""

import asyncio
from decimal import Decimal

import pytest

from tests.execution.fakes import BTC, Accept, Lose, Reject
from tests.execution.levels_world import OLD, TARGET, carried, child, held
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.account import RejectKind
from tradingd.domain.events import Filled, ForeignOrderSeen
from tradingd.domain.ids import Purpose, VenueOrderId
from tradingd.domain.intents import Side
from tradingd.journal.reading import open_reader
from tradingd.journal.why import chain_of
from tradingd.ports import Priority

# --- what the venue makes of it ------------------------------------------------------------------------------------


@in_virtual_time
async def test_levels_of_the_position_are_nobodys_orders_and_those_for_a_part_are_foreign(make_levels):
    world = await held(make_levels)
    world.venue._show(child(world))
    await asyncio.sleep(0.1)
    await world.execution.sweeper.sweep(BTC, Priority.CANCEL)
    assert not world.execution.sweeper.foreign.get(BTC)
    assert not [event for event in world.events if isinstance(event, ForeignOrderSeen)]
    part = child(world, quantity=Decimal("0.05"), book="plain", venue_order_id=VenueOrderId("part"))
    world.venue._show(part)
    await asyncio.sleep(0.1)
    await world.execution.sweeper.sweep(BTC, Priority.CANCEL)
    assert list(world.execution.sweeper.foreign[BTC]) == ["part"]
    assert world.venue.cancelled == []


@pytest.mark.parametrize(("which", "by"), [("stop_loss", "stop_loss"), ("take_profit", "take_profit")])
@in_virtual_time
async def test_a_fired_level_tells_who_closed_and_is_its_strategys(make_levels, which, by):
    world = await held(make_levels, take_profit=TARGET)
    world.levels.fire(BTC, which)
    await world.until_flat()
    filled = [event for event in world.events if isinstance(event, Filled)]
    assert (filled[-1].strategy, filled[-1].fill.reason) == ("trend", which)
    assert world.rows("SELECT exit_by, strategy FROM v_trades") == [(by, "trend")]
    assert world.rows("SELECT cause, strategy FROM last_closes") == [(which, "trend")]
    assert world.rows("SELECT state FROM protection") == [("ended",)]
    assert "foreign_position" not in world.incidents()


@pytest.mark.parametrize(("which", "left"), [("stop_loss", (OLD, None)), ("take_profit", (None, TARGET))])
@in_virtual_time
async def test_a_level_that_fires_takes_its_twin_away_and_that_is_nobodys_hand_and_no_missing_stop(
    make_levels, which, left
):
    """The venue shows the position without the twin for a moment before the fill: no trader is to be woken by that."""
    world = await held(make_levels, take_profit=TARGET)
    await asyncio.sleep(3)

    def fire():
        if carried(world) == left:
            world.levels._carry(BTC, (OLD, TARGET))
            world.levels.fire(BTC, which)

    world.levels.on_set = fire
    world.levels.by_hand(BTC, *left)
    await world.until_flat()
    await asyncio.sleep(3)
    assert {"protection_changed", "stop_not_placed", "emergency_close"}.isdisjoint(world.incidents())
    assert world.rows("SELECT exit_by FROM v_trades") == [(which,)]


@in_virtual_time
async def test_a_stop_that_is_refused_twice_for_want_of_a_position_that_is_still_held_is_told(make_levels):
    world = await held(make_levels)
    await asyncio.sleep(3)
    world.levels.always = Reject(RejectKind.REDUCE_ONLY, "10001")
    world.levels.by_hand(BTC, None)
    await world.until(lambda: "stop_not_placed" in world.incidents(), 5)
    world.levels.always = None
    await world.until(world.is_covered, 5)
    assert world.incidents().count("protection_changed") == 1


@in_virtual_time
async def test_the_chain_of_an_entry_holds_its_settings_and_the_fill_that_one_of_them_made(make_levels):
    world = await held(make_levels)
    await asyncio.sleep(3)
    world.levels.by_hand(BTC, None)
    await world.until(lambda: carried(world)[0] == OLD)
    fill = world.levels.fire(BTC)
    await world.until_flat()
    reader = open_reader(world.path)
    chain = chain_of(reader, "i1")
    assert chain_of(reader, fill.trade_id) == chain
    assert chain_of(reader, world.rows("SELECT set_id FROM protection_sets")[0][0]) == chain
    reader.close()
    names = [step["step"] for step in chain]
    assert names[:2] == ["intent", "order"] and names[-4:] == ["protection_set", "protection_set", "fill", "close"]
    assert [step["outcome"] for step in chain if step["step"] == "protection_set"] == ["accepted", "accepted"]


@in_virtual_time
async def test_a_position_that_opens_again_by_the_rest_of_its_entry_gets_its_levels_anew(make_levels):
    world = await make_levels().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    key = world.sent(Purpose.ENTRY)[0].client_order_id
    world.venue.fill(key, Decimal("0.04"))
    await world.until(world.is_covered)
    world.venue.execute(BTC, Side.SELL, Decimal("0.04"))
    world.venue.fill(key, Decimal("0.06"))
    await world.until(lambda: world.held() == Decimal("0.06"))
    await world.until(world.is_covered, 3)
    assert carried(world)[0] == OLD and len(world.levels.sets) == 2


@in_virtual_time
async def test_a_setting_that_is_answered_when_its_position_was_closed_covers_none_that_was_opened_since(make_levels):
    world = await make_levels().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    key = world.sent(Purpose.ENTRY)[0].client_order_id

    def close_and_open():
        world.levels.on_set = lambda: None
        asyncio.get_running_loop().call_later(0.1, lambda: world.venue.execute(BTC, Side.SELL, Decimal("0.04")))
        asyncio.get_running_loop().call_later(0.2, lambda: world.venue.fill(key, Decimal("0.06")))

    world.levels.on_set = close_and_open
    world.levels.answers.append(Accept(delay_s=0.5))
    world.venue.fill(key, Decimal("0.04"))
    await asyncio.sleep(1.2)
    assert world.held() == Decimal("0.06") and carried(world)[0] == OLD


@pytest.mark.fault(47)
@in_virtual_time
async def test_a_setting_that_is_refused_or_not_answered_asks_for_what_an_order_would(make_levels):
    world = await held(make_levels)
    asked = []
    world.execution.router.on_trouble = lambda instrument, outcome: asked.append((instrument, outcome.kind))
    world.levels.answers.extend([Reject(RejectKind.FILTER, "10001"), Lose()])
    world.levels.by_hand(BTC, None)
    await world.until(lambda: carried(world)[0] == OLD, 5)
    assert asked == [(BTC, RejectKind.FILTER), (BTC, RejectKind.OTHER)]


@in_virtual_time
async def test_a_position_that_another_hand_turned_is_not_protected_by_us(make_levels):
    world = await held(make_levels)
    world.venue.execute(BTC, Side.SELL, Decimal("0.3"))
    await world.until(lambda: world.held() == Decimal("-0.2"))
    await asyncio.sleep(5)
    assert len(world.levels.sets) == 1 and carried(world) == (None, None)
