"""Frames on their way to clients, and the candles that are pushed: what the streams of every dialect share."""

from __future__ import annotations

from collections.abc import Container
from heapq import heappop, heappush
from itertools import count

from tradingd.emulator.core.exchange import NEVER_MS, Exchange
from tradingd.emulator.core.lags import Lags
from tradingd.emulator.core.market import MINUTE_MS, STEP_MS, interval_end, interval_start, merge
from tradingd.emulator.core.records import Candle
from tradingd.emulator.wire import Frame


class Outbox:
    """Frames with the venue time at which they leave, in order."""

    def __init__(self) -> None:
        self._frames: list[tuple[int, int, int, Frame]] = []
        self._order = count()

    def put(self, session: int, frame: Frame, due_ms: int) -> None:
        """Put one frame on its way."""
        heappush(self._frames, (due_ms, next(self._order), session, frame))

    @property
    def next_ms(self) -> int:
        """When the next frame is due."""
        return self._frames[0][0] if self._frames else NEVER_MS

    def due(self, now_ms: int, living: Container[int]) -> list[tuple[int, Frame]]:
        """Frames whose time has come, for sessions that still live."""
        out: list[tuple[int, Frame]] = []
        while self._frames and self._frames[0][0] <= now_ms:
            _, _, number, frame = heappop(self._frames)
            if number in living:
                out.append((number, frame))
        return out


class CandlePushes:
    """Candles of any interval as they are pushed, open ones at a pace that a client can bear."""

    def __init__(self, exchange: Exchange, lags: Lags) -> None:
        self._exchange = exchange
        self._lags = lags
        self._merged: dict[tuple[str, str], tuple[int, Candle | None]] = {}

    def next_push(self, now_ms: int) -> int:
        """Every two seconds; at high speed further apart, so that a real second never brings more than fifty."""
        pace_ms = max(STEP_MS, int(self._lags.scale * 20))
        pace_ms = (pace_ms + STEP_MS - 1) // STEP_MS * STEP_MS
        return now_ms // pace_ms * pace_ms + pace_ms + STEP_MS // 4

    def is_silent(self, symbol: str) -> bool:
        """Whether nothing trades in the open minute: then no venue pushes a candle."""
        feed = self._exchange.feeds[symbol]
        return feed.minute.volume == 0 or feed.finished

    def open(self, symbol: str, interval: str) -> tuple[Candle, int]:
        """The open candle as it looks now, and where it will end."""
        forming = self._exchange.feeds[symbol].forming(self._exchange.now_ms)
        if interval != "1m":
            start = interval_start(interval, forming.open_ms)
            earlier = self._earlier(symbol, interval, start)
            forming = forming if earlier is None else merge(start, (earlier, forming))
        return forming, interval_end(interval, forming.open_ms)

    def closed(self, symbol: str, interval: str, minute: Candle) -> tuple[Candle, int] | None:
        """The candle that ends with this minute, if one does, and its end."""
        start = interval_start(interval, minute.open_ms)
        end = interval_end(interval, start)
        if end > minute.open_ms + MINUTE_MS:
            return None
        return (minute if interval == "1m" else merge(start, self._exchange.feeds[symbol].since(start))), end

    def _earlier(self, symbol: str, interval: str, start: int) -> Candle | None:
        """Closed minutes of an open candle, merged once per minute."""
        feed = self._exchange.feeds[symbol]
        known = self._merged.get((symbol, interval))
        if known is None or known[0] != feed.minute.open_ms:
            minutes = feed.since(start)
            known = (feed.minute.open_ms, merge(start, minutes) if minutes else None)
            self._merged[(symbol, interval)] = known
        return known[1]
