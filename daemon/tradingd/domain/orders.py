"""Orders: the exact request, its lifecycle, and the one table of what may follow what."""

from decimal import Decimal
from enum import StrEnum
from itertools import product

import msgspec

from tradingd.domain.errors import IllegalTransition
from tradingd.domain.ids import ClientOrderId, IntentId, Purpose, StrategyId, TradeId, VenueOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side, TimeInForce
from tradingd.domain.numbers import ZERO


class OrderKind(StrEnum):
    """What the venue is asked for. The two conditional kinds trigger on the mark price."""

    MARKET = "market"
    LIMIT = "limit"
    STOP_MARKET = "stop_market"
    TAKE_PROFIT_MARKET = "take_profit_market"

    @property
    def is_conditional(self) -> bool:
        """Whether the order waits for a trigger price."""
        return self in (OrderKind.STOP_MARKET, OrderKind.TAKE_PROFIT_MARKET)


class OrderStatus(StrEnum):
    """Where an order is, as far as evidence goes."""

    INITIALIZED = "INITIALIZED"
    DENIED = "DENIED"
    SUBMITTED = "SUBMITTED"
    IN_DOUBT = "IN_DOUBT"
    ACCEPTED = "ACCEPTED"
    TRIGGERED = "TRIGGERED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"

    @property
    def is_final(self) -> bool:
        """Whether nothing more is expected; only a late fill can still change it."""
        return self in FINAL

    @property
    def is_unknown(self) -> bool:
        """Whether the venue may or may not have the order."""
        return self in (OrderStatus.SUBMITTED, OrderStatus.IN_DOUBT)


class OrderEvent(StrEnum):
    """What became known of an order."""

    SUBMIT = "submit"
    DENY = "deny"
    ACCEPT = "accept"
    REJECT = "reject"
    TIME_OUT = "time_out"
    NOT_FOUND = "not_found"
    TRIGGER = "trigger"
    FILL_PART = "fill_part"
    FILL_ALL = "fill_all"
    CANCEL = "cancel"
    EXPIRE = "expire"


S, E = OrderStatus, OrderEvent
FINAL = frozenset({S.DENIED, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED})

TRANSITIONS: dict[tuple[OrderStatus, OrderEvent], OrderStatus] = {
    (S.INITIALIZED, E.SUBMIT): S.SUBMITTED,
    (S.INITIALIZED, E.DENY): S.DENIED,
    (S.SUBMITTED, E.ACCEPT): S.ACCEPTED,
    (S.SUBMITTED, E.REJECT): S.REJECTED,
    (S.SUBMITTED, E.TIME_OUT): S.IN_DOUBT,
    # the stream may overtake the reply: a fill, a trigger or an end is acceptance and more
    (S.SUBMITTED, E.TRIGGER): S.TRIGGERED,
    (S.SUBMITTED, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.SUBMITTED, E.FILL_ALL): S.FILLED,
    (S.SUBMITTED, E.CANCEL): S.CANCELED,
    (S.SUBMITTED, E.EXPIRE): S.EXPIRED,
    # in doubt: whatever the venue shows; nothing found counts only past the fence (P3)
    (S.IN_DOUBT, E.ACCEPT): S.ACCEPTED,
    (S.IN_DOUBT, E.REJECT): S.REJECTED,
    (S.IN_DOUBT, E.NOT_FOUND): S.REJECTED,
    (S.IN_DOUBT, E.TRIGGER): S.TRIGGERED,
    (S.IN_DOUBT, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.IN_DOUBT, E.FILL_ALL): S.FILLED,
    (S.IN_DOUBT, E.CANCEL): S.CANCELED,
    (S.IN_DOUBT, E.EXPIRE): S.EXPIRED,
    # an accepted order can still be rejected: a venue that acks before it checks
    (S.ACCEPTED, E.REJECT): S.REJECTED,
    (S.ACCEPTED, E.TRIGGER): S.TRIGGERED,
    (S.ACCEPTED, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.ACCEPTED, E.FILL_ALL): S.FILLED,
    (S.ACCEPTED, E.CANCEL): S.CANCELED,
    (S.ACCEPTED, E.EXPIRE): S.EXPIRED,
    # the child of a conditional order is checked for margin only when it fires
    (S.TRIGGERED, E.REJECT): S.REJECTED,
    (S.TRIGGERED, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.TRIGGERED, E.FILL_ALL): S.FILLED,
    (S.TRIGGERED, E.CANCEL): S.CANCELED,
    (S.TRIGGERED, E.EXPIRE): S.EXPIRED,
    (S.PARTIALLY_FILLED, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.PARTIALLY_FILLED, E.FILL_ALL): S.FILLED,
    (S.PARTIALLY_FILLED, E.CANCEL): S.CANCELED,
    (S.PARTIALLY_FILLED, E.EXPIRE): S.EXPIRED,
    # late: a fill is a fact and wins over any end; each of these raises an incident
    (S.CANCELED, E.FILL_PART): S.CANCELED,
    (S.CANCELED, E.FILL_ALL): S.FILLED,
    (S.EXPIRED, E.FILL_PART): S.EXPIRED,
    (S.EXPIRED, E.FILL_ALL): S.FILLED,
    (S.REJECTED, E.ACCEPT): S.ACCEPTED,
    (S.REJECTED, E.TRIGGER): S.TRIGGERED,
    (S.REJECTED, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.REJECTED, E.FILL_ALL): S.FILLED,
}

LATE: frozenset[tuple[OrderStatus, OrderEvent]] = frozenset(pair for pair in TRANSITIONS if pair[0] in FINAL)

STALE: frozenset[tuple[OrderStatus, OrderEvent]] = frozenset(
    {(S.IN_DOUBT, E.TIME_OUT)}
    # acceptance, or the loss of an answer, seen after something newer
    | set(product((S.ACCEPTED, S.TRIGGERED, S.PARTIALLY_FILLED), (E.ACCEPT, E.TIME_OUT)))
    | set(product((S.FILLED, S.CANCELED, S.EXPIRED), (E.ACCEPT, E.TIME_OUT, E.TRIGGER)))
    | {(S.TRIGGERED, E.TRIGGER), (S.PARTIALLY_FILLED, E.TRIGGER), (S.REJECTED, E.TIME_OUT)}
    # the same end told twice, by reply and by stream; or the end of the order behind its last fill
    | {(s, e) for s, e in product((S.CANCELED, S.EXPIRED, S.REJECTED), (E.CANCEL, E.EXPIRE, E.REJECT, E.NOT_FOUND))}
    | set(product((S.FILLED,), (E.CANCEL, E.EXPIRE, E.FILL_PART, E.FILL_ALL)))
)

ILLEGAL: frozenset[tuple[OrderStatus, OrderEvent]] = frozenset(
    set(product((S.INITIALIZED,), set(E) - {E.SUBMIT, E.DENY}))
    | set(product((S.DENIED,), set(E)))
    | set(product(set(S) - {S.INITIALIZED, S.DENIED}, (E.SUBMIT, E.DENY)))
    # evidence that an order exists is never undone by not finding it
    | set(product((S.SUBMITTED, S.ACCEPTED, S.TRIGGERED, S.PARTIALLY_FILLED, S.FILLED), (E.NOT_FOUND,)))
    # what has filled cannot have been rejected
    | set(product((S.PARTIALLY_FILLED, S.FILLED), (E.REJECT,)))
)


def next_status(status: OrderStatus, event: OrderEvent) -> OrderStatus | None:
    """The status after `event`; None when the event is stale. Raises IllegalTransition for a pair that cannot be."""
    after = TRANSITIONS.get((status, event))
    if after is not None:
        return after
    if (status, event) in STALE:
        return None
    raise IllegalTransition(f"order event {event} is impossible in status {status}")


class OrderRequest(msgspec.Struct, frozen=True):
    """The exact order to send: prices on the tick, quantity on the lot. `quantity` is None only with close_position."""

    client_order_id: ClientOrderId
    instrument: InstrumentId
    purpose: Purpose
    side: Side
    kind: OrderKind
    quantity: Decimal | None
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce | None = None
    post_only: bool = False
    reduce_only: bool = False
    close_position: bool = False


class Order(msgspec.Struct, frozen=True):
    """A request and what is known of it. Times are ms of venue time.

    `signed_ms` and `window_ms` are what the request was signed with: the fence is counted from them.
    `filled_quantity` is what the venue reported, `booked_quantity` the sum of the fills in the journal; the second
    catches up with the first. `reference_price` is the price the decision was made at: slippage is measured from it.
    `stop_loss` and `take_profit` are what an entry wants once it fills. `expire_ms`: a resting entry ends then.
    `cancel_requested_ms` is set when we asked for a cancel; that is not a status.
    """

    request: OrderRequest
    strategy: StrategyId | None
    intent_id: IntentId | None
    status: OrderStatus = OrderStatus.INITIALIZED
    created_ms: int = 0
    signed_ms: int = 0
    window_ms: int = 0
    venue_order_id: VenueOrderId | None = None
    child_venue_order_id: VenueOrderId | None = None
    filled_quantity: Decimal = ZERO
    booked_quantity: Decimal = ZERO
    average_price: Decimal | None = None
    reference_price: Decimal | None = None
    reject_code: str | None = None
    reason: str = ""
    expire_ms: int | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    cancel_requested_ms: int | None = None
    updated_ms: int = 0

    @property
    def client_order_id(self) -> ClientOrderId:
        """Our id of the order."""
        return self.request.client_order_id

    @property
    def instrument(self) -> InstrumentId:
        """What the order is for."""
        return self.request.instrument

    @property
    def open_quantity(self) -> Decimal:
        """What may still fill, in contracts; zero for close-position orders, whose size is the position's."""
        if self.request.quantity is None or self.status.is_final:
            return ZERO
        return self.request.quantity - self.filled_quantity

    @property
    def needs_exposure_margin(self) -> bool:
        """Whether the order may still enlarge a position: counted as filled by every margin check (P17)."""
        return self.request.purpose.may_increase_exposure and not self.status.is_final


POSITION_ENDS = ("stop_loss", "take_profit")
"""The reasons of fills by which a venue ends a position at levels that it carries as its state."""


class Fill(msgspec.Struct, frozen=True):
    """One execution. `fee` is positive when paid; `client_order_id` is None for fills that nobody here ordered.

    `reason` tells a liquidation, a deleveraging or a level of the position from a human's order, where the venue does.
    """

    instrument: InstrumentId
    trade_id: TradeId
    venue_order_id: VenueOrderId
    client_order_id: ClientOrderId | None
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_currency: str
    realized_pnl: Decimal | None
    maker: bool
    time_ms: int
    reason: str = ""

    @property
    def signed_quantity(self) -> Decimal:
        """The change of position, in contracts."""
        return self.quantity * self.side.sign

    @property
    def is_of_position(self) -> bool:
        """Whether the venue executed a stop or take profit that the whole position carried: nobody's order."""
        return self.client_order_id is None and self.reason in POSITION_ENDS
