"""The Clock and Random ports in virtual time: a host clock that may be wrong, and seeded chance."""

import asyncio
from random import Random

from tradingd.domain.ids import VenueId
from tradingd.simulation.loop import Timeline

START_MS = 1_767_225_600_000
"""Venue time at the beginning of every world: 2026-01-01T00:00:00Z."""

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


class SimClock:
    """Both times virtual. The host's wall clock is `skew_ms` ahead of the venue's, until the venue is asked."""

    def __init__(self, timeline: Timeline, skew_ms: int = 0) -> None:
        self._timeline = timeline
        self._skew_ms = skew_ms
        self._base_ms = float(self.wall_ms())
        self._base_at = self.monotonic()
        self._error_s = 0.0

    def at(self, venue: VenueId) -> "SimClock":
        """A world has one venue."""
        return self

    def now_ms(self) -> int:
        """Venue time as the daemon knows it."""
        return int(self._base_ms + (self.monotonic() - self._base_at) * 1000)

    def monotonic(self) -> float:
        """World seconds."""
        return self._timeline.now

    def wall_ms(self) -> int:
        """The host's wall clock."""
        return START_MS + self._timeline.now_us // 1000 + self._skew_ms

    @property
    def speed(self) -> float:
        """Virtual time has one speed."""
        return 1.0

    @property
    def error_ms(self) -> int:
        """How far venue time may be off: half the time that the last reading took."""
        return int(self._error_s * 1000) + 1

    async def sleep(self, seconds: float) -> None:
        """Wait in world time."""
        await asyncio.sleep(seconds)

    def synchronise(self, venue_ms: float, at: float, error_s: float = 0.0) -> float:
        """Venue time was `venue_ms` at monotonic `at`, give or take; returns by how many ms we were ahead of it."""
        ahead = self._base_ms + (at - self._base_at) * 1000 - venue_ms
        self._base_ms, self._base_at, self._error_s = venue_ms, at, error_s
        return ahead


class SimRandom:
    """The Random port, seeded."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)

    def uniform(self, low: float, high: float) -> float:
        """A number between low and high."""
        return self._random.uniform(low, high)

    def token(self, length: int) -> str:
        """`length` characters of [0-9a-z]."""
        return "".join(self._random.choice(_ALPHABET) for _ in range(length))
