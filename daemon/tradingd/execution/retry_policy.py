"""Backoff with jitter, for transient errors only, and never for anything that could create an order."""

import asyncio
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

    async def hedge(
        self, call: Callable[[], Awaitable[T]], *, attempts: int, after_s: float, is_out: Callable[[], bool]
    ) -> T:
        """As `run`, but a try without an answer gets company after `after_s` and is not given up: the first success
        counts. For reads. `is_out`: whether the latest try has left; one that waits for its turn gets no company."""
        tries: list[asyncio.Task[T]] = []
        try:
            while True:
                tries.append(asyncio.get_running_loop().create_task(_awaited(call), name=f"try {len(tries) + 1}"))
                is_last = len(tries) == attempts
                won = await _first_success(tries, None if is_last else after_s, is_out)
                if won is not None:
                    return won.result()
                error = tries[-1].exception() if tries[-1].done() else None
                if error is not None and (is_last or not isinstance(error, VenueError) or not self.helps(error)):
                    raise error
                if error is not None:
                    await self._clock.sleep(self.delay_s(len(tries)))
        finally:
            for each in tries:
                each.cancel()
                each.add_done_callback(_heard)


async def _awaited(call: Callable[[], Awaitable[T]]) -> T:
    return await call()


async def _first_success(
    tries: "list[asyncio.Task[T]]", after_s: float | None, is_out: Callable[[], bool]
) -> "asyncio.Task[T] | None":
    """The try that succeeded; None when the latest failed or has been out for long, with `after_s` None only when all
    have failed."""
    while True:
        won = next((each for each in tries if each.done() and each.exception() is None), None)
        waiting = [each for each in tries if not each.done()]
        if won is not None or not waiting or (after_s is not None and tries[-1].done()):
            return won
        done, _ = await asyncio.wait(waiting, timeout=after_s, return_when=asyncio.FIRST_COMPLETED)
        if not done and is_out():
            return None


def _heard(task: "asyncio.Task[T]") -> None:
    """The failure of a try that another one made up for is nobody's concern."""
    if not task.cancelled():
        task.exception()
