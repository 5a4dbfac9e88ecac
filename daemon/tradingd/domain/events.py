"""What happens, as records on the bus. Every order fact here is already committed: durable before visible."""

from decimal import Decimal
from enum import StrEnum

import msgspec

from tradingd.domain.account import AccountSnapshot, VenueBalance, VenueOrder, VenuePosition
from tradingd.domain.candles import Candle
from tradingd.domain.errors import Severity
from tradingd.domain.ids import IntentId, StrategyId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Denial, Intent
from tradingd.domain.orders import Fill, Order, OrderEvent, OrderStatus
from tradingd.domain.positions import Position


class VenueState(StrEnum):
    """What may be done at a venue: READY everything, DEGRADED exits and protection, DOWN nothing gets through."""

    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    BANNED = "banned"
    DOWN = "down"


class CandleClosed(msgspec.Struct, frozen=True):
    """A closed candle, delivered exactly once and in order (P11)."""

    candle: Candle


class CandleForming(msgspec.Struct, frozen=True):
    """An update of the candle that is still open; coalesced, never given to strategies."""

    candle: Candle


class OrderChanged(msgspec.Struct, frozen=True):
    """An order moved from `before` to its status by `event`; `source` is reply, stream, lookup or local, `detail` what
    it said."""

    order: Order
    before: OrderStatus
    event: OrderEvent
    source: str
    time_ms: int
    detail: str = ""

    @property
    def why(self) -> str:
        """What the step said, else what the order is there for or has ended by."""
        return self.detail or self.order.reason


class Filled(msgspec.Struct, frozen=True):
    """One new execution, deduplicated by trade id, with the order it belongs to (None: nobody here ordered it).

    `is_unknown`: its id is under our prefix, and memory knows no such order; the journal is asked.
    """

    fill: Fill
    order: Order | None
    strategy: StrategyId | None
    position: Position
    is_unknown: bool = False


class PositionChanged(msgspec.Struct, frozen=True):
    """The journal's position moved, by the fill or the correction named in `cause`."""

    position: Position
    realized_pnl: Decimal
    closed: bool
    cause: str


class IntentDenied(msgspec.Struct, frozen=True):
    """An intent refused before the wire, or ended without an order."""

    intent_id: IntentId
    strategy: StrategyId
    intent: Intent
    denial: Denial


class ForeignOrderSeen(msgspec.Struct, frozen=True):
    """An order without our prefix: that it stands, or that it ended."""

    order: VenueOrder


class ProtectionChanged(msgspec.Struct, frozen=True):
    """The protection of a position: `covered` means a live venue-side stop covers its whole size (P5); `replaced`, that
    a `Protect` has moved it."""

    instrument: InstrumentId
    covered: bool
    stop_loss: Decimal | None
    take_profit: Decimal | None
    unprotected_s: float
    replaced: bool = False


class AccountRead(msgspec.Struct, frozen=True):
    """A REST reading of balance and positions."""

    snapshot: AccountSnapshot


class BalanceSeen(msgspec.Struct, frozen=True):
    """A pushed balance."""

    balance: VenueBalance


class PositionSeen(msgspec.Struct, frozen=True):
    """A pushed position."""

    position: VenuePosition


class VenueStateChanged(msgspec.Struct, frozen=True):
    """The venue's state and why."""

    venue: VenueId
    before: VenueState
    state: VenueState
    reason: str


class StreamChanged(msgspec.Struct, frozen=True):
    """A stream was connected, lost or found stale; a disconnect is an event."""

    venue: VenueId
    stream: str
    connected: bool
    reason: str


class JournalChanged(msgspec.Struct, frozen=True):
    """The journal cannot be written, and why; or it is whole again, with `held` units written late."""

    writable: bool
    reason: str = ""
    held: int = 0


class IncidentRaised(msgspec.Struct, frozen=True):
    """Something an operator must know of; `kind` is a stable word, `detail` the sentence."""

    kind: str
    severity: Severity
    detail: str
    venue: VenueId | None = None
    instrument: InstrumentId | None = None
    strategy: StrategyId | None = None


def incident(
    kind: str,
    severity: Severity,
    detail: str,
    about: Order | InstrumentId | VenueId | None = None,
    strategy: str | None = None,
) -> IncidentRaised:
    """An incident about an order, an instrument, a venue or the daemon itself, with all that follows from which."""
    if isinstance(about, Order):
        strategy = strategy or about.strategy
        about = about.instrument
    owner = StrategyId(strategy) if strategy else None
    if isinstance(about, InstrumentId):
        return IncidentRaised(kind, severity, detail, about.venue, about, owner)
    return IncidentRaised(kind, severity, detail, about, None, owner)


class StrategyQuarantined(msgspec.Struct, frozen=True):
    """A strategy that broke its budget or its code; its positions keep their stops (P12)."""

    strategy: StrategyId
    reason: str


class Heartbeat(msgspec.Struct, frozen=True):
    """The regular sign of life; ages in seconds of real time. `entries_denied`: why no entry could pass, empty when one
    could. `venues_not_ready`: those and their states."""

    time_ms: int
    delta_s: float
    stream_ages_s: dict[str, float]
    equity_usdt: Decimal | None
    open_positions: int
    unknown_orders: int
    entries_denied: str
    venues_not_ready: dict[VenueId, VenueState]


Event = (
    CandleClosed
    | CandleForming
    | OrderChanged
    | Filled
    | PositionChanged
    | IntentDenied
    | ForeignOrderSeen
    | ProtectionChanged
    | AccountRead
    | BalanceSeen
    | PositionSeen
    | VenueStateChanged
    | StreamChanged
    | JournalChanged
    | IncidentRaised
    | StrategyQuarantined
    | Heartbeat
)
