"""Runs seeds: a world each, with or without faults, given time to heal, then judged."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec

from tradingd.domain.ids import VenueId
from tradingd.emulator.faults.language import Script
from tradingd.simulation.apart import compare, make_well, offsets_for, plans_for
from tradingd.simulation.clock import START_MS
from tradingd.simulation.evidence import Evidence, Life, Limits, Span
from tradingd.simulation.faults import OF_THE_HOST, FaultPlan
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.oracle import Violation, judge
from tradingd.simulation.processes import each_apart, scratch
from tradingd.simulation.world import BOTH, World, WorldOptions

MINUTE_US = 60 * SECOND_US
HEAL_US = 150 * SECOND_US
RECONCILE_MS = 65_000
READY_S = 60.0
SMALL_SKEWS_MS = (0, 0, 0, 0, 300, -300)
SKEWS_MS = (*SMALL_SKEWS_MS, 3_600_000, -3_600_000)
"""How wrong a restarted host's wall clock may be."""

CHURN = """
[strategies.{name}]
plugin = "churn"
instruments = [{instruments}]
timeframe = "1m"
warmup = 5
hold_candles = 1
seed = "{seed}"
last_entry_ms = {last_entry_ms}
"""
ACROSS = 0.25
"""How often one strategy trades on both venues, where their clocks are close enough for one end."""


class Outcome(msgspec.Struct, frozen=True):
    """What one seed came to."""

    seed: int
    digest: str
    violations: tuple[Violation, ...]
    counts: dict[str, int]
    faults: dict[str, int]
    virtual_s: float


def options_for(seed: int, candles: int, venue: str = "binance") -> WorldOptions:
    """The world of a seed: the venue's disputed habits are drawn too, and how far the clocks of two are apart."""
    draw = Random(f"{seed}/options")
    options = WorldOptions(
        venue=venue,
        seed=seed,
        offsets_ms=offsets_for(seed) if venue == BOTH else (),
        leftover_on_close=draw.random() < 0.7,
        remembers_ids=draw.random() < 0.5,
        lag_factor=draw.choice((1.0, 1.0, 3.0, 6.0)),
    )
    return msgspec.structs.replace(options, strategies=_churn(options, candles, draw))


def _churn(options: WorldOptions, candles: int, draw: Random) -> str:
    """One strategy for each venue, or one across both."""
    offsets_ms = options.offsets_ms or (0,)
    groups: list[tuple[tuple[str, ...], int]] = [
        ((each,), offset_ms) for each, offset_ms in zip(options.venues, offsets_ms, strict=True)
    ]
    if len(groups) > 1 and max(map(abs, offsets_ms)) <= 10_000 and draw.random() < ACROSS:
        groups = [(options.venues, 0)]
    return "".join(
        CHURN.format(
            name="_".join(("churn", *names)),
            instruments=", ".join(f'"{base}/USDT:USDT@{venue}"' for venue in names for base in ("BTC", "ETH")),
            seed=options.seed,
            last_entry_ms=START_MS + offset_ms + candles * 60_000,
        )
        for names, offset_ms in groups
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
    options = options_for(seed, candles, venue)
    plans, well = _plans(options, until_us, with_faults=with_faults)
    world = World(directory, options, *plans)
    twin = None
    if well is not None:
        world.sites[VenueId(options.venues[well])].network.is_steady = True
    try:
        if script is not None:
            world.network.faults.begin(msgspec.structs.replace(script, seed=script.seed + seed))
        play(world, until_us)
        violations = heal(world)
        violations += judge_all(world)
        if well is not None and script is None:
            twin = _twin(directory / "twin", options, until_us, well)
            violations += [Violation("apart", each) for each in compare(world, twin, VenueId(options.venues[well]))]
        return Outcome(seed, world.digest(), tuple(violations), counts_of(world), faults_of(world), world.now_us / 1e6)
    finally:
        if twin is not None:
            twin.close()  # the last to come goes first: each gives back what it found
        world.close()


def _plans(options: WorldOptions, until_us: int, *, with_faults: bool) -> tuple[Sequence[FaultPlan], int | None]:
    """The faults of each venue, and which of two is well."""
    if not with_faults:
        return (), None
    if options.venue == BOTH:
        return plans_for(options.seed, until_us)
    return (FaultPlan.swarm(str(options.seed), 0, until_us),), None


def _twin(directory: Path, options: WorldOptions, until_us: int, well: int) -> World:
    """The same world, in which both venues are well, and only the host is not."""
    directory.mkdir()
    plans, _ = plans_for(options.seed, until_us)
    for plan in plans:
        make_well(plan)
    twin = World(directory, options, *plans)
    twin.sites[VenueId(options.venues[well])].network.is_steady = True
    play(twin, until_us)
    heal(twin)
    return twin


def play(world: World, until_us: int) -> None:
    """Run to `until_us`, with the faults of every venue's schedule and of the host's."""
    draw = Random(f"{world.seed}/restarts")
    schedule = [(fault, site) for site in world.sites.values() for fault in site.plan.schedule]
    schedule.sort(key=lambda each: each[0].at_us)
    # a ban is kept in venue time: a host whose clock is an hour off cannot tell when it ends before it may ask
    is_steady = len(world.sites) > 1 or any(fault.kind == "ban" for fault, _ in schedule)
    skews = SMALL_SKEWS_MS if is_steady else SKEWS_MS
    if world.daemon is None:
        world.start()
    for fault, site in schedule:
        if fault.at_us < world.now_us:
            continue
        world.run_to(fault.at_us)
        if fault.kind == "crash":
            world.crash()
            world.run_for(fault.for_us / SECOND_US)
            world.start(draw.choice(skews))
        elif fault.kind in OF_THE_HOST:
            world.apply(fault)
        else:
            site.apply(fault)
    world.run_to(until_us)


def heal(world: World) -> list[Violation]:
    """No more faults: READY within a minute, and then time enough for everything to be settled."""
    banned_us = max(site.heal() for site in world.sites.values())
    world.run_for(banned_us / SECOND_US)
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


def evidence_of(world: World, venue: VenueId | None = None) -> Evidence:
    """Everything that the oracle may look at of one venue, by default the first."""
    site = world.site if venue is None else world.sites[venue]
    site.save()
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
    dropped = (site.at_ms(us) for us in site.network.dropped_us)
    log = site.network.log
    return Evidence(
        site.ledger_path,
        world.settings.journal_path,
        log.requests,
        log.sockets,
        lives,
        limits,
        world.now_us,
        site.unable,
        [*site.deaf, *(Span(at_ms - 1_000, at_ms + RECONCILE_MS) for at_ms in dropped)],
        site.network.start_ms,
    )


def judge_all(world: World) -> list[Violation]:
    """What the oracle says of every venue; in a world of several each sentence names its venue."""
    found = {venue: judge(evidence_of(world, venue)) for venue in world.sites}
    if len(found) == 1:
        return found[world.venue_id]
    return [Violation(each.invariant, f"{venue}: {each.detail}") for venue in found for each in found[venue]]


def counts_of(world: World) -> dict[str, int]:
    """How much happened: so that nobody takes an empty run for a good one."""
    counts: Counter[str] = Counter()
    for venue, site in world.sites.items():
        evidence = evidence_of(world, venue)
        counts["entries"] += len(evidence.entries())
        counts["orders"] += len(evidence.orders) + len(evidence.algos)
        counts["fills"] += len(evidence.fills)
        counts["intents"] += len(evidence.j_intents)
        counts["requests"] += len(site.network.log.requests)
        counts["incidents"] += sum(row["venue"] is not None or site is world.site for row in evidence.j_incidents)
    counts["daemons"] = len(world.generations)
    return dict(counts)


def faults_of(world: World) -> dict[str, int]:
    """Which faults happened, and how often."""
    counts: Counter[str] = Counter()
    for site in world.sites.values():
        network = site.network
        counts.update(each.fate for each in network.log.requests if each.fate)
        counts.update(each.kind for each in site.plan.schedule)
        counts.update(kind for kind in network.faults.played)
        counts["drop_frame"] += len(network.dropped_us)
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
