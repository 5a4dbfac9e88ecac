"""What a plain order must pass before it is taken, and what an account may carry; nothing here changes anything."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tradingd.emulator.core.filters import Draft, check_band, check_notional, check_quantity, check_tick
from tradingd.emulator.core.records import BUY, ZERO, Order
from tradingd.emulator.core.refusal import Reason, Refused

if TYPE_CHECKING:
    from tradingd.emulator.core.exchange import Exchange

MAX_OPEN_ORDERS_PER_SYMBOL = 200
_OPENS_NOTHING = ("PRE_SETTLE", "PRE_DELIVERING")
_CLOSED = ("CLOSE", "DELIVERED")


def check_plain(exchange: Exchange, draft: Draft, against_book: bool = True) -> Decimal:
    """All checks of a plain order; gives the quantity, cut down to the position for a reduce-only order.

    A gateway that answers before the engine has seen the order leaves out what the book decides.
    """
    instrument = exchange.instruments[draft.symbol]
    mark = exchange.mark_price(draft.symbol)
    check_status(exchange, draft.symbol, draft.reduce_only)
    check_quantity(instrument, draft.quantity, draft.kind == "MARKET")
    if draft.kind == "LIMIT":
        check_tick(instrument, draft.price)
        check_band(instrument, draft.side, draft.price, mark)
    if exchange.has_open_id(draft.client_order_id):
        raise Refused(Reason.DUPLICATE_ID)
    if len(exchange.open_orders[draft.symbol]) >= exchange.max_open_orders:
        raise Refused(Reason.TOO_MANY_ORDERS)
    quantity = draft.quantity
    if draft.reduce_only:
        quantity = min(quantity, reducible(exchange, draft.symbol, draft.side))
    else:
        check_notional(instrument, quantity, draft.price if draft.kind == "LIMIT" else mark)
        check_margin(exchange, draft.symbol, draft.side, quantity, draft.price)
    if not against_book:
        return quantity
    limit = instrument.limit_ticks(draft.price, draft.side) if draft.kind == "LIMIT" else None
    check_immediate(exchange, draft.symbol, draft.side, draft.time_in_force, quantity, limit)
    return quantity


def check_status(exchange: Exchange, symbol: str, only_reduces: bool) -> None:
    """Whether the symbol takes such an order today."""
    instrument = exchange.instruments[symbol]
    if instrument.status in _CLOSED:
        raise Refused(Reason.CLOSED)
    if instrument.status in _OPENS_NOTHING:
        if not only_reduces:
            raise Refused(Reason.NO_OPENING)
    elif instrument.status != "TRADING":
        raise Refused(Reason.NOT_TRADING)
    if instrument.reduce_only_code and not only_reduces:
        raise Refused(Reason.ONLY_REDUCE, str(instrument.reduce_only_code))


def reducible(exchange: Exchange, symbol: str, side: int) -> Decimal:
    """How much an order of that side can take off the position; raises Refused if nothing."""
    held = exchange.account.positions[symbol].quantity
    if held * side >= 0:
        raise Refused(Reason.REDUCE_ONLY)
    return abs(held)


def check_margin(exchange: Exchange, symbol: str, side: int, quantity: Decimal, price: Decimal) -> None:
    """Whether the account can carry the order: initial margin of everything, and the loss it opens with."""
    account, mark, last = exchange.account, exchange.mark_price(symbol), exchange.last_price(symbol)
    held = account.positions[symbol].quantity
    worst = price or last * (Decimal("1.0005") if side == BUY else Decimal(1))
    probe = Order(0, "", symbol, side, "LIMIT", quantity, worst, "GTC", False, 0, 0)
    totals = exchange.totals(probe)
    leverage = account.leverage[symbol]
    bracket = exchange.instruments[symbol].bracket(totals.symbols[symbol].initial * leverage)
    if bracket.leverage < leverage and held * side >= 0:
        raise Refused(Reason.LEVERAGE_CAP)
    added = max(ZERO, quantity - (abs(held) if held * side < 0 else ZERO))
    if added == 0:
        return
    if totals.bound + added * max(ZERO, (worst - mark) * side) > totals.free_equity:
        raise Refused(Reason.MARGIN)


def check_immediate(
    exchange: Exchange, symbol: str, side: int, time_in_force: str, quantity: Decimal, limit_ticks: int | None
) -> None:
    """What the other side of the book decides: post-only, fill-or-kill, and a market order without a price in reach."""
    instrument = exchange.instruments[symbol]
    bound = exchange.market_bound(symbol, side) if limit_ticks is None else limit_ticks
    reachable = [size for price, size in exchange.book(symbol, side) if (price - bound) * side <= 0]
    if limit_ticks is None and not reachable:
        raise Refused(Reason.MARKET_BAND)
    if time_in_force == "GTX" and reachable:
        raise Refused(Reason.POST_ONLY)
    if time_in_force == "FOK" and sum(reachable) * instrument.lot_unit < quantity:
        raise Refused(Reason.FILL_OR_KILL)
