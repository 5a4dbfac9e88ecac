"""An event loop whose waiting takes no time: asyncio's own timeouts and sleeps in virtual seconds."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from tradingd.domain.ids import VenueId

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z"""


class Deadlock(RuntimeError):
    """Everybody waits and nobody will come: the test would hang."""


class _JumpingSelector(selectors.DefaultSelector):
    """Where a loop would wait, its clock goes forward instead."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Deadlock("nothing is due, now or ever")
        self.loop.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 1,000 s, so that nothing can take 0 for "never"."""

    def __init__(self) -> None:
        self.now = 1_000.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.now


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs an async test on a loop of its own; what the test leaves behind is cancelled."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


class VirtualClock:
    """Both times on the loop's; `step_ms` moves venue time alone, as a wrong or corrected clock does."""

    speed = 1.0
    error_ms = 0

    def __init__(self, start_ms: int = START_MS) -> None:
        self.step_ms = 0
        self._start_ms = start_ms
        self._began = asyncio.get_running_loop().time()

    def at(self, venue: VenueId) -> "VirtualClock":
        return self

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def now_ms(self) -> int:
        return self._start_ms + self.step_ms + round((self.monotonic() - self._began) * 1000)

    wall_ms = now_ms

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def synchronise(self, venue_ms: float, at: float, error_s: float = 0.0) -> float:
        return 0.0


class MiddleRandom:
    """No chance: the middle of every range."""

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def token(self, length: int) -> str:
        return "0" * length


class ProcessClock(VirtualClock):
    """The clock as the process has it: the venues' own times are right, and what belongs to no venue is days off, so
    that whatever takes the one for the other is seen."""

    def __init__(self, venues: VirtualClock) -> None:
        super().__init__(START_MS - 3 * 86_400_000)
        self._venues = venues

    def at(self, venue: VenueId) -> VirtualClock:
        return self._venues
