"""The order of candles as a plain machine: what came, what is next, what is missing. No clock, no I/O."""

from collections.abc import Sequence
from enum import Enum

import msgspec

from tradingd.domain.candles import Candle

_REMEMBERED = 50
"""So many delivered candles are kept to tell a repeated push from a revised one."""


class Arrival(Enum):
    """What became of a closed candle that arrived."""

    KEPT = "kept"
    DUPLICATE = "duplicate"
    REVISED = "revised"
    OVERFLOW = "overflow"


class CandleSequence:
    """Closed candles in, in any order and number; out come consecutive ones, each once."""

    def __init__(self, step_ms: int, capacity: int) -> None:
        self._step_ms = step_ms
        self._capacity = capacity
        self._waiting: dict[int, Candle] = {}
        self._delivered: dict[int, Candle] = {}
        self._expected_ms: int | None = None
        self._gap_from_ms: int | None = None
        self._gap_seen_ms: int | None = None
        self._gap_next_ms: int | None = None
        self._flag_next = False
        self.last_open_ms: int | None = None

    def begin(self, last_open_ms: int) -> None:
        """Everything up to `last_open_ms` is delivered."""
        self.last_open_ms = last_open_ms
        self._waiting = {open_ms: candle for open_ms, candle in self._waiting.items() if open_ms > last_open_ms}

    def begin_at_first(self) -> None:
        """Without any history: the first candle that came is the first there is."""
        if self.last_open_ms is None and self._waiting:
            self.begin(min(self._waiting) - self._step_ms)

    def skip_to(self, open_ms: int) -> None:
        """Give up what is missing before `open_ms`; the next candle carries `gap_before`."""
        self.begin(open_ms - self._step_ms)
        self._flag_next = True

    @property
    def room(self) -> int:
        """How many more candles may wait."""
        return self._capacity - len(self._waiting)

    @property
    def is_behind(self) -> bool:
        """Whether a closed candle is known to exist that was not given out."""
        if self.last_open_ms is None:
            return False
        return bool(self._waiting) or (self._expected_ms is not None and self._expected_ms > self.last_open_ms)

    def expect(self, open_ms: int) -> None:
        """The candle of `open_ms` is known to be closed, though it may not have come."""
        if self._expected_ms is None or open_ms > self._expected_ms:
            self._expected_ms = open_ms

    def limit(self, open_ms: int) -> None:
        """The venue says that the candle of `open_ms` is still open: nothing from there on is expected."""
        if self._expected_ms is not None and self._expected_ms >= open_ms:
            self._expected_ms = open_ms - self._step_ms

    def add(self, candle: Candle) -> Arrival:
        """Take one closed candle."""
        open_ms = candle.open_time_ms
        known = self._waiting.get(open_ms) or self._delivered.get(open_ms)
        if (self.last_open_ms is not None and open_ms <= self.last_open_ms) or open_ms in self._waiting:
            if known is None or _same(known, candle):
                return Arrival.DUPLICATE
            if open_ms in self._waiting:
                self._waiting[open_ms] = candle  # not given out yet: the newer word counts
                return Arrival.DUPLICATE
            self._delivered[open_ms] = candle  # told once per revision
            return Arrival.REVISED
        self._waiting[open_ms] = candle
        if len(self._waiting) <= self._capacity:
            return Arrival.KEPT
        # the oldest are needed first; the newest is dropped, and known to be missing
        newest = max(self._waiting)
        del self._waiting[newest]
        self.expect(newest)
        return Arrival.OVERFLOW

    def next(self) -> Candle | None:
        """The candle that follows the last one, once it is here; None while it is missing."""
        if self.last_open_ms is None:
            return None
        open_ms = self.last_open_ms + self._step_ms
        if open_ms not in self._waiting and self._gap_next_ms in self._waiting:
            # confirmed by the venue: nothing exists between the last one and this
            open_ms = self._gap_next_ms
            self._flag_next = True
        candle = self._waiting.pop(open_ms, None)
        if candle is None:
            return None
        if self._flag_next:
            candle = msgspec.structs.replace(candle, gap_before=True)
        self._flag_next = False
        self._gap_from_ms = self._gap_next_ms = None
        self.last_open_ms = open_ms
        self._remember(candle)
        return candle

    def confirm_gap(self, since_ms: int, page: Sequence[Candle]) -> bool:
        """Take a REST page that was asked from `since_ms` on as a word on a gap there; True when it settles one.

        One page is not enough, since a venue's read side can lag: two in a row must lack the same candles and show the
        same later one.
        """
        closed = [candle.open_time_ms for candle in page if candle.closed]
        if self.last_open_ms is None or since_ms != self.last_open_ms + self._step_ms:
            return False
        if not closed or closed[0] == since_ms:
            self._gap_from_ms = self._gap_next_ms = None
            return False
        if self._gap_from_ms == since_ms and self._gap_seen_ms == closed[0]:
            self._gap_next_ms = closed[0]
            return True
        self._gap_from_ms, self._gap_seen_ms = since_ms, closed[0]
        return False

    def _remember(self, candle: Candle) -> None:
        self._delivered[candle.open_time_ms] = candle
        while len(self._delivered) > _REMEMBERED:
            del self._delivered[next(iter(self._delivered))]


def _same(one: Candle, other: Candle) -> bool:
    return (one.open, one.high, one.low, one.close, one.volume) == (
        other.open,
        other.high,
        other.low,
        other.close,
        other.volume,
    )
