"""What an order that the venue shows says of ours: values from values, nothing is written here."""

import msgspec

from tradingd.domain.account import VenueOrder
from tradingd.domain.orders import Order, OrderEvent, OrderStatus

EVENT_OF = {
    OrderStatus.ACCEPTED: OrderEvent.ACCEPT,
    OrderStatus.TRIGGERED: OrderEvent.TRIGGER,
    OrderStatus.PARTIALLY_FILLED: OrderEvent.FILL_PART,
    OrderStatus.FILLED: OrderEvent.FILL_ALL,
    OrderStatus.CANCELED: OrderEvent.CANCEL,
    OrderStatus.EXPIRED: OrderEvent.EXPIRE,
    OrderStatus.REJECTED: OrderEvent.REJECT,
}


def is_child_of(shown: VenueOrder, order: Order) -> bool:
    """Whether it is the plain order that a conditional one of ours became."""
    return order.request.kind.is_conditional and (shown.is_child or shown.venue_order_id == order.child_venue_order_id)


def is_refusal(order: Order, shown: VenueOrder) -> bool:
    """Whether the venue shows that it did not take an order which it had only acknowledged: ended by itself, with a
    word for why, and without a fill."""
    if shown.reject_code is None or not shown.status.is_final or shown.filled_quantity or order.filled_quantity:
        return False
    return shown.status in (OrderStatus.REJECTED, OrderStatus.EXPIRED) or order.status.is_unknown


def learn(order: Order, shown: VenueOrder | None) -> Order:
    """The order with the ids and the filled quantity that the venue showed; quantities only grow."""
    if shown is None:
        return order
    child = is_child_of(shown, order)
    return msgspec.structs.replace(
        order,
        venue_order_id=order.venue_order_id if child else shown.venue_order_id,
        child_venue_order_id=shown.venue_order_id
        if child
        else shown.child_venue_order_id or order.child_venue_order_id,
        filled_quantity=max(order.filled_quantity, shown.filled_quantity),
        average_price=order.average_price if order.booked_quantity else shown.average_price or order.average_price,
    )
