"""Public REST: time, instruments, candles, prices."""

from __future__ import annotations

from tradingd.emulator.bybit.desk import Desk
from tradingd.emulator.bybit.errors import invalid
from tradingd.emulator.bybit.params import Params
from tradingd.emulator.bybit.payloads import INTERVALS, Json, candle_row, plain
from tradingd.emulator.bybit.streams import ticker
from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.market import interval_end, interval_start
from tradingd.emulator.core.records import BUY, SELL

_STATUSES = {
    "TRADING": "Trading",
    "PENDING_TRADING": "PreLaunch",
    "PRE_DELIVERING": "Delivering",
    "DELIVERING": "Delivering",
}
_CATEGORIES = ("linear", "inverse", "spot", "option")


def server_time(desk: Desk, params: Params) -> Json:
    """GET /v5/market/time."""
    now_ms = desk.clock_ms
    return {"timeSecond": str(now_ms // 1000), "timeNano": str(now_ms * 1_000_000)}


def instruments(desk: Desk, params: Params) -> Json:
    """GET /v5/market/instruments-info: the linear ones; the other categories are there and empty."""
    category = params.choice("category", "", _CATEGORIES)
    wanted, status = params.text("symbol"), params.text("status")
    rows = []
    for symbol in desk.exchange.feeds if category == "linear" else ():
        row = _instrument_row(desk.exchange.instruments[symbol])
        if wanted in (None, symbol) and row["status"] == (status or row["status"]):
            rows.append(row)
    if status is None:
        rows = [row for row in rows if row["status"] != "PreLaunch"]
    return {"category": category, "list": rows, "nextPageCursor": ""}


def _instrument_row(instrument: Instrument) -> Json:
    tick, lot = plain(instrument.tick_size), plain(instrument.lot_size)
    largest = plain(instrument.max_quantity)
    return {
        "symbol": instrument.symbol,
        "contractType": "LinearPerpetual",
        "status": _STATUSES.get(instrument.status, "Closed"),
        "baseCoin": instrument.base,
        "quoteCoin": "USDT",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(instrument.price_digits),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": f"{instrument.max_leverage}.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": tick, "maxPrice": plain(instrument.start_price * 100), "tickSize": tick},
        "lotSizeFilter": {
            "maxOrderQty": largest,
            "minOrderQty": lot,
            "qtyStep": lot,
            "postOnlyMaxOrderQty": largest,
            "maxMktOrderQty": plain(instrument.max_market_quantity),
            "minNotionalValue": plain(instrument.min_notional_usdt),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": "USDT",
        "copyTrading": "both",
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {
            "priceLimitRatioX": plain(instrument.price_band_fraction),
            "priceLimitRatioY": plain(instrument.price_band_fraction),
        },
    }


def klines(desk: Desk, params: Params) -> Json:
    """GET /v5/market/kline: newest first, the newest is the open candle; start is rounded up to the interval."""
    instrument = desk.instrument(params)
    interval = INTERVALS.get(params.need("interval"))
    if interval is None:
        raise invalid("interval")
    start_ms, end_ms, limit = params.integer("start"), params.integer("end"), params.limit(200, 1000)
    if start_ms is not None:
        opening = interval_start(interval, start_ms)
        start_ms = opening if opening == start_ms else interval_end(interval, opening)
    rows = desk.exchange.feeds[instrument.symbol].candles(interval, start_ms, end_ms, limit, desk.now_ms)
    return {
        "category": "linear",
        "symbol": instrument.symbol,
        "list": [candle_row(row, instrument) for row in reversed(rows)],
    }


def tickers(desk: Desk, params: Params) -> Json:
    """GET /v5/market/tickers, one symbol or all."""
    params.check_category()
    wanted = params.text("symbol")
    symbols = list(desk.exchange.feeds) if wanted is None else [desk.named(wanted).symbol]
    return {"category": "linear", "list": [ticker(desk.exchange, symbol) for symbol in symbols]}


def order_book(desk: Desk, params: Params) -> Json:
    """GET /v5/market/orderbook."""
    instrument = desk.instrument(params)
    limit = params.limit(25, 500)
    sides = {}
    for name, side in (("b", SELL), ("a", BUY)):
        sides[name] = [
            [
                f"{instrument.price(price):.{instrument.price_digits}f}",
                f"{size * instrument.lot_unit:.{instrument.quantity_digits}f}",
            ]
            for price, size in desk.exchange.book(instrument.symbol, side)[:limit]
        ]
    return {
        "s": instrument.symbol,
        **sides,
        "ts": desk.now_ms,
        "u": desk.now_ms,
        "seq": desk.now_ms,
        "cts": desk.now_ms,
    }


def risk_limits(desk: Desk, params: Params) -> Json:
    """GET /v5/market/risk-limit: the leverage steps."""
    params.check_category()
    wanted = params.text("symbol")
    rows = []
    for symbol in list(desk.exchange.feeds) if wanted is None else [desk.named(wanted).symbol]:
        for number, step in enumerate(desk.exchange.instruments[symbol].brackets, start=1):
            rows.append(
                {
                    "id": number,
                    "symbol": symbol,
                    "riskLimitValue": str(step.cap_usdt),
                    "maintenanceMargin": plain(step.maintenance_fraction),
                    "initialMargin": f"{1 / step.leverage:.4f}",
                    "isLowestRisk": int(number == 1),
                    "maxLeverage": f"{step.leverage}.00",
                    "mmDeduction": plain(step.cumulative_usdt),
                }
            )
    return {"category": "linear", "list": rows, "nextPageCursor": ""}
