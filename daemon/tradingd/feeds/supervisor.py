"""Keeps a venue's streams alive: ccxt never dials again by itself, and a silent stream says nothing of its death."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from tradingd.bus import Bus
from tradingd.domain.errors import Severity, VenueError
from tradingd.domain.events import IncidentRaised, StreamChanged
from tradingd.domain.ids import VenueId
from tradingd.ports import Clock, StreamKey, Venue

CHECK_INTERVAL_S = 0.5
UNREAD_AGAIN_S = 10.0
"""So often at most the venue is read anew for account frames that could not be understood; real time."""


class Backoff(Protocol):
    """How long to wait before another try."""

    def delay_s(self, attempt: int) -> float:
        """Real seconds before try number `attempt` + 1."""
        ...


class StreamListener(Protocol):
    """Who must know when a venue's pushes can be relied on; a disconnect is an event, and recovery is one path."""

    def on_streams_lost(self, venue: VenueId, kind: str, reason: str) -> None:
        """A kind of stream (candles, account) broke or went silent."""
        ...

    def on_unreachable(self, venue: VenueId, kind: str, reason: str) -> None:
        """A stream could not be subscribed; it is tried again."""
        ...

    def on_streams_restored(self, venue: VenueId) -> None:
        """Every wanted stream stands again."""
        ...

    def ask_recovery(self, reason: str) -> None:
        """What a stream told is not known: the venue is to be read anew."""
        ...


class Supervisor:
    """One task per venue: holds the table of wanted streams, subscribes what is missing, and resets what is silent.

    A stream that was never subscribed is as missing as one that was lost. `stale_after_s` is real time since the last
    sign of life of a kind of stream; a ping that is answered counts as one for the account stream only, since a
    candle stream always has something to say. `expects_silence` is set when a market from a file has ended.
    """

    def __init__(
        self,
        venue: Venue,
        wanted: Sequence[StreamKey],
        bus: Bus,
        clock: Clock,
        backoff: Backoff,
        listener: StreamListener,
        stale_after_s: float,
    ) -> None:
        self._venue = venue
        self._wanted = tuple(wanted)
        self._bus = bus
        self._clock = clock
        self._backoff = backoff
        self._listener = listener
        self._stale_after_s = stale_after_s
        self._live: set[StreamKey] = set()
        self._ends: dict[str, int] = {}
        self._alive_at: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._whole = False
        self._attempt = 0
        self._unread: str | None = None
        self._unread_from = clock.monotonic()
        self.expects_silence = False

    # --- what the sink tells --------------------------------------------------------------------------------------

    def on_alive(self, stream: str) -> None:
        """Any frame arrived on a kind of stream."""
        self._alive_at[stream] = self._clock.monotonic()

    def on_disconnect(self, stream: str, reason: str) -> None:
        """Every subscription of that kind is gone; told more than once for one end."""
        lost = [key for key in self._live if key.kind == stream]
        was_whole, self._whole = self._whole, self._whole and not lost
        self._live.difference_update(lost)
        self._ends[stream] = self._ends.get(stream, 0) + 1
        self._changed.set()
        if lost:
            if was_whole:
                self._bus.publish(StreamChanged(self._venue.id, stream, False, reason))
            self._listener.on_streams_lost(self._venue.id, stream, reason)

    def on_unreadable(self, stream: str, reason: str) -> None:
        """A frame could not be understood. On the account stream it may have told of a fill, or of the end of a stop;
        candles show a gap by themselves."""
        if stream == "account":
            self._unread = reason
            self._changed.set()

    # --- what others ask ------------------------------------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        """Whether every wanted stream stands."""
        return self._whole

    def ages_s(self) -> dict[str, float]:
        """Real seconds since the last sign of life, by kind of stream."""
        now = self._clock.monotonic()
        return {f"{self._venue.id}/{kind}": now - at for kind, at in self._alive_at.items()}

    # --- the task -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch over the streams."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"streams of {self._venue.id}")

    async def stop(self) -> None:
        """Let the streams be."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self._look()
            except Exception as error:
                # a fault of ours: nobody else would ever subscribe again, nor see that a stream fell silent
                self._bus.publish(
                    IncidentRaised("supervisor_failed", Severity.CRITICAL, repr(error), venue=self._venue.id)
                )
                self._attempt += 1
                await self._clock.sleep(self._backoff.delay_s(self._attempt))
            try:
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        self._ask_for_unread()
        if len(self._live) < len(self._wanted):
            await self._subscribe()
        if len(self._live) == len(self._wanted):
            self._tell_whole()
            await self._reset_stale()

    def _ask_for_unread(self) -> None:
        now = self._clock.monotonic()
        if self._unread is None or now < self._unread_from:
            return
        reason, self._unread = self._unread, None
        self._unread_from = now + UNREAD_AGAIN_S
        self._listener.ask_recovery(f"an account frame could not be read: {reason}")

    async def _subscribe(self) -> None:
        for key in self._wanted:
            if key in self._live:
                continue
            ends = self._ends.get(key.kind, 0)
            try:
                await self._venue.watch(key)
            except VenueError as error:
                self._attempt += 1
                self._listener.on_unreachable(self._venue.id, key.kind, str(error))
                await self._clock.sleep(self._backoff.delay_s(self._attempt))
                return
            if self._ends.get(key.kind, 0) != ends:
                return  # the connection ended before the subscription was confirmed: ask again, all of its kind
            self._live.add(key)
            self.on_alive(key.kind)

    def _tell_whole(self) -> None:
        if self._whole:
            return
        self._whole = True
        self._attempt = 0
        for kind in dict.fromkeys(key.kind for key in self._wanted):
            self._bus.publish(StreamChanged(self._venue.id, kind, True, "subscribed"))
        self._listener.on_streams_restored(self._venue.id)

    async def _reset_stale(self) -> None:
        if self.expects_silence:
            return
        now = self._clock.monotonic()
        for kind, at in list(self._alive_at.items()):
            if now - at > self._stale_after_s - CHECK_INTERVAL_S:  # the next look would be too late
                self.on_disconnect(kind, f"silent for {now - at:.0f} s")
                await self._venue.reset_stream(kind, "stale")
