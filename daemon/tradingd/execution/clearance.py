"""What keeps a leg's request back until its commit is on the disk and nothing speaks against it any more (P2)."""

import asyncio
from collections.abc import Awaitable, Callable

from tradingd.domain.errors import Withheld
from tradingd.domain.intents import Denial
from tradingd.domain.orders import Order
from tradingd.ports import Clock

APPLY_WAIT_S = 0.05
"""So long building the request waits for the rows of its leg (real time); a disk that hangs is waited for later."""


class Clearance:
    """The request is built and signed while the leg's commit is on its way to the disk, and asks here right before
    the wire. It is let out once, or never: then the leg has ended as not sent, and `denial` says why."""

    def __init__(
        self,
        order: Order,
        prove: Callable[[], Awaitable[Denial | None]],
        void: Callable[[Order, str], None],
        clock: Clock,
        applied: asyncio.Event,
    ) -> None:
        """`prove` waits until the leg may leave, or gives the denial that has ended it."""
        self.order = order
        self.denial: Denial | None = None
        self.is_withheld = False
        self._prove = prove
        self._void = void
        self._clock = clock
        self._applied = applied
        self._passed_at: float | None = None
        self._broken_off = ""

    async def __call__(self) -> None:
        """Return when the request may leave; raises Withheld."""
        self.denial = await self._prove()
        if self.denial is None and self._broken_off:
            self._void(self.order, self._broken_off)
        why = self._broken_off if self.denial is None else self.denial.detail
        if self.denial is not None or self._broken_off:
            self.is_withheld = True
            raise Withheld(why)
        self._passed_at = self._clock.monotonic()

    async def until_applied(self) -> None:
        """Wait for the rows, not for the disk: writing them takes the interpreter, which the request needs too."""
        if self._applied.is_set():
            return
        limit = asyncio.get_running_loop().call_later(APPLY_WAIT_S, self._applied.set)
        try:
            await self._applied.wait()
        finally:
            limit.cancel()

    def break_off(self, why: str) -> None:
        """The step that sends has ended: what has not left yet never leaves."""
        self._broken_off = why

    def left_s(self, timeout_s: float) -> float:
        """What is left of the time for an answer, which runs from the moment the request was let out."""
        if self._passed_at is None:
            return timeout_s
        return self._passed_at + timeout_s - self._clock.monotonic()
