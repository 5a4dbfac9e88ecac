"""`tradingd strategies list | new | check`, as a user runs it: real processes, a real config, real files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """
[daemon]
strategies_dir = "strategies"

[venues.binance]
enabled = true

[strategies.trend]
plugin = "sma_cross"
instruments = ["BTC/USDT:USDT@binance", "ETH/USDT:USDT@binance"]
warmup = 30
fast = 5
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    directory = tmp_path / "strategies"
    directory.mkdir(mode=0o755)
    (directory / "sma_cross.py").write_text((ROOT / "strategies" / "sma_cross.py").read_text())
    return tmp_path


def tradingd(home: Path, *words: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tradingd", "strategies", *words], cwd=home, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_list_shows_summary_parameters_hash_and_use(home):
    (row,) = json.loads(tradingd(home, "list", "--json"))
    assert row["summary"] == "Long while the fast average is above the slow one; flat otherwise."
    assert row["strategies"] == ["trend"]
    assert {one["name"]: one["default"] for one in row["parameters"]}["stake"] == "0.05"
    assert len(row["sha256"]) == 64
    text = tradingd(home, "list")
    assert "configured  trend" in text
    assert "fast        a whole number; default 10" in text


def test_list_shows_a_faulty_plugin_beside_the_good_ones(home):
    (home / "strategies" / "broken.py").write_text("def f(:\n")
    broken, good = json.loads(tradingd(home, "list", "--json"))
    assert "broken.py:1: syntax error" in broken["error"]
    assert good["error"] is None


def test_a_new_plugin_passes_its_check_and_is_never_overwritten(home):
    assert "my_idea.py is written" in tradingd(home, "new", "my_idea")
    written = (home / "strategies" / "my_idea.py").read_text()
    assert "class MyIdea(Strategy)" in written
    text = tradingd(home, "check", "my_idea")
    assert "Enter" in text
    assert "good" in text
    assert "exists already" in tradingd(home, "new", "my_idea", status=1)
    assert (home / "strategies" / "my_idea.py").read_text() == written


@pytest.mark.parametrize("name", ["../evil", "Upper", "1st", "a.b"])
def test_a_name_that_no_plugin_can_have_is_refused(home, name):
    assert "allowed: lower-case letters" in tradingd(home, "new", name, status=2)
    assert sorted(path.name for path in home.rglob("*.py")) == ["sma_cross.py"]


def test_check_runs_what_the_config_names_the_same_each_time(home):
    first, second = (json.loads(tradingd(home, "check", "--json", "--candles", "400")) for _ in range(2))
    assert first[0]["yields"] == second[0]["yields"]
    assert first[0]["candles"] == 800
    assert set(first[0]["yields"]) == {"Enter", "Exit"}
    assert first[0]["invalid_entries"] == 0
    assert 0 < first[0]["longest_ms"] < 1_000


def test_check_tells_the_line_of_an_error_and_fails(home):
    (home / "strategies" / "bad.py").write_text(
        "from tradingd.strategy import Strategy\n\n\nclass Bad(Strategy):\n"
        "    def on_candle(self, candle, ctx):\n        return 1 / 0\n"
    )
    assert "ZeroDivisionError: division by zero (bad.py:6)" in tradingd(home, "check", "bad", status=1)


def test_check_tells_entries_that_would_be_denied(home):
    (home / "strategies" / "odd.py").write_text(
        "from tradingd.strategy import Enter, Side, Strategy\n\n\nclass Odd(Strategy):\n"
        "    def on_candle(self, candle, ctx):\n"
        "        yield Enter(candle.instrument, Side.BUY, notional=float('nan'))\n"
        "        yield Enter(candle.instrument, Side.BUY, notional=10)\n"
    )
    text = tradingd(home, "check", "odd", "--candles", "3")
    assert "3 entries would be, the first: notional is nan; allowed: a finite number" in text
    assert "3 entries would be: no stop_loss" in text


def test_check_ends_an_endless_loop(home):
    (home / "strategies" / "loop.py").write_text(
        "from tradingd.strategy import Strategy\n\n\nclass Loop(Strategy):\n"
        "    def on_candle(self, candle, ctx):\n        while True:\n            pass\n"
    )
    assert "did not end within 1000 ms" in tradingd(home, "check", "loop", status=1)


def test_check_of_a_faulty_config_tells_the_line(home):
    (home / "config.toml").write_text(CONFIG.replace("fast = 5", "fats = 5"))
    text = tradingd(home, "check", status=78)
    assert "config.toml:12:1: fats is not a parameter of SmaCross" in text
    assert "nearest: fast" in text


def test_no_strategy_command_imports_ccxt(home):
    code = (
        "import sys; from tradingd.cli import main; "
        "status = main(['strategies', 'check', '--candles', '50']); "
        "print(status, [name for name in sys.modules if name.split('.')[0] in ('ccxt', 'sqlalchemy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_check_tells_of_a_plugin_that_ends_the_process(home):
    """It ended the check itself, silently and with the plugin's status."""
    (home / "strategies" / "sma_cross.py").write_text(
        "import sys\n\nfrom tradingd.strategy import Strategy\n\n\nclass Ends(Strategy):\n"
        "    fast: int = 5\n\n    def on_candle(self, candle, ctx):\n        sys.exit(3)\n"
    )
    assert "error    SystemExit: 3 (sma_cross.py:10)" in tradingd(home, "check", status=1)
