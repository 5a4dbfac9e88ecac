"""The shipped strategy that trails, beside one that churns, in worlds full of faults."""

import shutil
from pathlib import Path

import msgspec
import pytest

from tests.simulation.worlds import verdict
from tradingd.simulation.faults import FaultPlan
from tradingd.simulation.run import MINUTE_US, evidence_of, options_for, play
from tradingd.simulation.world import PLUGINS, World

CANDLES = 25
SHIPPED = Path(__file__).parents[2] / "strategies"
MIX = """
[strategies.churn]
plugin = "churn"
instruments = ["BTC/USDT:USDT@binance"]
timeframe = "1m"
hold_candles = 1
seed = "{seed}"

[strategies.trailing]
plugin = "trailing_breakout"
instruments = ["ETH/USDT:USDT@binance"]
timeframe = "1m"
warmup = 3
hold_candles = 1
length = 2
trail = 0.0015
risk = 0.0005
"""


@pytest.mark.parametrize("seed", range(1, 3))
def test_it_trails_and_keeps_every_promise(tmp_path: Path, seed: int) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for source in (PLUGINS / "churn.py", SHIPPED / "trailing_breakout.py"):
        shutil.copy(source, plugins)
    options = msgspec.structs.replace(options_for(seed, CANDLES), strategies=MIX.format(seed=seed), plugins=plugins)
    world = World(tmp_path, options, FaultPlan.swarm(str(seed), 0, CANDLES * MINUTE_US))
    try:
        play(world, CANDLES * MINUTE_US)
        assert [str(violation) for violation in verdict(world)] == []
        mine = [row for row in evidence_of(world).j_intents if row["strategy"] == "trailing"]
        ended = {(row["kind"], row["outcome"]) for row in mine}
        assert {("enter", "ordered"), ("protect", "done")} <= ended
    finally:
        world.close()
