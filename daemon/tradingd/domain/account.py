"""What a venue shows of an account: balances, positions, orders in each of its order books."""

from decimal import Decimal
from enum import StrEnum

import msgspec

from tradingd.domain.ids import ClientOrderId, VenueId, VenueOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.numbers import ZERO
from tradingd.domain.orders import OrderKind, OrderStatus

POSITION_BOOK = "position"
"""The book of what a venue makes by itself of the levels that a position carries: no orders of anybody."""


class RejectKind(StrEnum):
    """What a definite refusal asks us to do next."""

    OTHER = "other"
    FILTER = "filter"
    MARGIN = "margin"
    WOULD_TRIGGER = "would_trigger"
    REDUCE_ONLY = "reduce_only"
    WOULD_NOT_REST = "would_not_rest"
    NOT_FILLABLE = "not_fillable"
    DUPLICATE_PROTECTION = "duplicate_protection"
    THROTTLED = "throttled"
    BANNED = "banned"
    CLOCK = "clock"
    AUTHENTICATION = "authentication"
    VENUE_REDUCE_ONLY = "venue_reduce_only"
    NOT_SENT = "not_sent"
    CONFIGURATION = "configuration"


class VenueOrder(msgspec.Struct, frozen=True):
    """One order as the venue shows it, from a reply, a stream or a look-up.

    `book` names the venue's order book that holds it (Binance: plain, algo). For a conditional order `status` is
    TRIGGERED once it fired; fills then belong to `child_venue_order_id`. `parent_client_order_id` marks such a child.
    `reject_code`: the venue's own word for why it ended by itself; `reject_kind` what that asks us to do.
    """

    instrument: InstrumentId
    book: str
    venue_order_id: VenueOrderId
    client_order_id: ClientOrderId | None
    status: OrderStatus
    side: Side
    kind: OrderKind | None
    quantity: Decimal | None
    filled_quantity: Decimal = ZERO
    average_price: Decimal | None = None
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    reduce_only: bool = False
    close_position: bool = False
    child_venue_order_id: VenueOrderId | None = None
    is_child: bool = False
    updated_ms: int = 0
    raw_type: str = ""
    reject_code: str | None = None
    reject_reason: str = ""
    reject_kind: RejectKind = RejectKind.OTHER

    @property
    def is_state(self) -> bool:
        """Whether it only shows a level that the whole position carries, and ends with it: nobody's order."""
        return self.book == POSITION_BOOK


class VenuePosition(msgspec.Struct, frozen=True):
    """A position as the venue shows it: signed quantity in contracts, prices in quote currency."""

    instrument: InstrumentId
    quantity: Decimal
    entry_price: Decimal | None = None
    mark_price: Decimal | None = None
    unrealized_pnl: Decimal = ZERO
    initial_margin: Decimal | None = None
    leverage: Decimal | None = None
    isolated: bool | None = None
    updated_ms: int = 0


class PositionProtection(msgspec.Struct, frozen=True):
    """Stop and take profit where the venue keeps them as a state of the position; None where there is none.

    `quantity` is signed, as held: a flat position carries nothing.
    """

    instrument: InstrumentId
    quantity: Decimal
    stop: Decimal | None
    take_profit: Decimal | None
    updated_ms: int


class VenueBalance(msgspec.Struct, frozen=True):
    """The settle currency's balance; `available` is the venue's right field for new orders, never the total (P17).

    A stream may show only the wallet: then `available` and `equity` are None.
    """

    venue: VenueId
    currency: str
    wallet: Decimal
    equity: Decimal | None
    available: Decimal | None
    initial_margin: Decimal | None = None
    time_ms: int = 0


class AccountSnapshot(msgspec.Struct, frozen=True):
    """Balance and all positions, read over REST. `requested_ms` (venue time) is when the first request left.

    `unlisted`: what is held on markets that are not in our table of instruments, each as the venue's name and quantity.
    """

    venue: VenueId
    balance: VenueBalance
    positions: tuple[VenuePosition, ...]
    requested_ms: int
    received_ms: int
    unlisted: tuple[str, ...] = ()

    def position(self, instrument: InstrumentId) -> VenuePosition:
        """The position on `instrument`; flat when the venue does not list it."""
        for position in self.positions:
            if position.instrument == instrument:
                return position
        return VenuePosition(instrument, ZERO, updated_ms=self.received_ms)


class AccountMode(msgspec.Struct, frozen=True):
    """What preflight found: who the account is and how it is set. `problems` name what must be changed, and how."""

    venue: VenueId
    account_id: str
    hedge_mode: bool
    can_trade: bool
    problems: tuple[str, ...] = ()


class SubmitVerdict(StrEnum):
    """What an answer to a submit proves."""

    ACCEPTED = "accepted"
    SUBMITTED = "submitted"
    NOT_EXECUTED = "not_executed"
    AMBIGUOUS = "ambiguous"


class SubmitOutcome(msgspec.Struct, frozen=True):
    """The classified answer to one submit with raw code and text for journal and logs."""

    verdict: SubmitVerdict
    order: VenueOrder | None = None
    kind: RejectKind = RejectKind.OTHER
    code: str | None = None
    message: str = ""
    sent: bool = True

    def told(self) -> str:
        """The answer as a sentence, with the venue's code and text where there are any."""
        if not self.sent:
            return _with_raw("the order could not be sent", self.code, self.message)
        return _with_raw(_SUBMIT_WORDS[self.verdict], self.code, self.message)


class CancelVerdict(StrEnum):
    """What an answer to a cancel proves. GONE: the venue knows no such open order; look it up before a verdict. ASKED:
    it will cancel, if the order does not end by itself before; which of the two is not known yet."""

    CANCELED = "canceled"
    ASKED = "asked"
    GONE = "gone"
    FAILED = "failed"
    AMBIGUOUS = "ambiguous"


class CancelOutcome(msgspec.Struct, frozen=True):
    """The classified answer to one cancel."""

    verdict: CancelVerdict
    code: str | None = None
    message: str = ""

    def told(self) -> str:
        """The answer as a sentence, with the venue's code and text where there are any."""
        return _with_raw(_CANCEL_WORDS[self.verdict], self.code, self.message)


_SUBMIT_WORDS = {
    SubmitVerdict.ACCEPTED: "the venue took the order",
    SubmitVerdict.SUBMITTED: "the venue has the order and has not judged it yet",
    SubmitVerdict.NOT_EXECUTED: "the venue refused the order",
    SubmitVerdict.AMBIGUOUS: "the order has no readable answer, and may have been executed",
}
_CANCEL_WORDS = {
    CancelVerdict.CANCELED: "the venue cancelled it",
    CancelVerdict.ASKED: "the venue was asked and has not told of the end yet",
    CancelVerdict.GONE: "the venue knows no such open order",
    CancelVerdict.FAILED: "the cancel was refused or could not be sent",
    CancelVerdict.AMBIGUOUS: "the cancel has no readable answer",
}


def _with_raw(words: str, code: str | None, message: str) -> str:
    """`words`, and behind them what the venue itself said."""
    raw = " ".join(each for each in (code, message) if each)
    return f"{words}: {raw}" if raw else words
