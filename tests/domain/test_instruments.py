"""Instruments and candles are named one way only."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingd.domain.candles import TIMEFRAMES, Candle, timeframe_ms
from tradingd.domain.errors import BadInstrument
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import Instrument, InstrumentId

UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@given(st.text(UPPER, min_size=1, max_size=20), st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=12))
def test_an_instrument_reads_back_as_it_is_written(base, venue):
    text = f"{base}/USDT:USDT@{venue}"
    parsed = InstrumentId.parse(text)
    assert (str(parsed), parsed.base, parsed.venue, parsed.symbol) == (text, base, venue, f"{base}/USDT:USDT")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "BTC/USDT",
        "BTC/USDT@binance",
        "BTCUSDT@binance",
        "BTC-USDT-SWAP@binance",
        "btc/usdt:usdt@binance",
        "BTC/USDT:USDT",
        "BTC/USDT:USDT@",
        "BTC/USDT:USDT@Binance",
        "BTC/USDT:USDT@binance ",
        " BTC/USDT:USDT@binance",
        "BTC/USDT:USDT@binance\n",
        "BTC/USDT:USDT@binance@bybit",
        "BTC/USDT:USDT-260626@binance",
        "/USDT:USDT@binance",
        "BTC/USD:BTC@binance",
        "BTC/USDC:USDC@binance",
        "BTC/USDT:USDC@binance",
        "A" * 21 + "/USDT:USDT@binance",
    ],
)
def test_any_other_form_is_refused_with_the_form_that_is_allowed(text):
    with pytest.raises(BadInstrument, match=r"(BASE/QUOTE:SETTLE@venue|BASE/USDT:USDT@venue)"):
        InstrumentId.parse(text)


def test_instruments_sort_by_venue_then_symbol():
    ids = [InstrumentId.parse(f"{base}/USDT:USDT@{venue}") for venue in ("bybit", "binance") for base in ("ETH", "BTC")]
    assert [str(each) for each in sorted(ids)] == [
        "BTC/USDT:USDT@binance",
        "ETH/USDT:USDT@binance",
        "BTC/USDT:USDT@bybit",
        "ETH/USDT:USDT@bybit",
    ]


RULES = Instrument(
    id=InstrumentId(VenueId("bitget"), "BTC/USDT:USDT"),
    market_id="BTCUSDT",
    tick_size=Decimal("0.1"),
    lot_size=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    max_quantity=Decimal(1000),
    max_market_quantity=Decimal(120),
    min_notional=Decimal(5),
    contract_size=Decimal("0.01"),
)


def test_notional_counts_the_contract_size_and_no_sign():
    assert RULES.notional(Decimal(50_000), Decimal(-2)) == Decimal(1_000)


def test_quantities_are_cut_to_the_lot_and_prices_go_to_the_nearest_tick():
    assert RULES.floor_quantity(Decimal("0.0019999")) == Decimal("0.001")
    assert RULES.ceil_quantity(Decimal("0.0010001")) == Decimal("0.002")
    assert RULES.round_price(Decimal("100.06")) == Decimal("100.1")


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_a_candle_closes_one_timeframe_after_it_opens(timeframe):
    one = Decimal(1)
    candle = Candle(RULES.id, timeframe, 1_700_000_000_000, one, one, one, one, one)
    assert candle.close_time_ms == candle.open_time_ms + timeframe_ms(timeframe)
    assert timeframe_ms(timeframe) % 60_000 == 0
    assert 86_400_000 % timeframe_ms(timeframe) == 0


@pytest.mark.parametrize("timeframe", ["", "m", "1", "0m", "1s", "01m", "1m ", "1M", "60m", "24h", "1w", "-1m", "１m"])
def test_an_unknown_timeframe_is_refused_with_those_allowed(timeframe):
    with pytest.raises(ValueError, match="allowed: 1m, 3m"):
        timeframe_ms(timeframe)
