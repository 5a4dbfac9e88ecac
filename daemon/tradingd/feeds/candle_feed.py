"""The candles of one (instrument, timeframe): each closed one delivered once, ascending, gaps filled first (P11).

Pushes are handled at once and never wait. Whatever is missing is read over REST by one task of the feed's own, which
runs only while something is missing.
"""

import asyncio
from collections.abc import Iterable

import msgspec
import structlog

from tradingd.bus import Bus
from tradingd.domain.candles import Candle, timeframe_ms
from tradingd.domain.errors import Severity, VenueError
from tradingd.domain.events import CandleClosed, CandleForming, IncidentRaised
from tradingd.domain.instruments import InstrumentId
from tradingd.feeds.candle_sequence import Arrival, CandleSequence
from tradingd.ports import Clock, Random, Venue

log = structlog.get_logger(__name__)

PAGE_CANDLES = 499
"""One REST page at most: the longest that Binance gives for a weight of 2, and below every venue's limit."""
SPARE_CANDLES = 3
"""A page has room for so many more than should be there: the open one, and clocks that differ."""


class CandleFeedSettings(msgspec.Struct, frozen=True):
    """Limits of a feed. `*_ms` are venue time, already scaled by the clock's speed; `*_s` are real time."""

    warmup: int = 0
    max_candle_age_ms: int = 10_000
    close_grace_ms: int = 2_000
    backfill_limit_candles: int = 1_500
    buffer_candles: int = 2_000
    forming_interval_s: float = 0.25
    retry_first_s: float = 0.25
    retry_last_s: float = 10.0


class CandleFeedCounts(msgspec.Struct):
    """What a feed has seen since its start, for health and tests."""

    delivered: int = 0
    late: int = 0
    duplicates: int = 0
    revised: int = 0
    gaps: int = 0
    refused: int = 0
    pages: int = 0
    read_errors: int = 0


class CandleFeed:
    """`await start(...)`, then `release()`; from then on live. Pushes may come at any time after construction."""

    def __init__(
        self,
        instrument: InstrumentId,
        timeframe: str,
        *,
        venue: Venue,
        bus: Bus,
        clock: Clock,
        random: Random,
        settings: CandleFeedSettings,
    ) -> None:
        self.instrument = instrument
        self.timeframe = timeframe
        self.counts = CandleFeedCounts()
        self._step_ms = timeframe_ms(timeframe)
        self._venue = venue
        self._bus = bus
        self._clock = clock
        self._random = random
        self._settings = settings
        self._sequence = CandleSequence(self._step_ms, settings.buffer_candles)
        self._released = False
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._forming: Candle | None = None
        self._formed_at: float | None = None
        self._fruitless = 0
        self._read_at: float | None = None
        self._stale = False

    # --- start and end --------------------------------------------------------------------------------------------

    async def start(self, last_open_ms: int | None) -> list[Candle]:
        """The warm-up history, ending at the last candle delivered (`last_open_ms`), else at the last one closed.

        What was missed since is loaded too and waits, as do live candles, for `release()`. A venue that cannot be
        reached is asked again, with backoff, until it answers; raises VenueError where a new try cannot help.
        """
        if last_open_ms is not None and last_open_ms > self._clock.now_ms() + self._step_ms:
            # decisions that are already recorded are not asked again, whatever is delivered twice
            self._tell("candles_went_back", f"the last candle delivered, {last_open_ms}, is in the venue's future")
            last_open_ms = None
        history = await self._load_history(last_open_ms)
        if last_open_ms is None and history:
            last_open_ms = history[-1].open_time_ms
        if last_open_ms is not None:
            self._sequence.begin(last_open_ms)
            await self._load_missed(last_open_ms)
        return history[-self._settings.warmup :] if self._settings.warmup else []

    def release(self) -> None:
        """READY: deliver what was missed, in order, and be live from now on."""
        self._released = True
        self._drain()

    async def close(self) -> None:
        """Deliver nothing more; ends the feed's task."""
        self._closing = True
        self._released = False
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def last_open_ms(self) -> int | None:
        """The open time of the last candle delivered, or of the history's last."""
        return self._sequence.last_open_ms

    @property
    def is_behind(self) -> bool:
        """Whether closed candles are known to exist that were not delivered yet."""
        return self._sequence.is_behind

    async def _load_history(self, last_open_ms: int | None) -> list[Candle]:
        wanted = max(self._settings.warmup, 1)
        if last_open_ms is None:
            # two more than wanted: the one that is open, and one that closes between clock and request
            since = self._floor(self._clock.now_ms()) - (wanted + 1) * self._step_ms
            end = None
        else:
            if self._settings.warmup == 0:
                return []
            since = last_open_ms - (wanted - 1) * self._step_ms
            end = last_open_ms
        found: list[Candle] = []
        while True:
            wanted = self._page_candles(since)
            page = await self._read_until_answered(since)
            closed = [candle for candle in page if candle.closed and (end is None or candle.open_time_ms <= end)]
            found += closed
            if not closed or len(page) < wanted:
                return found
            since = closed[-1].open_time_ms + self._step_ms

    async def _load_missed(self, last_open_ms: int) -> None:
        """Load up to a buffer full; what is beyond it is read page by page after the release."""
        first = self._skip_too_old(last_open_ms + self._step_ms)
        while self._sequence.room > PAGE_CANDLES:
            wanted = self._page_candles(first)
            page = await self._read_until_answered(first)
            closed = [candle for candle in page if candle.closed]
            self._take(closed)
            if len(page) < wanted or not closed:
                return
            first = closed[-1].open_time_ms + self._step_ms
        self._sequence.expect(self._floor(self._clock.now_ms()) - self._step_ms)

    def _skip_too_old(self, first_ms: int) -> int:
        """Where to read on: at `first_ms`, or later when more is missing than may be filled."""
        limit = self._settings.backfill_limit_candles
        earliest_ms = self._floor(self._clock.now_ms()) - limit * self._step_ms
        if first_ms >= earliest_ms:
            return first_ms
        missing = (earliest_ms - first_ms) // self._step_ms
        why = f"candles given up: {missing}; only the last {limit} are read again (execution.backfill_limit_candles)"
        self._tell("candle_gap_skipped", why)
        self._sequence.skip_to(earliest_ms)
        return earliest_ms

    # --- pushes ---------------------------------------------------------------------------------------------------

    def on_candle(self, candle: Candle) -> None:
        """Take one pushed candle, forming or closed by the venue's own flag."""
        if not self._is_sound(candle):
            self.counts.refused += 1
            return
        if candle.closed:
            self._on_closed(candle)
        else:
            self._on_forming(candle)

    def _is_sound(self, candle: Candle) -> bool:
        if candle.instrument != self.instrument or candle.timeframe != self.timeframe:
            raise ValueError(f"{candle.instrument} {candle.timeframe} was given to the feed of {self._name}")
        ahead_ms = candle.open_time_ms - self._clock.now_ms()
        allowed_ms = 2 * self._step_ms + self._settings.max_candle_age_ms
        if candle.open_time_ms % self._step_ms == 0 and ahead_ms <= allowed_ms and candle.low <= candle.high:
            return True
        self._tell("candle_refused", f"a candle that cannot be: open time {candle.open_time_ms}, {ahead_ms} ms ahead")
        return False

    def _on_closed(self, candle: Candle) -> None:
        arrival = self._sequence.add(candle)
        if arrival is Arrival.DUPLICATE:
            self.counts.duplicates += 1
        elif arrival is Arrival.REVISED:
            self.counts.revised += 1
            self._tell("candle_revised", f"the candle of {candle.open_time_ms} changed after it was delivered")
        elif arrival is Arrival.OVERFLOW:
            self._overflowed()
        self._drain()

    def _on_forming(self, candle: Candle) -> None:
        last = self._sequence.last_open_ms
        if last is not None and candle.open_time_ms <= last:
            return
        self._forming = candle
        self._publish_forming()
        # an open candle proves that all before it are closed: the push of the last one may still be on its way
        self._sequence.expect(candle.open_time_ms - self._step_ms)
        if self.is_behind:
            self._fill(after_ms=self._settings.close_grace_ms)

    def _publish_forming(self) -> None:
        now = self._clock.monotonic()
        last = self._sequence.last_open_ms
        if self._forming is None or (last is not None and self._forming.open_time_ms <= last):
            self._forming = None
            return
        if self._formed_at is not None and now - self._formed_at < self._settings.forming_interval_s:
            return  # coalesced: a newer one, or check(), will tell
        self._formed_at = now
        forming, self._forming = self._forming, None
        self._bus.publish(CandleForming(forming))

    def check(self, now_ms: int) -> None:
        """The supervisor's timer: ask the venue for a candle that should have closed more than the grace ago."""
        self._publish_forming()
        last = self._sequence.last_open_ms
        if last is None:
            return
        overdue_ms = now_ms - (last + 2 * self._step_ms) - self._settings.close_grace_ms
        if overdue_ms > 0 or self.is_behind:
            self._fill(after_ms=0)

    def resync(self) -> None:
        """After a reconnect: ask the venue at once what closed meanwhile."""
        self._fruitless = 0
        if self._sequence.last_open_ms is not None:
            self._fill(after_ms=0)

    # --- delivery -------------------------------------------------------------------------------------------------

    def _take(self, candles: Iterable[Candle]) -> None:
        for candle in candles:
            self._sequence.add(candle)

    def _overflowed(self) -> None:
        if not self._stale:
            self._stale = True
            self._tell("candle_buffer_overflowed", "too many candles wait behind a gap; the newer ones are read again")

    def _drain(self) -> None:
        if not self._released:
            return
        self._sequence.begin_at_first()
        while (candle := self._sequence.next()) is not None:
            self._deliver(candle)
        self._stale = self._stale and self.is_behind
        if self.is_behind:
            self._fill(after_ms=0)

    def _deliver(self, candle: Candle) -> None:
        late = self._clock.now_ms() - candle.close_time_ms > self._settings.max_candle_age_ms
        self.counts.delivered += 1
        self.counts.late += late
        self.counts.gaps += candle.gap_before
        self._fruitless = 0
        self._bus.publish(CandleClosed(msgspec.structs.replace(candle, late=late)))

    # --- REST -----------------------------------------------------------------------------------------------------

    def _fill(self, after_ms: int) -> None:
        if self._task is None and self._released and not self._closing:
            self._task = asyncio.create_task(self._run_fill(after_ms), name=f"candle backfill {self._name}")
            self._task.add_done_callback(self._filled)

    def _filled(self, task: "asyncio.Task[None]") -> None:
        if self._task is task:
            self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("candle_backfill_failed", feed=self._name, error=repr(error))
            self._tell("candle_backfill_failed", repr(error))

    async def _run_fill(self, after_ms: int) -> None:
        """Read pages until nothing is known to be missing; at least one, so that a check really asks."""
        if after_ms:
            await self._clock.sleep(after_ms / 1000 / self._clock.speed)
            if not self.is_behind:
                return
        while not self._closing:
            # no progress is not proof of anything, since a venue's REST side may lag: it is asked ever less often
            if (pause_s := self._pause_s()) > 0:
                await self._clock.sleep(pause_s)
            self._fruitless += 1
            self._read_at = self._clock.monotonic()
            try:
                await self._read_page_behind()
            except VenueError as error:
                self._note_read_error(error, self._fruitless - 1)
            self._drain()
            if not self.is_behind or self._sequence.last_open_ms is None:
                return

    def _pause_s(self) -> float:
        if not self._fruitless or self._read_at is None:
            return 0.0
        return self._read_at + self._backoff_s(self._fruitless - 1) - self._clock.monotonic()

    async def _read_page_behind(self) -> None:
        last = self._sequence.last_open_ms
        if last is None:
            return
        since = self._skip_too_old(last + self._step_ms)
        page = await self._read(since)
        self._take(candle for candle in page if candle.closed)
        if any(not candle.closed for candle in page):
            # the venue's own word on what is open: nothing at or after it can be missing
            self._sequence.limit(max(candle.open_time_ms for candle in page if not candle.closed))
        if self._sequence.confirm_gap(since, page):
            self._tell("candle_gap_confirmed", f"the venue has no candles from {since} on before the next one")

    async def _read_until_answered(self, since_ms: int) -> list[Candle]:
        tries = 0
        while True:
            try:
                return await self._read(since_ms)
            except VenueError as error:
                if not error.transient:
                    raise
                self._note_read_error(error, tries)
            await self._clock.sleep(self._backoff_s(tries))
            tries += 1

    async def _read(self, since_ms: int) -> list[Candle]:
        """One page, ascending, without what cannot be: the venue's word, but not blindly."""
        self.counts.pages += 1
        limit = self._page_candles(since_ms)
        page = await self._venue.candles(self.instrument, self.timeframe, since_ms, limit)
        sound = {c.open_time_ms: c for c in page if c.open_time_ms >= since_ms and self._is_sound(c)}
        return [sound[open_ms] for open_ms in sorted(sound)]

    def _page_candles(self, since_ms: int) -> int:
        """How many candles to ask for: what there can be since then, as a page weighs by its length."""
        there = (self._clock.now_ms() - since_ms) // self._step_ms + SPARE_CANDLES
        return max(1, min(PAGE_CANDLES, there))

    def _note_read_error(self, error: VenueError, tries: int) -> None:
        self.counts.read_errors += 1
        say = log.warning if tries == 0 else log.debug
        say("candle_read_failed", feed=self._name, error=str(error), code=error.code)

    def _backoff_s(self, tries: int) -> float:
        settings = self._settings
        longest = min(settings.retry_last_s, settings.retry_first_s * 2 ** min(tries, 30))
        return self._random.uniform(longest / 2, longest)

    def _floor(self, time_ms: int) -> int:
        return time_ms - time_ms % self._step_ms

    @property
    def _name(self) -> str:
        return f"{self.instrument} {self.timeframe}"

    def _tell(self, kind: str, detail: str) -> None:
        self._bus.publish(
            IncidentRaised(
                kind,
                Severity.WARNING,
                f"{self.timeframe}: {detail}",
                venue=self.instrument.venue,
                instrument=self.instrument,
            )
        )
