"""The algo service: conditional orders, with lists and ids of their own."""

from __future__ import annotations

from decimal import Decimal

from tradingd.emulator.binance.desk import Desk
from tradingd.emulator.binance.errors import VenueError, from_refusal
from tradingd.emulator.binance.order_api import check_position_side
from tradingd.emulator.binance.params import Params
from tradingd.emulator.binance.payloads import Json, conditional_row
from tradingd.emulator.core.filters import ConditionalDraft, digits
from tradingd.emulator.core.records import ZERO, Conditional
from tradingd.emulator.core.refusal import Refused

_TRAILING = "TRAILING_STOP_MARKET"
_TYPES = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", _TRAILING)
_LEAST_CALLBACK, _MOST_CALLBACK = Decimal("0.1"), Decimal(10)
_TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTE_GTC")


def create(desk: Desk, params: Params) -> Json:
    """POST /fapi/v1/algoOrder."""
    instrument = desk.instrument(params)
    if params.need("algoType") != "CONDITIONAL":
        raise VenueError(-1102, "Mandatory parameter 'algoType' was not sent, was empty/null, or malformed.")
    side, kind = params.side(), params.need("type")
    if kind not in _TYPES:
        raise VenueError(-1116)
    check_position_side(desk, params)
    time_in_force = params.text("timeInForce") or "GTC"
    if time_in_force not in _TIMES_IN_FORCE:
        raise VenueError(-1115)
    working_type = params.text("workingType") or "CONTRACT_PRICE"
    if working_type not in ("CONTRACT_PRICE", "MARK_PRICE"):
        raise VenueError(-4031)
    close_position, reduce_only = params.flag("closePosition"), params.flag("reduceOnly")
    quantity, price = params.number("quantity"), params.number("price")
    if close_position:
        _check_close_position(kind, reduce_only, params)
    else:
        quantity = params.need_number("quantity")
    if kind in ("STOP", "TAKE_PROFIT"):
        price = params.need_number("price")
    callback, activation = _trailing(params) if kind == _TRAILING else (ZERO, ZERO)
    draft = ConditionalDraft(
        symbol=instrument.symbol,
        side=side,
        kind=kind,
        is_take_profit=kind.startswith("TAKE_PROFIT"),
        trigger_price=ZERO if callback else params.need_number("triggerPrice"),
        quantity=ZERO if close_position else quantity or ZERO,
        price=price or ZERO,
        close_position=close_position,
        reduce_only=reduce_only,
        working_type=working_type,
        time_in_force=time_in_force,
        price_protect=params.flag("priceProtect"),
        client_order_id=params.client_id("clientAlgoId") or desk.new_client_id(),
        callback_fraction=callback / 100,
        activation_price=activation,
    )
    try:
        return conditional_row(desk.exchange.triggers.submit(draft), instrument)
    except Refused as refusal:
        raise from_refusal(refusal) from refusal


def _check_close_position(kind: str, reduce_only: bool, params: Params) -> None:
    if kind not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
        raise VenueError(-4136, f"Target strategy invalid for orderType {kind},closePosition true")
    if params.text("quantity"):
        raise VenueError(-4137)
    if reduce_only:
        raise VenueError(-1106, "Parameter 'reduceonly' sent when not required.")
    if params.text("reduceOnly"):
        raise VenueError(-4138)


def _trailing(params: Params) -> tuple[Decimal, Decimal]:
    """Callback in percent and activation price, zero for none."""
    callback = params.need_number("callbackRate")
    if not _LEAST_CALLBACK <= callback <= _MOST_CALLBACK or digits(callback) > 1:
        raise VenueError(-1130, "Data sent for parameter 'callbackRate' is not valid.")
    activation = params.number("activatePrice")
    if activation is not None and activation <= 0:
        raise VenueError(-4135)
    return callback, activation or ZERO


def _ids(params: Params) -> tuple[int | None, str | None]:
    number, client_id = params.integer("algoId"), params.text("clientAlgoId")
    if number is None and client_id is None:
        raise VenueError(-1102, "Param 'algoId' or 'clientAlgoId' must be sent, but both were empty/null!")
    return number, client_id


def _row(desk: Desk, order: Conditional) -> Json:
    return conditional_row(order, desk.exchange.instruments[order.symbol])


def query(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/algoOrder."""
    order = desk.views.conditional(*_ids(params))
    if order is None:
        raise VenueError(-2013)
    return _row(desk, order)


def cancel(desk: Desk, params: Params) -> Json:
    """DELETE /fapi/v1/algoOrder: answers with ids only and its code as text."""
    number, client_id = _ids(params)
    triggers = desk.exchange.triggers
    if number is not None:
        order = triggers.orders.get(number)
    else:
        order = next(
            (
                each
                for waiting in triggers.waiting.values()
                for each in waiting.values()
                if each.client_order_id == client_id
            ),
            None,
        )
    if order is None:
        raise VenueError(-2011)
    try:
        order = triggers.cancel(order)
    except Refused as refusal:
        raise from_refusal(refusal) from refusal
    return {"algoId": order.conditional_id, "clientAlgoId": order.client_order_id, "code": "200", "msg": "success"}


def cancel_all(desk: Desk, params: Params) -> Json:
    """DELETE /fapi/v1/algoOpenOrders."""
    symbol = desk.instrument(params).symbol
    for order in list(desk.exchange.triggers.waiting[symbol].values()):
        desk.exchange.triggers.cancel(order)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def open_orders(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v1/openAlgoOrders, one symbol or all."""
    return [_row(desk, order) for order in desk.views.open_conditionals(desk.symbol_filter(params))]


def all_orders(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v1/allAlgoOrders, from an id on or the newest."""
    symbol = desk.instrument(params).symbol
    first, start_ms, end_ms = params.integer("algoId"), params.integer("startTime"), params.integer("endTime")
    rows = [
        order
        for order in desk.views.all_conditionals(symbol)
        if (first is None or order.conditional_id >= first)
        and (start_ms is None or order.created_ms >= start_ms)
        and (end_ms is None or order.created_ms <= end_ms)
    ]
    limit = params.limit(500, 1000)
    rows = rows[:limit] if first is not None or start_ms is not None else rows[-limit:]
    return [_row(desk, order) for order in rows]
