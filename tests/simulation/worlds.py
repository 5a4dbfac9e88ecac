"""Worlds for tests: a scripted strategy on one instrument, run, healed and judged."""

from collections.abc import Callable
from pathlib import Path

from tradingd.simulation.faults import FaultPlan
from tradingd.simulation.oracle import Violation, judge
from tradingd.simulation.run import evidence_of, heal
from tradingd.simulation.world import World, WorldOptions

SCRIPT = """
[strategies.script]
plugin = "script"
instruments = ["BTC/USDT:USDT@binance"]
timeframe = "1m"
hold_candles = {hold}
lines = "{lines}"
notional = {notional}
"""


def scripted(
    directory: Path,
    lines: str,
    *,
    seed: int = 1,
    hold: int = 1,
    notional: str = "500",
    plan: FaultPlan | None = None,
    config: str = "",
    lag_factor: float = 1.0,
) -> World:
    """A world with one scripted strategy on BTC."""
    strategies = SCRIPT.format(lines=lines, hold=hold, notional=notional)
    options = WorldOptions(seed=seed, symbols=("BTCUSDT",), strategies=strategies, config=config, lag_factor=lag_factor)
    return World(directory, options, plan)


def verdict(world: World, *, healed: bool = True) -> list[Violation]:
    """Let the world heal, and judge it."""
    found = heal(world) if healed else []
    return found + judge(evidence_of(world))


def broken(violations: list[Violation]) -> set[str]:
    """The invariants that were broken."""
    return {violation.invariant for violation in violations}


Sabotage = Callable[[World], None]
