"""What a start reads: snapshot rows and bounded recent windows, each over an index, so its cost does not grow with the
journal. The statements are compiled once, at import.
"""

import sqlite3
from typing import Any

import sqlalchemy as sa

from tradingd.domain.ids import ClientOrderId, DecisionKey, Epoch, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import FINAL, Fill, Order, OrderStatus
from tradingd.domain.positions import Position
from tradingd.domain.records import (
    BanRecord,
    BootRecord,
    DayEquityRecord,
    FlagRecord,
    IncidentRecord,
    IntentRecord,
    LastCloseRecord,
    ProtectionRecord,
    Recovered,
    StrategyStateRecord,
    StreamRecord,
)
from tradingd.journal import schema as t
from tradingd.journal.rows import CODECS, compiled

RECENT_MS = 7 * 24 * 3_600_000
"""How far back the recent windows reach."""

RECENT_ROWS = 2_000
"""The most rows that one recent window gives, the newest ones."""

DAY_MS = 24 * 3_600_000


def _list(statuses: frozenset[OrderStatus]) -> sa.TextClause:
    return sa.text(", ".join(f"'{status.value}'" for status in sorted(statuses)))


def _statuses(column: Any, statuses: frozenset[OrderStatus]) -> sa.TextClause:
    return sa.text(f"{column.table.name}.{column.name} IN ({_list(statuses)})")


def newest(select: sa.Select[Any], rows: int) -> str:
    """The text of `select`, cut after so many rows (`.limit()` would add a parameter of its own)."""
    return f"{compiled(select)} LIMIT {rows}"


def _all(record: type) -> str:
    return compiled(CODECS[record].select())


def _recent(record: type, column: Any, *conditions: Any) -> str:
    select = CODECS[record].select().where(column >= sa.bindparam("since"), *conditions)
    return newest(select.order_by(column.desc()), RECENT_ROWS)


_LIVE = frozenset(OrderStatus) - FINAL
_BOOTS = newest(CODECS[BootRecord].select().order_by(t.boots.c.started_ms.desc()), 10)
_EPOCHS = compiled(sa.select(t.boots.c.epoch))
_OPEN_ORDERS = compiled(CODECS[Order].select().where(_statuses(t.orders.c.status, _LIVE)))
_RECENT_ORDERS = _recent(Order, t.orders.c.updated_ms, _statuses(t.orders.c.status, FINAL))
_RECENT_FILLS = _recent(Fill, t.fills.c.time_ms)
_RECENT_DECISIONS = newest(
    sa.select(t.decisions.c.key)
    .where(t.decisions.c.time_ms >= sa.bindparam("since"))
    .order_by(t.decisions.c.time_ms.desc()),
    RECENT_ROWS,
)
_DAYS = compiled(CODECS[DayEquityRecord].select().where(t.day_equity.c.time_ms >= sa.bindparam("since")))
_INCIDENTS = newest(
    CODECS[IncidentRecord]
    .select()
    .where(t.incidents.c.acknowledged_ms.is_(None))
    .order_by(t.incidents.c.raised_ms.desc()),
    RECENT_ROWS,
)
_OPEN_INTENTS = compiled(
    CODECS[IntentRecord].select().where(t.intents.c.outcome.is_(None)).order_by(t.intents.c.intent_id)
)
_SEEN = compiled(
    sa.select(t.fills.c.trade_id).where(
        t.fills.c.venue == sa.bindparam("venue"),
        t.fills.c.symbol == sa.bindparam("symbol"),
        t.fills.c.time_ms >= sa.bindparam("since"),
    )
)
_ORDER = compiled(CODECS[Order].select().where(t.orders.c.client_order_id == sa.bindparam("id")))
_LAST_FILL = compiled(
    sa.select(
        t.positions.c.venue,
        t.positions.c.symbol,
        sa.select(sa.func.max(t.fills.c.time_ms))
        .where(t.fills.c.venue == t.positions.c.venue, t.fills.c.symbol == t.positions.c.symbol)
        .scalar_subquery(),
    )
)


def recover(connection: sqlite3.Connection, now_ms: int) -> Recovered:
    """What a start needs, in one consistent reading; rows of a window come oldest first."""
    since = (now_ms - RECENT_MS,)
    connection.execute("BEGIN")
    try:
        return Recovered(
            boots=_rows(connection, BootRecord, _BOOTS)[::-1],
            epochs=frozenset(Epoch(row[0]) for row in connection.execute(_EPOCHS)),
            streams=_rows(connection, StreamRecord, _all(StreamRecord)),
            open_orders=tuple(sorted(_rows(connection, Order, _OPEN_ORDERS), key=_by_creation)),
            recent_orders=_rows(connection, Order, _RECENT_ORDERS, since)[::-1],
            positions=_rows(connection, Position, _all(Position)),
            protections=_rows(connection, ProtectionRecord, _all(ProtectionRecord)),
            last_closes=_rows(connection, LastCloseRecord, _all(LastCloseRecord)),
            day_equities=_rows(connection, DayEquityRecord, _DAYS, (now_ms - 2 * DAY_MS,)),
            bans=_rows(connection, BanRecord, _all(BanRecord)),
            incidents=_rows(connection, IncidentRecord, _INCIDENTS)[::-1],
            flags=_rows(connection, FlagRecord, _all(FlagRecord)),
            states=_rows(connection, StrategyStateRecord, _all(StrategyStateRecord)),
            open_intents=_rows(connection, IntentRecord, _OPEN_INTENTS),
            recent_decisions=frozenset(DecisionKey(row[0]) for row in connection.execute(_RECENT_DECISIONS, since)),
            recent_fills=_rows(connection, Fill, _RECENT_FILLS, since)[::-1],
            last_fill_ms={
                InstrumentId(VenueId(venue), symbol): time_ms
                for venue, symbol, time_ms in connection.execute(_LAST_FILL)
                if time_ms is not None
            },
        )
    finally:
        connection.execute("ROLLBACK")


def seen_trades(connection: sqlite3.Connection, instrument: InstrumentId, since_ms: int) -> frozenset[str]:
    """The trade ids on the instrument since `since_ms`."""
    rows = connection.execute(_SEEN, (instrument.venue, instrument.symbol, since_ms))
    return frozenset(row[0] for row in rows)


def find_order(connection: sqlite3.Connection, client_order_id: ClientOrderId) -> Order | None:
    """The order with our id, or None."""
    found = _rows(connection, Order, _ORDER, (client_order_id,))
    return found[0] if found else None


def _by_creation(order: Order) -> tuple[int, str]:
    return order.created_ms, order.client_order_id


def _rows(connection: sqlite3.Connection, record: type, sql: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    read = CODECS[record].read
    return tuple([read(row) for row in connection.execute(sql, parameters)])
