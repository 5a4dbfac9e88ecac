"""A stream that is connected and says nothing: what rests is looked at all the same."""

from decimal import Decimal

import pytest

from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.ids import Purpose
from tradingd.domain.orders import OrderStatus


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
