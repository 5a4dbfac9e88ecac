"""This machine's clock, randomness and pid: the only module that may read them (everything else is given ports)."""

import asyncio
import os
import random
import time

from tradingd.domain.ids import VenueId


class MachineClock:
    """The Clock port on real hardware, with a time for each venue. What belongs to no venue is dated by the first
    venue that was asked for, and before that by the host's wall clock."""

    def __init__(self) -> None:
        self._venues: dict[VenueId, VenueClock] = {}
        self._host = VenueClock(self)

    def at(self, venue: VenueId) -> "VenueClock":
        """The time of one venue."""
        if venue not in self._venues:
            self._venues[venue] = VenueClock(self)
        return self._venues[venue]

    @property
    def _first(self) -> "VenueClock":
        return next(iter(self._venues.values()), self._host)

    def now_ms(self) -> int:
        """The first venue's time, ms UTC."""
        return self._first.now_ms()

    def monotonic(self) -> float:
        """Real seconds."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """The host's wall clock, ms UTC."""
        return time.time_ns() // 1_000_000

    @property
    def speed(self) -> float:
        """The first venue's."""
        return self._first.speed

    @property
    def error_ms(self) -> int:
        """The first venue's."""
        return self._first.error_ms

    async def sleep(self, seconds: float) -> None:
        """Wait real seconds."""
        await asyncio.sleep(seconds)


class VenueClock:
    """The Clock port in the time of one venue: a base read from it + real time since, times the speed.

    Before the first reading it is the host's wall clock.
    """

    def __init__(self, machine: MachineClock) -> None:
        self._machine = machine
        self._rate = 1.0
        self._speed = 1.0
        self._error_s = 0.0
        self._base_ms = float(time.time_ns() // 1_000_000)
        self._base_at = time.monotonic()

    def at(self, venue: VenueId) -> "VenueClock":
        """The time of another venue."""
        return self._machine.at(venue)

    def now_ms(self) -> int:
        """Venue time, ms UTC."""
        return int(self._base_ms + (time.monotonic() - self._base_at) * 1000 * self._rate)

    def monotonic(self) -> float:
        """Real seconds."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """The host's wall clock, ms UTC."""
        return time.time_ns() // 1_000_000

    @property
    def speed(self) -> float:
        """Venue seconds per real second."""
        return self._speed

    @property
    def error_ms(self) -> int:
        """How far venue time may be off: half the time that the last reading took, at the speed of venue time."""
        return int(self._error_s * 1000 * self._speed) + 1

    async def sleep(self, seconds: float) -> None:
        """Wait real seconds."""
        await asyncio.sleep(seconds)

    def synchronise(self, venue_ms: float, at: float, error_s: float = 0.0) -> float:
        """Venue time was `venue_ms` at monotonic `at`, give or take; returns by how many ms we were ahead of it."""
        ahead = self._base_ms + (at - self._base_at) * 1000 * self._rate - venue_ms
        self._base_ms, self._base_at, self._error_s = venue_ms, at, error_s
        return ahead

    def set_speed(self, speed: float) -> None:
        """Let venue time run `speed` times faster from now on."""
        now = time.monotonic()
        self._base_ms += (now - self._base_at) * 1000 * self._rate
        self._base_at, self._rate, self._speed = now, speed, speed

    def find_speed(self, speed: float) -> None:
        """The venue runs `speed` times faster already, or will when its market goes on: what lags there lags so much
        longer in venue time. Ours goes on at its own pace until `set_speed`; a market that waits for us stands still.
        """
        self._speed = speed


class MachineRandom:
    """The Random port on real hardware."""

    _ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def uniform(self, low: float, high: float) -> float:
        """A number between low and high."""
        return self._random.uniform(low, high)

    def token(self, length: int) -> str:
        """`length` characters of [0-9a-z]."""
        return "".join(self._random.choice(self._ALPHABET) for _ in range(length))


def pid() -> int:
    """This process's id."""
    return os.getpid()


def environment() -> dict[str, str]:
    """The environment variables as they are now."""
    return dict(os.environ)
