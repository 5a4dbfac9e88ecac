"""Candles through venue and daemon to the end, undisturbed and killed, then ledger against journal."""

import signal
import sqlite3
from random import Random

import pytest

from benchmarks import compare
from benchmarks.kill import Killer, plan
from benchmarks.world import World
from tests.acceptance.conftest import SPEED, MakeWorld

pytestmark = pytest.mark.timeout(300)


def finish(world: World, limit_s: float) -> dict[str, compare.Finding]:
    world.wait_ready()
    world.wait_finished(limit_s)
    world.wait_quiet()
    daemon = world.daemon
    assert daemon is not None
    daemon.end(signal.SIGINT, 10)
    assert daemon.process.returncode == 0
    found = compare.compare(world.ledger, world.journal, world.directory / "candles.csv", speed=SPEED)
    return {finding.name: finding for finding in found}


def differences(found: dict[str, compare.Finding]) -> dict[str, list[str]]:
    return {name: finding.wrong for name, finding in found.items() if finding.wrong}


def test_three_hundred_candles_leave_no_difference_between_venue_and_journal(make_world: MakeWorld) -> None:
    world = make_world(300)
    world.start(fresh=True)
    found = finish(world, 90)
    assert differences(found) == {}
    assert found["candles decided once, in order"].looked_at == 300
    assert found["fills, both ways"].looked_at > 20
    assert cancels_after_the_end(world) == []
    assert not {"handler_fault", "step_failed", "stream_lost", "not_json"} & set(world.events)


def cancels_after_the_end(world: World) -> list[str]:
    """Orders that we went on cancelling after the venue had said that they are gone.

    A second cancel is fair: protection may break a sweep off while its first one is on the way.
    """
    with sqlite3.connect(f"file:{world.ledger}?mode=ro", uri=True) as db:
        rows = db.execute(
            "SELECT client_order_id, count(*), sum(accepted) FROM requests WHERE method = 'DELETE'"
            " AND client_order_id IS NOT NULL GROUP BY 1"
        ).fetchall()
    return [f"{name}: {times} cancels" for name, times, accepted in rows if accepted and times > 2]


@pytest.mark.fault(84, 87)
def test_five_kills_lose_and_double_nothing(make_world: MakeWorld) -> None:
    world = make_world(200, TRADINGD__STRATEGIES__TREND__STOP="0.002", TRADINGD__STRATEGIES__TREND__TAKE_PROFIT="0.003")
    world.start(fresh=True)
    world.wait_ready()
    start_ms = world.venue_clock()["now_ms"]
    killer = Killer(world, start_ms, start_ms + 200 * 60_000)
    for moment in plan(5, Random(7)):
        killer.kill_at(moment, 60)
    found = finish(world, 90)
    assert differences(found) == {}
    assert found["candles decided once, in order"].looked_at == 200
    assert found["fills, both ways"].looked_at > 10
    assert found["journal is whole"].looked_at >= 6
