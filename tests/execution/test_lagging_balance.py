"""The venue's balance is seen later than its positions: no reading that lags may become the expected wallet."""

import asyncio
from decimal import Decimal

import msgspec

from tests.execution.fakes import BINANCE
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.account import AccountSnapshot
from tradingd.domain.ids import Purpose

LAG_S = 0.3


def show_wallet_late(world, wallet: Decimal, from_now_s: float = LAG_S) -> None:
    """Positions are shown as they are, the wallet as it was, for a while."""
    until = world.clock.monotonic() + from_now_s

    def show(snapshot: AccountSnapshot) -> AccountSnapshot:
        if world.clock.monotonic() >= until:
            return snapshot
        balance = msgspec.structs.replace(snapshot.balance, wallet=wallet)
        return msgspec.structs.replace(snapshot, balance=balance)

    world.venue.shown_account = show


def unexplained(world) -> list:
    rows: list = world.rows("SELECT amount FROM ledger WHERE kind = 'unexplained'")
    return rows


@in_virtual_time
async def test_a_fill_during_recovery_whose_fee_the_balance_does_not_show_yet_is_no_transfer(make_world):
    world = await make_world().boot()
    await world.open_position()
    stop, before = world.last(Purpose.STOP).client_order_id, world.venue.wallet
    await world.crash()
    world.venue.trigger(stop)
    await world.boot(ready=False)
    show_wallet_late(world, before)
    await world.recover()
    await world.until_flat(limit_s=5)
    await world.open_position()
    await world.close_position()
    assert unexplained(world) == []
    assert world.incidents() == []


@in_virtual_time
async def test_a_reconcile_right_after_a_fill_waits_for_the_balance_as_every_reading_does(make_world):
    world = await make_world().boot()
    before = world.venue.wallet
    show_wallet_late(world, before, 2.0)
    world.enter()
    await world.until(world.is_covered)
    await world.until(lambda: world.execution.state.unbooked_quantity(world.last(Purpose.ENTRY).instrument) == 0)
    await world.execution.reconciler.reconcile(BINANCE)
    assert world.execution.reconciler.check(BINANCE) is not None
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None, limit_s=5)
    assert unexplained(world) == []
    assert world.incidents() == []


@in_virtual_time
async def test_money_that_no_fill_explains_is_told_by_the_next_reconcile(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.wallet -= 40
    await world.execution.reconciler.reconcile(BINANCE)
    assert unexplained(world) == [(-40.0,)]
    assert world.incidents() == ["balance_unexplained"]


@in_virtual_time
async def test_a_reading_that_is_older_than_the_last_agreeing_one_is_no_transfer(make_world):
    world = await make_world().boot()
    before = world.venue.wallet
    await world.open_position()
    assert world.venue.wallet != before
    show_wallet_late(world, before, 1.5)
    await world.execution.reconciler.reconcile(BINANCE)
    await world.execution.reconciler.reconcile(BINANCE)
    assert unexplained(world) == []
    assert world.incidents() == []


@in_virtual_time
async def test_a_fill_while_an_odd_reading_is_checked_leaves_the_verdict_to_the_readings_behind_it(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.wallet -= 40
    checking = asyncio.create_task(world.execution.reconciler.reconcile(BINANCE))
    await asyncio.sleep(0.5)
    await world.close_position()
    await checking
    assert unexplained(world) == [(-40.0,)]
    assert world.incidents() == ["balance_unexplained"]


@in_virtual_time
async def test_the_first_reading_of_a_run_that_lags_behind_what_an_earlier_run_booked_is_not_believed(make_world):
    world = await make_world().boot()
    before = world.venue.wallet
    await world.open_position()
    await world.crash()
    await world.boot(ready=False)
    show_wallet_late(world, before, 1.0)
    await world.recover()
    await asyncio.sleep(5)
    await world.execution.reconciler.reconcile(BINANCE)
    assert unexplained(world) == []
    assert world.incidents() == []


@in_virtual_time
async def test_the_first_reading_of_a_run_that_shows_what_is_booked_behind_it_explains_nothing_twice(make_world):
    world = await make_world().boot()
    await world.open_position()
    stop = world.last(Purpose.STOP).client_order_id
    await world.crash()
    paid = world.venue.book("funding", Decimal("-7.5"))
    world.venue.booked.clear()
    await world.boot()
    world.venue.booked.append(msgspec.structs.replace(paid, time_ms=world.clock.now_ms()))
    world.venue.trigger(stop)
    await world.until_flat()
    await asyncio.sleep(700)
    await world.execution.reconciler.reconcile(BINANCE)
    kinds = dict(world.rows("SELECT kind, sum(amount) FROM ledger WHERE kind <> 'fee' GROUP BY kind"))
    assert kinds == {"funding": -7.5, "unexplained": 0.0}
    assert world.incidents().count("balance_unexplained") == 1
