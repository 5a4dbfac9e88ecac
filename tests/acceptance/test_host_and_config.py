"""What happens to a daemon's host and to its configuration while it trades, with real processes."""

import csv
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.compare import Finding
from benchmarks.world import HISTORY_CANDLES, World
from tests.acceptance.conftest import SPEED, MakeWorld
from tradingd.config.resources import strategies_path

pytestmark = pytest.mark.timeout(120)
NEAR = {"TRADINGD__STRATEGIES__TREND__STOP": "0.003", "TRADINGD__STRATEGIES__TREND__TAKE_PROFIT": "0.004"}
CHANGES_NOW = "HERE0THERE-1,J319/3:30,J319/20"
"""A zone whose summer time begins on the 15th of November at 3:30, a quarter of an hour after the first candle."""


def finish(world: World) -> dict[str, Finding]:
    world.wait_ready()
    world.wait_finished(60)
    world.wait_quiet(quiet_s=1.0)
    assert world.daemon is not None
    world.daemon.end(signal.SIGINT, 10)
    found = compare.compare(world.ledger, world.journal, world.directory / "candles.csv", speed=SPEED)
    return {finding.name: finding for finding in found}


def wrong(found: dict[str, Finding]) -> dict[str, list[str]]:
    return {name: finding.wrong for name, finding in found.items() if finding.wrong}


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        found = db.execute(sql).fetchall()
    db.close()
    return found


def wait_for_cover(world: World) -> None:
    """Until a position is held that has its stop and its take profit."""
    held = "SELECT count(*) FROM positions WHERE quantity <> 0 AND symbol LIKE 'BTC%'"
    standing = "SELECT count(*) FROM orders WHERE purpose IN ('stop', 'take_profit') AND status = 'ACCEPTED'"
    standing += " AND symbol LIKE 'BTC%'"
    world.wait_until(
        lambda: rows(world.journal, held) == [(1,)] and rows(world.journal, standing) == [(2,)], 30, "a position", 0.01
    )


@pytest.mark.fault(31)
def test_a_daemon_in_a_zone_whose_clock_changes_while_it_trades_decides_as_under_utc(make_world: MakeWorld) -> None:
    world = make_world(90, TZ=CHANGES_NOW)
    world.start(fresh=True)
    found = finish(world)
    assert wrong(found) == {}
    assert found["candles decided once, in order"].looked_at == 90
    ((day, at_ms),) = rows(world.journal, "SELECT day, time_ms FROM day_equity")
    assert day == "2023-11-15", at_ms


@pytest.mark.fault(30)
def test_a_daemon_that_was_suspended_reads_the_venue_before_it_enters_again(make_world: MakeWorld) -> None:
    world = make_world(160, **NEAR)
    daemon = world.start(fresh=True)
    world.wait_ready()
    wait_for_cover(world)
    stopped_ms = world.venue_clock()["now_ms"]
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(4.0)
        woken_ms = world.venue_clock()["now_ms"]
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    found = finish(world)
    assert woken_ms - stopped_ms > 30 * 60_000, "half an hour of the venue"
    assert wrong(found) == {}
    entries = "SELECT min(arrival_ms) FROM requests WHERE path = '/fapi/v1/order' AND method = 'POST'"
    ((entry_ms,),) = rows(world.ledger, f"{entries} AND client_order_id LIKE '%e' AND arrival_ms > {woken_ms}")
    reads = "SELECT count(*) FROM requests WHERE path = '/fapi/v3/positionRisk'"
    assert entry_ms is None or rows(world.ledger, f"{reads} AND arrival_ms BETWEEN {woken_ms} AND {entry_ms}") > [(0,)]


@pytest.mark.fault(40)
def test_a_minute_in_which_stop_and_take_profit_both_fire_leaves_nothing_and_turns_nothing(
    make_world: MakeWorld,
) -> None:
    world = make_world(120, **NEAR)
    path = world.directory / "candles.csv"
    with path.open(newline="", encoding="utf-8") as handle:
        header, *lines = list(csv.reader(handle))
    for line in lines[HISTORY_CANDLES + 20 :: 10]:  # every tenth minute goes 1 % up and 1 % down
        line[2], line[3] = f"{float(line[1]) * 1.01:.1f}", f"{float(line[1]) * 0.99:.1f}"
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([header, *lines])
    world.start(fresh=True)
    found = finish(world)
    assert wrong(found) == {}
    fired = "SELECT count(*) FROM orders WHERE purpose = 'stop' AND status = 'FILLED'"
    assert rows(world.journal, fired) > [(1,)]


ELSEWHERE = """
[daemon]
strategies_dir = "{strategies}"
[venues.binance]
enabled = true
[strategies.other]
plugin = "sma_cross"
instruments = ["ETH/USDT:USDT@binance"]
timeframe = "1m"
warmup = 30
"""
HERE = """
[strategies.trend]
plugin = "sma_cross"
instruments = ["BTC/USDT:USDT@binance"]
timeframe = "1m"
warmup = 30
fast = 3
slow = 8
stop = 0.1
take_profit = 0.1
"""


@pytest.mark.fault(74)
def test_a_strategy_that_is_gone_from_the_config_leaves_its_position_covered_until_it_is_flattened(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    without = ELSEWHERE.format(strategies=strategies_path())
    config = tmp_path / "own.toml"
    config.write_text(without + HERE)
    before = make_world(1)
    # without a file of candles, of which there is one symbol
    arguments = ["--speed", "120", "--config", str(config)]
    before._arguments[:] = arguments
    daemon = before.start(fresh=True)
    before.wait_ready()
    wait_for_cover(before)
    daemon.end(signal.SIGKILL, 10)
    config.write_text(without)
    world = World(tmp_path, {}, arguments)
    try:
        world.start()
        world.wait_ready()
        covers = "SELECT count(*) FROM orders WHERE purpose IN ('stop', 'take_profit') AND status = 'ACCEPTED'"
        covers += " AND symbol LIKE 'BTC%'"
        held = "SELECT strategy FROM positions WHERE quantity <> 0 AND symbol LIKE 'BTC%'"
        assert rows(world.journal, held) == [("trend",)] and rows(world.journal, covers) == [(2,)]
        flatten = [sys.executable, "-m", "tradingd", "flatten", "--symbol", "BTC/USDT:USDT", "--config", str(config)]
        subprocess.run(flatten, cwd=tmp_path, check=True, timeout=30, capture_output=True)
        world.wait_until(lambda: not rows(world.journal, held), 30, "flat")
        world.wait_until(lambda: rows(world.journal, covers) == [(0,)], 30, "nothing left over")
        text = (tmp_path / "daemon.log").read_text()
        assert world.daemon is not None
        world.daemon.end(signal.SIGINT, 10)
    finally:
        world.close()
    told = [line for line in text.splitlines() if "strategy_gone" in line]
    assert told and "trend" in told[0] and "BTC/USDT:USDT" in told[0], told
