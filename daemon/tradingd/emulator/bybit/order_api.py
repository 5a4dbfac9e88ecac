"""Creating, amending and cancelling: acknowledged by the gateway first, decided by the engine a moment later."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tradingd.emulator.bybit.desk import Attached, Desk
from tradingd.emulator.bybit.errors import CANCELS, VenueError, from_refusal, invalid
from tradingd.emulator.bybit.lookups import (
    Entity,
    is_open,
    matches_filter,
    newest,
    order_filter,
    row_of,
    true_entity,
)
from tradingd.emulator.bybit.params import Params
from tradingd.emulator.bybit.payloads import OF_POSITION, Json, public_id, public_number, shown_link
from tradingd.emulator.core.checks import check_plain
from tradingd.emulator.core.filters import ConditionalDraft, Draft
from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.records import ZERO, Conditional, ConditionalStatus, Order, Status
from tradingd.emulator.core.refusal import Reason, Refused

MAX_CONDITIONALS = 10
"""Per symbol, without those of the position."""
_TIMES_IN_FORCE = {"GTC": "GTC", "IOC": "IOC", "FOK": "FOK", "PostOnly": "GTX"}
_TRIGGERS_BY = {"LastPrice": "CONTRACT_PRICE", "MarkPrice": "MARK_PRICE", "IndexPrice": "MARK_PRICE"}


def check_position_idx(desk: Desk, params: Params) -> None:
    """positionIdx must fit the mode of the account; what fits hedge mode is beyond this venue, and refused too."""
    index = params.integer("positionIdx") or 0
    if index not in (0, 1, 2):
        raise invalid("positionIdx")
    if desk.exchange.account.is_hedged or index:
        raise VenueError(10001, "position idx not match position mode")


def working_type(params: Params, name: str) -> str:
    """Which price triggers, in the core's words."""
    return _TRIGGERS_BY[params.choice(name, "LastPrice", tuple(_TRIGGERS_BY))]


def create(desk: Desk, params: Params) -> Json:
    """POST /v5/order/create: 0 says that it was understood, not that it will be taken."""
    instrument = desk.instrument(params)
    side = params.side()
    kind = params.need("orderType")
    if kind not in ("Market", "Limit"):
        raise VenueError(10001, "orderType invalid")
    check_position_idx(desk, params)
    time_in_force = params.choice("timeInForce", "GTC", tuple(_TIMES_IN_FORCE))
    if kind == "Market" and time_in_force == "PostOnly":
        raise invalid("timeInForce")
    price = params.need_number("price") if kind == "Limit" else ZERO
    quantity = params.need_number("qty")
    link_id = params.link_id()
    if link_id and link_id in desk.link_ids:
        raise VenueError(110072)
    closes_all = not quantity and params.flag("reduceOnly") and params.flag("closeOnTrigger")
    draft = Draft(
        symbol=instrument.symbol,
        side=side,
        kind=kind.upper(),
        quantity=_truncated(quantity, instrument),
        price=price,
        time_in_force=_TIMES_IN_FORCE[time_in_force] if kind == "Limit" else "IOC",
        reduce_only=params.flag("reduceOnly") or params.flag("closeOnTrigger"),
        client_order_id=link_id,
    )
    if params.has("triggerPrice"):
        return _create_conditional(desk, params, draft, closes_all)
    if closes_all:
        draft = msgspec.structs.replace(draft, quantity=abs(desk.exchange.account.positions[draft.symbol].quantity))
        if not draft.quantity:
            raise VenueError(110017)
    return _create_plain(desk, params, draft)


def _truncated(quantity: Decimal, instrument: Instrument) -> Decimal:
    return quantity // instrument.lot_size * instrument.lot_size if quantity > 0 else quantity


def _create_plain(desk: Desk, params: Params, draft: Draft) -> Json:
    """What the gateway can see by itself is refused at once; the book and what changes meanwhile is the engine's."""
    try:
        check_plain(desk.exchange, draft, against_book=False)
    except Refused as refusal:
        raise _reducing(desk, draft, refusal) from refusal
    number = desk.exchange.reserve_id()
    _remember(desk, draft.client_order_id, number)
    attached = _attached(desk, params, draft)
    if attached is not None:
        desk.attached[number] = attached
        desk.keep_attached()
    end_ms = desk.end_next_in_ms
    desk.engine.hand_over(lambda: _enter(desk, draft, number, end_ms))
    return {"orderId": public_id(number), "orderLinkId": draft.client_order_id}


def _reducing(desk: Desk, draft: Draft, refusal: Refused) -> VenueError:
    if refusal.reason is Reason.REDUCE_ONLY and desk.exchange.account.positions[draft.symbol].quantity:
        return VenueError(110017, "reduce-only order has same side with current position")
    return from_refusal(refusal)


def _remember(desk: Desk, link_id: str, number: int) -> None:
    if link_id:
        desk.link_ids[link_id] = number


def _enter(desk: Desk, draft: Draft, number: int, end_in_ms: int | None) -> None:
    """The engine looks at it; what it does not take is told on the order stream, and is in the history."""
    exchange = desk.exchange
    exchange.end_next_in_ms = end_in_ms
    try:
        exchange.submit(draft, number)
    except Refused as refusal:
        status = Status.CANCELED if refusal.reason in CANCELS else Status.REJECTED
        order = exchange.drafted(draft, draft.quantity, number)
        exchange.store(msgspec.structs.replace(order, status=status, reason=refusal.reason.value), status.value)
    finally:
        exchange.end_next_in_ms = None


def _attached(desk: Desk, params: Params, draft: Draft) -> Attached | None:
    """TP and SL for the position that the order opens, whole position only."""
    take_profit, stop_loss = params.number("takeProfit") or ZERO, params.number("stopLoss") or ZERO
    if not take_profit and not stop_loss:
        return None
    if params.text("tpslMode") == "Partial" or params.has("tpLimitPrice") or params.has("slLimitPrice"):
        raise VenueError(10001, "the built-in venue attaches TP and SL to the whole position only")
    base = draft.price or desk.exchange.last_price(draft.symbol)
    for name, level, sign in (("TakeProfit", take_profit, 1), ("StopLoss", stop_loss, -1)):
        if level and (level - base) * draft.side * sign <= 0:
            raise VenueError(
                10001,
                f"{name}:{level:f} set for {'Buy' if draft.side > 0 else 'Sell'} position is on "
                f"the wrong side of base_price:{base:f}",
            )
    return Attached(
        take_profit,
        stop_loss,
        params.choice("tpTriggerBy", "LastPrice", tuple(_TRIGGERS_BY)),
        params.choice("slTriggerBy", "LastPrice", tuple(_TRIGGERS_BY)),
    )


def _create_conditional(desk: Desk, params: Params, draft: Draft, closes_all: bool) -> Json:
    direction = params.integer("triggerDirection")
    if direction not in (1, 2):
        raise invalid("triggerDirection")
    triggers = desk.exchange.triggers
    own = [each for each in triggers.waiting[draft.symbol].values() if each.time_in_force != OF_POSITION]
    if len(own) >= MAX_CONDITIONALS:
        raise VenueError(110009)
    conditional = ConditionalDraft(
        symbol=draft.symbol,
        side=draft.side,
        kind="STOP_MARKET" if draft.kind == "MARKET" else "STOP",
        is_take_profit=(draft.side > 0) != (direction == 1),
        trigger_price=params.need_number("triggerPrice"),
        quantity=draft.quantity,
        price=draft.price,
        close_position=closes_all,
        reduce_only=draft.reduce_only,
        working_type=working_type(params, "triggerBy"),
        time_in_force=draft.time_in_force,
        client_order_id=draft.client_order_id,
    )
    try:
        order = triggers.submit(conditional)
    except Refused as refusal:
        raise _trigger_error(refusal, rises=direction == 1) from refusal
    _remember(desk, draft.client_order_id, order.conditional_id)
    return {"orderId": public_id(order.conditional_id), "orderLinkId": draft.client_order_id}


def _trigger_error(refusal: Refused, rises: bool) -> VenueError:
    if refusal.reason is Reason.WOULD_TRIGGER:
        return VenueError(110092 if rises else 110093)
    return from_refusal(refusal)


# -- cancelling -------------------------------------------------------------------------------------------------


def cancel(desk: Desk, params: Params) -> Json:
    """POST /v5/order/cancel: plain and conditional orders alike."""
    entity = true_entity(desk, params)
    if not is_open(entity) or (isinstance(entity, Conditional) and entity.status is not ConditionalStatus.NEW):
        raise VenueError(110001)
    return _cancel(desk, entity)


def _cancel(desk: Desk, entity: Entity) -> Json:
    number = public_number(entity)
    desk.engine.hand_over(lambda: _take_out(desk, number))
    return {"orderId": public_id(number), "orderLinkId": shown_link(entity.client_order_id)}


def _take_out(desk: Desk, number: int) -> None:
    """An order that filled on the way is told once more, as one that the cancel did not find."""
    entity = newest(desk, number)
    if isinstance(entity, Conditional) and entity.status is ConditionalStatus.NEW:
        desk.exchange.triggers.cancel(entity)
    elif isinstance(entity, Order) and entity.is_open:
        desk.exchange.cancel(entity)
    elif isinstance(entity, Order) and entity.status is Status.FILLED:
        row = row_of(desk, entity)
        row.update(cancelType="CancelByUser", rejectReason="EC_OrigClOrdIDDoesNotExist")
        desk.streams.publish("order", row)


def cancel_all(desk: Desk, params: Params) -> Json:
    """POST /v5/order/cancel-all: all kinds, those of the position too, unless orderFilter says otherwise."""
    params.check_category()
    wanted = order_filter(params)
    symbols = _symbols(desk, params)
    found: list[Entity] = []
    for symbol in symbols:
        found += desk.exchange.open_orders[symbol].values()
        found += desk.exchange.triggers.waiting[symbol].values()
    rows = [_cancel(desk, entity) for entity in found if matches_filter(desk, entity, wanted)]
    return {"list": rows, "success": "1"}


def _symbols(desk: Desk, params: Params) -> list[str]:
    symbol = params.text("symbol")
    if symbol is not None:
        return [desk.named(symbol).symbol]
    if params.text("settleCoin") != "USDT" and not params.has("baseCoin"):
        raise VenueError(10001, "params error: symbol, baseCoin or settleCoin is required")
    base = params.text("baseCoin")
    return [each for each in desk.exchange.feeds if base in (None, desk.exchange.instruments[each].base)]


# -- amending ---------------------------------------------------------------------------------------------------


def amend(desk: Desk, params: Params) -> Json:
    """POST /v5/order/amend: price, quantity or trigger."""
    entity = true_entity(desk, params)
    if not is_open(entity):
        raise VenueError(110001)
    price = params.number("price") or entity.price
    quantity = params.number("qty") or entity.quantity
    trigger = params.number("triggerPrice") or entity.trigger_price
    if (price, quantity, trigger) == (entity.price, entity.quantity, entity.trigger_price):
        raise from_refusal(Refused(Reason.NOTHING_TO_CHANGE))
    number, link_id = public_number(entity), shown_link(entity.client_order_id)
    if isinstance(entity, Conditional):
        try:
            desk.exchange.triggers.amend(entity, trigger, quantity, price)
        except Refused as refusal:
            raise _trigger_error(refusal, entity.fires_above) from refusal
    else:
        if entity.kind != "LIMIT":
            raise from_refusal(Refused(Reason.NOT_A_LIMIT_ORDER))
        desk.engine.hand_over(lambda: _change(desk, number, price, quantity))
    return {"orderId": public_id(number), "orderLinkId": link_id}


def _change(desk: Desk, number: int, price: Decimal, quantity: Decimal) -> None:
    """What the engine does not change stays, and is told as it is, with the reason."""
    order = newest(desk, number)
    if not isinstance(order, Order):
        return
    try:
        desk.exchange.amend(order, price, quantity)
    except Refused:
        row = row_of(desk, desk.exchange.orders[order.order_id])
        row.update(rejectReason="EC_Others")
        desk.streams.publish("order", row)
