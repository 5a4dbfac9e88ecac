"""From ids to orders: the truth for who acts on them, the lagging views and the archive for who looks."""

from __future__ import annotations

from tradingd.emulator.bybit.desk import Desk
from tradingd.emulator.bybit.errors import VenueError
from tradingd.emulator.bybit.params import Params
from tradingd.emulator.bybit.payloads import (
    OF_POSITION,
    Json,
    conditional_row,
    number_of,
    order_row,
    public_number,
)
from tradingd.emulator.core.lags import Lagged
from tradingd.emulator.core.records import ZERO, Conditional, ConditionalStatus, Order

Entity = Order | Conditional


def is_open(entity: Entity) -> bool:
    """Whether it can still fill or fire."""
    if isinstance(entity, Order):
        return entity.is_open
    return entity.status in (ConditionalStatus.NEW, ConditionalStatus.TRIGGERING)


def is_over(entity: Entity) -> bool:
    """Whether nothing will come after it; a conditional order that fired goes on as its child."""
    if isinstance(entity, Order):
        return not entity.is_open
    return entity.status in (ConditionalStatus.CANCELED, ConditionalStatus.EXPIRED, ConditionalStatus.REJECTED)


def true_entity(desk: Desk, params: Params) -> Entity:
    """The order that a cancel or an amendment names, as it is now; orderId counts if both ids are there."""
    symbol = desk.instrument(params).symbol
    order_id, link_id = params.text("orderId"), params.text("orderLinkId")
    if order_id is None and link_id is None:
        raise VenueError(10001, "params error: orderId or orderLinkId is required")
    number = number_of(order_id) if order_id is not None else desk.link_ids.get(link_id or "")
    entity = None if number is None else newest(desk, number)
    if entity is None or entity.symbol != symbol:
        raise VenueError(110001)
    return entity


def newest(desk: Desk, number: int) -> Entity | None:
    """The order of a public number as it is now; the child of one that has fired."""
    conditional = desk.exchange.triggers.orders.get(number)
    if conditional is None:
        return desk.exchange.orders.get(number)
    return desk.exchange.orders.get(conditional.child_order_id, conditional)


def seen(desk: Desk, number: int) -> Entity | None:
    """The order of a public number as look-ups show it now."""
    conditional = desk.views.conditional(number, None)
    if conditional is not None:
        child = desk.views.order(conditional.symbol, conditional.child_order_id, None)
        return conditional if child is None else child
    for symbol in desk.exchange.feeds:
        order = desk.views.order(symbol, number, None)
        if order is not None:
            return order
    return None


def archive(desk: Desk, entity: Entity, at_ms: int) -> None:
    """It ended: the history shows it after a while, realtime for as long as 500 others have not."""
    number = public_number(entity)
    desk.archive.setdefault(number, Lagged(None)).put(at_ms + desk.lags.history(), entity)
    if number in desk.recent:
        desk.recent.remove(number)
    desk.recent.append(number)


def row_of(desk: Desk, entity: Entity) -> Json:
    """As it is shown."""
    instrument = desk.exchange.instruments[entity.symbol]
    if isinstance(entity, Conditional):
        return conditional_row(entity, instrument, entity.conditional_id in desk.oco_ended)
    row = order_row(entity, instrument, desk.fees.get(entity.order_id, ZERO), parent_of(desk, entity))
    attached = desk.attached.get(entity.order_id)
    if attached is not None:
        row.update(
            takeProfit=f"{attached.take_profit:f}" if attached.take_profit else "",
            stopLoss=f"{attached.stop_loss:f}" if attached.stop_loss else "",
            tpslMode="Full",
            tpTriggerBy=attached.take_profit_by,
            slTriggerBy=attached.stop_loss_by,
        )
    return row


def parent_of(desk: Desk, order: Order) -> Conditional | None:
    """The conditional order whose child it is."""
    return desk.exchange.triggers.orders.get(order.parent_id) if order.parent_id else None


def matches_filter(desk: Desk, entity: Entity, wanted: str | None) -> bool:
    """orderFilter: Order for plain ones, StopOrder for conditional ones, tpslOrder for those of the position."""
    if wanted is None:
        return True
    conditional = entity if isinstance(entity, Conditional) else parent_of(desk, entity)
    if wanted == "Order":
        return conditional is None
    if wanted == "tpslOrder":
        return conditional is not None and conditional.time_in_force == OF_POSITION
    return conditional is not None


def order_filter(params: Params) -> str | None:
    """orderFilter, if there is one."""
    wanted = params.text("orderFilter")
    if wanted not in (None, "Order", "StopOrder", "tpslOrder", "OcoOrder", "BidirectionalTpslOrder"):
        raise VenueError(10001, "orderFilter invalid")
    return wanted
