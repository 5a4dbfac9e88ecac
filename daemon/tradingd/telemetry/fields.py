"""The fields of a line: whom it concerns, what an order is, what a trip earned, and only what has something to say."""

from decimal import Decimal
from typing import Any

from tradingd.domain.instruments import InstrumentId
from tradingd.domain.numbers import ZERO
from tradingd.domain.orders import Order, OrderStatus
from tradingd.telemetry.trips import Trip


def short(value: Decimal | None) -> Decimal | None:
    """`value` to 8 decimals: an average price has up to 28 digits, of which nobody reads the last 20."""
    if value is None:
        return None
    rounded = round(value, 8)
    return value if rounded == value else rounded.normalize()


def result_of(trip: Trip) -> dict[str, Any]:
    """What a round trip earned and cost, or where to look for it."""
    if not trip.known:
        return {"detail": "it began before what a start reads: its result is in `tradingd journal trades`"}
    return {
        "pnl_usdt": short(trip.realized - trip.fees),
        "before_fees_usdt": short(trip.realized),
        "fees_usdt": short(trip.fees),
    }


def place_of(instrument: InstrumentId) -> dict[str, Any]:
    """Venue and instrument, as every line names them."""
    return {"venue": instrument.venue, "instrument": str(instrument)}


def said(**fields: Any) -> dict[str, Any]:
    """Only the fields that say something."""
    return {name: value for name, value in fields.items() if value}


def fields_of(order: Order) -> dict[str, Any]:
    """The fields that all lines about orders share."""
    request = order.request
    filled = order.filled_quantity if order.status is not OrderStatus.SUBMITTED else ZERO
    return {
        **place_of(request.instrument),
        "strategy": order.strategy,
        "client_order_id": request.client_order_id,
        "cause": order.intent_id,
        "purpose": request.purpose.name.lower(),
        "side": request.side,
        "kind": request.kind,
        "quantity": "whole position" if request.quantity is None else request.quantity,
        **said(
            limit_price=request.limit_price,
            trigger_price=request.trigger_price,
            filled=filled,
            average_price=short(order.average_price),
            venue_order_id=order.venue_order_id,
        ),
    }
