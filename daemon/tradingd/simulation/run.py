"""Runs seeds: a world each, with or without faults, given time to heal, then judged."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec

from tradingd.emulator.faults.language import Script
from tradingd.simulation.clock import START_MS
from tradingd.simulation.evidence import Evidence, Life, Limits, Span, venue_ms
from tradingd.simulation.faults import FaultPlan
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.oracle import Violation, judge
from tradingd.simulation.processes import each_apart, scratch
from tradingd.simulation.world import World, WorldOptions

MINUTE_US = 60 * SECOND_US
HEAL_US = 150 * SECOND_US
RECONCILE_MS = 65_000
READY_S = 60.0
SMALL_SKEWS_MS = (0, 0, 0, 0, 300, -300)
SKEWS_MS = (*SMALL_SKEWS_MS, 3_600_000, -3_600_000)
"""How wrong a restarted host's wall clock may be."""

CHURN = """
[strategies.churn]
plugin = "churn"
instruments = ["BTC/USDT:USDT@{venue}", "ETH/USDT:USDT@{venue}"]
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


def options_for(seed: int, candles: int, venue: str = "binance") -> WorldOptions:
    """The world of a seed: the venue's disputed habits are drawn too."""
    draw = Random(f"{seed}/options")
    return WorldOptions(
        venue=venue,
        seed=seed,
        strategies=CHURN.format(venue=venue, seed=seed, last_entry_ms=START_MS + candles * 60_000),
        leftover_on_close=draw.random() < 0.7,
        remembers_ids=draw.random() < 0.5,
        lag_factor=draw.choice((1.0, 1.0, 3.0, 6.0)),
    )


def run_seed(
    seed: int,
    candles: int,
    directory: Path,
    *,
    with_faults: bool,
    script: Script | None = None,
    venue: str = "binance",
) -> Outcome:
    """Run one world of `candles` candles, let it heal, and judge it; each seed is another chance for the script too."""
    until_us = candles * MINUTE_US
    plan = FaultPlan.swarm(str(seed), 0, until_us) if with_faults else FaultPlan(str(seed))
    world = World(directory, options_for(seed, candles, venue), plan)
    try:
        if script is not None:
            world.network.faults.begin(msgspec.structs.replace(script, seed=script.seed + seed))
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
    ban_us = max(0, world.plan.ban_until_us - world.now_us, world.network.faults.ban_until_us - world.now_us)
    world.network.faults.begin(Script())
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
    counts.update(kind for kind in world.network.faults.played)
    counts["drop_frame"] += len(world.network.dropped_us)
    return dict(sorted(counts.items()))


def _run_one(arguments: tuple[int, int, bool, Script | None, str]) -> Outcome:
    seed, candles, with_faults, script, venue = arguments
    with scratch() as directory:
        return run_seed(seed, candles, directory, with_faults=with_faults, script=script, venue=venue)


def campaign(
    seeds: Sequence[int],
    candles: int,
    *,
    with_faults: bool,
    workers: int,
    script: Script | None = None,
    venue: str = "binance",
) -> Iterator[Outcome]:
    """Run many seeds."""
    return each_apart(_run_one, [(seed, candles, with_faults, script, venue) for seed in seeds], workers)
