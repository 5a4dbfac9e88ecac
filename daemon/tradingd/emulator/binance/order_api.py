"""Plain orders over REST: they never show conditional orders, and conditional orders never show here."""

from __future__ import annotations

import msgspec

from tradingd.emulator.binance.desk import Desk
from tradingd.emulator.binance.errors import VenueError, from_refusal, missing
from tradingd.emulator.binance.params import Params
from tradingd.emulator.binance.payloads import Json, fill_row, order_reply, order_row
from tradingd.emulator.core.filters import Draft
from tradingd.emulator.core.liquidation import DELEVERAGING, LIQUIDATION
from tradingd.emulator.core.records import ZERO, Order, Status
from tradingd.emulator.core.refusal import Refused

_CONDITIONAL_TYPES = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
_FORCED = {LIQUIDATION: "LIQUIDATION", DELEVERAGING: "ADL"}
_TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD")
_LEAST_GTD_MS, _LAST_GTD_MS = 600_000, 253_402_300_799_000
WEEK_MS = 7 * 86_400_000


def check_position_side(desk: Desk, params: Params) -> None:
    """The position side must fit the account's mode; orders that fit hedge mode are beyond this venue, and refused."""
    side = params.text("positionSide") or "BOTH"
    if side not in ("BOTH", "LONG", "SHORT"):
        raise VenueError(-1102, "Mandatory parameter 'positionSide' was not sent, was empty/null, or malformed.")
    if desk.exchange.account.is_hedged == (side == "BOTH"):
        raise VenueError(-4061)
    if desk.exchange.account.is_hedged:
        if params.text("reduceOnly"):
            raise VenueError(-1106, "Parameter 'reduceonly' sent when not required.")
        raise VenueError(-4060, "The built-in venue keeps no hedge positions; switch back to one-way mode.")


def _good_till(desk: Desk, params: Params, time_in_force: str | None) -> int:
    """When a GTD order ends, in whole seconds; 0 for all others."""
    if time_in_force != "GTD":
        if params.text("goodTillDate"):
            raise VenueError(-1106, "Parameter 'goodTillDate' sent when not required.")
        return 0
    moment_ms = params.need_integer("goodTillDate") // 1000 * 1000
    if not desk.now_ms + _LEAST_GTD_MS < moment_ms < _LAST_GTD_MS:
        raise VenueError(-5040)
    return moment_ms


def create(desk: Desk, params: Params) -> Json:
    """POST /fapi/v1/order; ACK answers before any fill shows, RESULT with the final state of a market order."""
    instrument = desk.instrument(params)
    side, kind = params.side(), params.need("type")
    if kind in _CONDITIONAL_TYPES:
        raise VenueError(-4120)
    if kind not in ("LIMIT", "MARKET"):
        raise VenueError(-1116)
    check_position_side(desk, params)
    if params.flag("closePosition"):
        raise VenueError(-4136)
    time_in_force = params.text("timeInForce")
    price = params.number("price")
    if kind == "LIMIT" and time_in_force is None:
        raise missing("timeInForce")
    if time_in_force is not None and time_in_force not in _TIMES_IN_FORCE:
        raise VenueError(-1115)
    quantity = params.need_number("quantity")
    if kind == "LIMIT":
        price = params.need_number("price")
    elif price is not None:
        raise VenueError(-1106, "Parameter 'price' sent when not required.")
    draft = Draft(
        symbol=instrument.symbol,
        side=side,
        kind=kind,
        quantity=quantity,
        price=price or ZERO,
        time_in_force=time_in_force or "GTC",
        reduce_only=params.flag("reduceOnly"),
        client_order_id=params.client_id("newClientOrderId") or desk.new_client_id(),
        good_till_ms=_good_till(desk, params, time_in_force),
    )
    try:
        order = desk.exchange.submit(draft)
    except Refused as refusal:
        raise from_refusal(refusal) from refusal
    shows_result = params.text("newOrderRespType") == "RESULT"
    if not shows_result or (kind == "LIMIT" and order.time_in_force not in ("IOC", "FOK")):
        order = msgspec.structs.replace(order, status=Status.NEW, filled=ZERO, quote=ZERO)
    return order_reply(order, instrument)


def _ids(params: Params) -> tuple[int | None, str | None]:
    order_id, client_id = params.integer("orderId"), params.text("origClientOrderId")
    if order_id is None and client_id is None:
        raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return order_id, client_id


def _true_order(desk: Desk, params: Params, code: int) -> Order:
    """The order itself, not what look-ups show of it: cancels and amends act on the truth."""
    symbol = desk.instrument(params).symbol
    order_id, client_id = _ids(params)
    if order_id is not None:
        order = desk.exchange.orders.get(order_id)
        found = [order] if order is not None and order.symbol == symbol else []
    else:
        found = [each for each in desk.exchange.open_orders[symbol].values() if each.client_order_id == client_id]
    if not found:
        raise VenueError(code)
    return found[0]


def query(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/order."""
    instrument = desk.instrument(params)
    order = desk.views.order(instrument.symbol, *_ids(params))
    if order is None:
        raise VenueError(-2013)
    return order_row(order, instrument)


def open_order(desk: Desk, params: Params) -> Json:
    """GET /fapi/v1/openOrder."""
    instrument = desk.instrument(params)
    order = desk.views.order(instrument.symbol, *_ids(params))
    if order is None or not order.is_open:
        raise VenueError(-2013)
    return order_row(order, instrument)


def cancel(desk: Desk, params: Params) -> Json:
    """DELETE /fapi/v1/order."""
    order = _true_order(desk, params, -2011)
    try:
        order = desk.exchange.cancel(order)
    except Refused as refusal:
        raise from_refusal(refusal) from refusal
    return order_reply(order, desk.exchange.instruments[order.symbol])


def amend(desk: Desk, params: Params) -> Json:
    """PUT /fapi/v1/order: price and quantity of a limit order."""
    params.side()
    quantity, price = params.need_number("quantity"), params.need_number("price")
    order = _true_order(desk, params, -2013)
    try:
        order = desk.exchange.amend(order, price, quantity)
    except Refused as refusal:
        raise from_refusal(refusal) from refusal
    return order_reply(order, desk.exchange.instruments[order.symbol])


def cancel_all(desk: Desk, params: Params) -> Json:
    """DELETE /fapi/v1/allOpenOrders."""
    symbol = desk.instrument(params).symbol
    for order in list(desk.exchange.open_orders[symbol].values()):
        desk.exchange.cancel(order)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def open_orders(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v1/openOrders, one symbol or all."""
    orders = desk.views.open_orders(desk.symbol_filter(params))
    return [order_row(order, desk.exchange.instruments[order.symbol]) for order in orders]


def all_orders(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v1/allOrders: seven days at most, from an order id on, or the newest."""
    symbol = desk.symbol_filter(params)
    first_id = params.integer("orderId")
    start_ms, end_ms = _span(desk, params)
    rows = [
        order
        for order in desk.views.all_orders(symbol)
        if (order.order_id >= first_id if first_id is not None else start_ms <= order.created_ms <= end_ms)
    ]
    limit = params.limit(500, 1000)
    forward = first_id is not None or params.integer("startTime") is not None
    rows = rows[:limit] if forward else rows[-limit:]
    return [order_row(order, desk.exchange.instruments[order.symbol]) for order in rows]


def _span(desk: Desk, params: Params) -> tuple[int, int]:
    start_ms, end_ms = params.integer("startTime"), params.integer("endTime")
    if start_ms is not None and end_ms is not None:
        if start_ms > end_ms or end_ms - start_ms > WEEK_MS:
            raise VenueError(-4166, "Search window is restricted to recent 7 days or the given 7 days.")
        return start_ms, end_ms
    if start_ms is not None:
        return start_ms, start_ms + WEEK_MS
    end_ms = desk.now_ms if end_ms is None else end_ms
    return end_ms - WEEK_MS, end_ms


def user_trades(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v1/userTrades: seven days at most, from a trade id on, or the newest."""
    instrument = desk.instrument(params)
    from_id, order_id = params.integer("fromId"), params.integer("orderId")
    if from_id is not None and (params.text("startTime") or params.text("endTime")):
        raise VenueError(-1128, "Combination of optional parameters invalid.")
    start_ms, end_ms = _span(desk, params)
    rows = [
        fill
        for fill in desk.views.fills(instrument.symbol)
        if (fill.trade_id >= from_id if from_id is not None else start_ms <= fill.time_ms <= end_ms)
        and (order_id is None or fill.order_id == order_id)
    ]
    limit = params.limit(500, 1000)
    forward = from_id is not None or params.text("startTime") is not None
    return [fill_row(fill, instrument) for fill in (rows[:limit] if forward else rows[-limit:])]


def cancel_batch(desk: Desk, params: Params) -> list[Json]:
    """DELETE /fapi/v1/batchOrders: up to ten plain orders by one kind of id, each with its own verdict.

    Documented is orderIdList; ccxt sends orderidlist.
    """
    symbol = desk.instrument(params).symbol
    kind = "orderId" if params.text("orderIdList") or params.text("orderidlist") else "origClientOrderId"
    name = f"{kind}List" if params.text(f"{kind}List") else f"{kind}List".lower()
    try:
        ids = msgspec.json.decode(params.need(name), type=list[int | str])
    except msgspec.DecodeError:
        raise missing(f"{kind}List") from None
    if not 0 < len(ids) <= 10:
        raise VenueError(-4032, "Exceed maximum cancel order size.")
    out: list[Json] = []
    for each in ids:
        try:
            out.append(cancel(desk, Params({"symbol": symbol, kind: str(each)})))
        except VenueError as error:
            out.append({"code": error.code, "msg": error.text})
    return out


def force_orders(desk: Desk, params: Params) -> list[Json]:
    """GET /fapi/v1/forceOrders: orders of the venue's own, newest last."""
    symbol, wanted = desk.symbol_filter(params), params.text("autoCloseType")
    start_ms, end_ms = _span(desk, params)
    rows = []
    for order in desk.views.all_orders(symbol):
        kind = next((kind for prefix, kind in _FORCED.items() if order.client_order_id.startswith(prefix)), None)
        if kind is not None and wanted in (None, kind) and start_ms <= order.created_ms <= end_ms:
            rows.append(order_row(order, desk.exchange.instruments[order.symbol]))
    return rows[-params.limit(50, 100) :]


def create_batch(desk: Desk, params: Params) -> list[Json]:
    """POST /fapi/v1/batchOrders: up to five plain orders, each with its own verdict."""
    try:
        drafts = msgspec.json.decode(params.need("batchOrders"), type=list[dict[str, str | int | float | bool]])
    except msgspec.DecodeError:
        raise missing("batchOrders") from None
    if not 0 < len(drafts) <= 5:
        raise VenueError(-4082, "Invalid number of batch place orders.")
    desk.limits.charge_orders(len(drafts), desk.now_ms)
    out: list[Json] = []
    for draft in drafts:
        values = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in draft.items()}
        try:
            out.append(create(desk, Params(values)))
        except VenueError as error:
            out.append({"code": error.code, "msg": error.text})
    return out
