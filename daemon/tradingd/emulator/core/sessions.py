"""Who listens to candles and prices, and what they are pushed: the websocket sessions that every dialect has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import count
from typing import ClassVar, Generic, TypeVar

from tradingd.emulator.core.exchange import NEVER_MS, Exchange
from tradingd.emulator.core.lags import Lags
from tradingd.emulator.core.pushes import CandlePushes, Outbox
from tradingd.emulator.core.records import Candle
from tradingd.emulator.wire import Frame

Session = TypeVar("Session")


class Sessions(ABC, Generic[Session]):
    """All sessions, and the frames on their way to them; a dialect says who listens to what, and words the frames."""

    intervals: ClassVar[Mapping[str, str]]
    """The dialect's names of intervals, each with the market's own."""

    def __init__(self, exchange: Exchange, lags: Lags) -> None:
        self._exchange = exchange
        self._lags = lags
        self.sessions: dict[int, Session] = {}
        self._numbers = count(1)
        self._outbox = Outbox()
        self._candles = CandlePushes(exchange, lags)
        self._push_ms = NEVER_MS
        self._klines: dict[str, dict[str, list[int]]] = {}
        self._prices: dict[str, list[int]] = {}

    # -- who listens --------------------------------------------------------------------------------------------

    @property
    def has_candle_listener(self) -> bool:
        """Whether somebody listens to candles."""
        return bool(self._klines)

    def close(self, number: int) -> None:
        """The client went away."""
        if self.sessions.pop(number, None) is not None:
            self._index()

    @abstractmethod
    def _index(self) -> None:
        """Ask all sessions what they want, and `_serve` it."""

    def _serve(self, klines: dict[str, dict[str, list[int]]], prices: dict[str, list[int]]) -> None:
        """From now on: the sessions by symbol and interval of a candle, and by what names a price."""
        self._klines, self._prices = klines, prices
        if not klines and not prices:
            self._push_ms = NEVER_MS
        elif self._push_ms == NEVER_MS:
            self._push_ms = self._candles.next_push(self._exchange.now_ms)

    # -- what they are pushed -----------------------------------------------------------------------------------

    def on_minute(self, symbol: str, minute: Candle) -> None:
        """A minute closed: every candle that ends with it is pushed once more, marked closed."""
        for interval, numbers in self._klines.get(symbol, {}).items():
            closed = self._candles.closed(symbol, self.intervals[interval], minute)
            if closed is not None:
                self._push_candle(symbol, interval, numbers, *closed, is_closed=True)

    def push_open(self) -> None:
        """Push all open candles and prices that somebody listens to."""
        for symbol, wanted in self._klines.items():
            if self._candles.is_silent(symbol):
                continue
            for interval, numbers in wanted.items():
                candle, end_ms = self._candles.open(symbol, self.intervals[interval])
                self._push_candle(symbol, interval, numbers, candle, end_ms, is_closed=False)
        for name, numbers in self._prices.items():
            self._push_price(name, numbers)
        is_heard = self._klines or self._prices
        self._push_ms = self._candles.next_push(self._exchange.now_ms) if is_heard else NEVER_MS

    @abstractmethod
    def _push_candle(
        self, symbol: str, interval: str, numbers: list[int], candle: Candle, end_ms: int, is_closed: bool
    ) -> None:
        """Put a candle on its way to these sessions."""

    @abstractmethod
    def _push_price(self, name: str, numbers: list[int]) -> None:
        """Put what a name of `_serve` stands for on its way to these sessions."""

    @property
    def next_push_ms(self) -> int:
        """When open candles are pushed next."""
        return self._push_ms

    def next_event_ms(self) -> int:
        """When the next frame is due."""
        return min(self._outbox.next_ms, self._push_ms)

    def due(self, now_ms: int) -> list[tuple[int, Frame]]:
        """Frames whose time has come, for sessions that still live."""
        return self._outbox.due(now_ms, self.sessions)
