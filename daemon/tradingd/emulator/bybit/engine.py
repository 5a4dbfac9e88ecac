"""What the gateway has acknowledged and the engine has not yet seen: each request waits here for its time."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from tradingd.emulator.core.exchange import NEVER_MS, Exchange
from tradingd.emulator.core.lags import Lags


class Engine:
    """Requests on their way inside the venue, in order."""

    def __init__(self, exchange: Exchange, lags: Lags) -> None:
        self._exchange = exchange
        self._lags = lags
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._last_ms = 0
        self.delay_ms = 0

    @property
    def next_ms(self) -> int:
        """When the next one is there."""
        return self._waiting[0][0] if self._waiting else NEVER_MS

    def hand_over(self, action: Callable[[], None]) -> None:
        """Do it when it arrives; one that was acknowledged first arrives first."""
        due_ms = max(self._last_ms, self._exchange.now_ms + self.delay_ms + self._lags.engine())
        self._last_ms = due_ms
        heappush(self._waiting, (due_ms, next(self._order), action))

    def run(self, to_ms: int) -> None:
        """Do everything that has arrived by then."""
        while self._waiting and self._waiting[0][0] <= to_ms:
            heappop(self._waiting)[2]()
