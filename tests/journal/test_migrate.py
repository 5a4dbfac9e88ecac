"""Migrations: the shipped ones make the tables of schema.py; any of them may be killed half-way."""

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from tests.journal.making import NOON, make_fill, write
from tradingd.config.resources import migrations_path
from tradingd.domain.errors import JournalRefused
from tradingd.journal import schema
from tradingd.journal.identity import SCHEMA_VERSION
from tradingd.journal.migrate import migrate, schema_version
from tradingd.journal.views import VIEWS

DAY_MS = 86_400_000
NEXT = SCHEMA_VERSION + 1

FURTHER = """
import os, signal
import sqlalchemy as sa
from alembic import op

revision = "NEXT"
down_revision = "HEAD"


def upgrade():
    op.create_table("extra", sa.Column("name", sa.Text, primary_key=True))
    op.add_column("fills", sa.Column("note", sa.Text))
    op.execute("CREATE TABLE copied AS SELECT * FROM bans")
    op.execute("DROP TABLE bans")
    op.execute("ALTER TABLE copied RENAME TO bans")
    BETWEEN
    op.execute("INSERT INTO extra VALUES ('done')")
"""


def scripts(tmp_path: Path, between: str = "pass") -> Path:
    """The shipped migrations and another one that does `between` half-way."""
    copy = tmp_path / "scripts"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(migrations_path(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = FURTHER.replace("BETWEEN", between).replace("NEXT", f"{NEXT:04d}").replace("HEAD", f"{SCHEMA_VERSION:04d}")
    (copy / "versions" / f"{NEXT:04d}_extra.py").write_text(text)
    return copy


def shape(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    connection.close()
    return [(name, sql) for name, sql in rows]


def test_the_migrations_make_exactly_the_tables_of_the_schema(path: Path) -> None:
    dialect = sqlite.dialect()
    wanted = {}
    for table in schema.metadata.tables.values():
        wanted[table.name] = str(CreateTable(table).compile(dialect=dialect))
        wanted.update({str(index.name): str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes})
    made = {name: sql for name, sql in shape(path) if sql and not sql.startswith("CREATE VIEW")}
    made.pop("alembic_version")

    def plain(text: str) -> str:
        return re.sub(r"\s+", "", text)

    assert {name: plain(sql) for name, sql in made.items()} == {name: plain(sql) for name, sql in wanted.items()}


def test_the_version_in_the_code_is_the_newest_migration(path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_path()))
    config.set_main_option("path_separator", "os")
    head = ScriptDirectory.from_config(config).get_current_head()
    assert head == f"{SCHEMA_VERSION:04d}"
    connection = sqlite3.connect(path)
    assert schema_version(connection) == SCHEMA_VERSION
    connection.close()


def test_a_migration_keeps_the_rows_and_makes_a_backup_first(path: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(path)
    write(connection, make_fill(1))
    connection.close()
    backup = migrate(path, scripts(tmp_path), NOON, head=NEXT)
    assert backup is not None
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT trade_id, fee_currency, note FROM fills").fetchone() == ("1", "USDT", None)
    assert schema_version(connection) == NEXT
    connection.close()
    before = sqlite3.connect(backup)
    assert before.execute("SELECT trade_id, fee_currency FROM fills").fetchone() == ("1", "USDT")
    assert schema_version(before) == SCHEMA_VERSION
    before.close()
    assert backup.stat().st_mode & 0o777 == 0o640
    assert not list(tmp_path.glob("*.unfinished"))


def test_views_are_away_during_a_migration_and_back_after_it(path: Path, tmp_path: Path) -> None:
    views = "op.get_bind().exec_driver_sql(\"SELECT 1 FROM sqlite_master WHERE type = 'view'\").fetchall()"
    migrate(path, scripts(tmp_path, f"assert not {views}"), NOON, head=NEXT)
    assert {name for name, _ in shape(path) if name.startswith("v_")} == set(VIEWS)


def test_a_migration_that_the_views_do_not_fit_is_undone(path: Path, tmp_path: Path) -> None:
    before = shape(path)
    renaming = scripts(tmp_path, "op.execute('ALTER TABLE fills RENAME COLUMN fee_currency TO fee_coin')")
    with pytest.raises(JournalRefused, match=r"no such column: f\.fee_currency"):
        migrate(path, renaming, NOON, head=NEXT)
    assert shape(path) == before


def test_views_are_made_again_when_their_text_changed(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP VIEW v_last_closes")
    connection.execute("CREATE VIEW v_last_closes AS SELECT 1 AS old")
    connection.execute("UPDATE meta SET value = 'old' WHERE name = 'views_sha256'")
    connection.commit()
    connection.close()
    assert migrate(path, migrations_path(), NOON) is None
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT * FROM v_last_closes").description[0][0] == "venue"
    connection.close()


@pytest.mark.fault(83)
def test_a_migration_killed_half_way_never_happened_and_then_succeeds(path: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(path)
    write(connection, make_fill(1))
    connection.close()
    before = shape(path)
    killing = scripts(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    script = (
        "from pathlib import Path; from tradingd.journal.migrate import migrate;"
        f"migrate(Path({str(path)!r}), Path({str(killing)!r}), {NOON}, head={NEXT})"
    )
    died = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL
    assert shape(path) == before
    migrate(path, scripts(tmp_path), NOON + 1000, head=NEXT)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM extra").fetchall() == [("done",)]
    assert connection.execute("SELECT count(*) FROM fills").fetchone() == (1,)
    assert not [name for name, _ in shape(path) if name.startswith("_alembic_tmp")]
    connection.close()


@pytest.mark.parametrize(
    "fault",
    [
        "raise ValueError('no')",
        "op.execute('SELECT * FROM nowhere')",
        "op.execute('INSERT INTO bans (venue) VALUES (1, 2)')",
        "op.get_bind().commit(); raise ValueError('no')",
        "op.get_bind().rollback(); raise ValueError('no')",
    ],
)
def test_a_migration_that_fails_changes_nothing(path: Path, tmp_path: Path, fault: str) -> None:
    before = shape(path)
    with pytest.raises(JournalRefused, match=f"could not be migrated from schema {SCHEMA_VERSION} to {NEXT}") as caught:
        migrate(path, scripts(tmp_path, fault), NOON, head=NEXT)
    assert "A backup from before is" in str(caught.value)
    assert shape(path) == before


def test_three_backups_are_kept(path: Path, tmp_path: Path) -> None:
    with_second = scripts(tmp_path, "raise ValueError('no')")
    for day in range(5):
        with pytest.raises(JournalRefused):
            migrate(path, with_second, NOON + day * DAY_MS, head=NEXT)
    assert [file.name for file in sorted(tmp_path.glob("*.backup"))] == [
        f"journal.sqlite.{stamp}T120000Z.schema-{SCHEMA_VERSION}.backup"
        for stamp in ("20231116", "20231117", "20231118")
    ]


def test_without_room_for_a_backup_nothing_is_migrated(path: Path, tmp_path: Path) -> None:
    (tmp_path / f"journal.sqlite.20231114T120000Z.schema-{SCHEMA_VERSION}.backup.unfinished").mkdir()
    before = shape(path)
    with pytest.raises(JournalRefused, match="no backup could be made"):
        migrate(path, scripts(tmp_path), NOON, head=NEXT)
    assert shape(path) == before


def test_every_index_serves_a_start_or_a_question(path: Path) -> None:
    """The statements of a start use an index each: none reads a table that grows from end to end."""
    from tradingd.journal import recovery

    connection = sqlite3.connect(path)
    growing = {"orders", "fills", "decisions", "intents", "order_events", "ledger", "balances", "incidents", "notes"}
    for name, sql in vars(recovery).items():
        if isinstance(sql, str) and "SELECT" in sql[:8]:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", (0,) * sql.count("?")).fetchall()
            scans = [step for *_, step in plan if step.startswith("SCAN") and set(step.split()) & growing]
            assert not [step for step in scans if "USING" not in step], (name, plan)
    connection.close()
