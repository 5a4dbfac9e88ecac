"""One short real run, daemon and venue over loopback, whose files every test here doctors in a copy."""

import signal
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks import candle_files
from benchmarks.replay_candles import VENUES, alone_on
from benchmarks.world import World

CANDLES = 60
SETTINGS = {
    "TRADINGD__STRATEGIES__TREND__FAST": "2",
    "TRADINGD__STRATEGIES__TREND__SLOW": "4",
    "TRADINGD__STRATEGIES__TREND__WARMUP": "4",
}


class Files(NamedTuple):
    """What a finished run left."""

    ledger: Path
    journal: Path
    candles: Path


@pytest.fixture(scope="session", params=VENUES)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Files:
    venue = str(request.param)
    home = tmp_path_factory.mktemp("run")
    candles = home / "candles.csv"
    candle_files.prepare(None, CANDLES, 3, candles)
    changed = {**alone_on(venue), **SETTINGS}
    world = World(home, changed, ["--speed", "600", "--candles", str(candles)], venue)
    try:
        daemon = world.start(fresh=True)
        world.wait_ready()
        world.wait_finished(60)
        world.wait_quiet(quiet_s=1.0)
        daemon.end(signal.SIGINT, 10)
    finally:
        world.close()
    return Files(world.ledger, world.journal, candles)
