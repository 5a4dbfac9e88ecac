"""Whatever a human has to correct ends `tradingd run` with 78, which no service manager restarts. Real processes."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import tradingd
from tests.journal.making import inline
from tradingd.journal.identity import SCHEMA_VERSION

PLUGIN = "from tradingd.strategy import Strategy\n\n\nclass Trend(Strategy):\n    stake: float = 0.1\n"
CONFIG = '[venues.binance]\n[strategies.trend]\ninstruments = ["BTC/USDT:USDT@binance"]\n'


def newer(journal: Path) -> None:
    connection = sqlite3.connect(journal)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()


def corrupt(journal: Path) -> None:
    """Overwrites the middle of every page but the first, as a bad disk does."""
    content = bytearray(journal.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 512] = b"\xa5" * 512
    journal.write_bytes(content)


def truncated(journal: Path) -> None:
    journal.write_bytes(journal.read_bytes()[: 3 * 4096 + 100])


def no_database(journal: Path) -> None:
    journal.write_text("time,price\n1,2\n")


def of_another_program(journal: Path) -> None:
    journal.unlink()
    connection = sqlite3.connect(journal)
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()


def of_another_mode(journal: Path) -> None:
    journal.unlink()
    inline(journal, "live").close_now()


JOURNALS: list[tuple[Callable[[Path], None], str]] = [
    (newer, "has schema"),
    (corrupt, "is corrupt"),
    (truncated, "is corrupt"),
    (no_database, "is not an SQLite database"),
    (of_another_program, "is an SQLite database of another program"),
    (of_another_mode, "belongs to mode 'live', but this run has 'sim'"),
]


def run(tmp_path: Path) -> str:
    """What a `run` that must be refused says at last; no venue was started for it."""
    done = tradingd(
        "run", "--config", str(tmp_path / "config.toml"), env={"TRADINGD__DAEMON__STATE_DIR": str(tmp_path)}
    )
    assert done.returncode == 78 and done.stdout == "" and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "venues").exists()
    return done.stderr


@pytest.fixture(autouse=True)
def good(tmp_path: Path) -> None:
    """A config and a plugin with which a run would begin."""
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "strategies").mkdir(mode=0o755)
    (tmp_path / "strategies" / "trend.py").write_text(PLUGIN)


@pytest.mark.parametrize(("spoil", "why"), JOURNALS, ids=[spoil.__name__ for spoil, _ in JOURNALS])
def test_a_journal_that_must_not_be_used_ends_run_with_78_and_stays(
    tmp_path: Path, spoil: Callable[[Path], None], why: str
) -> None:
    journal = tmp_path / "sim.db"
    inline(journal).close_now()
    spoil(journal)
    before = journal.read_bytes()
    (line,) = run(tmp_path).splitlines()
    assert line.startswith(f"tradingd: journal {journal} ") and why in line
    assert journal.read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (Path.unlink, "config.toml:2:13: there is no plugin file"),
        (lambda plugin: plugin.chmod(0o666), "trend.py: "),
        (lambda plugin: plugin.write_text(f"{PLUGIN}    def\n"), "trend.py:6:"),
    ],
    ids=["missing", "world-writable", "wrong syntax"],
)
def test_a_plugin_that_must_not_be_used_ends_run_with_78(
    tmp_path: Path, spoil: Callable[[Path], object], why: str
) -> None:
    spoil(tmp_path / "strategies" / "trend.py")
    told = run(tmp_path)
    assert why in told.splitlines()[0] and "allowed: " in told, told
    assert not (tmp_path / "sim.db").exists()
