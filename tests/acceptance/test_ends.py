"""How a daemon ends, and how it lives on when its venue ends."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request

import pytest

from benchmarks import compare, evidence
from benchmarks.world import World
from tests.acceptance.conftest import SPEED, MakeWorld

pytestmark = pytest.mark.timeout(300)


def wait_for_fill(world: World, fills: int = 1) -> None:
    world.wait_until(lambda: world.events["fill_booked"] >= fills, 60, f"fill {fills}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_ten_seconds_and_all_is_written(make_world: MakeWorld, number: signal.Signals) -> None:
    world = make_world(300)
    daemon = world.start(fresh=True)
    wait_for_fill(world)
    took_s = daemon.end(number, 15)
    assert took_s < 10
    assert daemon.process.returncode == 0
    assert world.events["daemon_stopped"] == 1
    with sqlite3.connect(world.journal) as db:
        assert db.execute("SELECT stop_reason FROM boots").fetchall() == [(f"got {number.name}",)]
        assert db.execute("SELECT count(*) FROM orders WHERE status IN ('SUBMITTED', 'IN_DOUBT')").fetchone() == (0,)
    venue, journal = evidence.read_venue(world.ledger), evidence.read_journal(world.journal)
    assert {order.client_order_id for order in venue.orders} <= {order.client_order_id for order in journal.orders}
    question = compare.Question(venue, journal, [], 0, "td", 3, SPEED)
    for check in (compare.orders_both_ways, compare.fills_both_ways, compare.positions_equal, compare.no_leftovers):
        assert check(question).wrong == []


def test_a_stopped_daemon_goes_on_where_it_ended(make_world: MakeWorld) -> None:
    world = make_world(60)
    first = world.start(fresh=True)
    wait_for_fill(world)
    first.end(signal.SIGTERM, 15)
    world.start()
    world.wait_ready()
    world.wait_finished(60)
    world.wait_quiet()
    assert world.daemon is not None
    world.daemon.end(signal.SIGTERM, 15)
    found = compare.compare(world.ledger, world.journal, world.directory / "candles.csv", speed=SPEED)
    assert {finding.name: finding.wrong for finding in found if finding.wrong} == {}


def test_a_killed_venue_that_is_started_again_is_reconciled_with(make_world: MakeWorld) -> None:
    """The daemon degrades, dials again, recovers, and the candles go on; nothing is lost on the way."""
    world = make_world(200)
    world.start(fresh=True)
    wait_for_fill(world)
    note = world.venue_note()
    os.kill(note["pid"], signal.SIGKILL)
    world.wait_until(lambda: world.events["stream_lost"] > 0, 30, "the loss of the streams")
    time.sleep(1.0)
    venue = restart_venue(world, note["endpoint"])
    try:
        world.wait_until(lambda: world.events["stream_connected"] >= 4, 60, "the streams")
        set_speed(world)
        world.wait_finished(90)
        world.wait_quiet()
        assert world.daemon is not None
        world.daemon.end(signal.SIGTERM, 15)
    finally:
        if venue.poll() is None:
            venue.terminate()
            venue.wait(10)
    found = compare.compare(world.ledger, world.journal, world.directory / "candles.csv", speed=SPEED)
    assert {finding.name: finding.wrong for finding in found if finding.wrong and finding.name != "incidents"} == {}
    assert [kind for kind, _, _ in evidence.read_journal(world.journal).incidents
            if kind in ("handler_fault", "step_failed", "illegal_order_event")] == []


def test_daemon_and_venue_killed_together_go_on_from_their_files(make_world: MakeWorld) -> None:
    world = make_world(120, TRADINGD__STRATEGIES__TREND__STOP="0.002")
    daemon = world.start(fresh=True)
    for fills in (1, 6, 12):
        wait_for_fill(world, fills)
        os.kill(world.venue_note()["pid"], signal.SIGKILL)
        daemon.end(signal.SIGKILL, 10)
        daemon = world.start()
    world.wait_ready()
    world.wait_finished(60)
    world.wait_quiet()
    daemon.end(signal.SIGTERM, 15)
    found = compare.compare(world.ledger, world.journal, world.directory / "candles.csv", speed=SPEED,
                            tolerated=frozenset({"sweep_failed"}))
    assert {finding.name: finding.wrong for finding in found if finding.wrong} == {}


def restart_venue(world: World, endpoint: str):
    """By hand, as an operator would: the same port, the same ledger."""
    port = endpoint.rpartition(":")[2]
    return subprocess.Popen(
        [sys.executable, "-m", "tradingd", "venue", "binance", "--port", port, "--seed", "1",
         "--state", str(world.ledger.parent), "--candles", str(world.directory / "candles.csv")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


def set_speed(world: World) -> None:
    request = urllib.request.Request(f"{world.venue_note()['endpoint']}/_venue/clock", method="POST",
                                     data=json.dumps({"speed": SPEED}).encode())
    urllib.request.urlopen(request, timeout=5).close()
