"""A stop that comes while a position has no stop yet, in a real daemon; the built-in venue refuses as scripted."""

import signal
import sqlite3
import urllib.request
from pathlib import Path

import pytest

from benchmarks import candle_files, evidence
from benchmarks.world import World

pytestmark = pytest.mark.timeout(120)

CONFIG = """
[daemon]
mode = "sim"
strategies_dir = "plugins"
[venues.binance]
enabled = true
port = 0
[strategies.eager]
plugin = "eager"
instruments = ["BTC/USDT:USDT@binance"]
timeframe = "1m"
"""
EAGER = """
from decimal import Decimal

from tradingd.strategy import Candle, Context, Enter, Intent, Side, Strategy


class Eager(Strategy):
    def on_candle(self, candle: Candle, ctx: Context) -> list[Intent]:
        if not ctx.position(candle.instrument).is_flat:
            return []
        stop = candle.close * Decimal("0.95")
        return [Enter(candle.instrument, Side.BUY, notional=Decimal(500), stop_loss=stop)]
"""
NO_STOPS = """
[[rule]]
do = "answer"
status = 400
code = -1000
text = "not now"
on = "create_conditional"
"""
NO_ORDERS = NO_STOPS + NO_STOPS.replace("create_conditional", "create")


@pytest.fixture
def world(tmp_path: Path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "eager.py").write_text(EAGER)
    (tmp_path / "config.toml").write_text(CONFIG)
    candles = tmp_path / "candles.csv"
    candle_files.prepare(None, 100, 5, candles)
    world = World(tmp_path, {}, ["--config", "config.toml", "--speed", "60", "--candles", str(candles)])
    yield world
    world.close()


def play(world: World, script: str) -> None:
    address = f"{world.venue_note()['endpoint']}/_venue/faults"
    urllib.request.urlopen(urllib.request.Request(address, script.encode(), method="POST"), timeout=5).close()


def stop_when_naked(world: World, then: str) -> float:
    """Let the first position open without a stop, then end the daemon under another script."""
    daemon = world.start(fresh=True)
    world.wait_ready()
    play(world, NO_STOPS)
    world.wait_until(lambda: world.events["fill_booked"] > 0, 60, "a fill")
    play(world, then)
    return daemon.end(signal.SIGTERM, 15)


def test_a_position_that_gets_no_stop_is_closed_before_the_daemon_ends(world: World) -> None:
    took_s = stop_when_naked(world, NO_STOPS)
    assert 3 < took_s < 10
    assert world.daemon is not None
    assert world.daemon.process.returncode == 0
    assert [each for each in evidence.read_venue(world.ledger).positions.values() if each] == []


def test_a_position_that_can_neither_be_covered_nor_closed_is_the_last_line_and_the_status(world: World) -> None:
    took_s = stop_when_naked(world, NO_ORDERS)
    assert took_s < 10
    assert world.daemon is not None
    assert world.daemon.process.returncode == 1
    last = world.log.read_text().splitlines()[-1]
    assert last.startswith("tradingd: stopped, and left naked: long ")
    assert "BTC/USDT:USDT@binance without its stop at" in last
    assert "Start tradingd again at once" in last
    with sqlite3.connect(world.journal) as db:
        assert db.execute("SELECT count(*) FROM incidents WHERE kind = 'stopped_naked'").fetchone() == (1,)
    world.start()
    world.wait_ready()
    world.wait_until(lambda: world.events["fill_booked"] > 1, 30, "the close")
