"""Why an order was sent is what the journal says of it, whatever befell its answer."""

import pytest

from tests.execution.fakes import BTC, Lose
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.ids import Purpose
from tradingd.domain.orders import OrderEvent


@pytest.mark.fault(2)
@in_virtual_time
async def test_an_exit_whose_answer_was_lost_keeps_its_reason_and_so_does_its_trade(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.mute = True
    world.venue.answers[Purpose.EXIT].append(Lose(taken=True))
    world.exit()
    await world.until(lambda: world.venue.positions[BTC] == 0 and world.held() == 0)
    world.venue.mute = False
    await world.until_flat()
    ((doubt,),) = world.rows("SELECT detail FROM order_events WHERE event = ?", OrderEvent.TIME_OUT.value)
    assert doubt not in ("", "test"), "what befell it stands with its step"
    assert world.rows("SELECT status, reason FROM orders WHERE purpose = 'exit'") == [("FILLED", "test")]
    assert world.rows("SELECT exit_by, exit_reason FROM v_trades") == [("exit", "test")]


@pytest.mark.fault(2)
@in_virtual_time
async def test_a_stop_whose_answer_was_lost_ends_its_trade_as_a_stop(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.STOP].append(Lose(taken=True))
    world.venue.mute = True
    await world.open_position()
    world.venue.mute = False
    world.venue.trigger(world.last(Purpose.STOP).client_order_id)
    await world.until_flat()
    assert world.rows("SELECT event FROM order_events WHERE event = ?", OrderEvent.TIME_OUT.value)
    assert world.rows("SELECT exit_by, exit_reason FROM v_trades") == [("stop_loss", "stop_loss")]
