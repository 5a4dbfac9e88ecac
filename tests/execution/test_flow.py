"""The ordinary life of a position, through the real pipeline: entry, stop, exit, sweep."""

from decimal import Decimal

from tests.execution.fakes import BTC
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderStatus


@in_virtual_time
async def test_an_entry_gets_its_stop_and_take_profit_and_an_exit_leaves_nothing_behind(make_world):
    world = await make_world().boot()
    intent = world.enter(take_profit=Decimal(52_000))
    await world.until(lambda: len(world.venue.open_now()) == 2)
    assert await world.outcome_of(intent) == ("ordered", "")
    assert [order.purpose for order in world.venue.submitted] == [Purpose.ENTRY, Purpose.STOP, Purpose.TAKE_PROFIT]
    assert world.venue.positions[BTC] == Decimal("0.1")
    assert world.last(Purpose.STOP).status is OrderStatus.ACCEPTED
    exiting = world.exit()
    await world.until_flat()
    assert await world.outcome_of(exiting) == ("ordered", "test")
    assert world.venue.open_now() == []
    assert world.rows("SELECT quantity FROM positions") == [(0.0,)]
    assert len(world.rows("SELECT trade_id FROM fills")) == len(world.venue.executions)
    assert world.faults == []
    assert world.incidents() == []


@in_virtual_time
async def test_a_stop_that_fires_ends_the_position_and_its_take_profit(make_world):
    world = await make_world().boot()
    await world.open_position(Side.SELL, take_profit=Decimal(48_000))
    await world.until(lambda: len(world.venue.open_now()) == 2)
    world.venue.trigger(world.last(Purpose.STOP).client_order_id, Decimal(51_000))
    await world.until_flat()
    assert world.last(Purpose.STOP).status is OrderStatus.FILLED
    assert world.last(Purpose.TAKE_PROFIT).status is OrderStatus.CANCELED
    assert world.rows("SELECT cause FROM last_closes") == [("stop",)]
    assert world.incidents() == []
