"""What the journal keeps: one record type per table. The store maps each to one compiled statement.

`Order`, `Fill` and `Position` are stored as they are; the rest is here. A record with a natural key replaces the row
of that key (upsert); the others are appended.
"""

from decimal import Decimal
from enum import StrEnum

import msgspec

from tradingd.domain.errors import Severity
from tradingd.domain.ids import ClientOrderId, DecisionKey, Epoch, IntentId, StrategyId, TradeId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Fill, Order, OrderEvent, OrderStatus
from tradingd.domain.positions import Position


class BootRecord(msgspec.Struct, frozen=True):
    """One run of the daemon; upsert by epoch. `stopped_ms` stays None after a crash."""

    epoch: Epoch
    started_ms: int
    mode: str
    version: str
    pid: int
    config_sha256: str
    stopped_ms: int | None = None
    stop_reason: str | None = None


class StreamRecord(msgspec.Struct, frozen=True):
    """The last candle delivered; upsert by (instrument, timeframe)."""

    instrument: InstrumentId
    timeframe: str
    last_open_ms: int
    delivered_ms: int


class DecisionRecord(msgspec.Struct, frozen=True):
    """One handler call; append, unique by key. `outcome`: intents, notes, nothing or error."""

    key: DecisionKey
    strategy: StrategyId
    cause: str
    instrument: InstrumentId | None
    time_ms: int
    outcome: str
    duration_us: int
    code_sha256: str
    late: bool = False
    error: str | None = None


class NoteRecord(msgspec.Struct, frozen=True):
    """Why nothing was done; append. `values_json` is a JSON object."""

    decision: DecisionKey
    sequence: int
    instrument: InstrumentId
    reason: str
    values_json: str


class StrategyStateRecord(msgspec.Struct, frozen=True):
    """A strategy's own JSON state for an instrument; upsert by (strategy, instrument)."""

    strategy: StrategyId
    instrument: InstrumentId
    state_json: str
    updated_ms: int


class IntentRecord(msgspec.Struct, frozen=True):
    """One intent and its single outcome (P16); upsert by intent_id.

    `outcome` is None until known, then: ordered, denied, done, failed, cancelled. `reason` says why.
    """

    intent_id: IntentId
    decision: DecisionKey | None
    strategy: StrategyId
    instrument: InstrumentId
    kind: str
    payload_json: str
    created_ms: int
    outcome: str | None = None
    reason: str = ""
    detail: str = ""
    decided_ms: int | None = None


class OrderEventRecord(msgspec.Struct, frozen=True):
    """One step in an order's life; append, the same step once. `source`: reply, stream, lookup, local. Raw code and
    text kept; `trade_id` is the fill that made the step, empty where none did.
    """

    client_order_id: ClientOrderId
    event: OrderEvent
    before: OrderStatus
    after: OrderStatus
    time_ms: int
    source: str
    raw_code: str | None = None
    detail: str = ""
    trade_id: TradeId = TradeId("")


class LedgerRecord(msgspec.Struct, frozen=True):
    """A movement of money that is not a fill's profit; append, unique by (venue, kind, reference)."""

    venue: VenueId
    kind: str
    reference: str
    instrument: InstrumentId | None
    amount: Decimal
    currency: str
    time_ms: int


class ProtectionRecord(msgspec.Struct, frozen=True):
    """What protects an instrument's position, as wanted and as placed; upsert by instrument."""

    instrument: InstrumentId
    strategy: StrategyId | None
    intent_id: IntentId | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    stop_order: ClientOrderId | None
    take_profit_order: ClientOrderId | None
    state: str
    updated_ms: int


class ProtectionSetRecord(msgspec.Struct, frozen=True):
    """One setting of the stop and the take profit that a position carries; upsert by `set_id`, an id of ours that the
    venue never sees. `outcome` is None until there is one, then: accepted, refused, unknown. `why`: what called for it.
    """

    set_id: ClientOrderId
    instrument: InstrumentId
    strategy: StrategyId | None
    intent_id: IntentId | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    why: str
    time_ms: int
    outcome: str | None = None
    raw_code: str | None = None
    detail: str = ""
    answered_ms: int | None = None


class LastCloseRecord(msgspec.Struct, frozen=True):
    """The fill that last made the position zero, by anyone (P4); upsert by instrument."""

    instrument: InstrumentId
    close_ms: int
    cause: str
    trade_id: TradeId | None
    strategy: StrategyId | None


class BalanceRecord(msgspec.Struct, frozen=True):
    """A reading of the balance; append, unique by (venue, time, currency)."""

    venue: VenueId
    currency: str
    wallet: Decimal
    equity: Decimal
    available: Decimal
    time_ms: int


class DayEquityRecord(msgspec.Struct, frozen=True):
    """Equity at 00:00 UTC, the base of the daily loss; upsert by (venue, day). `day` is YYYY-MM-DD."""

    venue: VenueId
    day: str
    equity: Decimal
    transfers: Decimal
    time_ms: int


class SignalRecord(msgspec.Struct, frozen=True):
    """A signal from outside (webhook, MQTT); append, unique by key."""

    key: str
    source: str
    strategy: StrategyId
    payload_json: str
    received_ms: int


class CommandRecord(msgspec.Struct, frozen=True):
    """A command of the operator, and its answer; append."""

    command: str
    arguments_json: str
    source: str
    received_ms: int
    result_json: str


class IncidentRecord(msgspec.Struct, frozen=True):
    """Something an operator must know of; upsert by incident_id."""

    incident_id: str
    kind: str
    severity: Severity
    detail: str
    venue: VenueId | None
    instrument: InstrumentId | None
    strategy: StrategyId | None
    raised_ms: int
    acknowledged_ms: int | None = None


class BanScope(StrEnum):
    """What a ban closes."""

    ALL = "all"
    ORDERS = "orders"


class BanRecord(msgspec.Struct, frozen=True):
    """A ban by the venue, obeyed across restarts (P13); upsert by venue and scope.

    `until_ms` and `recorded_ms` are venue time, which a later run does not know before its first answer; `uptime_ms` is
    the host's monotonic clock when the ban was recorded, which counts on over restarts and is never set; None: unknown.
    `wall_ms` is the host's wall clock then, which may be days off the venue's; None: taken for the venue's.
    """

    venue: VenueId
    until_ms: int
    reason: str
    recorded_ms: int
    scope: BanScope = BanScope.ALL
    uptime_ms: int | None = None
    wall_ms: int | None = None


class JobRecord(msgspec.Struct, frozen=True):
    """The last run of a scheduled job: its end, how long it took (real time), whether it or one since the record before
    failed and why, and how many have failed in a row; upsert by name."""

    name: str
    last_run_ms: int
    ok: bool
    detail: str
    duration_ms: int = 0
    failures: int = 0


class FlagRecord(msgspec.Struct, frozen=True):
    """A setting that must survive restarts (paused, halted, quarantined:<strategy>); upsert by name."""

    name: str
    value: str
    reason: str
    set_ms: int


Record = (
    Order
    | Fill
    | Position
    | BootRecord
    | StreamRecord
    | DecisionRecord
    | NoteRecord
    | StrategyStateRecord
    | IntentRecord
    | OrderEventRecord
    | LedgerRecord
    | ProtectionRecord
    | ProtectionSetRecord
    | LastCloseRecord
    | BalanceRecord
    | DayEquityRecord
    | SignalRecord
    | CommandRecord
    | IncidentRecord
    | BanRecord
    | JobRecord
    | FlagRecord
)


class Recovered(msgspec.Struct, frozen=True):
    """What a start reads from the journal: snapshot rows only, so its size does not grow with the fills.

    `open_orders` are all orders that are not final; `recent_trade_ids` those of the last days, for deduplication;
    `recent_decisions` the decision keys of the last days; `open_intents` those without an outcome.
    """

    boots: tuple[BootRecord, ...] = ()
    epochs: frozenset[Epoch] = frozenset()
    streams: tuple[StreamRecord, ...] = ()
    open_orders: tuple[Order, ...] = ()
    recent_orders: tuple[Order, ...] = ()
    positions: tuple[Position, ...] = ()
    protections: tuple[ProtectionRecord, ...] = ()
    last_closes: tuple[LastCloseRecord, ...] = ()
    day_equities: tuple[DayEquityRecord, ...] = ()
    bans: tuple[BanRecord, ...] = ()
    incidents: tuple[IncidentRecord, ...] = ()
    flags: tuple[FlagRecord, ...] = ()
    states: tuple[StrategyStateRecord, ...] = ()
    open_intents: tuple[IntentRecord, ...] = ()
    recent_decisions: frozenset[DecisionKey] = frozenset()
    recent_fills: tuple[Fill, ...] = ()
    last_fill_ms: dict[InstrumentId, int] = {}
