"""Instruments, and candles from the archive and live."""

import asyncio
from decimal import Decimal

import pytest

from tests.conformance.bench import Bench
from tests.conformance.cases import case, each
from tradingd.domain.account import RejectKind, SubmitVerdict
from tradingd.domain.candles import Candle, timeframe_ms
from tradingd.domain.errors import TradingdError
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import OrderKind, OrderStatus

MINUTE_MS = 60_000


@case
async def test_the_rules_of_an_instrument_are_whole(bench: Bench) -> None:
    for instrument in (bench.btc, bench.eth):
        rules, truth = bench.rules(instrument), bench.exchange.instruments[bench.symbol(instrument)]
        assert rules.id == instrument
        assert (rules.tick_size, rules.lot_size) == (truth.tick_size, truth.lot_size)
        assert (rules.min_quantity, rules.max_quantity) == (truth.min_quantity, truth.max_quantity)
        assert rules.max_market_quantity == truth.max_market_quantity
        assert (rules.min_notional, rules.contract_size) == (truth.min_notional_usdt, Decimal(1))
        assert rules.trading


@case
async def test_what_only_an_account_is_told_is_known_after_preflight(bench: Bench) -> None:
    await bench.venue.preflight()
    rules, account = bench.rules(), bench.exchange.account
    assert (rules.taker_fee_fraction, rules.maker_fee_fraction) == (account.taker_fee, account.maker_fee)
    assert rules.max_leverage == bench.exchange.instruments[bench.symbol()].max_leverage


@pytest.mark.fault(47)
@case
async def test_rules_that_changed_are_read_anew(bench: Bench) -> None:
    bench.act("change_filters", symbol=bench.symbol(), min_notional_usdt=Decimal(77))
    assert bench.rules().min_notional != 77
    await bench.venue.load_instruments()
    assert bench.rules().min_notional == 77


@pytest.mark.fault(61)
@case
async def test_a_symbol_that_the_venue_lacks_is_refused_before_the_wire(bench: Bench) -> None:
    assert bench.lacking not in bench.venue.instruments
    outcome = await bench.send(bench.order(instrument=bench.lacking))
    assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, RejectKind.NOT_SENT)
    assert not outcome.sent
    for wrong in (bench.lacking, InstrumentId(bench.btc.venue, "BTC/USDT"), InstrumentId(bench.btc.venue, "BTCUSDT")):
        with pytest.raises(TradingdError):
            await bench.venue.candles(wrong, "1m", 0, 10)


@each(value=["1m", "5m", "1h"])
async def test_past_candles_begin_where_asked_and_have_no_gap(bench: Bench, timeframe: str) -> None:
    length_ms = timeframe_ms(timeframe)
    since_ms = (bench.clock.now_ms() // length_ms - 12) * length_ms
    candles = await bench.venue.candles(bench.btc, timeframe, since_ms, 5)
    assert [candle.open_time_ms for candle in candles] == [since_ms + number * length_ms for number in range(5)]
    assert all(candle.closed and candle.timeframe == timeframe for candle in candles)
    assert all(c.low <= min(c.open, c.close) <= max(c.open, c.close) <= c.high for c in candles)
    whole = await bench.venue.candles(bench.btc, timeframe, since_ms, 100)
    assert [candle.closed for candle in whole] == [True] * 12 + [False]
    assert whole[:5] == candles


@case
async def test_past_candles_are_whole_beyond_one_page(bench: Bench) -> None:
    since_ms = bench.clock.now_ms() // MINUTE_MS * MINUTE_MS - 1_400 * MINUTE_MS
    candles = await bench.venue.candles(bench.btc, "1m", since_ms, 1_400)
    assert [candle.open_time_ms for candle in candles] == [since_ms + n * MINUTE_MS for n in range(1_400)]


@case
async def test_no_candles_are_made_up_of_the_future(bench: Bench) -> None:
    assert await bench.venue.candles(bench.btc, "1m", bench.clock.now_ms() + MINUTE_MS, 10) == []


def closed(bench: Bench, timeframe: str = "1m") -> list[Candle]:
    return [candle for candle in bench.sink.all("candle") if candle.closed and candle.timeframe == timeframe]


@pytest.mark.fault(94)
@case
async def test_live_candles_form_close_once_and_equal_the_archive(bench: Bench) -> None:
    await bench.venue.watch(bench.candle_stream())
    await bench.venue.watch(bench.candle_stream())
    begun_ms = bench.clock.now_ms()
    await asyncio.sleep(200)
    pushed = closed(bench)
    assert len(pushed) == 3
    archive = await bench.venue.candles(bench.btc, "1m", begun_ms // MINUTE_MS * MINUTE_MS, 3)
    assert pushed == archive
    forming = [candle for candle in bench.sink.all("candle") if not candle.closed]
    assert {candle.open_time_ms for candle in forming} >= {candle.open_time_ms for candle in pushed}


@case
async def test_live_candles_of_two_timeframes_stand_side_by_side(bench: Bench) -> None:
    await bench.venue.watch(bench.candle_stream())
    await bench.venue.watch(bench.candle_stream("5m"))
    await asyncio.sleep(310)
    assert (len(closed(bench)), len(closed(bench, "5m"))) == (5, 1)


@pytest.mark.fault(46)
@each(value=["quantity", "tick", "notional", "largest"])
async def test_what_breaks_a_filter_is_refused_as_such(bench: Bench, what: str) -> None:
    broken = {
        "quantity": bench.order("0"),
        "tick": bench.order(kind=OrderKind.LIMIT, limit_price=await bench.price("0.97") + Decimal("0.03")),
        "notional": await bench.resting("0.97", quantity=Decimal("0.001")),
        "largest": bench.order("5000"),
    }[what]
    if what == "notional":
        bench.act("change_filters", symbol=bench.symbol(), min_notional_usdt=Decimal(100))
    outcome = await bench.send(broken)
    assert outcome.verdict is SubmitVerdict.NOT_EXECUTED, outcome
    assert outcome.kind is RejectKind.FILTER, outcome
    assert bench.accepted(broken.client_order_id) == 0


@case
async def test_a_quantity_off_the_lot_is_refused_or_cut_and_never_more(bench: Bench) -> None:
    request = bench.order("0.0105")
    outcome = await bench.send(request)
    if outcome.verdict is SubmitVerdict.NOT_EXECUTED:
        assert outcome.kind is RejectKind.FILTER
    else:
        assert (await bench.shown(request, OrderStatus.FILLED)).filled_quantity == Decimal("0.010")


@pytest.mark.fault(63)
@case
async def test_an_order_beyond_the_margin_is_not_executed(bench: Bench) -> None:
    await bench.venue.prepare(bench.btc, 5, "cross")
    request = bench.order("2.000")
    outcome = await bench.send(request)
    assert outcome.verdict is SubmitVerdict.NOT_EXECUTED, outcome
    assert outcome.kind is RejectKind.MARGIN
    assert bench.held() == 0
