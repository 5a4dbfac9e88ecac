"""After a start a bare position gets its stop as soon as its own orders and fills are read (P5)."""

import asyncio
from decimal import Decimal

import pytest

from tests.app.test_venue_session import Session
from tests.execution.fakes import ETH, Reject, Silence
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.errors import VenueError, VenueUnreachable
from tradingd.domain.events import VenueState
from tradingd.domain.ids import Purpose
from tradingd.domain.orders import OrderStatus


@pytest.fixture
def filled_meanwhile(make_world):
    """A daemon that was killed while its entry rested; the entry then filled. The next run is not begun."""

    async def make():
        world = await make_world().boot()
        world.enter(limit_price=Decimal(49_900))
        await world.until(lambda: world.venue.open_now())
        resting = world.venue.open_now()[0].client_order_id
        await world.crash()
        world.venue.fill(resting, Decimal("0.1"))
        world.venue.calls.clear()
        await world.boot(ready=False)
        return world

    return make


@pytest.mark.parametrize("held_up", ["account", "prepare", "watch"])
@in_virtual_time
async def test_a_stop_waits_neither_for_the_account_nor_for_leverage_nor_for_streams(filled_meanwhile, held_up):
    world = await filled_meanwhile()
    world.venue.hanging = {held_up}
    session = Session(world)
    assert await world.until(world.is_covered) < 2
    assert session.state is not VenueState.READY
    assert await world.outcome_of(world.enter(instrument=ETH)) == ("denied", "venue_not_ready")


@in_virtual_time
async def test_a_stop_does_not_wait_for_another_instrument(filled_meanwhile):
    world = await filled_meanwhile()
    real = world.venue.fills

    async def fills(instrument, since_ms, priority):
        if instrument == ETH:
            raise VenueUnreachable("the history of ETH: connection reset")
        return await real(instrument, since_ms, priority)

    world.venue.fills = fills
    session = Session(world)
    assert await world.until(world.is_covered) < 2
    world.venue.fills = real
    await session.ready()


@in_virtual_time
async def test_no_second_stop_is_placed_while_the_first_one_was_not_read(make_world):
    world = await make_world().boot()
    await world.open_position()
    await world.crash()
    world.venue.submitted.clear()
    await world.boot(ready=False)
    world.venue.unreachable = {"open_orders"}
    session = Session(world)
    await asyncio.sleep(20)
    assert world.venue.submitted == []
    world.venue.unreachable = set()
    await session.ready()
    await asyncio.sleep(1)
    assert world.venue.submitted == []
    assert len([each for each in world.venue.open_now() if each.close_position]) == 1


@pytest.mark.fault(53)
@in_virtual_time
async def test_leverage_that_the_venue_refuses_for_good_ends_the_start(make_world):
    world = await make_world().boot(ready=False)

    async def prepare(instrument, leverage, margin_mode):
        raise VenueError("invalid leverage", code="-4028")

    world.venue.prepare = prepare
    session = Session(world)
    with pytest.raises(Exception, match="invalid leverage"):
        await session.task


def slow_start(world, seconds: float) -> None:
    """The venue answers at once, but what must be read before any stop takes long."""
    preflight = world.venue.preflight

    async def slow():
        await asyncio.sleep(seconds)
        return await preflight()

    world.venue.preflight = slow


@in_virtual_time
async def test_a_stop_that_cannot_stand_after_a_slow_start_is_a_close_five_seconds_after_the_first_answer(
    filled_meanwhile,
):
    world = await filled_meanwhile()
    slow_start(world, 4.0)
    world.venue.always[Purpose.STOP] = Reject()
    Session(world)
    assert await world.until(lambda: bool(world.sent(Purpose.EXIT)), limit_s=20) < 5.5
    assert len(world.sent(Purpose.STOP)) >= 1


@in_virtual_time
async def test_however_slow_the_start_was_the_stop_is_tried_before_the_position_is_closed(filled_meanwhile):
    world = await filled_meanwhile()
    slow_start(world, 8.0)
    Session(world)
    await world.until(world.is_covered, limit_s=20)
    await asyncio.sleep(2)
    assert world.sent(Purpose.EXIT) == []
    assert "emergency_close" not in world.incidents()


@in_virtual_time
async def test_time_without_any_answer_at_a_start_does_not_count_as_naked(filled_meanwhile):
    world = await filled_meanwhile()
    world.venue.unreachable = {"*"}
    Session(world)
    await asyncio.sleep(30)
    world.venue.unreachable = set()
    world.venue.always[Purpose.STOP] = Reject()
    await world.until(lambda: bool(world.sent(Purpose.STOP)), limit_s=20)
    began = world.clock.monotonic()
    await world.until(lambda: bool(world.sent(Purpose.EXIT)), limit_s=20)
    assert world.clock.monotonic() - began > 3


@in_virtual_time
async def test_a_stop_that_ended_while_nobody_ran_counts_from_the_first_answer_too(make_world):
    world = await make_world().boot()
    await world.open_position()
    await world.crash()
    world.venue.end(world.sent(Purpose.STOP)[-1].client_order_id, OrderStatus.EXPIRED)
    world.venue.submitted.clear()
    await world.boot(ready=False)
    slow_start(world, 4.0)
    world.venue.always[Purpose.STOP] = Reject()
    Session(world)
    assert await world.until(lambda: bool(world.sent(Purpose.EXIT)), limit_s=20) < 5.5


@in_virtual_time
async def test_a_pause_between_answers_after_a_failed_first_try_does_not_begin_the_time_anew(filled_meanwhile):
    world = await filled_meanwhile()
    real, tries = world.venue.open, []

    async def second_time(sink):
        tries.append(sink)
        if len(tries) == 1:
            raise VenueUnreachable("connection reset")
        await real(sink)

    world.venue.open = second_time
    world.venue.hanging = {"prepare"}
    world.venue.always[Purpose.STOP] = Silence()
    Session(world)
    await world.until(lambda: len(tries) == 2)
    assert await world.until(lambda: bool(world.sent(Purpose.EXIT)), limit_s=20) < 5.5
