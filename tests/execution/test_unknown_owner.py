"""A fill under our own id prefix whose order memory does not know: the journal has the order, or entries halt (P2)."""

import asyncio
import errno
import os
from decimal import Decimal

import msgspec

from tests.execution.fakes import BINANCE, BTC, ETH
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.errors import JournalError
from tradingd.domain.events import Filled, IncidentRaised
from tradingd.domain.ids import Purpose, TradeId
from tradingd.domain.intents import Side
from tradingd.execution import state


def details(world, kind):
    return [each.detail for each in world.events if isinstance(each, IncidentRaised) and each.kind == kind]


@in_virtual_time
async def test_an_exit_known_to_memory_only_is_an_incident_after_a_crash_and_halts_entries(make_world, monkeypatch):
    def full(handle, data, at):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    world = await make_world().boot()
    await world.open_position()
    world.store.broken = True
    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        world.execution.pipeline.exit(BTC, "operator", None)
        await world.until(lambda: world.venue.positions[BTC] == 0)
    assert "spool_not_writable" in world.incidents()
    exiting = world.sent(Purpose.EXIT)[0].client_order_id
    world.events.clear()
    await world.restart()
    (told,) = details(world, "order_unknown_to_journal")
    assert exiting in told
    assert exiting in world.execution.switches.halted
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)
    assert await world.outcome_of(world.enter(instrument=ETH)) == ("denied", "halted")
    assert world.rows("SELECT cause FROM last_closes") == [("exit",)]
    assert [each.is_unknown for each in world.events if isinstance(each, Filled)] == [True]
    await world.restart()
    assert exiting in world.execution.switches.halted
    assert world.faults == []


@in_virtual_time
async def test_a_fill_of_an_order_that_memory_forgot_is_booked_on_it_from_the_journal(make_world, monkeypatch):
    monkeypatch.setattr(state, "REMEMBERED_ORDERS", 1)
    world = await make_world().boot()
    await world.open_position()
    await world.close_position()
    entry = world.sent(Purpose.ENTRY)[0].client_order_id
    assert entry not in world.execution.state.orders
    fill = world.venue.execute(BTC, Side.BUY, Decimal("0.05"))
    late = msgspec.structs.replace(fill, client_order_id=entry, trade_id=TradeId("late"))
    recorder = world.execution.recorder
    assert recorder.apply_fill(late, "stream")
    await world.until(lambda: not recorder.unowned.ownerless)
    await asyncio.sleep(0.1)
    assert world.rows("SELECT booked_quantity FROM orders WHERE client_order_id = ?", entry) == [(0.15,)]
    assert world.execution.switches.halted == ""
    assert "order_unknown_to_journal" not in world.incidents()


@in_virtual_time
async def test_a_fill_of_a_second_daemon_under_our_prefix_halts_entries(make_world):
    world = await (await make_world().boot()).restart()
    fill = world.venue.execute(BTC, Side.BUY, Decimal("0.1"))
    stranger = msgspec.structs.replace(fill, client_order_id="td-zzzzzzzz-1e", trade_id=TradeId("theirs"))
    world.execution.recorder.apply_fill(stranger, "stream")
    await world.until(lambda: world.execution.switches.halted)
    assert "td-zzzzzzzz-1e" in world.execution.switches.halted
    assert len(details(world, "foreign_epoch")) == 1


@in_virtual_time
async def test_no_entry_passes_until_the_journal_has_said_whose_fill_it_was(make_world):
    world = await make_world().boot()
    await world.open_position()
    await world.close_position()
    entry = world.sent(Purpose.ENTRY)[0].client_order_id
    real, asked = world.store.inner.find_order, []

    async def unreadable(client_order_id):
        asked.append(client_order_id)
        raise JournalError("disk I/O error")

    world.store.inner.find_order = unreadable
    fill = world.venue.execute(BTC, Side.BUY, Decimal("0.1"))
    unknown = msgspec.structs.replace(fill, client_order_id=f"{entry[:-2]}99e", trade_id=TradeId("whose"))
    world.execution.recorder.apply_fill(unknown, "stream")
    await asyncio.sleep(5)
    assert len(asked) > 1
    denial = world.execution.reconciler.check(BINANCE)
    assert denial is not None
    assert "whose order" in denial.detail
    assert world.execution.switches.halted == ""
    world.store.inner.find_order = real
    await world.until(lambda: world.execution.switches.halted)
    assert len(details(world, "order_unknown_to_journal")) == 1
