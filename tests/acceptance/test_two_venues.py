"""Two built-in venues under one daemon, real processes: what befalls one leaves the other trading."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.manager import Manager, holds

pytestmark = pytest.mark.timeout(120)
PLUGIN = '''
from tradingd.strategy import Enter, Exit, Side, Strategy


class InAndOut(Strategy):
    def on_candle(self, candle, ctx):
        if ctx.position(candle.instrument).is_flat:
            yield Enter(candle.instrument, Side.BUY, notional=500, stop_loss=candle.close * 9 / 10)
        else:
            yield Exit(candle.instrument, reason="out again")
'''
CONFIG = '''
[daemon]
mode = "sim"
speed = 60
strategies_dir = "."
[venues.binance]
{binance}
[venues.bybit]
enabled = true
{bybit}
[strategies.one]
plugin = "in_and_out"
instruments = ["BTC/USDT:USDT@binance"]
timeframe = "1m"
hold_candles = 0
[strategies.two]
plugin = "in_and_out"
instruments = ["ETH/USDT:USDT@bybit"]
timeframe = "1m"
hold_candles = 0
'''


class Daemon:
    """One `tradingd run` in a directory, what it tells its service manager, and its journal."""

    def __init__(self, directory: Path, bybit: str = "", binance: str = "") -> None:
        (directory / "in_and_out.py").write_text(PLUGIN)
        (directory / "config.toml").write_text(CONFIG.format(bybit=bybit, binance=binance))
        self.directory = directory
        self.manager = Manager(directory, 30.0)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tradingd", "run", "--config", "config.toml"],
            cwd=directory,
            env={**os.environ, **self.manager.environment},
            stdout=(directory / "log").open("wb"),
            stderr=subprocess.STDOUT,
        )

    def ready(self, limit_s: float = 60.0) -> None:
        self.manager.wait(lambda: "1" in self.manager.lines("READY"), limit_s)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(f"file:{self.directory / 'var/sim.db'}?mode=ro", uri=True)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def fills(self, venue: str) -> int:
        (row,) = self.rows(f"SELECT count(*) FROM fills WHERE venue = '{venue}'")
        return int(str(row[0]))

    def trades_on(self, venue: str, fills: int = 2, limit_s: float = 30.0) -> bool:
        """Whether so many more fills come there in time: a way in and a way out."""
        before = self.fills(venue)
        return holds(lambda: self.fills(venue) >= before + fills, limit_s)

    def events(self, name: str, venue: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in (self.directory / "log").read_text().splitlines() if line[:1] == "{"]
        return [line for line in lines if line["event"] == name and line.get("venue") == venue]

    def venue_pid(self, venue: str) -> int:
        found = subprocess.run(
            ["pgrep", "-f", f"tradingd venue {venue} .*--state [^ ]*venues/{venue}"], capture_output=True, text=True
        )
        mine = [int(pid) for pid in found.stdout.split() if os.readlink(f"/proc/{pid}/cwd") == str(self.directory)]
        (pid,) = mine
        return pid

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
        self.manager.close()
        return self.process.returncode


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(tmp_path)
    try:
        running.ready()
        assert holds(lambda: running.fills("binance") and running.fills("bybit"), 40)
        yield running
    finally:
        running.stop()


def test_a_venue_that_is_killed_comes_back_and_the_other_never_stopped(daemon: Daemon) -> None:
    os.kill(daemon.venue_pid("bybit"), signal.SIGKILL)
    assert daemon.trades_on("binance")
    assert holds(lambda: daemon.events("built_in_venue_restarted", "bybit"), 20)
    assert daemon.trades_on("bybit")
    # from the first line on: a time that both shared made it DOWN at the start already
    assert {event["state"] for event in daemon.events("venue_state_changed", "binance")} == {"ready"}
    assert daemon.stop() == 0


def test_while_a_venue_says_nothing_the_other_trades_on_and_its_own_entries_are_denied(daemon: Daemon) -> None:
    silent = daemon.venue_pid("bybit")
    os.kill(silent, signal.SIGSTOP)
    try:
        assert daemon.trades_on("binance", fills=4)
        assert holds(lambda: daemon.events("venue_state_changed", "bybit")[-1]["state"] != "ready", 30)
        assert daemon.trades_on("binance")
    finally:
        os.kill(silent, signal.SIGCONT)
    assert holds(lambda: daemon.events("venue_state_changed", "bybit")[-1]["state"] == "ready", 30)
    assert daemon.trades_on("bybit")
    assert daemon.stop() == 0


def test_an_orderly_stop_beside_a_silent_venue_ends_and_names_it(daemon: Daemon) -> None:
    silent = daemon.venue_pid("bybit")
    os.kill(silent, signal.SIGSTOP)
    try:
        assert daemon.stop() in (0, 1)
        assert daemon.events("built_in_venue_not_stopped", "bybit")
    finally:
        os.kill(silent, signal.SIGKILL)


def test_a_venue_that_nobody_listens_for_is_declared_degraded_and_the_other_is_ready_within_a_minute(
    tmp_path: Path,
) -> None:
    running = Daemon(tmp_path, bybit='endpoint = "http://127.0.0.1:9"')
    try:
        running.ready(60)
        assert running.trades_on("binance")
        assert running.fills("bybit") == 0
        told = running.rows("SELECT venue FROM incidents WHERE kind = 'venue_not_ready'")
        assert told == [("bybit",)]
        assert any("bybit" in line for line in running.manager.lines("STATUS"))
    finally:
        assert running.stop() == 0
