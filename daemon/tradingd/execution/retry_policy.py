"""Backoff with jitter, for transient errors only, and never for anything that could create an order."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tradingd.domain.errors import VenueBanned, VenueError
from tradingd.ports import Clock, Random

T = TypeVar("T")


class RetryPolicy:
    """How long to wait before another try, and whether one may help at all.

    Delays double from `first_s` to `cap_s` and are then drawn between half and the whole of that ("equal jitter"), so
    that many callers do not come back together. A ban is waited out, never probed (P13).
    """

    def __init__(self, clock: Clock, random: Random, *, first_s: float = 0.2, cap_s: float = 10.0) -> None:
        self._clock = clock
        self._random = random
        self.first_s = first_s
        self.cap_s = cap_s

    def delay_s(self, attempt: int) -> float:
        """Real seconds to wait before try number `attempt` + 1, attempts counted from 1."""
        whole = min(self.cap_s, self.first_s * 2 ** min(attempt - 1, 30))
        return self._random.uniform(whole / 2, whole)

    def helps(self, error: VenueError) -> bool:
        """Whether the same call may succeed later."""
        return error.transient and not isinstance(error, VenueBanned)

    async def run(self, call: Callable[[], Awaitable[T]], *, attempts: int) -> T:
        """Try an idempotent call up to `attempts` times; the last error, or one that no retry helps, is raised."""
        attempt = 1
        while True:
            try:
                return await call()
            except VenueError as error:
                if attempt >= attempts or not self.helps(error):
                    raise
            await self._clock.sleep(self.delay_s(attempt))
            attempt += 1
