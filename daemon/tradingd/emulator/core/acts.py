"""What the venue, or a human with the same account, does without being asked: the acts of a fault script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from tradingd.emulator.core import admin
from tradingd.emulator.core.admin import Desk
from tradingd.emulator.core.filters import Draft
from tradingd.emulator.core.instruments import Filters
from tradingd.emulator.core.liquidation import DELEVERAGING
from tradingd.emulator.core.records import BUY, SELL
from tradingd.emulator.core.refusal import Refused

Values = Mapping[str, object]
Own = Mapping[str, Callable[[Values], str]]


def play(desk: Desk, kind: str, values: Values, own: Own) -> str:
    """Do it; says in the past tense what was done. `own` are the acts of one dialect; each shadows one of the same name
    here. Raises ValueError for an act that the dialect does not know.
    """
    if kind in own:
        return own[kind](values)
    if kind in admin.ACTS:
        return admin.ACTS[kind](desk, values)
    act = _ACTS.get(kind)
    if act is None:
        raise ValueError(f"no act {kind!r}; there are: {', '.join((*own, *_ACTS, *admin.ACTS))}")
    symbol = values.get("symbol")
    if symbol is not None and symbol not in desk.exchange.feeds:
        return f"had no {symbol} to {kind.replace('_', ' ')}"
    return act(desk, values)


def _shift_clock(desk: Desk, values: Values) -> str:
    offset_ms = int(str(values["offset_ms"]))
    desk.skew_ms = round(offset_ms * desk.lags.scale)
    return f"set its clock {offset_ms:+} ms off" if offset_ms else "set its clock right"


def _expire_conditionals(desk: Desk, values: Values) -> str:
    triggers, ended = desk.exchange.triggers, 0
    for symbol in desk.exchange.feeds:
        if values.get("symbol") in (None, symbol):
            ended += triggers.expire_all(symbol)
    return f"let {ended} conditional orders expire"


def _change_filters(desk: Desk, values: Values) -> str:
    symbol, exchange = str(values["symbol"]), desk.exchange
    changes = {key: Decimal(str(value)) for key, value in values.items() if key != "symbol"}
    old = exchange.instruments[symbol]
    if "lot_size" in changes:
        changes["lot_size"] = max(old.lot_unit, changes["lot_size"] // old.lot_unit * old.lot_unit)
    admin.change_filters(desk, symbol, msgspec.convert(changes, Filters))
    told = ", ".join(f"{key} {getattr(old, key)} to {value}" for key, value in changes.items())
    return f"changed the filters of {symbol}: {told}"


def _liquidate(desk: Desk, values: Values) -> str:
    symbol = str(values["symbol"])
    held = _held(desk, symbol)
    desk.exchange.liquidator.liquidate(symbol)
    return f"liquidated {held} {symbol}" if held else f"found nothing of {symbol} to liquidate"


def _deleverage(desk: Desk, values: Values) -> str:
    symbol = str(values["symbol"])
    held = _held(desk, symbol)
    desk.exchange.liquidator.close(symbol, DELEVERAGING)
    return f"deleveraged {held} {symbol}" if held else f"found nothing of {symbol} to deleverage"


def _charge_funding(desk: Desk, values: Values) -> str:
    symbol, rate = str(values["symbol"]), Decimal(str(values["rate_fraction"]))
    desk.exchange.funding.charge(symbol, rate)
    return f"charged funding of {rate} on {_held(desk, symbol)} {symbol}"


def _human(desk: Desk, values: Values) -> str:
    symbol, act = str(values["symbol"]), str(values["act"])
    if act == "cancel_orders":
        orders = list(desk.exchange.open_orders[symbol].values())
        for order in orders:
            desk.exchange.cancel(order)
        return f"cancelled {len(orders)} orders of {symbol} by hand"
    if act == "cancel_conditionals":
        waiting = list(desk.exchange.triggers.waiting[symbol].values())
        for conditional in waiting:
            desk.exchange.triggers.cancel(conditional)
        return f"cancelled {len(waiting)} conditional orders of {symbol} by hand"
    held = _held(desk, symbol)
    if act == "open":
        side, quantity = (BUY if values["side"] == "buy" else SELL), Decimal(str(values["quantity"]))
    else:
        side, quantity = (SELL if held > 0 else BUY), abs(held) * (2 if act == "flip" else 1)
        if not held:
            return f"had nothing of {symbol} to {act} by hand"
    draft = Draft(
        symbol=symbol,
        side=side,
        kind="MARKET",
        quantity=quantity,
        reduce_only=act == "close",
        client_order_id=desk.human_client_id(),
    )
    try:
        order = desk.exchange.submit(draft)
    except Refused as refusal:
        return f"tried to {act} {quantity} {symbol} by hand and was refused: {refusal.reason.name.lower()}"
    return f"{'bought' if side == BUY else 'sold'} {order.filled} {symbol} by hand, to {act}"


def _held(desk: Desk, symbol: str) -> Decimal:
    return desk.exchange.account.positions[symbol].quantity


_ACTS: Mapping[str, Callable[[Desk, Values], str]] = {
    "shift_clock": _shift_clock,
    "expire_conditionals": _expire_conditionals,
    "change_filters": _change_filters,
    "liquidate": _liquidate,
    "deleverage": _deleverage,
    "charge_funding": _charge_funding,
    "human": _human,
}
