"""Real daemons on the built-in venue, in directories of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import candle_files
from benchmarks.world import World

SPEED = 600
LIVELY = {"TRADINGD__STRATEGIES__TREND__FAST": "3", "TRADINGD__STRATEGIES__TREND__SLOW": "8"}
"""Averages so short that a run of seconds trades often."""

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    """Builds one world over seeded candles; whatever still runs at the end of the test is ended."""
    made: list[World] = []

    def make(count: int, **settings: str) -> World:
        candles = tmp_path / "candles.csv"
        candle_files.prepare(None, count, 5, candles)
        world = World(tmp_path, {**LIVELY, **settings}, ["--speed", str(SPEED), "--candles", str(candles)])
        made.append(world)
        return world

    yield make
    for world in made:
        world.close()
