"""Orders at the direct face: what the domain asks for, put to the engine, and the engine's word on it."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

from tradingd.domain.account import (
    CancelOutcome,
    CancelVerdict,
    RejectKind,
    SubmitOutcome,
    SubmitVerdict,
    VenueOrder,
)
from tradingd.domain.intents import Side
from tradingd.domain.orders import Order, OrderRequest
from tradingd.emulator.core.filters import ConditionalDraft, Draft
from tradingd.emulator.core.records import BUY, SELL
from tradingd.emulator.core.refusal import Reason, Refused
from tradingd.emulator.core.triggers import MARK
from tradingd.emulator.direct import rows
from tradingd.emulator.direct.model import DirectModel
from tradingd.emulator.faults.script import Fate

T = TypeVar("T")
NO_PERMISSION = "the key may only look"
_AHEAD_MS = 1_000
"""A signed time may be so far ahead of the venue's clock."""


def execute(
    model: DirectModel, request: OrderRequest, symbol: str, signed_ms: int, window_ms: int, fate: Fate
) -> SubmitOutcome:
    """Check and take one order that was signed at `signed_ms`; a refusal changes nothing."""
    exchange = model.exchange
    clock_ms = model.now_ms + model.skew_ms
    if not signed_ms - _AHEAD_MS <= clock_ms <= signed_ms + window_ms:
        return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=RejectKind.CLOCK, message="outside of its window")
    if model.is_read_only:
        return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=RejectKind.AUTHENTICATION, message=NO_PERMISSION)
    if exchange.account.is_hedged:
        return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=RejectKind.CONFIGURATION, message="hedge mode")
    exchange.end_next_in_ms = fate.delay_ms if fate.kind == "end_order" else None
    try:
        if request.kind.is_conditional:
            order = rows.conditional(exchange.triggers.submit(_waiting(request, symbol)), request.instrument)
        else:
            order = rows.plain(exchange.submit(_draft(request, symbol)), request.instrument)
    except Refused as refusal:
        if refusal.reason is Reason.DUPLICATE_ID:
            return SubmitOutcome(SubmitVerdict.AMBIGUOUS, message="an order with this client order id exists")
        kind = rows.REFUSALS.get(refusal.reason, RejectKind.OTHER)
        text = f"{refusal.reason.value} {refusal.detail}".strip()
        return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=kind, code=refusal.reason.value, message=text)
    finally:
        exchange.end_next_in_ms = None
        model.changed()
    return SubmitOutcome(SubmitVerdict.ACCEPTED, order=order)


def cancel_in_book(model: DirectModel, order: VenueOrder | Order, waits: bool) -> CancelOutcome:
    """Cancel one order in its own book; GONE where no such order is open."""
    exchange, mine = model.exchange, order.client_order_id or ""
    if model.is_read_only:
        return CancelOutcome(CancelVerdict.FAILED, message=NO_PERMISSION)
    try:
        if waits:
            kept = exchange.triggers.orders
            found = [each for each in kept.values() if _is(each.conditional_id, each.client_order_id, order, mine)]
            exchange.triggers.cancel(_newest(found))
        else:
            plain = exchange.orders
            exchange.cancel(
                _newest([each for each in plain.values() if _is(each.order_id, each.client_order_id, order, mine)])
            )
    except Refused as refusal:
        return CancelOutcome(CancelVerdict.GONE, refusal.reason.value)
    finally:
        model.changed()
    return CancelOutcome(CancelVerdict.CANCELED)


def _sign(side: Side) -> int:
    return BUY if side is Side.BUY else SELL


def _draft(request: OrderRequest, symbol: str) -> Draft:
    tif = "GTX" if request.post_only else (request.time_in_force.value if request.time_in_force else "GTC")
    return Draft(
        symbol=symbol,
        side=_sign(request.side),
        kind=request.kind.value.upper(),
        quantity=request.quantity or Decimal(0),
        price=request.limit_price or Decimal(0),
        time_in_force=tif,
        reduce_only=request.reduce_only,
        client_order_id=request.client_order_id,
    )


def _waiting(request: OrderRequest, symbol: str) -> ConditionalDraft:
    return ConditionalDraft(
        symbol=symbol,
        side=_sign(request.side),
        kind=request.kind.value.upper(),
        is_take_profit=request.kind.value.startswith("take_profit"),
        trigger_price=request.trigger_price or Decimal(0),
        quantity=request.quantity or Decimal(0),
        close_position=request.close_position,
        reduce_only=request.reduce_only,
        working_type=MARK,
        client_order_id=request.client_order_id,
    )


def _is(number: int, client_order_id: str, order: VenueOrder | Order, mine: str) -> bool:
    if order.venue_order_id is not None:
        return str(number) == order.venue_order_id
    return bool(mine) and client_order_id == mine


def _newest(found: list[T]) -> T:
    if not found:
        raise Refused(Reason.UNKNOWN_ORDER)
    return found[-1]
