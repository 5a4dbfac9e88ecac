"""The journal's first schema, as text: it must stay what it was when tradingd/journal/schema.py moves on."""

import re

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables and indexes."""
    for statement in re.sub(r"(\w+)_AS_ISO", ISO, TABLES).split(";"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)


ISO = r"GENERATED ALWAYS AS (strftime('%Y-%m-%dT%H:%M:%fZ', \1 / 1000.0, 'unixepoch')) VIRTUAL"

TABLES = """
CREATE TABLE meta (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    set_ms INTEGER NOT NULL,
    set_iso TEXT set_ms_AS_ISO,
    PRIMARY KEY (name)
) STRICT;

CREATE TABLE boots (
    epoch TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    started_iso TEXT started_ms_AS_ISO,
    mode TEXT NOT NULL,
    version TEXT NOT NULL,
    pid INTEGER NOT NULL,
    config_sha256 TEXT NOT NULL,
    stopped_ms INTEGER,
    stopped_iso TEXT stopped_ms_AS_ISO,
    stop_reason TEXT,
    PRIMARY KEY (epoch)
) STRICT;
CREATE INDEX boots_started ON boots (started_ms);

CREATE TABLE streams (
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    last_open_ms INTEGER NOT NULL,
    last_open_iso TEXT last_open_ms_AS_ISO,
    delivered_ms INTEGER NOT NULL,
    delivered_iso TEXT delivered_ms_AS_ISO,
    PRIMARY KEY (venue, symbol, timeframe)
) STRICT;

CREATE TABLE decisions (
    sequence INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    strategy TEXT NOT NULL,
    cause TEXT NOT NULL,
    venue TEXT,
    symbol TEXT,
    time_ms INTEGER NOT NULL,
    time_iso TEXT time_ms_AS_ISO,
    outcome TEXT NOT NULL,
    duration_us INTEGER NOT NULL,
    code_sha256 TEXT NOT NULL,
    late INTEGER NOT NULL,
    error TEXT,
    PRIMARY KEY (sequence),
    CHECK (late IN (0, 1)),
    UNIQUE ("key")
) STRICT;
CREATE INDEX decisions_strategy ON decisions (strategy, venue, symbol, time_ms);
CREATE INDEX decisions_time ON decisions (time_ms);

CREATE TABLE notes (
    decision TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    reason TEXT NOT NULL,
    values_json TEXT NOT NULL,
    PRIMARY KEY (decision, sequence)
) STRICT;

CREATE TABLE strategy_state (
    strategy TEXT NOT NULL,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    state_json TEXT NOT NULL,
    updated_ms INTEGER NOT NULL,
    updated_iso TEXT updated_ms_AS_ISO,
    PRIMARY KEY (strategy, venue, symbol)
) STRICT;

CREATE TABLE intents (
    intent_id TEXT NOT NULL,
    decision TEXT,
    strategy TEXT NOT NULL,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload_json TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    created_iso TEXT created_ms_AS_ISO,
    outcome TEXT,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    decided_ms INTEGER,
    decided_iso TEXT decided_ms_AS_ISO,
    PRIMARY KEY (intent_id),
    CHECK (outcome IN ('ordered', 'denied', 'done', 'failed', 'cancelled'))
) STRICT;
CREATE INDEX intents_created ON intents (created_ms);
CREATE INDEX intents_decision ON intents (decision);
CREATE INDEX intents_undecided ON intents (intent_id) WHERE outcome IS NULL;

CREATE TABLE orders (
    client_order_id TEXT NOT NULL,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    purpose TEXT NOT NULL,
    side TEXT NOT NULL,
    kind TEXT NOT NULL,
    quantity REAL,
    limit_price REAL,
    trigger_price REAL,
    time_in_force TEXT,
    post_only INTEGER NOT NULL,
    reduce_only INTEGER NOT NULL,
    close_position INTEGER NOT NULL,
    strategy TEXT,
    intent_id TEXT,
    status TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    created_iso TEXT created_ms_AS_ISO,
    signed_ms INTEGER NOT NULL,
    signed_iso TEXT signed_ms_AS_ISO,
    window_ms INTEGER NOT NULL,
    venue_order_id TEXT,
    child_venue_order_id TEXT,
    filled_quantity REAL NOT NULL,
    booked_quantity REAL NOT NULL,
    average_price REAL,
    reference_price REAL,
    reject_code TEXT,
    reason TEXT NOT NULL,
    expire_ms INTEGER,
    expire_iso TEXT expire_ms_AS_ISO,
    stop_loss REAL,
    take_profit REAL,
    cancel_requested_ms INTEGER,
    cancel_requested_iso TEXT cancel_requested_ms_AS_ISO,
    updated_ms INTEGER NOT NULL,
    updated_iso TEXT updated_ms_AS_ISO,
    PRIMARY KEY (client_order_id),
    CHECK (purpose IN ('entry', 'exit', 'stop', 'take_profit', 'bridge')),
    CHECK (side IN ('buy', 'sell')),
    CHECK (kind IN ('market', 'limit', 'stop_market', 'take_profit_market')),
    CHECK (post_only IN (0, 1)),
    CHECK (reduce_only IN (0, 1)),
    CHECK (close_position IN (0, 1)),
    CHECK (status IN ('INITIALIZED', 'DENIED', 'SUBMITTED', 'IN_DOUBT', 'ACCEPTED', 'TRIGGERED',
        'PARTIALLY_FILLED', 'FILLED', 'CANCELED', 'EXPIRED', 'REJECTED'))
) STRICT;
CREATE INDEX orders_child ON orders (venue, child_venue_order_id) WHERE child_venue_order_id IS NOT NULL;
CREATE INDEX orders_created ON orders (created_ms);
CREATE INDEX orders_instrument ON orders (venue, symbol, created_ms);
CREATE INDEX orders_intent ON orders (intent_id);
CREATE INDEX orders_status ON orders (status, updated_ms);
CREATE INDEX orders_updated ON orders (updated_ms);
CREATE INDEX orders_venue_order ON orders (venue, venue_order_id);

CREATE TABLE order_events (
    sequence INTEGER NOT NULL,
    client_order_id TEXT NOT NULL,
    event TEXT NOT NULL,
    "before" TEXT NOT NULL,
    "after" TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    time_iso TEXT time_ms_AS_ISO,
    source TEXT NOT NULL,
    raw_code TEXT,
    detail TEXT NOT NULL,
    trade_id TEXT NOT NULL,
    PRIMARY KEY (sequence),
    CHECK (event IN ('submit', 'deny', 'accept', 'reject', 'time_out', 'not_found', 'trigger', 'fill_part',
        'fill_all', 'cancel', 'expire')),
    CHECK (before IN ('INITIALIZED', 'DENIED', 'SUBMITTED', 'IN_DOUBT', 'ACCEPTED', 'TRIGGERED',
        'PARTIALLY_FILLED', 'FILLED', 'CANCELED', 'EXPIRED', 'REJECTED')),
    CHECK (after IN ('INITIALIZED', 'DENIED', 'SUBMITTED', 'IN_DOUBT', 'ACCEPTED', 'TRIGGERED',
        'PARTIALLY_FILLED', 'FILLED', 'CANCELED', 'EXPIRED', 'REJECTED')),
    UNIQUE (client_order_id, time_ms, event, "before", "after", source, trade_id)
) STRICT;
CREATE INDEX order_events_time ON order_events (time_ms);

CREATE TABLE fills (
    sequence INTEGER NOT NULL,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    trade_id TEXT NOT NULL,
    venue_order_id TEXT NOT NULL,
    client_order_id TEXT,
    side TEXT NOT NULL,
    price REAL NOT NULL,
    quantity REAL NOT NULL,
    fee REAL NOT NULL,
    fee_currency TEXT NOT NULL,
    realized_pnl REAL,
    maker INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    time_iso TEXT time_ms_AS_ISO,
    reason TEXT NOT NULL,
    PRIMARY KEY (sequence),
    CHECK (side IN ('buy', 'sell')),
    CHECK (maker IN (0, 1)),
    UNIQUE (venue, symbol, trade_id),
    CHECK (quantity > 0)
) STRICT;
CREATE INDEX fills_instrument ON fills (venue, symbol, time_ms);
CREATE INDEX fills_order ON fills (client_order_id);
CREATE INDEX fills_time ON fills (time_ms);
CREATE INDEX fills_venue_order ON fills (venue, venue_order_id);

CREATE TABLE ledger (
    sequence INTEGER NOT NULL,
    venue TEXT NOT NULL,
    kind TEXT NOT NULL,
    reference TEXT NOT NULL,
    symbol TEXT,
    amount REAL NOT NULL,
    currency TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    time_iso TEXT time_ms_AS_ISO,
    PRIMARY KEY (sequence),
    UNIQUE (venue, kind, reference)
) STRICT;
CREATE INDEX ledger_instrument ON ledger (venue, symbol, kind, time_ms);

CREATE TABLE positions (
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    quantity REAL NOT NULL,
    entry_price REAL,
    opened_ms INTEGER,
    opened_iso TEXT opened_ms_AS_ISO,
    updated_ms INTEGER NOT NULL,
    updated_iso TEXT updated_ms_AS_ISO,
    strategy TEXT,
    PRIMARY KEY (venue, symbol)
) STRICT;

CREATE TABLE protection (
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    strategy TEXT,
    intent_id TEXT,
    stop_loss REAL,
    take_profit REAL,
    stop_order TEXT,
    take_profit_order TEXT,
    state TEXT NOT NULL,
    updated_ms INTEGER NOT NULL,
    updated_iso TEXT updated_ms_AS_ISO,
    PRIMARY KEY (venue, symbol)
) STRICT;

CREATE TABLE last_closes (
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    close_ms INTEGER NOT NULL,
    close_iso TEXT close_ms_AS_ISO,
    cause TEXT NOT NULL,
    trade_id TEXT,
    strategy TEXT,
    PRIMARY KEY (venue, symbol)
) STRICT;

CREATE TABLE balances (
    sequence INTEGER NOT NULL,
    venue TEXT NOT NULL,
    currency TEXT NOT NULL,
    wallet REAL NOT NULL,
    equity REAL NOT NULL,
    available REAL NOT NULL,
    time_ms INTEGER NOT NULL,
    time_iso TEXT time_ms_AS_ISO,
    PRIMARY KEY (sequence),
    UNIQUE (venue, time_ms, currency)
) STRICT;

CREATE TABLE day_equity (
    venue TEXT NOT NULL,
    day TEXT NOT NULL,
    equity REAL NOT NULL,
    transfers REAL NOT NULL,
    time_ms INTEGER NOT NULL,
    time_iso TEXT time_ms_AS_ISO,
    PRIMARY KEY (venue, day)
) STRICT;

CREATE TABLE signals (
    sequence INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    source TEXT NOT NULL,
    strategy TEXT NOT NULL,
    payload_json TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    received_iso TEXT received_ms_AS_ISO,
    PRIMARY KEY (sequence),
    UNIQUE ("key")
) STRICT;

CREATE TABLE commands (
    sequence INTEGER NOT NULL,
    command TEXT NOT NULL,
    arguments_json TEXT NOT NULL,
    source TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    received_iso TEXT received_ms_AS_ISO,
    result_json TEXT NOT NULL,
    PRIMARY KEY (sequence)
) STRICT;
CREATE INDEX commands_received ON commands (received_ms);

CREATE TABLE incidents (
    incident_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    detail TEXT NOT NULL,
    venue TEXT,
    symbol TEXT,
    strategy TEXT,
    raised_ms INTEGER NOT NULL,
    raised_iso TEXT raised_ms_AS_ISO,
    acknowledged_ms INTEGER,
    acknowledged_iso TEXT acknowledged_ms_AS_ISO,
    PRIMARY KEY (incident_id),
    CHECK (severity IN ('info', 'warning', 'critical'))
) STRICT;
CREATE INDEX incidents_open ON incidents (raised_ms) WHERE acknowledged_ms IS NULL;
CREATE INDEX incidents_raised ON incidents (raised_ms);

CREATE TABLE bans (
    venue TEXT NOT NULL,
    until_ms INTEGER NOT NULL,
    until_iso TEXT until_ms_AS_ISO,
    reason TEXT NOT NULL,
    recorded_ms INTEGER NOT NULL,
    recorded_iso TEXT recorded_ms_AS_ISO,
    PRIMARY KEY (venue)
) STRICT;

CREATE TABLE jobs (
    name TEXT NOT NULL,
    last_run_ms INTEGER NOT NULL,
    last_run_iso TEXT last_run_ms_AS_ISO,
    ok INTEGER NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (name),
    CHECK (ok IN (0, 1))
) STRICT;

CREATE TABLE flags (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    reason TEXT NOT NULL,
    set_ms INTEGER NOT NULL,
    set_iso TEXT set_ms_AS_ISO,
    PRIMARY KEY (name)
) STRICT;
"""
