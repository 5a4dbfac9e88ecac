"""Daemon and venue as real processes on a bad day, twenty seconds long at speed 60: the journal equals the venue."""

import json
import signal
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import candle_files
from benchmarks.by_hand import without_hands
from benchmarks.compare import CHECKS, Question
from benchmarks.evidence import read_candles, read_journal, read_venue
from benchmarks.world import World

SPEED = 60
FAULTS_S, HEALED_S = 20, 14
"""The second part is as long as the daemon needs to know what became of everything: the venue's time ends with it."""
SETTINGS = {
    "TRADINGD__STRATEGIES__TREND__FAST": "2",
    "TRADINGD__STRATEGIES__TREND__SLOW": "3",
    "TRADINGD__STRATEGIES__TREND__WARMUP": "4",
    "TRADINGD__STRATEGIES__TREND__HOLD_CANDLES": "0",
    "TRADINGD__VENUES__BINANCE__FAULTS": "bad_day",
}


def ask(world: World, script: bytes | None = None) -> dict[str, Any]:
    """The venue's list of what it played; with a script, which replaces the one in force."""
    request = urllib.request.Request(f"{world.venue_note()['endpoint']}/_venue/faults", data=script)
    with urllib.request.urlopen(request, timeout=5) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def test_on_a_bad_day_the_journal_equals_the_venue(tmp_path: Path) -> None:
    candles = tmp_path / "candles.csv"
    candle_files.prepare(None, FAULTS_S + HEALED_S, 3, candles)
    world = World(tmp_path, SETTINGS, ["--speed", str(SPEED), "--candles", str(candles)])
    try:
        daemon = world.start(fresh=True)
        world.wait_ready()
        world.wait_until(lambda: ask(world)["elapsed_s"] >= FAULTS_S, 60, "the end of the bad day", 0.25)
        played = ask(world)["played"]
        ask(world, b"")
        world.wait_finished(60)
        world.wait_quiet(quiet_s=1.0)
        daemon.end(signal.SIGINT, 10)
    finally:
        world.close()
    assert len({fault["kind"] for fault in played}) >= 6, Counter(fault["name"] for fault in played)
    venue, journal = read_venue(world.ledger), read_journal(world.journal)
    question = Question(venue, journal, read_candles(candles), 300, "td", 0, SPEED)
    assert question.ours
    findings = without_hands(question, [check(question) for check in CHECKS])
    assert {finding.name: finding.wrong for finding in findings if finding.wrong} == {}
