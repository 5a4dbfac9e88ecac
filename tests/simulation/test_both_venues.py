"""Two venues in one daemon, their clocks apart: what happens to one changes nothing on the other."""

from pathlib import Path
from typing import Any

import pytest

from tests.simulation.worlds import broken
from tradingd.domain.ids import VenueId
from tradingd.execution.exchange_router import ExchangeRouter
from tradingd.simulation.apart import plans_for
from tradingd.simulation.crashes import killed_at
from tradingd.simulation.faults import Scheduled
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.run import evidence_of, heal, judge_all, run_seed
from tradingd.simulation.world import BOTH, World, WorldOptions
from tradingd.strategy.host import StrategyHost

BINANCE, BYBIT = VenueId("binance"), VenueId("bybit")
ACROSS = """
[strategies.across]
plugin = "script"
instruments = ["BTC/USDT:USDT@binance", "BTC/USDT:USDT@bybit"]
timeframe = "1m"
warmup = 5
hold_candles = 1
lines = "{lines}"
"""


def across(directory: Path, lines: str, offsets_ms: tuple[int, int] = (-4_000, 7_000)) -> World:
    """A world of both venues with one strategy across them."""
    options = WorldOptions(
        venue=BOTH, symbols=("BTCUSDT",), offsets_ms=offsets_ms, strategies=ACROSS.format(lines=lines)
    )
    return World(directory, options)


def histories(world: World) -> list[int]:
    """How many candles the strategy may look back on, by venue."""
    assert world.daemon is not None and world.daemon.core is not None
    (runner,) = world.daemon.core.host._runners.values()
    return [len(runner.ctx.closes(instrument, 5)) for instrument in runner.loaded.instruments]


def starts(world: World) -> int:
    """How often `on_start` was called."""
    return sum(row["cause"] == "start" for row in evidence_of(world).j_decisions)


@pytest.mark.parametrize("late", [BINANCE, BYBIT])
def test_a_strategy_across_two_venues_misses_no_candle_of_the_late_one(tmp_path: Path, late: VenueId) -> None:
    world = across(tmp_path, "1 buy 0.02 0.02; 3 exit")
    try:
        world.start()
        world.sites[late].apply(Scheduled(0, "outage", 90 * SECOND_US))
        world.run_for(50)
        assert sorted(histories(world)) == [0, 5]
        world.run_for(150)
        assert (histories(world), starts(world)) == ([5, 5], 1)
        world.crash()
        world.run_for(150)
        world.start()
        world.run_for(240)
        assert broken(heal(world) + judge_all(world)) == set()
        assert [len(evidence_of(world, venue).entries()) for venue in world.sites] == [1, 1]
    finally:
        world.close()


def test_a_strategy_starts_once_and_with_the_history_of_all_venues_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    start = StrategyHost._start

    def look(self: StrategyHost, runner: Any) -> None:
        seen.append([len(runner.ctx.closes(each, 5)) for each in runner.loaded.instruments])
        start(self, runner)

    monkeypatch.setattr(StrategyHost, "_start", look)
    world = across(tmp_path, "1 buy 0.02 0.02")
    try:
        world.start()
        world.run_for(30)
        assert (seen, starts(world), world.is_ready) == ([[5, 5]], 1, True)
    finally:
        world.close()


@pytest.mark.parametrize("seed", [6, 8105])
def test_two_venues_keep_every_promise_and_the_well_one_never_notices_the_other(tmp_path: Path, seed: int) -> None:
    """Seeds in which one venue is well; the same seed without the other's faults gives the same fills there."""
    assert plans_for(seed, 1)[1] is not None
    outcome = run_seed(seed, 8, tmp_path, with_faults=True, venue=BOTH)
    assert [str(violation) for violation in outcome.violations] == []
    assert sum(outcome.faults.values()) > 0 and outcome.counts["fills"] >= 3


def test_two_venues_without_faults_keep_every_promise(tmp_path: Path) -> None:
    outcome = run_seed(1, 8, tmp_path, with_faults=False, venue=BOTH)
    assert [str(violation) for violation in outcome.violations] == []
    assert outcome.counts["entries"] >= 4


def test_a_venue_that_entries_are_denied_on_for_the_others_trouble_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = ExchangeRouter.is_ready
    monkeypatch.setattr(
        ExchangeRouter, "is_ready", lambda self, venue: all(alone(self, each) for each in (BINANCE, BYBIT))
    )
    found = {each.invariant for each in run_seed(6, 8, tmp_path, with_faults=True, venue=BOTH).violations}
    assert "apart" in found


@pytest.mark.parametrize("part", range(3))
def test_a_daemon_killed_while_it_trades_on_two_venues_is_whole_again_on_both(tmp_path: Path, part: int) -> None:
    killed = killed_at(tmp_path, 60 + part * 290, venue=BOTH)
    assert len(killed.at) == 1
    assert [str(violation) for violation in killed.violations] == []
