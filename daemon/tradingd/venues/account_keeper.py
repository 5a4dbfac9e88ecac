"""Keeps an account stream worth listening to: its key is renewed, and one that does not tell of our orders is ended."""

import asyncio
from collections.abc import Awaitable, Callable

from tradingd.domain.errors import VenueError
from tradingd.domain.ids import VenueId
from tradingd.ports import Clock
from tradingd.venues.streams import ACCOUNT, Streams

CHECK_S = 0.5
"""Real seconds between two looks at whether anything is due: venue time may run faster than real time."""
TOLD_WITHIN_S = 10.0
"""Real seconds within which the stream must have told of an order that the venue took or cancelled. It answers pings
when it is mute, too, and a quiet account has nothing to tell: our own orders are what must be heard."""


class AccountKeeper:
    """One task per venue, from the first account stream on. `renew` prolongs the key; False when it is gone."""

    def __init__(
        self,
        venue: VenueId,
        clock: Clock,
        streams: Streams,
        renew: Callable[[], Awaitable[bool]],
        interval_ms: int,
    ) -> None:
        self._venue = venue
        self._clock = clock
        self._streams = streams
        self._renew = renew
        self._interval_ms = interval_ms
        self._due_ms = 0
        self._untold: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None
        streams.on_told = self.heard
        streams.on_ended = self._untold.clear

    def start(self) -> None:
        """The account stream stands; once is enough."""
        if self._task is None:
            self._due_ms = self._clock.now_ms() + self._interval_ms
            self._task = asyncio.create_task(self._run(), name=f"{self._venue} account stream")

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def expect(self, client_order_id: str | None) -> None:
        """A request is about to leave that the stream must tell of, unless it fails: then `heard` takes it back."""
        if client_order_id is not None and self._streams.stands(ACCOUNT, ACCOUNT):
            self._untold[client_order_id] = self._clock.monotonic()

    def heard(self, client_order_id: str | None) -> None:
        """The stream told of it, or there is nothing to tell."""
        if client_order_id is not None:
            self._untold.pop(client_order_id, None)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(CHECK_S)
            if not self._streams.stands(ACCOUNT, ACCOUNT):
                continue
            self._end_if_deaf()
            if self._clock.now_ms() >= self._due_ms:
                await self._renew_key()

    def _end_if_deaf(self) -> None:
        until = self._clock.monotonic() - TOLD_WITHIN_S
        late = [key for key, since in self._untold.items() if since < until]
        if late:
            self._untold.clear()
            self._streams.reset(ACCOUNT, f"{late[0]} was not told of within {TOLD_WITHIN_S:.0f} s")

    async def _renew_key(self) -> None:
        """ccxt does so once only. A renewal that fails is tried again long before the key dies."""
        try:
            known = await self._renew()
        except VenueError:
            self._due_ms = self._clock.now_ms() + self._interval_ms // 10
            return
        self._due_ms = self._clock.now_ms() + self._interval_ms
        if not known:
            self._streams.reset(ACCOUNT, "the account key is gone")
