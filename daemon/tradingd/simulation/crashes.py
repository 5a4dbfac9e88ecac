"""One scenario, killed at one boundary after the other: entry, stop, take profit, both replaced, close, sweep."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from tradingd.simulation.dialects import DIALECTS
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.oracle import Violation
from tradingd.simulation.processes import each_apart, scratch
from tradingd.simulation.run import heal, judge_all
from tradingd.simulation.world import BOTH, World, WorldOptions

CANONICAL = """
[strategies.script_{venue}]
plugin = "script"
instruments = ["BTC/USDT:USDT@{venue}"]
timeframe = "1m"
hold_candles = 1
lines = "1 buy 0.02 0.0012; 5 buy 0.02 0.02; 6 protect 0.01 0.03; 7 exit; 9 buy 0.02 0.02 0.9985"
"""
"""A long that its take profit ends, one whose stop and take profit move before the strategy ends it, and a limit
entry that rests and expires."""

OFFSETS_MS = (-6_300, 4_100)
"""With both venues: their minutes end apart, so that one is in the midst of things while the other begins."""

SCENARIO_S = 12 * 60
FROM_US = 55 * SECOND_US
DEAD_S = 3.0


class Killed(msgspec.Struct, frozen=True):
    """One run: at which boundaries the daemon was killed (names), and what the oracle says."""

    at: tuple[str, ...]
    violations: tuple[Violation, ...]


def _counts(world: World, name: str) -> bool:
    dull = tuple(end for venue in world.sites for end in DIALECTS[venue].dull)
    return world.now_us >= FROM_US and not name.endswith(dull)


def _world(directory: Path, venue: str) -> World:
    options = WorldOptions(venue=venue, seed=7, symbols=("BTCUSDT",), offsets_ms=OFFSETS_MS if venue == BOTH else ())
    strategies = "".join(CANONICAL.format(venue=each) for each in options.venues)
    world = World(directory, msgspec.structs.replace(options, strategies=strategies))
    world.counts = lambda name: _counts(world, name)
    return world


def boundaries(directory: Path, venue: str = "binance") -> list[str]:
    """The names of all boundaries of the scenario, in order; nobody is killed."""
    world = _world(directory, venue)
    try:
        world.crash_at = -1
        world.start()
        world.run_for(SCENARIO_S)
        return list(world.names)
    finally:
        world.close()


def _run_one(arguments: tuple[int, str]) -> Killed:
    number, venue = arguments
    with scratch() as directory:
        return killed_at(directory, number, venue=venue)


def enumerate_all(venue: str, stride: int, offset: int, workers: int) -> tuple[int, Iterator[Killed]]:
    """How many boundaries there are, and one run for each `stride`-th of them."""
    with scratch() as directory:
        count = len(boundaries(directory, venue))
    numbers = range(1 + offset, count + 1, stride)
    return count, each_apart(_run_one, [(number, venue) for number in numbers], workers)


def killed_at(directory: Path, *numbers: int, venue: str = "binance") -> Killed:
    """Kill the daemon at boundary `numbers[0]`, the next one at its `numbers[1]`, and so on; heal and judge."""
    world = _world(directory, venue)
    at: list[str] = []
    until_us = SCENARIO_S * SECOND_US
    try:
        for number in numbers:
            world.boundaries, world.crash_at = 0, number
            world.start()
            if world.run_to(until_us):
                break
            at.append(world.names[-1])
            world.crash_at = None
            world.run_for(DEAD_S)
        world.crash_at = None
        if world.daemon is None:
            world.start()
        world.run_to(max(until_us, world.now_us))
        violations = heal(world) + judge_all(world)
        return Killed(tuple(at), tuple(violations))
    finally:
        world.close()
