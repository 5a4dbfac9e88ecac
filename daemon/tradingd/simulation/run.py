"""Runs seeds: a world each, with or without faults, given time to heal, then judged."""

import argparse
import hashlib
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec

from tradingd.app.machine import MachineClock
from tradingd.simulation.clock import START_MS
from tradingd.simulation.evidence import Evidence, Life, Limits, Span, venue_ms
from tradingd.simulation.faults import FaultPlan
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.oracle import Violation, judge
from tradingd.simulation.world import World, WorldOptions

MINUTE_US = 60 * SECOND_US
HEAL_US = 5 * MINUTE_US
RECONCILE_MS = 65_000
READY_S = 60.0
SMALL_SKEWS_MS = (0, 0, 0, 0, 300, -300)
SKEWS_MS = (*SMALL_SKEWS_MS, 3_600_000, -3_600_000)
"""How wrong a restarted host's wall clock may be."""

CHURN = """
[strategies.churn]
plugin = "churn"
instruments = ["BTC/USDT:USDT@binance", "ETH/USDT:USDT@binance"]
timeframe = "1m"
warmup = 5
hold_candles = 1
seed = "{seed}"
last_entry_ms = {last_entry_ms}
"""


class Outcome(msgspec.Struct, frozen=True):
    """What one seed came to."""

    seed: int
    digest: str
    violations: tuple[Violation, ...]
    counts: dict[str, int]
    faults: dict[str, int]
    virtual_s: float


def options_for(seed: int, candles: int) -> WorldOptions:
    """The world of a seed: the venue's disputed habits are drawn too."""
    draw = Random(f"{seed}/options")
    return WorldOptions(
        seed=seed,
        strategies=CHURN.format(seed=seed, last_entry_ms=START_MS + candles * 60_000),
        leftover_on_close=draw.random() < 0.7,
        remembers_ids=draw.random() < 0.5,
        lag_factor=draw.choice((1.0, 1.0, 3.0, 6.0)),
    )


def run_seed(seed: int, candles: int, directory: Path, *, with_faults: bool) -> Outcome:
    """Run one world of `candles` candles, let it heal, and judge it."""
    until_us = candles * MINUTE_US
    plan = FaultPlan.swarm(str(seed), 0, until_us) if with_faults else FaultPlan(str(seed))
    world = World(directory, options_for(seed, candles), plan)
    try:
        play(world, until_us)
        violations = heal(world)
        violations += judge(evidence_of(world))
        return Outcome(seed, world.digest(), tuple(violations), counts_of(world), faults_of(world), world.now_us / 1e6)
    finally:
        world.close()


def play(world: World, until_us: int) -> None:
    """Run to `until_us`, with the faults of the plan's schedule."""
    draw = Random(f"{world.seed}/restarts")
    # a ban is kept in venue time: a host whose clock is an hour off cannot tell when it ends before it may ask
    skews = SMALL_SKEWS_MS if any(each.kind == "ban" for each in world.plan.schedule) else SKEWS_MS
    if world.daemon is None:
        world.start()
    for fault in world.plan.schedule:
        if fault.at_us < world.now_us:
            continue
        world.run_to(fault.at_us)
        if fault.kind == "crash":
            world.crash()
            world.run_for(fault.for_us / SECOND_US)
            world.start(draw.choice(skews))
        else:
            world.apply(fault)
    world.run_to(until_us)


def heal(world: World) -> list[Violation]:
    """No more faults: READY within a minute, and then time enough for everything to be settled."""
    world.plan.heal_us = world.plan.outage_until_us = world.plan.disk_full_until_us = 0
    ban_us = max(0, world.plan.ban_until_us - world.now_us)
    world.run_for(ban_us / SECOND_US)
    if world.daemon is None:
        world.start()
    found: list[Violation] = []
    for _ in range(round(READY_S)):
        if world.is_ready:
            break
        world.run_for(1.0)
    else:
        found.append(Violation("I24", f"not READY {READY_S:.0f} s after the last fault: {world.trouble}"))
    world.run_for(HEAL_US / SECOND_US)
    found += [Violation("loop", fault) for generation in world.generations for fault in generation.faults]
    return found


def evidence_of(world: World) -> Evidence:
    """Everything that the oracle may look at."""
    world.venue.save()
    lives = [
        Life(each.number, each.started_us, world.now_us if each.ended_us is None else each.ended_us)
        for each in world.generations
    ]
    strategy = next(iter(world.settings.strategies.values()))
    limits = Limits(
        hold_ms=strategy.hold_candles * 60_000,
        unprotected_ms=round(world.settings.execution.unprotected_limit_s * 1000),
        max_notional_usdt=world.settings.risk.max_position_notional_usdt,
    )
    deaf = [*world.deaf, *(Span(venue_ms(us) - 1_000, venue_ms(us) + RECONCILE_MS) for us in world.network.dropped_us)]
    log = world.network.log
    return Evidence(
        world.ledger_path,
        world.settings.journal_path,
        log.requests,
        log.sockets,
        lives,
        limits,
        world.now_us,
        world.unable,
        deaf,
    )


def counts_of(world: World) -> dict[str, int]:
    """How much happened: so that nobody takes an empty run for a good one."""
    log = world.network.log
    evidence = evidence_of(world)
    return {
        "entries": len(evidence.entries()),
        "orders": len(evidence.orders) + len(evidence.algos),
        "fills": len(evidence.fills),
        "intents": len(evidence.j_intents),
        "requests": len(log.requests),
        "incidents": len(evidence.j_incidents),
        "daemons": len(world.generations),
    }


def faults_of(world: World) -> dict[str, int]:
    """Which faults happened, and how often."""
    counts = Counter(each.fate for each in world.network.log.requests if each.fate)
    counts.update(each.kind for each in world.plan.schedule)
    counts["drop_frame"] += len(world.network.dropped_us)
    return dict(sorted(counts.items()))


def _run_one(arguments: tuple[int, int, bool]) -> Outcome:
    seed, candles, with_faults = arguments
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as directory:
        return run_seed(seed, candles, Path(directory), with_faults=with_faults)


def campaign(seeds: Sequence[int], candles: int, *, with_faults: bool, workers: int) -> list[Outcome]:
    """Run many seeds, each in a process that is used for a few only: dead daemons are never collected."""
    work = [(seed, candles, with_faults) for seed in seeds]
    if workers <= 1:
        return [_run_one(each) for each in work]
    with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=8) as pool:
        return list(pool.imap(_run_one, work))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit status 1 when an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tradingd.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many worlds")
    parser.add_argument("--seed", type=int, default=1, help="the first one's seed")
    parser.add_argument("--candles", type=int, default=30, help="one-minute candles per world")
    parser.add_argument("--no-faults", action="store_true", help="a network that never fails, no crash")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    given = parser.parse_args(arguments)
    clock = MachineClock()
    began = clock.monotonic()
    seeds = range(given.seed, given.seed + given.seeds)
    outcomes = campaign(seeds, given.candles, with_faults=not given.no_faults, workers=given.workers)
    _print(outcomes, clock.monotonic() - began)
    return 1 if any(outcome.violations for outcome in outcomes) else 0


def _print(outcomes: list[Outcome], wall_s: float) -> None:
    totals: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for outcome in outcomes:
        totals.update(outcome.counts)
        faults.update(outcome.faults)
        for violation in outcome.violations:
            print(f"seed {outcome.seed}: {violation}")
    virtual_s = sum(outcome.virtual_s for outcome in outcomes)
    first, last = outcomes[0].seed, outcomes[-1].seed
    digest = hashlib.sha256("".join(outcome.digest for outcome in outcomes).encode()).hexdigest()
    print(f"worlds {len(outcomes)}, seeds {first} to {last}, digest {digest[:32]}")
    print("sample: " + ", ".join(f"{count} {name}" for name, count in totals.items()))
    print("faults: " + (", ".join(f"{count} {name}" for name, count in sorted(faults.items())) or "none"))
    broken = Counter(violation.invariant for outcome in outcomes for violation in outcome.violations)
    bad = sum(bool(outcome.violations) for outcome in outcomes)
    print(f"violations: {sum(broken.values())} in {bad} worlds {dict(broken) or ''}".rstrip())
    print(f"speed: {virtual_s:.0f} virtual s in {wall_s:.1f} s, {virtual_s / wall_s:.0f} times real time")
    sys.stdout.flush()
