"""Whole worlds from a seed: a perfect network, and a swarm of faults. More: `python -m tradingd.simulation`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tradingd.emulator.venues import VENUES
from tradingd.simulation.run import Outcome, run_seed

CANDLES = 10


def run(seed: int, directory: Path, *, with_faults: bool, candles: int = CANDLES, venue: str = "binance") -> Outcome:
    directory.mkdir()
    return run_seed(seed, candles, directory, with_faults=with_faults, venue=venue)


def worlds(binance: int, bybit: int) -> list[Any]:
    """So many seeds on each venue."""
    numbers = {"binance": binance, "bybit": bybit}
    return [(venue, seed) for venue, count in numbers.items() for seed in range(1, count + 1)]


@pytest.mark.parametrize(("venue", "seed"), worlds(3, 3))
def test_a_world_without_faults_keeps_every_promise(tmp_path: Path, venue: str, seed: int) -> None:
    outcome = run(seed, tmp_path / "world", with_faults=False, venue=venue)
    assert [str(violation) for violation in outcome.violations] == []
    assert outcome.counts["entries"] >= 3
    assert outcome.counts["fills"] >= 3
    assert outcome.counts["incidents"] == 0


@pytest.mark.parametrize(("venue", "seed"), worlds(14, 14))
def test_a_world_full_of_faults_keeps_every_promise(tmp_path: Path, venue: str, seed: int) -> None:
    outcome = run(seed, tmp_path / "world", with_faults=True, venue=venue)
    assert [str(violation) for violation in outcome.violations] == []
    assert sum(outcome.faults.values()) > 0


@pytest.mark.parametrize("venue", VENUES)
def test_the_same_seed_gives_the_same_bytes_on_the_wire_and_in_the_journal(tmp_path: Path, venue: str) -> None:
    def digest(seed: int, name: str) -> str:
        return run(seed, tmp_path / name, with_faults=True, candles=6, venue=venue).digest

    assert digest(3, "a") == digest(3, "b") != digest(4, "c")


def test_the_command_prints_sample_seed_and_digest_and_hash_order_changes_nothing() -> None:
    command = [sys.executable, "-m", "tradingd.simulation", "--seeds", "2", "--seed", "11", "--candles", "4"]
    running = [
        subprocess.Popen(
            [*command, "--workers", "1"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hashes},
        )
        for hashes in ("1", "2")
    ]
    first, second = (each.communicate(timeout=60)[0].splitlines() for each in running)
    assert [each.returncode for each in running] == [0, 0]
    assert first[:-1] == second[:-1]
    assert first[0].startswith("worlds 2, seeds 11 to 12, digest ")
    assert first[1].startswith("sample: ") and first[3] == "violations: 0 in 0 worlds"
    assert first[-1].startswith("speed: ")
