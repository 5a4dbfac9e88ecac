"""Worlds of two venues: their clocks apart, each with troubles of its own, and whether the well one ever noticed."""

import sqlite3
from collections.abc import Iterator
from random import Random

from tradingd.app.warm_up import TOGETHER_S
from tradingd.domain.ids import VenueId
from tradingd.simulation.faults import OF_THE_HOST, FaultPlan, Scheduled
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.world import World

DAY_MS = 86_400_000
Fill = tuple[int, str, str, str, str]
"""Time in ms, symbol, side, price, quantity."""
LONG_KINDS = ("outage", "killed", "mute_account", "mute_candles", "ban")
"""What may happen to one venue alone, and for minutes: cut off, its process killed, silent, refusing us."""

NEVER_THERE = 0.3
"""How often that begins before the daemon has ever reached the venue."""

STARTED_WITHIN_MS = 10_000
"""A daemon that has run for so long has loaded its strategies, whatever one of two venues answers."""

SHARED_REASONS = ("daily_loss", "drawdown", "too_many_positions", "halted", "paused")
"""Denials that the user wants for all venues together."""


def offsets_for(seed: int) -> tuple[int, int]:
    """How far the venues' clocks are ahead of the world's: seconds mostly, now and then hours or days, ms."""
    draw = Random(f"{seed}/offsets")

    def one() -> int:
        roll = draw.random()
        if roll < 0.65:
            return draw.randrange(-10_000, 10_001)
        if roll < 0.8:
            return -draw.randrange(1_000, 600_000)  # the world begins at midnight: this venue's day ends within the run
        return draw.randrange(-5 * DAY_MS, 5 * DAY_MS)

    return one(), one()


def plans_for(seed: int, until_us: int) -> tuple[tuple[FaultPlan, FaultPlan], int | None]:
    """The faults of both venues, and the number of the one that is well; None where both are in trouble.

    What happens to the host (crashes, a full disk) stands in the first plan, whichever venue is well.
    """
    draw = Random(f"{seed}/apart")
    well = draw.choice((None, 0, 1, 0, 1))
    plans = (
        FaultPlan.swarm(str(seed), 0, until_us),
        FaultPlan.swarm(f"{seed}/second", 0, until_us, without=OF_THE_HOST),
    )
    for number, plan in enumerate(plans):
        if number == well:
            make_well(plan)
        elif draw.random() < 0.8:
            for_us = round(draw.uniform(60, 240) * SECOND_US)
            at_us = 0 if draw.random() < NEVER_THERE else round(draw.random() * until_us)
            plan.schedule.append(Scheduled(at_us, draw.choice(LONG_KINDS), for_us))
        plan.schedule.sort(key=lambda each: (each.at_us, each.kind))
    return plans, well


def make_well(plan: FaultPlan) -> None:
    """No faults of the venue; the host's stay."""
    plan.request_rates.clear()
    plan.frame_rates.clear()
    plan.schedule[:] = [each for each in plan.schedule if each.kind in OF_THE_HOST]


def compare(world: World, twin: World, well: VenueId) -> Iterator[str]:
    """The well venue's fills are the same, to the millisecond, in a world in which the other venue is well too.

    Only the user's own limits over all venues may make a difference, and a strategy across both, which waits a moment
    for the history of all when it starts; then nothing can be said.
    """
    if any(_denied_for_all(each) for each in (world, twin)):
        return
    mine, other = _fills(world, well), _fills(twin, well)
    for number, (here, there) in enumerate(zip(mine, other, strict=False)):
        if here != there:
            if _started_together(world, well, here, there):
                return
            yield f"fill {number} on the well {well} is {here}; with the other venue well too it is {there}"
            return
    if len(mine) != len(other):
        yield f"{len(mine)} fills on the well {well}; with the other venue well too there are {len(other)}"


def _started_together(world: World, well: VenueId, here: Fill, there: Fill) -> bool:
    """Whether the first difference is a candle that closed while a strategy across both was being started."""
    late_ms = here[0] - there[0]
    if len(world.settings.strategies) > 1 or here[1:3] != there[1:3] or not 0 < late_ms <= TOGETHER_S * 1000:
        return False
    starts = (world.sites[well].at_ms(each.started_us) for each in world.generations)
    return any(0 <= here[0] - start_ms <= STARTED_WITHIN_MS for start_ms in starts)


def _fills(world: World, venue: VenueId) -> list[Fill]:
    site = world.sites[venue]
    site.save()
    with sqlite3.connect(f"file:{site.ledger_path}?mode=ro", uri=True) as db:
        return db.execute("SELECT time_ms, symbol, side, price, quantity FROM fills ORDER BY time_ms, rowid").fetchall()


def _denied_for_all(world: World) -> bool:
    marks = ", ".join("?" * len(SHARED_REASONS))
    with sqlite3.connect(f"file:{world.settings.journal_path}?mode=ro", uri=True) as db:
        query = f"SELECT 1 FROM intents WHERE outcome = 'denied' AND reason IN ({marks})"
        return db.execute(query, SHARED_REASONS).fetchone() is not None
