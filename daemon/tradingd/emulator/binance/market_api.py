"""Public REST: instruments, time, candles, prices."""

from __future__ import annotations

from typing import Any

from tradingd.emulator.binance.desk import Desk
from tradingd.emulator.binance.errors import VenueError
from tradingd.emulator.binance.limits import ORDERS_PER_10S, ORDERS_PER_MINUTE, WEIGHT_PER_MINUTE
from tradingd.emulator.binance.params import Params
from tradingd.emulator.binance.payloads import Json, candle_row, plain
from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.market import INTERVALS_MS, interval_end
from tradingd.emulator.core.records import BUY, SELL

_RATE_LIMITS: list[Json] = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_PER_MINUTE},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": ORDERS_PER_MINUTE},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ORDERS_PER_10S},
]


def ping(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/ping."""
    return {}


def server_time(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/time."""
    return {"serverTime": desk.clock_ms}


def exchange_info(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/exchangeInfo."""
    return {
        "timezone": "UTC",
        "serverTime": desk.clock_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": _RATE_LIMITS,
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [_symbol_info(desk.exchange.instruments[symbol]) for symbol in desk.exchange.feeds],
    }


def _symbol_info(instrument: Instrument) -> Json:
    tick, lot = plain(instrument.tick_size), plain(instrument.lot_size)
    band = instrument.price_band_fraction
    return {
        "symbol": instrument.symbol,
        "pair": instrument.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": instrument.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": instrument.price_precision,
        "quantityPrecision": instrument.quantity_digits,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": plain(band),
        "maxMoveOrderLimit": 10000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": plain(instrument.start_price * 100),
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": plain(instrument.max_quantity), "stepSize": lot},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": lot,
                "maxQty": plain(instrument.max_market_quantity),
                "stepSize": lot,
            },
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": plain(instrument.min_notional_usdt)},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": plain(1 + band),
                "multiplierDown": plain(1 - band),
                "multiplierDecimal": "4",
            },
            {
                "filterType": "POSITION_RISK_CONTROL",
                "positionControlSide": "NONE",
                "notionalSettings": [{"orderType": "MARKET", "minNotional": plain(instrument.min_notional_usdt)}],
            },
        ],
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def klines(desk: Desk, params: Params) -> list[list[Any]]:
    """GET /fapi/v1/klines; the last row is the open candle."""
    instrument = desk.instrument(params)
    interval = params.need("interval")
    if interval not in INTERVALS_MS:
        raise VenueError(-1120)
    rows = desk.exchange.feeds[instrument.symbol].candles(
        interval, params.integer("startTime"), params.integer("endTime"), params.limit(500, 1500), desk.now_ms
    )
    return [candle_row(row, interval_end(interval, row.open_ms) - 1, instrument) for row in rows]


def _each(desk: Desk, params: Params) -> tuple[list[str], bool]:
    symbol = desk.symbol_filter(params)
    return (list(desk.exchange.feeds), False) if symbol is None else ([symbol], True)


def ticker_price(desk: Desk, params: Params) -> list[Json] | Json:
    """GET /fapi/v1/ticker/price, one symbol or all."""
    symbols, single = _each(desk, params)
    rows = [{"symbol": symbol, "price": _price(desk, symbol), "time": desk.now_ms} for symbol in symbols]
    return rows[0] if single else rows


def _price(desk: Desk, symbol: str) -> str:
    digits = desk.exchange.instruments[symbol].price_digits
    return f"{desk.exchange.last_price(symbol):.{digits}f}"


def book_ticker(desk: Desk, params: Params) -> list[Json] | Json:
    """GET /fapi/v1/ticker/bookTicker, one symbol or all."""
    symbols, single = _each(desk, params)
    rows: list[Json] = []
    for symbol in symbols:
        best = depth_rows(desk, symbol, 1)
        rows.append(
            {
                "symbol": symbol,
                "bidPrice": best["bids"][0][0],
                "bidQty": best["bids"][0][1],
                "askPrice": best["asks"][0][0],
                "askQty": best["asks"][0][1],
                "time": desk.now_ms,
                "lastUpdateId": desk.now_ms,
            }
        )
    return rows[0] if single else rows


def depth_rows(desk: Desk, symbol: str, limit: int) -> Json:
    """Both sides of the book, best first, as text."""
    instrument = desk.exchange.instruments[symbol]
    sides = {}
    for name, side in (("bids", SELL), ("asks", BUY)):
        sides[name] = [
            [
                f"{instrument.price(price):.{instrument.price_digits}f}",
                f"{size * instrument.lot_unit:.{instrument.quantity_digits}f}",
            ]
            for price, size in desk.exchange.book(symbol, side)[:limit]
        ]
    return sides


def depth(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/depth."""
    instrument = desk.instrument(params)
    return {
        "lastUpdateId": desk.now_ms,
        "E": desk.now_ms,
        "T": desk.now_ms,
        **depth_rows(desk, instrument.symbol, params.limit(500, 1000)),
    }


def premium_index(desk: Desk, params: Params) -> list[Json] | Json:
    """GET /fapi/v1/premiumIndex: mark price and funding, one symbol or all."""
    symbols, single = _each(desk, params)
    rows: list[Json] = []
    for symbol in symbols:
        mark = f"{desk.exchange.mark_price(symbol):.8f}"
        rows.append(
            {
                "symbol": symbol,
                "markPrice": mark,
                "indexPrice": mark,
                "estimatedSettlePrice": mark,
                "lastFundingRate": f"{desk.exchange.funding.rate(symbol):.8f}",
                "interestRate": "0.00010000",
                "nextFundingTime": desk.exchange.funding.next_ms,
                "time": desk.now_ms,
            }
        )
    return rows[0] if single else rows


def ticker_24h(desk: Desk, params: Params) -> list[Json] | Json:
    """GET /fapi/v1/ticker/24hr, one symbol or all."""
    symbols, single = _each(desk, params)
    rows = [_day(desk, symbol) for symbol in symbols]
    return rows[0] if single else rows


def _day(desk: Desk, symbol: str) -> Json:
    instrument, feed = desk.exchange.instruments[symbol], desk.exchange.feeds[symbol]
    rows = [*feed.since(desk.now_ms - 86_400_000), feed.forming(desk.now_ms)]
    digits = instrument.price_digits
    first, last = instrument.price(rows[0].open), instrument.price(rows[-1].close)
    volume = sum(row.volume for row in rows)
    return {
        "symbol": symbol,
        "priceChange": f"{last - first:.{digits}f}",
        "priceChangePercent": f"{(last - first) / first * 100:.3f}",
        "weightedAvgPrice": f"{last:.{digits}f}",
        "lastPrice": f"{last:.{digits}f}",
        "lastQty": plain(instrument.lot_size),
        "openPrice": f"{first:.{digits}f}",
        "highPrice": f"{instrument.price(max(row.high for row in rows)):.{digits}f}",
        "lowPrice": f"{instrument.price(min(row.low for row in rows)):.{digits}f}",
        "volume": f"{volume:.{instrument.quantity_digits}f}",
        "quoteVolume": f"{volume * float(last):.2f}",
        "openTime": rows[0].open_ms,
        "closeTime": desk.now_ms,
        "firstId": 0,
        "lastId": 0,
        "count": sum(row.count for row in rows),
    }
