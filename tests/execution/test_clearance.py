"""A request is built while its leg's commit is on its way, and leaves behind it or never (P2)."""

import asyncio
from typing import cast

from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import World
from tradingd.domain.account import CancelOutcome, CancelVerdict
from tradingd.domain.ids import Purpose
from tradingd.domain.orders import Order, OrderStatus
from tradingd.ports import Clear, Priority


async def entry_on_its_way(world: World) -> Order:
    """An entry whose commit takes `delay_s` of the store."""
    world.enter()
    await world.until(lambda: list(world.execution.state.entries()))
    (entry,) = world.execution.state.entries()
    return entry


@in_virtual_time
async def test_no_request_leaves_before_its_commit(make_world):
    world = await make_world().boot()
    world.store.delay_s = 0.5
    entry = await entry_on_its_way(world)
    await asyncio.sleep(0.4)
    assert world.venue.submitted == []
    await world.until(lambda: world.venue.submitted)
    assert world.rows("SELECT count(*) FROM orders WHERE client_order_id = ?", entry.client_order_id) == [(1,)]


@in_virtual_time
async def test_a_step_that_is_broken_off_before_the_commit_lets_nothing_out_any_more(make_world):
    world = await make_world().boot()
    world.store.delay_s = 0.5
    entry = await entry_on_its_way(world)
    await asyncio.sleep(0.1)
    for lane in world.execution.pipeline.lanes.values():
        await lane.stop()
    await asyncio.sleep(2)
    assert world.venue.submitted == []
    ended = world.order(entry.client_order_id)
    assert (ended.status, ended.reject_code) == (OrderStatus.REJECTED, "not_sent")


@in_virtual_time
async def test_the_time_for_an_answer_runs_from_the_commit(make_world):
    world = await make_world().boot()
    world.store.delay_s = 3.0  # longer than execution.submit_timeout_s
    entry = await entry_on_its_way(world)
    await world.until(lambda: world.sent(Purpose.ENTRY))
    world.store.delay_s = 0.0
    await world.until(lambda: world.held())
    assert OrderStatus.IN_DOUBT not in world.changes(entry.client_order_id)


async def broken_off_cancel(world: World) -> Order:
    """The cancel of a resting stop whose step is broken off while it waits."""
    await world.open_position()
    order = world.last(Purpose.STOP)
    step = asyncio.create_task(world.execution.router.cancel(order, Priority.CANCEL, 2.0))
    await asyncio.sleep(0.02)
    step.cancel()
    await asyncio.sleep(0.5)
    return order


@in_virtual_time
async def test_the_answer_to_a_cancel_is_written_down_though_its_step_was_broken_off(make_world):
    world = await make_world().boot()
    world.venue.read_delay_s, world.venue.cancel_answer = 0.05, CancelVerdict.FAILED
    order = await broken_off_cancel(world)
    query = "SELECT source FROM order_events WHERE client_order_id = ? AND event = 'cancel'"
    assert world.rows(query, order.client_order_id) == [("reply",)]


@in_virtual_time
async def test_a_cancel_that_has_not_left_when_its_step_is_broken_off_never_does(make_world):
    world = await make_world().boot()
    real = world.venue.cancel

    async def waiting_for_budget(order: Order, priority: Priority, clear: Clear) -> CancelOutcome:
        await asyncio.sleep(0.05)
        return cast("CancelOutcome", await real(order, priority, clear))

    world.venue.cancel = waiting_for_budget
    await broken_off_cancel(world)
    assert world.venue.cancelled == []
