"""Records to rows and back: each record type has one compiled statement, made once, and one reader.

The mapping follows the struct's own annotations, so that a field added to a record without a column fails at import.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from tradingd.domain.errors import JournalUnitRefused
from tradingd.domain.ids import Purpose
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Fill, Order, OrderRequest
from tradingd.domain.positions import Position
from tradingd.domain.records import (
    BalanceRecord,
    BanRecord,
    BootRecord,
    CommandRecord,
    DayEquityRecord,
    DecisionRecord,
    FlagRecord,
    IncidentRecord,
    IntentRecord,
    JobRecord,
    LastCloseRecord,
    LedgerRecord,
    NoteRecord,
    OrderEventRecord,
    ProtectionRecord,
    ProtectionSetRecord,
    Record,
    SignalRecord,
    StrategyStateRecord,
    StreamRecord,
)
from tradingd.journal import schema

Value = str | int | float | None
Statement = tuple[str, tuple[Value, ...]]
"""One SQL text and its parameters, ready for the driver."""

_FIFTEEN = Context(prec=15, rounding=ROUND_HALF_EVEN)
_LARGEST = 1e300
_WHOLE = 1e15  # beyond it a float's integer value shows more digits than were stored
_DIALECT = sqlite.dialect(paramstyle="qmark")


def to_real(value: Decimal) -> float:
    """The REAL of a Decimal, rounded to 15 significant digits (averages have more); ValueError for NaN and infinity."""
    real = float(_FIFTEEN.plus(value))
    if not abs(real) < _LARGEST:
        raise ValueError(f"{value} is no finite number")
    return real


def from_real(value: float) -> Decimal:
    """The Decimal of a REAL: the shortest text that gives this float, hence the digits that were stored."""
    return Decimal(int(value)) if value.is_integer() and abs(value) < _WHOLE else Decimal(repr(value))


def compiled(statement: sa.ClauseElement) -> str:
    """The SQL text of a Core statement, parameters as `?` in order of appearance."""
    return str(statement.compile(dialect=_DIALECT))


class _Cell:
    """How one field becomes one or two columns."""

    def __init__(self, columns: tuple[str, ...], read: Callable[[Any], tuple[Value, ...]], make: Callable[..., Any]):
        self.columns, self.read, self.make = columns, read, make


def _purpose_word(value: Purpose) -> str:
    return value.name.lower()


def _purpose_of(word: str) -> Purpose:
    return Purpose[word.upper()]


def _encoder(kind: type) -> tuple[Callable[[Any], Value], Callable[[Any], Any]]:
    """(to column, from column) of one scalar type."""
    if kind is Decimal:
        return to_real, from_real
    if kind is Purpose:
        return _purpose_word, _purpose_of
    if issubclass(kind, StrEnum):
        return (lambda value: str(kind(value).value)), kind
    if kind is bool:
        return int, bool
    if kind is int:
        return int, int
    return str, str


def _cell(name: str, annotation: Any, owns_venue: bool) -> _Cell:
    """The cell of one field. `owns_venue`: the record has a venue field of its own beside its instrument."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    optional = type(None) in parts
    kind = next(part for part in parts if part is not type(None))
    kind = getattr(kind, "__supertype__", kind)
    if kind is InstrumentId:
        return _instrument_cell(owns_venue)
    to_column, from_column = _encoder(kind)
    if optional:
        return _Cell(
            (name,),
            lambda record: (None if (value := getattr(record, name)) is None else to_column(value),),
            lambda stored: None if stored is None else from_column(stored),
        )
    return _Cell((name,), lambda record: (to_column(getattr(record, name)),), from_column)


def _instrument_cell(owns_venue: bool) -> _Cell:
    if owns_venue:
        return _Cell(
            ("symbol",), lambda record: (record.instrument and record.instrument.symbol,), lambda symbol: symbol
        )
    return _Cell(
        ("venue", "symbol"),
        lambda record: (record.instrument.venue, record.instrument.symbol) if record.instrument else (None, None),
        lambda venue, symbol: None if symbol is None else InstrumentId(venue, symbol),
    )


class Codec:
    """One record type: the statement that writes it and the reader of its rows."""

    def __init__(
        self,
        record: type,
        table: sa.Table,
        *,
        key: Sequence[str] = (),
        keep_first: bool = False,
        same: Sequence[str] = (),
        late: Sequence[str] = (),
    ) -> None:
        """`key`: the row of that key is replaced; with `keep_first` it stands.

        With `same` it stands where the named columns are alike, and another row under its key is refused: the first of
        them would become NULL. `late` are columns that may become known later.
        """
        self.record, self.table = record, table
        hints = get_type_hints(record)
        self._owns_venue = "venue" in hints and "instrument" in hints
        self._request = "request" in hints
        self._fields: list[str] = []
        self._cells: list[_Cell] = []
        for name, annotation in hints.items():
            if annotation is OrderRequest:
                continue  # flattened into the order's own row
            self._fields.append(name)
            self._cells.append(_cell(name, annotation, self._owns_venue))
        request_hints = get_type_hints(OrderRequest) if self._request else {}
        self._request_fields = list(request_hints)
        self._request_cells = [_cell(name, annotation, False) for name, annotation in request_hints.items()]
        self.columns = [column for cell in (*self._request_cells, *self._cells) for column in cell.columns]
        insert = sqlite.insert(table).values({name: sa.bindparam(name) for name in self.columns})
        if same:
            alike = sa.and_(*(table.c[name].is_not_distinct_from(insert.excluded[name]) for name in same))
            known: dict[str, Any] = {name: sa.func.coalesce(insert.excluded[name], table.c[name]) for name in late}
            known[same[0]] = sa.case((alike, table.c[same[0]]))
            insert = insert.on_conflict_do_update(index_elements=list(key), set_=known)
        elif keep_first:
            insert = insert.on_conflict_do_nothing(index_elements=list(key))
        elif key:
            changed = {name: insert.excluded[name] for name in self.columns if name not in key}
            insert = insert.on_conflict_do_update(index_elements=list(key), set_=changed)
        self.sql, self._order = self._compile(insert)

    def _compile(self, insert: sa.Insert) -> tuple[str, list[int]]:
        text = insert.compile(dialect=_DIALECT)
        order = [self.columns.index(name) for name in text.positiontup or ()]
        return str(text), order

    def row(self, record: Any) -> tuple[Value, ...]:
        """The parameters of the statement for `record`."""
        values: list[Value] = []
        if self._request:
            for cell in self._request_cells:
                values.extend(cell.read(record.request))
        for cell in self._cells:
            values.extend(cell.read(record))
        if self._owns_venue and record.instrument is not None:
            values[self.columns.index("venue")] = record.instrument.venue
        return tuple([values[index] for index in self._order])

    def select(self) -> sa.Select[Any]:
        """A select of this type's columns, in the order that `read` takes them."""
        return sa.select(*(self.table.c[name] for name in self.columns))

    def read(self, row: Sequence[Any]) -> Any:
        """The record of a row of `select`."""
        at = 0
        request: dict[str, Any] = {}
        for name, cell in zip(self._request_fields, self._request_cells, strict=True):
            request[name] = cell.make(*row[at : at + len(cell.columns)])
            at += len(cell.columns)
        fields: dict[str, Any] = {}
        for name, cell in zip(self._fields, self._cells, strict=True):
            fields[name] = cell.make(*row[at : at + len(cell.columns)])
            at += len(cell.columns)
        if self._owns_venue and fields["instrument"] is not None:
            fields["instrument"] = InstrumentId(fields["venue"], fields["instrument"])
        if self._request:
            fields["request"] = OrderRequest(**request)
        return self.record(**fields)


_INSTRUMENT = ("venue", "symbol")

CODECS: Mapping[type, Codec] = {
    codec.record: codec
    for codec in (
        Codec(Order, schema.orders, key=("client_order_id",)),
        Codec(
            Fill,
            schema.fills,
            key=(*_INSTRUMENT, "trade_id"),
            same=("quantity", "price", "side"),
            late=("client_order_id",),
        ),
        Codec(Position, schema.positions, key=_INSTRUMENT),
        Codec(BootRecord, schema.boots, key=("epoch",)),
        Codec(StreamRecord, schema.streams, key=(*_INSTRUMENT, "timeframe")),
        # a second, other decision under a key would trade twice: its unit is refused with everything in it
        Codec(DecisionRecord, schema.decisions, key=("key",), same=("outcome", "time_ms", "duration_us")),
        Codec(NoteRecord, schema.notes, key=("decision", "sequence"), same=("reason", "values_json")),
        Codec(StrategyStateRecord, schema.strategy_state, key=("strategy", *_INSTRUMENT)),
        Codec(IntentRecord, schema.intents, key=("intent_id",)),
        Codec(
            OrderEventRecord,
            schema.order_events,
            key=("client_order_id", "time_ms", "event", "before", "after", "source", "trade_id"),
            keep_first=True,
        ),
        # the venue shows the same movement at each reading of its history: the first row stands
        Codec(LedgerRecord, schema.ledger, key=("venue", "kind", "reference"), keep_first=True),
        Codec(ProtectionRecord, schema.protection, key=_INSTRUMENT),
        Codec(ProtectionSetRecord, schema.protection_sets, key=("set_id",)),
        Codec(LastCloseRecord, schema.last_closes, key=_INSTRUMENT),
        Codec(BalanceRecord, schema.balances, key=("venue", "time_ms", "currency"), keep_first=True),
        Codec(DayEquityRecord, schema.day_equity, key=("venue", "day")),
        Codec(SignalRecord, schema.signals, key=("key",), same=("payload_json", "source", "strategy")),
        Codec(CommandRecord, schema.commands),
        Codec(IncidentRecord, schema.incidents, key=("incident_id",)),
        Codec(BanRecord, schema.bans, key=("venue", "scope")),
        Codec(JobRecord, schema.jobs, key=("name",)),
        Codec(FlagRecord, schema.flags, key=("name",)),
    )
}
"""The codec of each record type."""


def statement_of(record: Record) -> Statement:
    """The statement that stores `record`; raises JournalUnitRefused when a value in it cannot be stored."""
    codec = CODECS[type(record)]
    try:
        return codec.sql, codec.row(record)
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise JournalUnitRefused(f"the journal cannot store this {type(record).__name__}: {error}") from error
