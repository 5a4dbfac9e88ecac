"""How a daemon ends, and how it lives on when its venue ends."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks import compare, evidence
from benchmarks.world import World
from tests.acceptance.conftest import SPEED, MakeWorld
from tests.telemetry.broker import free_port

pytestmark = pytest.mark.timeout(300)


def wait_for_fill(world: World, fills: int = 1) -> None:
    world.wait_until(lambda: world.events["fill_booked"] >= fills, 60, f"fill {fills}")


@pytest.fixture
def no_nohup() -> Iterator[None]:
    """Children must not inherit that SIGHUP is ignored, as they would where this suite runs under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.fault(77)
@pytest.mark.usefixtures("no_nohup")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
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


def test_a_killed_venue_is_started_again_and_reconciled_with(make_world: MakeWorld) -> None:
    """The daemon degrades, starts it on its ledger at its port, recovers, and the candles go on; nothing is lost."""
    world = make_world(200)
    world.start(fresh=True)
    wait_for_fill(world)
    before = world.venue_note()
    os.kill(before["pid"], signal.SIGKILL)
    world.wait_until(lambda: world.events["built_in_venue_restarted"] > 0, 30, "the new process of the venue")
    after = world.venue_note()
    assert (after["endpoint"], after["pid"] != before["pid"]) == (before["endpoint"], True)
    assert world.venue_clock()["speed"] == SPEED
    world.wait_finished(90)
    world.wait_quiet()
    assert world.daemon is not None
    world.daemon.end(signal.SIGTERM, 15)
    assert world.daemon.process.returncode == 0
    found = compare.compare(world.ledger, world.journal, world.directory / "candles.csv", speed=SPEED)
    assert {finding.name: finding.wrong for finding in found if finding.wrong and finding.name != "incidents"} == {}
    assert [
        kind
        for kind, _, _ in evidence.read_journal(world.journal).incidents
        if kind in ("handler_fault", "step_failed", "illegal_order_event")
    ] == []


def test_a_venue_at_an_endpoint_is_somebody_elses(make_world: MakeWorld) -> None:
    """It is given our speed, told of when it is gone, given the speed again when it is back, and outlives us."""
    first = free_port()
    world = make_world(300, TRADINGD__VENUES__BINANCE__ENDPOINT=f"http://127.0.0.1:{first}")
    world.ledger.parent.mkdir(parents=True)
    venue = restart_venue(world, f"http://127.0.0.1:{first}")
    gone: list[str] = []
    world.listeners.append(
        lambda entry: gone.append(entry["reason"]) if entry["event"] == "built_in_venue_gone" else None
    )
    try:
        wait_for_note(world)
        world.start()
        world.wait_ready()
        assert world.venue_clock()["speed"] == SPEED
        venue.kill()
        venue.wait()
        world.wait_until(lambda: bool(gone), 30, "the word that it is gone")
        assert f"tradingd venue binance --port {first}" in gone[0]
        venue = restart_venue(world, f"http://127.0.0.1:{first}")
        world.wait_until(lambda: world.events["built_in_venue_back"] > 0, 30, "the venue")
        world.wait_until(lambda: world.venue_clock()["speed"] == SPEED, 10, "its speed")
        assert world.daemon is not None
        world.daemon.end(signal.SIGTERM, 15)
        assert venue.poll() is None
        assert world.venue_clock()["speed"] == 1
        assert len(gone) == 1
    finally:
        if venue.poll() is None:
            venue.terminate()
            venue.wait(10)


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
    found = compare.compare(
        world.ledger, world.journal, world.directory / "candles.csv", speed=SPEED, tolerated=frozenset({"sweep_failed"})
    )
    assert {finding.name: finding.wrong for finding in found if finding.wrong} == {}


def restart_venue(world: World, endpoint: str):
    """By hand, as an operator would: the same port, the same ledger."""
    port = endpoint.rpartition(":")[2]
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tradingd",
            "venue",
            "binance",
            "--port",
            port,
            "--seed",
            "1",
            "--state",
            str(world.ledger.parent),
            "--candles",
            str(world.directory / "candles.csv"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_note(world: World) -> None:
    deadline = time.monotonic() + 30
    while not (world.ledger.parent / "venue.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
