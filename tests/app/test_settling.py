"""The first stage of an orderly stop: what is under way settles, and no position stays without its stop (P5)."""

import asyncio
from decimal import Decimal

import pytest

from tests.execution.fakes import BINANCE, BTC, Accept, Reject, Silence
from tests.execution.virtual_time import in_virtual_time
from tradingd.app.settling import Settling
from tradingd.domain.account import RejectKind
from tradingd.domain.events import VenueState
from tradingd.domain.ids import Purpose
from tradingd.domain.orders import OrderStatus

S = OrderStatus


async def stop(world) -> tuple[float, list[str]]:
    """Stop as the core does; how long it took, and what is left naked."""
    began = world.clock.monotonic()
    settling = Settling(world.execution, world.bus, world.clock)
    world.execution.switches.stopping = "test"
    await settling.run()
    await world.execution.pipeline.stop(0.5)
    return world.clock.monotonic() - began, [each.text for each in settling.tell_naked()]


async def enter_naked(world, answer) -> None:
    """A position that has opened this moment, and whose stops are answered so."""
    world.venue.always[Purpose.STOP] = answer
    world.enter()
    await world.until(world.held)


@in_virtual_time
async def test_a_stop_with_nothing_under_way_takes_no_time(make_world):
    world = await make_world().boot()
    await world.open_position()
    took_s, naked = await stop(world)
    assert (took_s < 0.1, naked, world.is_covered()) == (True, [], True)


@pytest.mark.parametrize("answer", [Reject(RejectKind.OTHER, "-1000"), Silence()], ids=["refused", "silent"])
@in_virtual_time
async def test_a_position_whose_stop_does_not_come_is_closed_before_the_end(make_world, answer):
    world = await make_world().boot()
    await enter_naked(world, answer)
    took_s, naked = await stop(world)
    assert naked == []
    assert world.venue.positions.get(BTC, 0) == 0
    assert 3.4 < took_s <= 6.6
    assert "emergency_close" in world.incidents()
    assert "stopped_naked" not in world.incidents()


@in_virtual_time
async def test_a_stop_that_comes_late_is_waited_for_and_nothing_is_closed(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.STOP].extend([Reject(RejectKind.OTHER, "-1000")] * 3)
    world.enter()
    await world.until(world.held)
    _, naked = await stop(world)
    assert (naked, world.is_covered(), world.sent(Purpose.EXIT)) == ([], True, [])


@in_virtual_time
async def test_a_position_that_cannot_be_closed_either_is_named_with_its_size(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.EXIT] = Reject(RejectKind.OTHER, "-1000")
    await enter_naked(world, Reject(RejectKind.OTHER, "-1000"))
    took_s, naked = await stop(world)
    assert naked == ["long 0.1 BTC/USDT:USDT@binance without its stop at 49000"]
    assert took_s <= 6.6
    assert "stopped_naked" in world.incidents()
    kept = world.rows("SELECT name FROM flags WHERE name LIKE 'exit:%' AND value <> ''")
    assert kept == [(f"exit:{BTC}",)], "the next start goes on closing it"


@in_virtual_time
async def test_out_of_reach_nothing_is_closed_and_the_next_start_places_the_stop(make_world):
    world = await make_world().boot()
    await enter_naked(world, Silence())
    world.venue.unreachable.add("*")
    world.execution.router.mark(BINANCE, VenueState.DOWN, "reset")
    await asyncio.sleep(1.5)
    took_s, naked = await stop(world)
    assert len(naked) == 1
    assert took_s <= 6.6
    world.venue.always.clear()
    world.venue.unreachable.clear()
    await world.restart()
    await world.until(world.is_covered, 10)
    assert world.sent(Purpose.EXIT) == []


@in_virtual_time
async def test_an_entry_that_fills_late_is_given_a_moment_for_its_stop(make_world):
    world = await make_world().boot()
    world.venue.fill_fraction = Decimal(0)
    world.venue.cancel_answer = None
    world.venue.hanging.add("cancel")
    world.enter(limit_price=Decimal(49_500))
    await world.until(lambda: world.sent(Purpose.ENTRY) and world.last(Purpose.ENTRY).status is S.ACCEPTED)
    stopping = asyncio.create_task(stop(world))
    await asyncio.sleep(3.6)
    world.venue.answers[Purpose.STOP].append(Accept(delay_s=0.2))
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.1"))
    _, naked = await stopping
    assert (naked, world.is_covered(), world.sent(Purpose.EXIT)) == ([], True, [])


@in_virtual_time
async def test_an_entry_that_cannot_be_cancelled_is_named_for_it_may_fill_with_nobody_here(make_world):
    world = await make_world().boot()
    world.venue.fill_fraction = Decimal(0)
    world.venue.hanging.add("cancel")
    world.enter(limit_price=Decimal(49_500))
    await world.until(lambda: world.sent(Purpose.ENTRY) and world.last(Purpose.ENTRY).status is S.ACCEPTED)
    took_s, naked = await stop(world)
    entry = world.sent(Purpose.ENTRY)[0].client_order_id
    assert naked == [f"buy 0.1 BTC/USDT:USDT@binance by entry {entry} (ACCEPTED), should it fill"]
    assert took_s <= 6.6


# --- an exit in flight --------------------------------------------------------------------------------------------


async def exit_unheard(world) -> None:
    """Close; the stream tells of the fill and not of what the sweep then cancels."""
    world.exit()
    await world.until(lambda: not world.held(), 10)
    world.venue.mute = True
    await world.until(lambda: not world.venue.open_now(), 10)


@in_virtual_time
async def test_the_ends_of_cancelled_stops_are_waited_for(make_world):
    """An exit fills, its sweep cancels the stop at the venue; the stop comes before the stream has told of that."""
    world = await make_world().boot()
    await world.open_position()
    world.exit()
    await world.until(lambda: not world.held(), 10)
    world.venue.push_delay_s = 1.5
    world.venue.unreachable.add("find_order")
    await world.until(lambda: not world.venue.open_now(), 10)
    took_s, _ = await stop(world)
    assert took_s < 4.1
    assert world.rows("SELECT purpose, status FROM orders WHERE status IN ('ACCEPTED', 'TRIGGERED')") == []


@in_virtual_time
async def test_an_end_that_nobody_tells_is_asked_for_at_the_stop(make_world):
    world = await make_world().boot()
    await world.open_position()
    await exit_unheard(world)
    await stop(world)
    assert world.rows("SELECT purpose, status FROM orders WHERE status IN ('ACCEPTED', 'TRIGGERED')") == []


@in_virtual_time
async def test_an_end_that_cannot_be_learned_is_told_and_the_next_start_learns_it(make_world):
    world = await make_world().boot()
    await world.open_position()
    await exit_unheard(world)
    world.venue.unreachable.add("*")
    took_s, _ = await stop(world)
    assert took_s <= 4.7
    world.venue.mute = False
    world.venue.unreachable.clear()
    assert "stopped_unsettled" in world.incidents()
    assert world.rows("SELECT status FROM orders WHERE purpose = 'stop'") == [("ACCEPTED",)]
    await world.restart()
    await asyncio.sleep(2)
    assert world.rows("SELECT purpose, status FROM orders WHERE status IN ('ACCEPTED', 'TRIGGERED')") == []
