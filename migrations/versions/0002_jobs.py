"""Jobs tell how long a run took and how many have failed in a row. They are told anew within a minute of a start."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table anew: added columns would stand behind the checks."""
    op.get_bind().exec_driver_sql("DROP TABLE jobs")
    op.get_bind().exec_driver_sql(TABLE)


TABLE = """
CREATE TABLE jobs (
    name TEXT NOT NULL,
    last_run_ms INTEGER NOT NULL,
    last_run_iso TEXT GENERATED ALWAYS AS (strftime('%Y-%m-%dT%H:%M:%fZ', last_run_ms / 1000.0, 'unixepoch')) VIRTUAL,
    ok INTEGER NOT NULL,
    detail TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    PRIMARY KEY (name),
    CHECK (ok IN (0, 1))
) STRICT
"""
