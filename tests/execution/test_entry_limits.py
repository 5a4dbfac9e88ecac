"""An entry beyond a limit of the user's, or one that the venue sets, is denied by name; nothing leaves."""

from decimal import Decimal

import msgspec

from tests.execution.fakes import BINANCE, BTC, ETH, rules_of
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.ids import Purpose


@in_virtual_time
async def test_no_more_positions_are_opened_than_allowed_and_a_resting_entry_counts_as_one(make_world):
    world = await make_world(risk="max_open_positions = 1").boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    assert await world.outcome_of(world.enter(instrument=ETH)) == ("denied", "too_many_positions")
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.1"))
    await world.until(world.is_covered)
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)
    assert await world.outcome_of(world.enter(instrument=ETH)) == ("denied", "too_many_positions")
    await world.close_position()
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)
    assert await world.outcome_of(world.enter(instrument=ETH)) == ("ordered", "")


@in_virtual_time
async def test_no_entry_with_more_leverage_than_the_instrument_takes(make_world):
    world = await make_world().boot()
    world.execution.state.instruments[BTC] = rules_of(BTC, max_leverage=Decimal(4))
    assert await world.outcome_of(world.enter()) == ("denied", "leverage")
    assert world.venue.submitted == []
    world.execution.state.instruments[BTC] = rules_of(BTC, max_leverage=Decimal(5))
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@in_virtual_time
async def test_no_entry_on_an_instrument_that_the_venue_has_closed_for_new_positions_and_its_exit_goes(make_world):
    world = await make_world().boot()
    await world.open_position()
    rules = world.execution.state.instruments
    for instrument in (BTC, ETH):
        rules[instrument] = msgspec.structs.replace(rules[instrument], trading=False)
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)
    assert await world.outcome_of(world.enter(instrument=ETH)) == ("denied", "reduce_only_mode")
    await world.close_position()
    assert world.held() == 0


@in_virtual_time
async def test_an_entry_that_waited_too_long_behind_its_decision_is_denied(make_world):
    world = await make_world().boot()
    intent = world.enter()
    world.clock.step_ms += 31_000  # of venue time, before its lane comes to it
    assert await world.outcome_of(intent) == ("denied", "stale")
    assert world.venue.submitted == []
