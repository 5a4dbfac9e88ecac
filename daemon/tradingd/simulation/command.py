"""The command: a campaign over seeds, or over the boundaries of the canonical scenario."""

import argparse
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tradingd.app.machine import MachineClock
from tradingd.config.problems import ConfigError
from tradingd.emulator.faults.reading import read_script
from tradingd.emulator.venues import VENUES
from tradingd.simulation.crashes import enumerate_all
from tradingd.simulation.run import Outcome, campaign
from tradingd.simulation.world import BOTH


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 when an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tradingd.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many worlds")
    parser.add_argument("--seed", type=int, default=1, help="the first one's seed")
    parser.add_argument("--venue", choices=(*VENUES, BOTH), default="binance", help="what to trade on")
    parser.add_argument("--candles", type=int, default=30, help="one-minute candles per world")
    parser.add_argument("--no-faults", action="store_true", help="a network that never fails, no crash")
    parser.add_argument(
        "--faults",
        type=Path,
        metavar="FILE",
        help="a fault script that the venue plays besides, or the name of a shipped one; see docs/faults.md",
    )
    parser.add_argument(
        "--crashes",
        type=int,
        metavar="STRIDE",
        help="instead: kill the daemon at each STRIDE-th boundary of one scenario, beginning with number --seed",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    given = parser.parse_args(arguments)
    clock = MachineClock()
    began = clock.monotonic()
    if given.crashes:
        return _crashes(given.venue, given.crashes, given.seed - 1, given.workers, clock, began)
    seeds = range(given.seed, given.seed + given.seeds)
    outcomes = []
    try:
        script = None if given.faults is None else read_script(given.faults)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    worlds = campaign(
        seeds,
        given.candles,
        with_faults=not given.no_faults,
        workers=given.workers,
        script=script,
        venue=given.venue,
    )
    for outcome in worlds:
        outcomes.append(outcome)
        for violation in outcome.violations:
            print(f"seed {outcome.seed}: {violation}", flush=True)
    _print(outcomes, clock.monotonic() - began)
    return 1 if any(outcome.violations for outcome in outcomes) else 0


def _crashes(venue: str, stride: int, offset: int, workers: int, clock: MachineClock, began: float) -> int:
    count, runs = enumerate_all(venue, stride, offset, workers)
    done = bad = missed = 0
    for number, killed in enumerate(runs):
        done += 1
        bad += bool(killed.violations)
        missed += not killed.at
        for violation in killed.violations:
            print(f"boundary {1 + offset + number * stride} {killed.at}: {violation}", flush=True)
    wall_s = clock.monotonic() - began
    print(f"boundaries {count}, stride {stride} from {1 + offset}: {done} kills, {missed} not reached")
    print(f"violations in {bad} runs")
    print(f"speed: {done} runs in {wall_s:.1f} s")
    return 1 if bad or missed else 0


def _print(outcomes: list[Outcome], wall_s: float) -> None:
    totals: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for outcome in outcomes:
        totals.update(outcome.counts)
        faults.update(outcome.faults)
    virtual_s = sum(outcome.virtual_s for outcome in outcomes)
    first, last = outcomes[0].seed, outcomes[-1].seed
    digest = hashlib.sha256("".join(outcome.digest for outcome in outcomes).encode()).hexdigest()
    print(f"worlds {len(outcomes)}, seeds {first} to {last}, digest {digest[:32]}")
    print("sample: " + ", ".join(f"{count} {name}" for name, count in totals.items()))
    print("faults: " + (", ".join(f"{count} {name}" for name, count in sorted(faults.items()) if count) or "none"))
    broken = Counter(violation.invariant for outcome in outcomes for violation in outcome.violations)
    bad = sum(bool(outcome.violations) for outcome in outcomes)
    print(f"violations: {sum(broken.values())} in {bad} worlds {dict(broken) or ''}".rstrip())
    print(f"speed: {virtual_s:.0f} virtual s in {wall_s:.1f} s, {virtual_s / wall_s:.0f} times real time")
