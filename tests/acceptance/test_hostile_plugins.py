"""Plugins that would keep the process from living on, or from ending; each in a real daemon on the built-in venue."""

import signal
import sqlite3
from pathlib import Path

import pytest

from benchmarks import candle_files
from benchmarks.world import World

pytestmark = pytest.mark.timeout(120)

CONFIG = """
[daemon]
mode = "sim"
strategies_dir = "plugins"
[venues.binance]
enabled = true
port = 0
[strategies.hostile]
plugin = "hostile"
instruments = ["BTC/USDT:USDT@binance"]
timeframe = "1m"
"""
THREAD = """
import threading
import time

from tradingd.strategy import Candle, Context, Intent, Strategy


class Hostile(Strategy):
    def on_start(self, ctx: Context) -> None:
        threading.Thread(target=time.sleep, args=(600,), daemon=False).start()

    def on_candle(self, candle: Candle, ctx: Context) -> list[Intent]:
        return []
"""
STUBBORN = """
import contextlib

from tradingd.strategy import Candle, Context, Intent, Strategy


class Hostile(Strategy):
    def on_candle(self, candle: Candle, ctx: Context) -> list[Intent]:
        while True:
            with contextlib.suppress(BaseException):
                while True:
                    pass
"""


def world_with(directory: Path, plugin: str) -> World:
    (directory / "plugins").mkdir()
    (directory / "plugins" / "hostile.py").write_text(plugin)
    (directory / "config.toml").write_text(CONFIG)
    candles = directory / "candles.csv"
    candle_files.prepare(None, 100, 5, candles)
    return World(directory, {}, ["--config", "config.toml", "--speed", "60", "--candles", str(candles)])


def test_a_thread_that_a_plugin_left_running_does_not_keep_the_process(tmp_path: Path) -> None:
    world = world_with(tmp_path, THREAD)
    try:
        daemon = world.start(fresh=True)
        world.wait_ready()
        assert daemon.end(signal.SIGTERM, 15) < 10
        assert daemon.process.returncode == 0
        assert world.events["daemon_stopped"] == 1
    finally:
        world.close()


@pytest.mark.fault(90)
def test_a_handler_that_never_lets_go_ends_the_process_and_is_quarantined_at_the_next_start(tmp_path: Path) -> None:
    world = world_with(tmp_path, STUBBORN)
    told = []
    world.listeners.append(lambda entry: told.append(entry) if entry.get("event") == "handler_never_ends" else None)
    try:
        daemon = world.start(fresh=True)
        assert daemon.process.wait(60) == 1
        daemon._reader.join(5)
        assert (told[0]["strategy"], told[0]["next_start"]) == ("hostile", "quarantined")
        assert "hostile.py" in told[0]["where"]
        again = world.start()
        world.wait_ready()
        again.end(signal.SIGTERM, 15)
        assert again.process.returncode == 0
    finally:
        world.close()
    with sqlite3.connect(world.journal) as db:
        ((reason,),) = db.execute("SELECT reason FROM flags WHERE name = 'quarantined:hostile'").fetchall()
    assert "never ended" in reason
