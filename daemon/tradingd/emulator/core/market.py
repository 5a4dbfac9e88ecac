"""Prices of one symbol over venue time: closed one-minute candles and the path through the minute that is open.

A price holds for one step of two seconds. What the open candle looks like at any moment follows from its path, so a
symbol that nobody watches costs nothing between two minutes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Protocol

import msgspec

from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.records import Candle

MINUTE_MS = 60_000
STEP_MS = 2_000
STEPS = MINUTE_MS // STEP_MS
MAX_CANDLES = 20_000

INTERVALS_MS: dict[str, int] = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
    "3d": 259_200_000,
    "1w": 604_800_000,
    "1M": 0,
}
_MONDAY_MS = 4 * 86_400_000


class Minute(msgspec.Struct, frozen=True):
    """The path of one minute in ticks, one entry per step: last price and mark price."""

    open_ms: int
    last: Sequence[int]
    mark: Sequence[int]
    volume: float
    count: int


class MarketFault(ValueError):
    """A market that cannot be offered; the text says where and what is allowed."""


class Source(Protocol):
    """Where minutes come from."""

    kind: str
    symbols: tuple[str, ...]
    start_ms: int
    waits_for_listener: bool

    def history(self, symbol: str) -> list[Candle]:
        """Closed candles before `start_ms`, oldest first."""

    def next_minute(self, symbol: str, previous: Candle, previous_mark: int) -> Minute | None:
        """The minute after `previous`, None past the end."""

    def state(self, symbol: str) -> str:
        """What `restore` needs to go on after the minute given last."""

    def restore(self, symbol: str, state: str) -> None:
        """Go on where `state` was taken."""


def mark_path(last: Sequence[int], previous_mark: int) -> list[int]:
    """Mark prices: they follow the last price by seven eighths of the distance per step."""
    mark, out = previous_mark, []
    for price in last:
        distance = price - mark
        mark += distance * 7 // 8 if abs(distance) > 7 else distance
        out.append(mark)
    return out


def interval_start(interval: str, at_ms: int) -> int:
    """Open time of the candle of `interval` that contains `at_ms`."""
    if interval == "1M":
        moment = datetime.fromtimestamp(at_ms / 1000, timezone.utc)  # noqa: UP017 - one spelling on 3.11 to 3.13
        return int(moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()) * 1000
    length = INTERVALS_MS[interval]
    offset = _MONDAY_MS if interval == "1w" else 0
    return (at_ms - offset) // length * length + offset


def interval_end(interval: str, open_ms: int) -> int:
    """Open time of the candle after the one that opens at `open_ms`."""
    if interval == "1M":
        return interval_start("1M", open_ms + 32 * 86_400_000)
    return open_ms + INTERVALS_MS[interval]


def merge(open_ms: int, candles: Sequence[Candle]) -> Candle:
    """Several candles as one."""
    return Candle(
        open_ms=open_ms,
        open=candles[0].open,
        high=max(candle.high for candle in candles),
        low=min(candle.low for candle in candles),
        close=candles[-1].close,
        volume=sum(candle.volume for candle in candles),
        count=sum(candle.count for candle in candles),
    )


def candle_prices(candle: Candle, instrument: Instrument) -> tuple[str, str, str, str]:
    """Open, high, low, close as exact text."""
    tick = instrument.price_unit
    return (str(candle.open * tick), str(candle.high * tick), str(candle.low * tick), str(candle.close * tick))


class Feed:
    """One symbol's candles and the price of this moment."""

    def __init__(
        self, instrument: Instrument, source: Source, closed: list[Candle], minute: Minute, finished: bool = False
    ) -> None:
        self.instrument = instrument
        self.closed = closed
        self.minute = minute
        self.finished = finished
        self._source = source

    def step(self, now_ms: int) -> int:
        """Index of the step that holds at `now_ms`."""
        return min(max((now_ms - self.minute.open_ms) // STEP_MS, 0), STEPS - 1)

    def last(self, now_ms: int) -> int:
        """Last price in ticks."""
        return self.minute.last[self.step(now_ms)]

    def mark(self, now_ms: int) -> int:
        """Mark price in ticks."""
        return self.minute.mark[self.step(now_ms)]

    def forming(self, now_ms: int) -> Candle:
        """The open candle as it looks at `now_ms`."""
        minute, count = self.minute, self.step(now_ms) + 1
        path = minute.last[:count]
        share = count / STEPS
        return Candle(
            minute.open_ms, path[0], max(path), min(path), path[-1], minute.volume * share, int(minute.count * share)
        )

    def complete(self) -> Candle:
        """The open minute as it will look when it closes."""
        minute = self.minute
        return Candle(
            minute.open_ms,
            minute.last[0],
            max(minute.last),
            min(minute.last),
            minute.last[-1],
            minute.volume,
            minute.count,
        )

    def roll(self) -> Candle | None:
        """Close the open minute and open the next; None once the market has ended and stays where it is."""
        if self.finished:
            return None
        candle = self.complete()
        following = self._source.next_minute(self.instrument.symbol, candle, self.minute.mark[-1])
        if following is None:
            self.finished = True
            flat = [candle.close] * STEPS
            following = Minute(candle.open_ms + MINUTE_MS, flat, flat, 0.0, 0)
        self.closed.append(candle)
        if len(self.closed) > MAX_CANDLES + 1_000:
            del self.closed[:1_000]
        self.minute = following
        return candle

    def candles(self, interval: str, from_ms: int | None, to_ms: int | None, limit: int, now_ms: int) -> list[Candle]:
        """Candles of any interval, the last one still open; the newest `limit` unless `from_ms` is given."""
        if interval == "1m":
            return self._minutes(from_ms, to_ms, limit, now_ms)
        first = None if from_ms is None else interval_end(interval, interval_start(interval, from_ms - 1))
        rows: list[Candle] = []
        group: list[Candle] = []
        start = -1
        for candle in (*self.closed[self._index(first) :], self.forming(now_ms)):
            opening = interval_start(interval, candle.open_ms)
            if opening != start and group:
                rows.append(merge(start, group))
                group = []
            start = opening
            group.append(candle)
        rows.append(merge(start, group))
        if to_ms is not None:
            rows = [row for row in rows if row.open_ms <= to_ms]
        return rows[-limit:] if from_ms is None else rows[:limit]

    def since(self, open_ms: int) -> list[Candle]:
        """Closed minutes from `open_ms` on."""
        return self.closed[self._index(open_ms) :]

    def _minutes(self, from_ms: int | None, to_ms: int | None, limit: int, now_ms: int) -> list[Candle]:
        if from_ms is not None:
            start = self._index(from_ms)
            rows = self.closed[start : start + limit]
            if len(rows) < limit:
                rows.append(self.forming(now_ms))
        elif to_ms is not None and to_ms < self.minute.open_ms:
            end = self._index(to_ms + 1)
            rows = self.closed[max(0, end - limit) : end]
        else:
            rows = [*self.closed[-(limit - 1) :], self.forming(now_ms)] if limit > 1 else [self.forming(now_ms)]
        if to_ms is not None:
            rows = [row for row in rows if row.open_ms <= to_ms]
        return [row for row in rows if from_ms is None or row.open_ms >= from_ms]

    def _index(self, from_ms: int | None) -> int:
        if from_ms is None:
            return 0
        return bisect_left(self.closed, from_ms, key=lambda candle: candle.open_ms)
