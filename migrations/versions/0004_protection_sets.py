"""Where a venue keeps stop and take profit as a state of the position, each setting of it is a row."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table."""
    for statement in (TABLE, BY_INTENT, BY_INSTRUMENT):
        op.get_bind().exec_driver_sql(statement)


TABLE = """
CREATE TABLE protection_sets (
    sequence INTEGER NOT NULL,
    set_id TEXT NOT NULL,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    strategy TEXT,
    intent_id TEXT,
    stop_loss REAL,
    take_profit REAL,
    why TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    time_iso TEXT GENERATED ALWAYS AS (strftime('%Y-%m-%dT%H:%M:%fZ', time_ms / 1000.0, 'unixepoch')) VIRTUAL,
    outcome TEXT,
    raw_code TEXT,
    detail TEXT NOT NULL,
    answered_ms INTEGER,
    answered_iso TEXT GENERATED ALWAYS AS (strftime('%Y-%m-%dT%H:%M:%fZ', answered_ms / 1000.0, 'unixepoch')) VIRTUAL,
    PRIMARY KEY (sequence),
    UNIQUE (set_id),
    CHECK (outcome IN ('accepted', 'refused', 'unknown'))
) STRICT
"""
BY_INTENT = "CREATE INDEX protection_sets_intent ON protection_sets (intent_id)"
BY_INSTRUMENT = "CREATE INDEX protection_sets_instrument ON protection_sets (venue, symbol, time_ms)"
