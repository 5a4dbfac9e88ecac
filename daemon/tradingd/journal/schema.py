"""The journal's tables, as SQLAlchemy Core. `migrations/` makes them; a test holds the two equal.

Money is REAL: exact for the 15 significant digits of the domain, and SQL users can compare and sum it. Each time is
`*_ms`, integer ms UTC, with a generated `*_iso` column beside it. Tables are STRICT: a wrong type is an error, not a
silently stored text. `sequence` columns give the order of writing.

There are no foreign keys, on purpose. A fact from the venue (a fill, an order event) must be kept even when the row it
belongs to is missing, for that is the very case an operator has to see; and a deferred key would let one unit's mistake
fail the COMMIT of a whole batch. docs/journal.md has the query that finds such orphans.
"""

from enum import StrEnum

import sqlalchemy as sa

from tradingd.domain.errors import Severity
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderEvent, OrderKind, OrderStatus

metadata = sa.MetaData()
Parts = list[sa.schema.SchemaItem]


def text(name: str, *, optional: bool = False, key: bool = False) -> Parts:
    """A TEXT column."""
    return [sa.Column(name, sa.Text, nullable=optional, primary_key=key)]


def whole(name: str, *, optional: bool = False) -> Parts:
    """An INTEGER column."""
    return [sa.Column(name, sa.Integer, nullable=optional)]


def truth(name: str) -> Parts:
    """A truth value, 0 or 1."""
    return [sa.Column(name, sa.Integer, nullable=False), sa.CheckConstraint(f"{name} IN (0, 1)")]


def money(name: str, *, optional: bool = False) -> Parts:
    """A price, a quantity or a sum of money."""
    return [sa.Column(name, sa.REAL, nullable=optional)]


def moment(name: str, *, optional: bool = False) -> Parts:
    """A time in ms UTC and, beside it, the same as ISO text."""
    stem = name.removesuffix("_ms")
    iso = f"strftime('%Y-%m-%dT%H:%M:%fZ', {name} / 1000.0, 'unixepoch')"
    return [
        sa.Column(name, sa.Integer, nullable=optional),
        sa.Column(f"{stem}_iso", sa.Text, sa.Computed(iso, persisted=False)),
    ]


def choice(name: str, words: type[StrEnum] | tuple[str, ...], *, optional: bool = False) -> Parts:
    """A text out of a fixed set."""
    allowed = words if isinstance(words, tuple) else tuple(word.value for word in words)
    listed = ", ".join(f"'{word}'" for word in allowed)
    return [sa.Column(name, sa.Text, nullable=optional), sa.CheckConstraint(f"{name} IN ({listed})")]


def instrument(*, key: bool = False, optional: bool = False) -> Parts:
    """Venue and symbol."""
    return [*text("venue", key=key, optional=optional), *text("symbol", key=key, optional=optional)]


def sequence() -> Parts:
    """The order of writing, and the row's number."""
    return [sa.Column("sequence", sa.Integer, primary_key=True)]


def table(name: str, *parts: Parts | sa.schema.SchemaItem) -> sa.Table:
    """A strict table of the given columns, constraints and indexes."""
    items: Parts = []
    for part in parts:
        items.extend(part if isinstance(part, list) else [part])
    return sa.Table(name, metadata, *items, sqlite_strict=True)


PURPOSES = tuple(purpose.name.lower() for purpose in Purpose)
"""Purposes as words: `entry` reads better in a query than the letter that ends the client order id."""

meta = table("meta", text("name", key=True), text("value"), moment("set_ms"))

boots = table(
    "boots",
    text("epoch", key=True),
    moment("started_ms"),
    text("mode"),
    text("version"),
    whole("pid"),
    text("config_sha256"),
    moment("stopped_ms", optional=True),
    text("stop_reason", optional=True),
    sa.Index("boots_started", "started_ms"),
)

streams = table(
    "streams", instrument(key=True), text("timeframe", key=True), moment("last_open_ms"), moment("delivered_ms")
)

decisions = table(
    "decisions",
    sequence(),
    text("key"),
    text("strategy"),
    text("cause"),
    instrument(optional=True),
    moment("time_ms"),
    text("outcome"),
    whole("duration_us"),
    text("code_sha256"),
    truth("late"),
    text("error", optional=True),
    sa.UniqueConstraint("key"),
    sa.Index("decisions_time", "time_ms"),
    sa.Index("decisions_strategy", "strategy", "venue", "symbol", "time_ms"),
)

notes = table(
    "notes",
    text("decision", key=True),
    [sa.Column("sequence", sa.Integer, primary_key=True)],
    instrument(),
    text("reason"),
    text("values_json"),
)

strategy_state = table(
    "strategy_state", text("strategy", key=True), instrument(key=True), text("state_json"), moment("updated_ms")
)

intents = table(
    "intents",
    text("intent_id", key=True),
    text("decision", optional=True),
    text("strategy"),
    instrument(),
    text("kind"),
    text("payload_json"),
    moment("created_ms"),
    choice("outcome", ("ordered", "denied", "done", "failed", "cancelled"), optional=True),
    text("reason"),
    text("detail"),
    moment("decided_ms", optional=True),
    sa.Index("intents_decision", "decision"),
    sa.Index("intents_created", "created_ms"),
    sa.Index("intents_undecided", "intent_id", sqlite_where=sa.text("outcome IS NULL")),
)

orders = table(
    "orders",
    text("client_order_id", key=True),
    instrument(),
    choice("purpose", PURPOSES),
    choice("side", Side),
    choice("kind", OrderKind),
    money("quantity", optional=True),
    money("limit_price", optional=True),
    money("trigger_price", optional=True),
    text("time_in_force", optional=True),
    truth("post_only"),
    truth("reduce_only"),
    truth("close_position"),
    text("strategy", optional=True),
    text("intent_id", optional=True),
    choice("status", OrderStatus),
    moment("created_ms"),
    moment("signed_ms"),
    whole("window_ms"),
    text("venue_order_id", optional=True),
    text("child_venue_order_id", optional=True),
    money("filled_quantity"),
    money("booked_quantity"),
    money("average_price", optional=True),
    money("reference_price", optional=True),
    text("reject_code", optional=True),
    text("reason"),
    moment("expire_ms", optional=True),
    money("stop_loss", optional=True),
    money("take_profit", optional=True),
    moment("cancel_requested_ms", optional=True),
    moment("updated_ms"),
    sa.Index("orders_status", "status", "updated_ms"),
    sa.Index("orders_created", "created_ms"),
    sa.Index("orders_updated", "updated_ms"),
    sa.Index("orders_intent", "intent_id"),
    sa.Index("orders_instrument", "venue", "symbol", "created_ms"),
    sa.Index("orders_venue_order", "venue", "venue_order_id"),
    sa.Index("orders_child", "venue", "child_venue_order_id", sqlite_where=sa.text("child_venue_order_id IS NOT NULL")),
)

order_events = table(
    "order_events",
    sequence(),
    text("client_order_id"),
    choice("event", OrderEvent),
    choice("before", OrderStatus),
    choice("after", OrderStatus),
    moment("time_ms"),
    text("source"),
    text("raw_code", optional=True),
    text("detail"),
    text("trade_id"),
    # a step that is written again after a commit that failed is one row; the fill tells apart what else is alike
    sa.UniqueConstraint("client_order_id", "time_ms", "event", "before", "after", "source", "trade_id"),
    sa.Index("order_events_time", "time_ms"),
)

fills = table(
    "fills",
    sequence(),
    instrument(),
    text("trade_id"),
    text("venue_order_id"),
    text("client_order_id", optional=True),
    choice("side", Side),
    money("price"),
    money("quantity"),
    money("fee"),
    text("fee_currency"),
    money("realized_pnl", optional=True),
    truth("maker"),
    moment("time_ms"),
    text("reason"),
    sa.UniqueConstraint("venue", "symbol", "trade_id"),
    sa.CheckConstraint("quantity > 0"),
    sa.Index("fills_instrument", "venue", "symbol", "time_ms"),
    sa.Index("fills_time", "time_ms"),
    sa.Index("fills_order", "client_order_id"),
    sa.Index("fills_venue_order", "venue", "venue_order_id"),
)

ledger = table(
    "ledger",
    sequence(),
    text("venue"),
    text("kind"),
    text("reference"),
    text("symbol", optional=True),
    money("amount"),
    text("currency"),
    moment("time_ms"),
    sa.UniqueConstraint("venue", "kind", "reference"),
    sa.Index("ledger_instrument", "venue", "symbol", "kind", "time_ms"),
)

positions = table(
    "positions",
    instrument(key=True),
    money("quantity"),
    money("entry_price", optional=True),
    moment("opened_ms", optional=True),
    moment("updated_ms"),
    text("strategy", optional=True),
)

protection = table(
    "protection",
    instrument(key=True),
    text("strategy", optional=True),
    text("intent_id", optional=True),
    money("stop_loss", optional=True),
    money("take_profit", optional=True),
    text("stop_order", optional=True),
    text("take_profit_order", optional=True),
    text("state"),
    moment("updated_ms"),
)

protection_sets = table(
    "protection_sets",
    sequence(),
    text("set_id"),
    instrument(),
    text("strategy", optional=True),
    text("intent_id", optional=True),
    money("stop_loss", optional=True),
    money("take_profit", optional=True),
    text("why"),
    moment("time_ms"),
    text("outcome", optional=True),
    text("raw_code", optional=True),
    text("detail"),
    moment("answered_ms", optional=True),
    sa.UniqueConstraint("set_id"),
    sa.CheckConstraint("outcome IN ('accepted', 'refused', 'unknown')"),
    sa.Index("protection_sets_intent", "intent_id"),
    sa.Index("protection_sets_instrument", "venue", "symbol", "time_ms"),
)

last_closes = table(
    "last_closes",
    instrument(key=True),
    moment("close_ms"),
    text("cause"),
    text("trade_id", optional=True),
    text("strategy", optional=True),
)

balances = table(
    "balances",
    sequence(),
    text("venue"),
    text("currency"),
    money("wallet"),
    money("equity"),
    money("available"),
    moment("time_ms"),
    sa.UniqueConstraint("venue", "time_ms", "currency"),
)

day_equity = table(
    "day_equity",
    text("venue", key=True),
    text("day", key=True),
    money("equity"),
    money("transfers"),
    moment("time_ms"),
)

signals = table(
    "signals",
    sequence(),
    text("key"),
    text("source"),
    text("strategy"),
    text("payload_json"),
    moment("received_ms"),
    sa.UniqueConstraint("key"),
)

commands = table(
    "commands",
    sequence(),
    text("command"),
    text("arguments_json"),
    text("source"),
    moment("received_ms"),
    text("result_json"),
    sa.Index("commands_received", "received_ms"),
)

incidents = table(
    "incidents",
    text("incident_id", key=True),
    text("kind"),
    choice("severity", Severity),
    text("detail"),
    instrument(optional=True),
    text("strategy", optional=True),
    moment("raised_ms"),
    moment("acknowledged_ms", optional=True),
    sa.Index("incidents_raised", "raised_ms"),
    sa.Index("incidents_open", "raised_ms", sqlite_where=sa.text("acknowledged_ms IS NULL")),
)

bans = table(
    "bans",
    text("venue", key=True),
    moment("until_ms"),
    text("reason"),
    moment("recorded_ms"),
    text("scope", key=True),
    whole("uptime_ms", optional=True),
    whole("wall_ms", optional=True),
    sa.CheckConstraint("scope IN ('all', 'orders')"),
)
jobs = table(
    "jobs",
    text("name", key=True),
    moment("last_run_ms"),
    truth("ok"),
    text("detail"),
    whole("duration_ms"),
    whole("failures"),
)
flags = table("flags", text("name", key=True), text("value"), text("reason"), moment("set_ms"))
