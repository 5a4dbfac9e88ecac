"""Funding, transfers, the base of the day and the drawdown: money that no fill tells, and limits that outlive a run."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from tests.execution.fakes import BINANCE, BTC
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import World
from tradingd.domain.account import AccountSnapshot
from tradingd.domain.ids import Purpose
from tradingd.domain.orders import OrderStatus
from tradingd.execution.loss_limits import DRAWDOWN
from tradingd.execution.wallets import BALANCE_LAG_S

DAY_MS, HOUR_MS = 86_400_000, 3_600_000


async def later(world: World, seconds: float = 700) -> None:
    """Time for the next reading of the bookings, which the reconciling job asks for."""
    await asyncio.sleep(seconds)
    await world.execution.reconciler.reconcile(BINANCE)


def lose(world: World, usdt: Decimal) -> None:
    """An unrealised loss, as the venue shows it."""

    def poorer(shown: AccountSnapshot) -> AccountSnapshot:
        positions = tuple(
            msgspec.structs.replace(each, unrealized_pnl=-usdt if each.instrument == BTC else Decimal(0))
            for each in shown.positions
        )
        balance = msgspec.structs.replace(shown.balance, equity=shown.balance.wallet - usdt)
        return msgspec.structs.replace(shown, balance=balance, positions=positions)

    world.venue.shown_account = poorer


def base(world: World) -> tuple[Decimal, Decimal]:
    record = max(world.execution.risk.losses.day_equities.values(), key=lambda each: each.day)
    return record.equity, record.transfers


@in_virtual_time
async def test_funding_is_booked_once_across_restarts_and_counts_as_what_it_is(make_world):
    world = await make_world().boot()
    await world.open_position()
    await later(world)
    paid = world.venue.book("funding", Decimal("-7.5"), BTC)
    await later(world)
    await world.restart()
    await later(world)
    await world.close_position()
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)
    rows = world.rows("SELECT kind, reference, symbol, amount FROM ledger WHERE kind <> 'fee'")
    assert rows == [("funding", paid.reference, "BTC/USDT:USDT", -7.5)]
    assert "balance_unexplained" not in world.incidents()
    assert base(world)[1] == 0, "funding is a cost, not a transfer"
    ((funding, gross, fees, pnl),) = world.rows("SELECT funding, gross_pnl, fees, pnl FROM v_trades")
    assert (funding, pnl) == (-7.5, pytest.approx(gross - fees - 7.5))


@in_virtual_time
async def test_a_wallet_that_differs_is_explained_by_the_venue_before_an_entry_has_to_wait_for_the_deadline(make_world):
    world = await make_world().boot()
    await later(world)
    world.venue.book("funding", Decimal(-3))
    began = world.clock.monotonic()
    await world.open_position()
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)
    assert world.clock.monotonic() - began < 8  # and not the 10 s of converge_timeout_s
    assert "balance_unexplained" not in world.incidents()


@in_virtual_time
async def test_a_transfer_moves_base_and_peak_and_is_no_loss(make_world):
    world = await make_world().boot()
    await later(world)
    equity, _ = base(world)
    world.venue.book("transfer", Decimal(-4_000))
    await later(world)
    await world.restart()
    await later(world)
    assert base(world) == (equity, Decimal(-4_000))
    assert world.execution.risk.losses.peaks[BINANCE] == 6_000
    assert not world.execution.switches.halted and "balance_unexplained" not in world.incidents()
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@in_virtual_time
async def test_what_the_venue_books_late_takes_back_what_was_told_as_unexplained(make_world):
    world = await make_world().boot()
    await later(world)
    world.venue.wallet -= Decimal(200)
    await later(world)
    assert base(world)[1] == -200
    world.venue.wallet += 200
    late = world.venue.book("funding", Decimal(-200), BTC)
    world.venue.booked[-1] = msgspec.structs.replace(late, time_ms=late.time_ms - 60_000)
    await later(world)
    assert base(world)[1] == 0
    kinds = world.rows("SELECT kind, sum(amount) FROM ledger GROUP BY kind ORDER BY kind")
    assert kinds == [("funding", -200.0), ("unexplained", 0.0)]


@in_virtual_time
async def test_funding_right_after_a_reading_of_the_bookings_is_no_riddle(make_world):
    world = await make_world().boot()
    await later(world)
    world.venue.book("funding", Decimal(-5), BTC)
    await world.execution.reconciler.reconcile(BINANCE)
    assert "balance_unexplained" not in world.incidents()
    assert world.rows("SELECT kind, amount FROM ledger") == [("funding", -5.0)]


@in_virtual_time
async def test_bookings_that_cannot_be_read_are_told_once_and_stop_nothing(make_world):
    world = await make_world().boot()
    world.venue.unreachable.add("bookings")
    for _ in range(3):
        await later(world)
    assert world.incidents().count("bookings_unread") == 1
    assert await world.outcome_of(world.enter()) == ("ordered", "")


# --- drawdown ---


@in_virtual_time
async def test_a_drawdown_halts_entries_across_restarts_until_resume_counts_from_the_equity_then(make_world):
    world = await make_world(risk="max_drawdown_fraction = 0.1\nmax_daily_loss_fraction = 1").boot()
    await later(world)
    world.clock.step_ms += 3 * DAY_MS  # from a peak of days ago
    lose(world, Decimal(1_100))
    await later(world)
    assert await world.outcome_of(world.enter()) == ("denied", "halted")
    lose(world, Decimal(0))
    await world.restart()
    await later(world)
    assert await world.outcome_of(world.enter()) == ("denied", "halted")
    assert world.rows("SELECT count(*) FROM flags WHERE name = 'halted' AND value = '1'") == [(1,)]
    told = world.execution.switches.halted
    assert told.startswith(f"{DRAWDOWN}11.00% on binance: equity 8900.00 USDT, 10000.00 at its peak")
    assert "`tradingd resume` lifts it" in told
    lose(world, Decimal(1_100))
    await later(world)
    # what the operator's resume does
    world.execution.recorder.commit(world.execution.risk.losses.lift(world.clock.now_ms()))
    world.execution.switches.halted = ""
    await later(world)
    assert world.execution.risk.losses.peaks[BINANCE] == 8_900 and not world.execution.switches.halted
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@in_virtual_time
async def test_an_entry_is_denied_by_a_drawdown_before_the_bookings_have_been_read_too(make_world):
    world = await make_world(risk="max_drawdown_fraction = 0.1\nmax_daily_loss_fraction = 1").boot()
    await later(world)
    lose(world, Decimal(1_100))
    await world.restart()
    assert await world.outcome_of(world.enter()) == ("denied", "drawdown")


@in_virtual_time
async def test_a_drawdown_never_stops_an_exit_or_a_stop(make_world):
    world = await make_world(risk="max_drawdown_fraction = 0.1\nmax_daily_loss_fraction = 1").boot()
    await world.open_position()
    await later(world)
    lose(world, Decimal(1_100))
    for _ in range(3):
        await later(world)
    assert world.execution.switches.halted and world.is_covered()
    assert world.incidents().count("drawdown") == 1, "told once"
    await world.close_position()
    assert world.held() == 0


# --- the day ---


@in_virtual_time
async def test_a_daily_loss_that_is_made_good_again_still_counts_until_midnight(make_world):
    world = await make_world(risk="max_daily_loss_fraction = 0.05").boot()
    await later(world)
    lose(world, Decimal(600))
    await later(world)
    lose(world, Decimal(0))
    await later(world)
    assert await world.outcome_of(world.enter()) == ("denied", "daily_loss")
    await world.restart()
    assert await world.outcome_of(world.enter()) == ("denied", "daily_loss")
    world.clock.step_ms += DAY_MS
    await later(world)
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@in_virtual_time
async def test_a_daemon_first_started_in_the_afternoon_knows_what_the_morning_cost(make_world):
    world = make_world()
    world.clock.step_ms += 9 * HOUR_MS
    world.venue.book("realized_pnl", Decimal(-480), BTC)
    world.venue.book("funding", Decimal(-20), BTC)
    world.venue.book("transfer", Decimal(1_000))
    world.clock.step_ms += 6 * HOUR_MS
    await world.boot()
    assert base(world) == (Decimal(10_500), Decimal(0))
    await later(world)
    assert base(world) == (Decimal(10_000), Decimal(1_000))
    ((day_ms,),) = world.rows("SELECT time_ms % 86400000 FROM day_equity")
    assert day_ms == 0
    assert await world.outcome_of(world.enter()) == ("ordered", "")  # 500 of 10,000 are lost: 5 % and no more
    await world.until(world.is_covered)
    await world.close_position()
    await later(world)
    assert await world.outcome_of(world.enter()) == ("denied", "daily_loss")


@in_virtual_time
async def test_a_position_of_today_began_at_nothing_and_one_of_yesterday_at_its_value_now(make_world):
    for opened_before_midnight, morning in ((True, Decimal(9_900)), (False, Decimal(10_000))):
        world = make_world(execution="reconcile_interval_s = 60")
        world.clock.step_ms += 12 * HOUR_MS
        await world.boot()
        await world.open_position()
        fee = world.venue.executions[-1].fee
        world.clock.step_ms += DAY_MS if opened_before_midnight else 0
        lose(world, Decimal(100))
        await later(world)
        await later(world)
        start = morning - (fee if opened_before_midnight else 0)
        assert base(world) == (start, Decimal(0))
        await world.crash()


# --- fills that come late ---


@in_virtual_time
async def test_money_of_a_filled_order_whose_fills_are_not_told_yet_is_no_riddle(make_world):
    """As a kill behind a fill showed it at Bybit: the wallet is there first, then position and order, then the fill."""
    world = await make_world().boot()
    await later(world)
    world.venue.mute = True
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    await world.crash()
    killed_at = world.clock.monotonic()
    find_order, fills = world.venue.find_order, world.venue.fills

    def is_old(until_s):
        return world.clock.monotonic() - killed_at < until_s

    async def found(order, priority):
        shown = await find_order(order, priority)
        if shown is None or not is_old(BALANCE_LAG_S - 0.5):
            return shown
        return msgspec.structs.replace(shown, status=OrderStatus.ACCEPTED, filled_quantity=Decimal(0))

    async def told(instrument, since_ms, priority):
        return [] if is_old(BALANCE_LAG_S + 3) else await fills(instrument, since_ms, priority)

    world.venue.find_order, world.venue.fills = found, told
    world.venue.shown_account = lambda shown: (
        msgspec.structs.replace(shown, positions=()) if is_old(BALANCE_LAG_S - 0.5) else shown
    )
    await world.boot()
    await world.until(lambda: world.held() != 0)
    await later(world)
    assert "balance_unexplained" not in world.incidents()
    assert world.rows("SELECT count(*) FROM ledger WHERE kind = 'unexplained'") == [(0,)]


@in_virtual_time
async def test_what_is_filled_before_a_recovery_begins_is_in_the_sum_of_the_run_after_a_crash(make_world):
    world = await make_world().boot()
    await world.open_position()
    stop = world.last(Purpose.STOP).client_order_id
    await world.crash()
    await world.boot(ready=False)
    world.venue.trigger(stop, Decimal(49_000))
    await world.until(lambda: world.rows("SELECT count(*) FROM fills") == [(2,)])
    await world.restart()
    await world.until_flat()
    await asyncio.sleep(30)
    assert "balance_unexplained" not in world.incidents()
    assert world.rows("SELECT count(*) FROM ledger WHERE kind = 'unexplained'") == [(0,)]
