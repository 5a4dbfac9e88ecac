"""What a fill says beside its numbers: whose it was, and what it cost."""

from tradingd.domain.ids import ParsedClientOrderId
from tradingd.domain.orders import Fill, Order
from tradingd.domain.records import LedgerRecord


def cause_of(fill: Fill, order: Order | None, name: ParsedClientOrderId | None = None) -> str:
    """Whose fill it was, in a word; an id of ours tells it even where the order is not known."""
    purpose = order.request.purpose if order is not None else name.purpose if name is not None else None
    return fill.reason or (purpose.name.lower() if purpose is not None else "foreign")


def fee_of(fill: Fill) -> LedgerRecord:
    """What was paid for it, as a movement of money."""
    return LedgerRecord(
        fill.instrument.venue,
        "fee",
        f"{fill.instrument.symbol}:{fill.trade_id}",
        fill.instrument,
        -fill.fee,
        fill.fee_currency,
        fill.time_ms,
    )
