"""What the account holds, how it is set, and what is booked on it."""

import asyncio
from decimal import Decimal

import pytest

from tests.conformance.bench import Bench
from tests.conformance.cases import case
from tradingd.domain.account import VenueBalance
from tradingd.domain.errors import VenueError
from tradingd.domain.intents import Side
from tradingd.ports import Priority


async def balance(bench: Bench) -> VenueBalance:
    return (await bench.account()).balance


@case
async def test_a_position_goes_from_flat_over_long_and_short_to_flat(bench: Bench) -> None:
    for side, quantity, after in (
        (Side.BUY, "0.030", "0.030"),
        (Side.SELL, "0.010", "0.020"),
        (Side.SELL, "0.050", "-0.030"),
        (Side.BUY, "0.030", "0"),
    ):
        await bench.bought(quantity, side)
        await bench.position(after)
        position = (await bench.account()).position(bench.btc)
        assert bool(position.entry_price) == bool(position.quantity)
        assert position.isolated in (False, None)
    assert (await bench.account()).position(bench.eth).quantity == 0


@case
async def test_available_is_what_is_left_beside_a_position(bench: Bench) -> None:
    await bench.venue.prepare(bench.btc, 10, "cross")
    before = await balance(bench)
    assert before.available == before.wallet == before.equity == Decimal(10_000)
    await bench.bought("0.100")
    await bench.position("0.100")
    truth = bench.exchange.totals()

    async def follows() -> bool:
        now = await balance(bench)
        return now.available is not None and abs(now.available - bench.exchange.totals().available) < 20

    await bench.until(follows)
    after = await balance(bench)
    assert after.available is not None
    assert after.available < 10_000 - truth.position_margin + 50
    assert after.equity is not None
    assert abs(after.equity - bench.exchange.totals().equity) < 20


@case
async def test_available_counts_resting_orders(bench: Bench) -> None:
    await bench.venue.prepare(bench.btc, 10, "cross")
    await bench.placed(await bench.resting(quantity=Decimal("0.100")))

    async def bound() -> bool:
        available = (await balance(bench)).available
        return available is not None and available < 9_500

    await bench.until(bound)


@case
async def test_available_in_isolated_mode_leaves_out_what_is_set_apart(bench: Bench) -> None:
    await bench.venue.prepare(bench.btc, 10, "isolated")
    await bench.bought("0.100")
    await bench.position("0.100")
    assert (await bench.account()).position(bench.btc).isolated in (True, None)

    async def apart() -> bool:
        available = (await balance(bench)).available
        return available is not None and abs(available - bench.exchange.totals().available) < 20

    await bench.until(apart)
    await bench.move("0.01")
    before = (await balance(bench)).available
    assert before is not None
    assert before < 9_500, "profit of an isolated position is not available"


@case
async def test_a_good_account_has_no_problems_and_the_same_name_each_time(bench: Bench) -> None:
    first, second = await bench.venue.preflight(), await (await bench.second()).preflight()
    assert (first.problems, first.hedge_mode, first.can_trade) == ((), False, True)
    assert first.account_id == second.account_id != ""


@pytest.mark.fault(54)
@case
async def test_an_account_in_hedge_mode_is_refused(bench: Bench) -> None:
    bench.exchange.account.is_hedged = True
    mode = await bench.venue.preflight()
    assert mode.hedge_mode
    assert mode.problems


@pytest.mark.fault(53)
@case
async def test_leverage_and_margin_mode_are_set_and_set_again(bench: Bench) -> None:
    for leverage, margin_mode in ((7, "isolated"), (7, "isolated"), (5, "cross")):
        await bench.venue.prepare(bench.btc, leverage, margin_mode)
        assert bench.exchange.account.leverage[bench.symbol()] == leverage
        assert bench.exchange.account.isolated[bench.symbol()] is (margin_mode == "isolated")


@case
async def test_leverage_beyond_what_the_venue_gives_is_an_error(bench: Bench) -> None:
    with pytest.raises(VenueError):
        await bench.venue.prepare(bench.btc, 500, "cross")


@pytest.mark.fault(49)
@case
async def test_funding_transfers_and_fees_are_booked_once(bench: Bench) -> None:
    since_ms = bench.clock.now_ms() - 1000
    await bench.bought("0.100")
    await bench.position("0.100")
    bench.act("charge_funding", symbol=bench.symbol(), rate_fraction=Decimal("0.001"))
    bench.act("transfer", usdt=250)
    await asyncio.sleep(2)
    booked = await bench.venue.bookings(since_ms, Priority.RECONCILE)
    assert len({(record.kind, record.reference) for record in booked}) == len(booked)
    (funding,) = [record for record in booked if record.kind == "funding"]
    (transfer,) = [record for record in booked if record.kind == "transfer"]
    assert (transfer.amount, transfer.currency) == (Decimal(250), "USDT")
    assert funding.instrument == bench.btc
    assert -8 < funding.amount < -5
    assert [record.time_ms for record in booked] == sorted(record.time_ms for record in booked)
    fees = sum(record.amount for record in booked if record.kind == "fee")
    assert fees == -sum(fill.fee for fill in await bench.fills())
    assert await bench.venue.bookings(bench.clock.now_ms() + 1, Priority.RECONCILE) == []


@pytest.mark.fault(48)
@case
async def test_a_liquidation_is_a_fill_that_says_so(bench: Bench) -> None:
    await bench.listen()
    await bench.bought()
    bench.act("liquidate", symbol=bench.symbol())
    await bench.position("0")

    async def told() -> bool:
        fills = await bench.fills()
        is_whole = sum(fill.signed_quantity for fill in fills) == 0
        return is_whole and any(fill.reason == "liquidation" for fill in fills)

    await bench.until(told)


@case
async def test_the_clock_of_the_venue_is_read(bench: Bench) -> None:
    assert abs(await bench.venue.server_time_ms() - bench.clock.now_ms()) < 1_500


@case
async def test_a_mark_price_lies_near_the_market(bench: Bench) -> None:
    mark = await bench.venue.mark_price(bench.btc)
    assert abs(mark / bench.exchange.mark_price(bench.symbol()) - 1) < Decimal("0.01")
