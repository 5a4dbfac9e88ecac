"""Binance USDT-M: the venue's filters and leverage brackets → the rules of each instrument."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from tradingd.domain.errors import BadInstrument
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.venues.translate import number


def instruments(venue: VenueId, markets: Iterable[Any]) -> dict[InstrumentId, Instrument]:
    """The USDT perpetuals among ccxt's markets, with the venue's own filters, read as the strings they are."""
    found: dict[InstrumentId, Instrument] = {}
    for market in markets:
        info = market["info"]
        if info.get("contractType") != "PERPETUAL" or market.get("settle") != "USDT":
            continue
        try:
            name = InstrumentId.parse(f"{market['symbol']}@{venue}")
        except BadInstrument:  # a few listings have names that no id can hold; they cannot be configured either
            continue
        filters = {row["filterType"]: row for row in info["filters"]}
        lot, market_lot = filters["LOT_SIZE"], filters.get("MARKET_LOT_SIZE", filters["LOT_SIZE"])
        band = filters.get("PERCENT_PRICE")
        found[name] = Instrument(
            id=name,
            market_id=info["symbol"],
            tick_size=number(filters["PRICE_FILTER"], "tickSize"),
            lot_size=number(lot, "stepSize"),
            min_quantity=max(number(lot, "minQty"), number(market_lot, "minQty")),
            max_quantity=number(lot, "maxQty"),
            max_market_quantity=number(market_lot, "maxQty"),
            min_notional=number(filters["MIN_NOTIONAL"], "notional"),
            min_price=number(filters["PRICE_FILTER"], "minPrice"),
            max_price=number(filters["PRICE_FILTER"], "maxPrice"),
            highest_buy_fraction=number(band, "multiplierUp") if band else None,
            lowest_sell_fraction=number(band, "multiplierDown") if band else None,
            trading=info["status"] == "TRADING",
        )
    return found


def with_leverage(rules: dict[InstrumentId, Instrument], rows: Iterable[Any]) -> dict[InstrumentId, Instrument]:
    """The rules with what a position may be worth at each leverage, from the rows of leverageBracket."""
    caps = {row["symbol"]: tuple(_cap(step) for step in row["brackets"]) for row in rows}
    return {
        name: rule
        if not caps.get(rule.market_id)
        else msgspec.structs.replace(
            rule,
            max_leverage=Decimal(max(leverage for leverage, _ in caps[rule.market_id])),
            notional_caps=caps[rule.market_id],
        )
        for name, rule in rules.items()
    }


def _cap(step: Any) -> tuple[int, Decimal]:
    return int(step["initialLeverage"]), Decimal(str(step["notionalCap"]))
