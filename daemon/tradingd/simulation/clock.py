"""The Clock and Random ports in virtual time: a host clock that may be wrong, and seeded chance."""

import asyncio
from random import Random

from tradingd.domain.ids import VenueId
from tradingd.simulation.loop import Timeline

START_MS = 1_767_225_600_000
"""World time 0: 2026-01-01T00:00:00Z. A venue's own clock may be set apart from it."""

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


class SimClock:
    """Both times virtual. The host's wall clock is `skew_ms` ahead of the world's; venue time is the same, until the
    venue is asked."""

    def __init__(self, timeline: Timeline, skew_ms: int = 0) -> None:
        self._timeline = timeline
        self._skew_ms = skew_ms
        self._host: SimHostClock | None = None
        self._base_ms = float(self.wall_ms())
        self._base_at = self.monotonic()
        self._error_s = 0.0

    def at(self, venue: VenueId) -> "SimClock":
        """The clock in the time of one venue, whichever of them is asked; one that is alone knows one time."""
        return self if self._host is None else self._host.at(venue)

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


class SimHostClock(SimClock):
    """The clock of a process: what belongs to no venue is dated by the first venue that was asked for."""

    def __init__(self, timeline: Timeline, skew_ms: int = 0) -> None:
        super().__init__(timeline, skew_ms)
        self._venues: dict[VenueId, SimClock] = {}

    def at(self, venue: VenueId) -> SimClock:
        """The clock in the time of one venue."""
        if venue not in self._venues:
            self._venues[venue] = SimClock(self._timeline, self._skew_ms)
            self._venues[venue]._host = self
        return self._venues[venue]

    @property
    def _first(self) -> SimClock | None:
        return next(iter(self._venues.values()), None)

    def now_ms(self) -> int:
        """The first venue's time."""
        return super().now_ms() if self._first is None else self._first.now_ms()

    @property
    def error_ms(self) -> int:
        """The first venue's."""
        return super().error_ms if self._first is None else self._first.error_ms


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
