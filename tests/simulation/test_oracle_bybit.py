"""The oracle on a venue that answers before it checks, and keeps levels with the position: not blind there either."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.simulation import test_oracle as scenes
from tradingd.domain.account import PositionProtection
from tradingd.execution.cover import Cover
from tradingd.execution.hold_period_guard import HoldPeriodGuard
from tradingd.execution.idempotency_manager import IdempotencyManager
from tradingd.execution.levels import Levels
from tradingd.execution.protection import Protection
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.simulation.faults import Scheduled
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.world import World

play = partial(scenes.play, venue="bybit")


def levels_vanish(world: World) -> None:
    """The venue lets the levels of an open position go, and the account stream is mute meanwhile."""
    world.run_to(round(1.4 * scenes.MINUTE_US))
    world.apply(Scheduled(world.now_us, "mute_account", 9 * SECOND_US))
    world.run_for(1)
    world.network.run_venue()
    world.venue.act("expire_conditionals", {})
    world.network.venue_changed()


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (lambda world: None, {"lag_factor": 6.0}),
        (scenes.LATE, {}),
        (scenes.RESET, {}),
        (scenes.LOST, {}),
        (scenes.outage, {}),
        (levels_vanish, {}),
        (scenes.death, scenes.DEATH),
        (lambda world: None, {"plan": scenes.duplicates()}),
        (lambda world: None, {"notional": "60000", "entries": 0}),
    ],
    ids=["lagging", "late", "reset", "lost", "outage", "levels vanish", "death", "duplicates", "too large"],
)
def test_the_daemon_as_it_is_passes(tmp_path: Path, script: Callable[[World], None], options: dict[str, Any]) -> None:
    assert play(tmp_path, script=script, **options) == set()


def test_a_position_whose_levels_are_never_set_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def step(self: Protection, instrument: Any) -> None:
        return None

    monkeypatch.setattr(Protection, "step", step)
    assert "P5" in play(tmp_path)


def test_levels_that_nobody_looks_at_again_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Levels, "look_if_due", lambda self, instrument, lane: None)
    assert "P5" in play(tmp_path, script=levels_vanish)


def test_a_reading_that_is_always_believed_to_be_good_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def take_in(self: Levels, cover: Cover, shown: PositionProtection, asked_ms: int) -> None:
        cover.carries, cover.sure = self._covers.wanted(cover), True

    monkeypatch.setattr(Levels, "_take_in", take_in)
    assert "P5" in play(tmp_path, script=levels_vanish)


def test_a_verdict_without_the_fence_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IdempotencyManager, "fence_ms", lambda self, order, venue: 0)
    assert "I9" in play(tmp_path, script=scenes.LATE)


def test_a_hold_period_guard_that_lets_everything_pass_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HoldPeriodGuard, "check", lambda self, instrument, now_ms: None)
    assert "P4" in play(tmp_path, hold=3, entries=1)


def test_a_ban_that_does_not_say_until_when_lasts_ten_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert play(tmp_path / "as it is", script=scenes.ban, entries=1) == set()

    async def acquire(self: RateLimiter, venue: Any, endpoint: str, priority: Any) -> None:
        return None

    monkeypatch.setattr(RateLimiter, "acquire", acquire)
    assert "P13" in play(tmp_path / "bare", script=scenes.ban)
