"""Bybit V5: the venue's filters and fees → the rules of each instrument."""

from collections.abc import Iterable
from typing import Any

import msgspec

from tradingd.domain.errors import BadInstrument
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.numbers import ZERO
from tradingd.venues.translate import number, number_or_none, number_or_zero


def instruments(venue: VenueId, markets: Iterable[Any]) -> dict[InstrumentId, Instrument]:
    """The USDT perpetuals among ccxt's markets, with the venue's own filters, read as the strings they are."""
    found: dict[InstrumentId, Instrument] = {}
    for market in markets:
        info = market["info"]
        if info.get("contractType") != "LinearPerpetual" or info.get("settleCoin") != "USDT":
            continue
        try:
            name = InstrumentId.parse(f"{market['symbol']}@{venue}")
        except BadInstrument:  # a few listings have names that no id can hold; they cannot be configured either
            continue
        lot, price = info["lotSizeFilter"], info["priceFilter"]
        largest = number(lot, "maxOrderQty")
        found[name] = Instrument(
            id=name,
            market_id=info["symbol"],
            tick_size=number(price, "tickSize"),
            lot_size=number(lot, "qtyStep"),
            min_quantity=number(lot, "minOrderQty"),
            max_quantity=largest,
            max_market_quantity=number_or_none(lot, "maxMktOrderQty") or largest,
            min_notional=number_or_zero(lot, "minNotionalValue"),
            min_price=number_or_zero(price, "minPrice"),
            max_price=number_or_none(price, "maxPrice"),
            max_leverage=number_or_none(info.get("leverageFilter") or {}, "maxLeverage"),
            trading=info["status"] == "Trading",
        )
    return found


def with_caps(rule: Instrument, rows: Iterable[Any]) -> Instrument:
    """The rule with what a position may be worth at each leverage, from its rows of risk-limit."""
    mine = [row for row in rows if row["symbol"] == rule.market_id]
    if not mine:
        return rule
    caps = tuple((int(number(row, "maxLeverage")), number(row, "riskLimitValue")) for row in mine)
    highest = max(number(row, "maxLeverage") for row in mine)
    return msgspec.structs.replace(rule, max_leverage=highest, notional_caps=caps)


def with_fees(rules: dict[InstrumentId, Instrument], rows: Iterable[Any]) -> dict[InstrumentId, Instrument]:
    """The rules with the account's own fees: ccxt's are a default for everybody, and too high."""
    fees = {row["symbol"]: (number(row, "takerFeeRate"), number(row, "makerFeeRate")) for row in rows}
    return {
        name: rule
        if rule.market_id not in fees
        else msgspec.structs.replace(
            rule,
            taker_fee_fraction=max(fees[rule.market_id][0], ZERO),
            maker_fee_fraction=max(fees[rule.market_id][1], ZERO),
        )
        for name, rule in rules.items()
    }
