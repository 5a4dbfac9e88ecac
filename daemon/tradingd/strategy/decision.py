"""One handler call as records: the decision, its notes, its states and its intents, to be committed as one unit."""

from collections.abc import Collection, Iterable

import msgspec

from tradingd.domain.ids import DecisionKey, IntentId, StrategyId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import CancelOrders, DenyReason, Enter, Exit, Note, Protect
from tradingd.domain.records import DecisionRecord, FlagRecord, IntentRecord, NoteRecord, Record, StrategyStateRecord
from tradingd.strategy.call import CallResult

_KINDS = {Enter: "enter", Exit: "exit", Protect: "protect", CancelOrders: "cancel_orders"}
_MAX_ERROR_CHARACTERS = 2_000
MIN_SEEN_KEYS = 50_000


class Cause(msgspec.Struct, frozen=True):
    """What a handler is called for. `time_ms`: the close of the candle, the time of the fill, order or signal."""

    kind: str
    key: DecisionKey
    time_ms: int
    instrument: InstrumentId | None = None
    late: bool = False


class Decision(msgspec.Struct, frozen=True):
    """One call that was made."""

    strategy: StrategyId
    cause: Cause
    now_ms: int
    took_us: int
    code_sha256: str


class Written(msgspec.Struct, frozen=True):
    """A decision's records, and its intents beside their rows; a row with an outcome goes no further."""

    records: tuple[Record, ...]
    intents: tuple[tuple[IntentRecord, Enter | Exit | Protect | CancelOrders], ...]


class SeenKeys:
    """The decision keys that were asked, those of earlier runs included; bounded, the oldest are forgotten first."""

    def __init__(self, recorded: Collection[DecisionKey]) -> None:
        self._keys: dict[DecisionKey, None] = dict.fromkeys(sorted(recorded))
        self._limit = max(MIN_SEEN_KEYS, 2 * len(recorded))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def add(self, key: DecisionKey) -> None:
        """Remember one more."""
        self._keys[key] = None
        while len(self._keys) > self._limit:
            del self._keys[next(iter(self._keys))]


def write_down(decision: Decision, result: CallResult, owned: Iterable[InstrumentId]) -> Written:
    """The records of a call that ended well; intents are numbered from 1 in the order of their yields."""
    notes: list[Record] = []
    intents: list[tuple[IntentRecord, Enter | Exit | Protect | CancelOrders]] = []
    own = frozenset(owned)
    for number, yielded in enumerate(result.yielded, start=1):
        intent = yielded.intent
        if isinstance(intent, Note):
            notes.append(NoteRecord(decision.cause.key, number, intent.instrument, intent.reason, yielded.payload_json))
            continue
        record = IntentRecord(
            intent_id=IntentId(f"{decision.cause.key}#{number}"),
            decision=decision.cause.key,
            strategy=decision.strategy,
            instrument=intent.instrument,
            kind=_KINDS[type(intent)],
            payload_json=yielded.payload_json,
            created_ms=decision.now_ms,
        )
        if intent.instrument not in own:
            record = msgspec.structs.replace(
                record,
                outcome="denied",
                reason=DenyReason.NOT_OWNED.value,
                detail=f"{intent.instrument} is not among the instruments of strategy {decision.strategy}",
                decided_ms=decision.now_ms,
            )
        intents.append((record, intent))
    states = [
        StrategyStateRecord(decision.strategy, instrument, text, decision.now_ms)
        for instrument, text in result.states.items()
    ]
    outcome = "intents" if intents else "notes" if notes else "nothing"
    rows = [record for record, _ in intents]
    return Written((_record(decision, outcome, None), *notes, *states, *rows), tuple(intents))


def failed(decision: Decision, error: str) -> DecisionRecord:
    """The record of a call that raised: none of its intents, notes and state changes exist."""
    return _record(decision, "error", error[:_MAX_ERROR_CHARACTERS])


def unit_fields(records: Iterable[Record]) -> dict[str, str]:
    """Whose unit it is, for a log line: strategy, instrument, cause, and in `what` the kinds of its records."""
    fields: dict[str, str] = {}
    kinds: list[str] = []
    for record in records:
        kinds.append(type(record).__name__.removesuffix("Record").lower())
        if isinstance(record, DecisionRecord):
            fields |= {"strategy": record.strategy, "cause": record.key}
        elif isinstance(record, FlagRecord):
            fields |= {"strategy": record.name.removeprefix("quarantined:"), "cause": record.reason}
        instrument = getattr(record, "instrument", None)
        if instrument is not None:
            fields.setdefault("instrument", str(instrument))
    return fields | {"what": ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))}


def _record(decision: Decision, outcome: str, error: str | None) -> DecisionRecord:
    return DecisionRecord(
        key=decision.cause.key,
        strategy=decision.strategy,
        cause=decision.cause.kind,
        instrument=decision.cause.instrument,
        time_ms=decision.now_ms,
        outcome=outcome,
        duration_us=decision.took_us,
        code_sha256=decision.code_sha256,
        late=decision.cause.late,
        error=error,
    )
