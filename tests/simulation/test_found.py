"""Faults that the simulation found, each in the shortest world that shows it."""

from pathlib import Path

from tests.simulation.worlds import broken, scripted, verdict
from tradingd.simulation.clock import START_MS
from tradingd.simulation.faults import Fate, Scheduled
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.run import evidence_of

MINUTE_US = 60 * SECOND_US


def test_a_sweep_under_an_open_position_proves_nothing_about_the_next_entry(tmp_path: Path) -> None:
    world = scripted(tmp_path, "1 buy 0.02 0.02; 4 exit; 6 buy 0.02 0.02; 8 exit")
    from_us, until_us = 4 * MINUTE_US, 6 * MINUTE_US + SECOND_US
    world.plan.script = lambda now_us, method, path: (
        Fate("html_after") if from_us < now_us < until_us and path == "/fapi/v1/openOrders" else None
    )
    try:
        world.start()
        world.run_for(12 * 60)
        assert not verdict(world)
    finally:
        world.close()


def test_what_a_full_disk_kept_out_of_the_journal_is_in_it_once_there_is_room(tmp_path: Path) -> None:
    world = scripted(tmp_path, "1 buy 0.02 0.02; 3 exit; 5 buy 0.02 0.02; 7 exit")
    try:
        world.start()
        world.run_for(4.9 * 60)
        world.apply(Scheduled(world.now_us, "disk_full", 15 * SECOND_US))
        world.run_for(5 * 60)
        assert broken(verdict(world)) == set()
    finally:
        world.close()


def test_a_daemon_that_starts_on_a_full_disk_still_names_its_epoch(tmp_path: Path) -> None:
    world = scripted(tmp_path, "1 buy 0.02 0.02; 4 exit; 6 buy 0.02 0.02")
    try:
        world.start()
        world.run_for(2 * 60)
        world.crash()
        world.apply(Scheduled(world.now_us, "disk_full", 20 * SECOND_US))
        world.start()
        world.run_for(5 * 60)
        assert not verdict(world)
        assert not [each for generation in world.generations for each in generation.faults]
        world.crash()
        world.start()
        world.run_for(60)
        assert world.daemon is not None and world.daemon.core is not None
        assert not world.daemon.core.execution.switches.halted
    finally:
        world.close()


def test_a_close_that_only_its_reply_told_of_begins_the_hold_period_and_must_converge(tmp_path: Path) -> None:
    world = scripted(tmp_path, "1 buy 0.02 0.02; 3 exit; 4 buy 0.02 0.02", hold=3)
    try:
        world.start()
        world.run_for(2.9 * 60)
        world.network.mute(account=True, for_us=5 * MINUTE_US, half_open=False)
        world.run_for(3 * 60)
        assert not verdict(world)
    finally:
        world.close()


def test_a_clock_that_cannot_be_read_holds_up_no_stop(tmp_path: Path) -> None:
    world = scripted(tmp_path, "1 sell 0.02 0.02 1.00005")
    from_us, until_us = 63 * SECOND_US, 95 * SECOND_US

    def lose(now_us: int, method: str, path: str) -> Fate | None:
        if not from_us <= now_us < until_us:
            return None
        if method == "DIAL" and now_us < from_us + 4 * SECOND_US:
            return Fate("refuse")
        return Fate("lose_request") if path == "/fapi/v1/time" else None

    world.plan.script = lose
    try:
        world.start()
        world.run_to(from_us)
        assert len(world.network.log.sockets) == 2
        world.network.drop(account=True)
        world.run_for(120)
        assert verdict(world, entries=1) == []
        # the entry filled while nobody heard it
        assert from_us // 1000 < evidence_of(world).changes[0]["time_ms"] - START_MS < from_us // 1000 + 4_000
    finally:
        world.close()
