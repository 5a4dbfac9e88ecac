"""Bans have the host's wall clock beside the venue's time: the two may be days apart."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table anew, with its rows: a column added to it would stand behind its checks."""
    connection = op.get_bind()
    connection.exec_driver_sql("ALTER TABLE bans RENAME TO bans_before")
    connection.exec_driver_sql(TABLE)
    connection.exec_driver_sql(
        "INSERT INTO bans (venue, until_ms, reason, recorded_ms, scope, uptime_ms, wall_ms) "
        "SELECT venue, until_ms, reason, recorded_ms, scope, uptime_ms, NULL FROM bans_before"
    )
    connection.exec_driver_sql("DROP TABLE bans_before")


TABLE = """
CREATE TABLE bans (
    venue TEXT NOT NULL,
    until_ms INTEGER NOT NULL,
    until_iso TEXT GENERATED ALWAYS AS (strftime('%Y-%m-%dT%H:%M:%fZ', until_ms / 1000.0, 'unixepoch')) VIRTUAL,
    reason TEXT NOT NULL,
    recorded_ms INTEGER NOT NULL,
    recorded_iso TEXT GENERATED ALWAYS AS (strftime('%Y-%m-%dT%H:%M:%fZ', recorded_ms / 1000.0, 'unixepoch')) VIRTUAL,
    scope TEXT NOT NULL,
    uptime_ms INTEGER,
    wall_ms INTEGER,
    PRIMARY KEY (venue, scope),
    CHECK (scope IN ('all', 'orders'))
) STRICT
"""
