"""Worlds for tests: a scripted strategy on one instrument, run, healed and judged."""

from pathlib import Path

from tradingd.simulation.faults import FaultPlan
from tradingd.simulation.oracle import Violation, judge
from tradingd.simulation.run import evidence_of, heal
from tradingd.simulation.world import World, WorldOptions

SCRIPT = """
[strategies.script]
plugin = "script"
instruments = ["BTC/USDT:USDT@{venue}"]
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
    venue: str = "binance",
) -> World:
    """A world with one scripted strategy on BTC."""
    strategies = SCRIPT.format(venue=venue, lines=lines, hold=hold, notional=notional)
    options = WorldOptions(
        venue=venue,
        seed=seed,
        symbols=("BTCUSDT",),
        strategies=strategies,
        config=config,
        lag_factor=lag_factor,
    )
    return World(directory, options, plan)


def verdict(world: World, *, entries: int | None = None) -> list[Violation]:
    """Let the world heal, and judge it; `entries`: so many must have been accepted, or the daemon did not work."""
    found = heal(world)
    evidence = evidence_of(world)
    if entries is not None and len(evidence.entries()) != entries:
        found.append(Violation("done", f"{len(evidence.entries())} entries instead of {entries}"))
    return found + judge(evidence)


def broken(violations: list[Violation]) -> set[str]:
    """The invariants that were broken."""
    return {violation.invariant for violation in violations}
