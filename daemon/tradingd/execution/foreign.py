"""What is told of other hands on the account: a human, another program, the venue itself."""

from tradingd.domain.errors import Severity
from tradingd.domain.events import Filled, IncidentRaised, incident
from tradingd.domain.numbers import plain_text
from tradingd.domain.orders import POSITION_ENDS, Fill, Order
from tradingd.domain.positions import PositionChange


def opened_by_others(fill: Fill, change: PositionChange) -> IncidentRaised:
    """A position that nobody here ordered."""
    why = (
        f"fill {fill.trade_id} opened {plain_text(change.position.quantity)} contracts that nobody here ordered; "
        "entries are denied there until it is closed"
    )
    return incident("foreign_position", Severity.CRITICAL, why, fill.instrument)


def by_venue(event: Filled) -> IncidentRaised | None:
    """What the venue did to a position by itself, where it says so: a liquidation, a deleveraging, a settlement. The
    levels of the position are its own doing as well, and were asked for."""
    fill = event.fill
    if not fill.reason or fill.reason in POSITION_ENDS:
        return None
    left = plain_text(event.position.quantity)
    why = f"{fill.instrument}: {fill.reason} by the venue: {fill.side} {plain_text(fill.quantity)} contracts at "
    why += f"{plain_text(fill.price)}, {left} left"
    severity = Severity.CRITICAL if fill.reason == "liquidation" else Severity.WARNING
    return incident("closed_by_venue", severity, why, fill.instrument, event.strategy)


def turned(fill: Fill, change: PositionChange, order: Order | None) -> IncidentRaised:
    """A position that changed its sign in one fill: the old one is closed, whose the new one is the fill says."""
    after = change.position.quantity
    before = after - fill.signed_quantity
    what = f"{fill.instrument}: fill {fill.trade_id} turned {plain_text(before)} contracts into {plain_text(after)}"
    if order is None:
        advice = (
            "the old position is closed and its stop is being cancelled; the new one is not ours and has no stop "
            "of ours: protect or close it at the venue, or with `tradingd flatten`"
        )
    else:
        advice = f"order {order.client_order_id} did it, which must not happen: look at the position at the venue"
    return incident("position_flipped", Severity.CRITICAL, f"{what}; {advice}", order or fill.instrument)
