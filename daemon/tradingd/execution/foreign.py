"""What is told of other hands on the account: a human, another program, the venue itself."""

from tradingd.domain.errors import Severity
from tradingd.domain.events import IncidentRaised, incident
from tradingd.domain.numbers import plain_text
from tradingd.domain.orders import Fill, Order
from tradingd.domain.positions import PositionChange


def opened_by_others(fill: Fill, change: PositionChange) -> IncidentRaised:
    """A position that nobody here ordered."""
    why = (
        f"fill {fill.trade_id} opened {plain_text(change.position.quantity)} contracts that nobody here ordered; "
        "entries are denied there until it is closed"
    )
    return incident("foreign_position", Severity.CRITICAL, why, fill.instrument)


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
