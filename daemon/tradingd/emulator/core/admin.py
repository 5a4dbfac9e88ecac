"""What only who runs the built-in venue does, over `/_venue/act`: filters, prices, transfers, what keys may do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Protocol

import msgspec

from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.core.instruments import Filters
from tradingd.emulator.core.lags import Lags
from tradingd.emulator.core.ledger import Ledger
from tradingd.emulator.core.market import STEPS

Values = Mapping[str, object]
_SETTLES = ("SETTLING", "DELIVERING")


class Desk(Protocol):
    """What acts need of a dialect's desk."""

    skew_ms: int
    is_read_only: bool

    @property
    def exchange(self) -> Exchange:
        """The engine."""

    @property
    def ledger(self) -> Ledger:
        """Where changes are kept."""

    @property
    def lags(self) -> Lags:
        """Knows the time scale."""

    @property
    def now_ms(self) -> int:
        """Venue time."""

    def human_client_id(self) -> str:
        """What an order by hand carries."""


def change_filters(desk: Desk, symbol: str, filters: Filters) -> None:
    """Change what exchangeInfo shows and orders are held to; kept in the ledger. Settling ends orders and position."""
    exchange = desk.exchange
    exchange.instruments[symbol] = filters.on(exchange.instruments[symbol])
    changed = Filters.of(exchange.instruments[symbol])
    desk.ledger.set_meta(f"filters/{symbol}", msgspec.json.encode(changed).decode())
    if filters.status in _SETTLES:
        exchange.liquidator.settle_symbol(symbol)


def _set_filters(desk: Desk, values: Values) -> str:
    symbol = _symbol(desk, values)
    unknown = set(values) - {"symbol", *Filters.__struct_fields__}
    if unknown or len(values) < 2:
        raise ValueError(f"what to change of {symbol}? there are: {', '.join(Filters.__struct_fields__)}")
    try:
        filters = msgspec.convert(
            {name: value for name, value in values.items() if name != "symbol"}, Filters, strict=False
        )
    except msgspec.ValidationError as fault:
        raise ValueError(str(fault)) from fault
    change_filters(desk, symbol, filters)
    return f"changed {symbol}: {', '.join(f'{name} to {value}' for name, value in values.items() if name != 'symbol')}"


def _move_price(desk: Desk, values: Values) -> str:
    """All prices of the minute that are still to come, the mark price with them; the next minute goes on from there."""
    symbol, factor = _symbol(desk, values), 1 + number(values, "by_fraction")
    if not Decimal("0.01") < factor < 100:
        raise ValueError("by_fraction must be above -0.99 and below 99")
    feed = desk.exchange.feeds[symbol]
    first = min(feed.step(desk.now_ms) + 1, STEPS - 1)
    moved = [
        [*path[:first], *(max(1, round(price * factor)) for price in path[first:])]
        for path in (feed.minute.last, feed.minute.mark)
    ]
    feed.minute = msgspec.structs.replace(feed.minute, last=moved[0], mark=moved[1])
    desk.ledger.set_meta(f"market/{symbol}", desk.exchange.market_state(symbol))
    return f"moves the price of {symbol} by {factor - 1} with its next step"


def _transfer(desk: Desk, values: Values) -> str:
    usdt = number(values, "usdt")
    if -usdt > desk.exchange.totals().available:
        raise ValueError("more than is available")
    desk.exchange.book_income("", "TRANSFER", usdt)
    desk.exchange.listener.on_account((), desk.now_ms, "DEPOSIT" if usdt > 0 else "WITHDRAW")
    return f"transferred {usdt} USDT"


def _next_funding_rate(desk: Desk, values: Values) -> str:
    symbol, rate = _symbol(desk, values), number(values, "rate_fraction")
    desk.exchange.funding.set_next_rate(symbol, rate)
    return f"will charge {rate} on {symbol} at {desk.exchange.funding.next_ms}"


def _read_only(desk: Desk, values: Values) -> str:
    """The keys may look and not touch, until `on` is false."""
    desk.is_read_only = bool(values.get("on", True))
    return f"made the keys {'read-only' if desk.is_read_only else 'whole'}"


def _symbol(desk: Desk, values: Values) -> str:
    symbol = str(values.get("symbol"))
    if symbol not in desk.exchange.feeds:
        raise ValueError(f"no symbol {symbol!r}; there are: {', '.join(desk.exchange.feeds)}")
    return symbol


def number(values: Values, name: str) -> Decimal:
    try:
        number = Decimal(str(values[name]))
    except (KeyError, InvalidOperation):
        raise ValueError(f"{name} must be a number") from None
    if not number.is_finite():
        raise ValueError(f"{name} must be a number")
    return number


def _hedge_mode(desk: Desk, values: Values) -> str:
    """As if the user had set it in the app: `on` is true or false."""
    wanted = values.get("on")
    if not isinstance(wanted, bool):
        raise ValueError("on must be true or false")
    desk.exchange.account.is_hedged = wanted
    desk.ledger.set_meta("is_hedged", str(wanted).lower())
    return f"set the account to {'hedge' if wanted else 'one-way'} mode"


ACTS: Mapping[str, Callable[[Desk, Values], str]] = {
    "hedge_mode": _hedge_mode,
    "set_filters": _set_filters,
    "move_price": _move_price,
    "transfer": _transfer,
    "next_funding_rate": _next_funding_rate,
    "read_only": _read_only,
}
