"""What the host gives: time, chance, jobs on a timetable, and a place to tell machines what happens."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from tradingd.domain.ids import VenueId


class Clock(Protocol):
    """Two times. Venue time may run faster than real time in simulation; monotonic time never does.

    Each venue has a time of its own, `at` it; what belongs to no venue is dated by the first venue's.
    """

    def at(self, venue: VenueId) -> "Clock":
        """The clock in the time of one venue: for everything that is compared with what that venue tells."""
        ...

    def now_ms(self) -> int:
        """Venue time, ms UTC: candles, fills, hold period, day boundary, signing, fence."""
        ...

    def monotonic(self) -> float:
        """Real seconds: timeouts, P5, staleness, backoff. On a host they count from its boot, whatever process asks."""
        ...

    def wall_ms(self) -> int:
        """The host's wall clock, ms UTC: for what people read (logs, heartbeat), never for a decision."""
        ...

    @property
    def speed(self) -> float:
        """Venue seconds per real second; 1 except in simulation."""
        ...

    @property
    def error_ms(self) -> int:
        """How far `now_ms` may be off the venue's own clock, by the last reading."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` of real time."""
        ...


class Random(Protocol):
    """Randomness: jitter and the tails of ids."""

    def uniform(self, low: float, high: float) -> float:
        """A number between low and high."""
        ...

    def token(self, length: int) -> str:
        """`length` characters of [0-9a-z]."""
        ...


class Timers(Protocol):
    """Runs jobs each so many seconds of real time, first after that time. One job never runs twice at once, whatever
    was missed meanwhile is made up by one run, and jobs do not wait for each other.

    A run that raises ends its job; the error goes to `on_fault`, which whoever made the adapter gave it.
    """

    def every(self, name: str, seconds: float, run: Callable[[], Awaitable[None]]) -> None:
        """Begin a job under a name of its own."""
        ...

    def soon(self, name: str) -> None:
        """Let a job run at once instead of at its time; while it runs, once more after that."""
        ...

    async def stop(self) -> None:
        """End all jobs; a run that is under way is cancelled and waited for."""
        ...


class Publisher(Protocol):
    """Where the daemon tells machines what happens: neither method ever waits or raises (P15). Topics are relative."""

    def retain(self, topic: str, payload: str) -> None:
        """How something stands now; only the newest of a topic counts, and who comes later is given it too."""
        ...

    def publish(self, topic: str, payload: str) -> None:
        """Something that happened."""
        ...
