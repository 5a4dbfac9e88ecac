"""Strategies get their history and start, venue by venue: one that is late holds up none that is there."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

from tradingd.domain.candles import Candle
from tradingd.domain.ids import StrategyId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.records import StreamRecord
from tradingd.feeds.candle_feed import CandleFeed
from tradingd.strategy.host import StrategyHost
from tradingd.strategy.loader import LoadedStrategy

TOGETHER_S = 3.0
"""How long a strategy on several venues waits for the history of all, real seconds: `on_start` sees what is there."""


class WarmUp:
    """Each venue's instruments are loaded once; a strategy starts with the first of its venues, and the history of
    those that come later is there before their first candle."""

    def __init__(
        self, host: StrategyHost, strategies: Iterable[LoadedStrategy], streams: Iterable[StreamRecord]
    ) -> None:
        self._host = host
        self._strategies = tuple(strategies)
        self._delivered = {(each.instrument, each.timeframe): each.last_open_ms for each in streams}
        self._histories: dict[StrategyId, dict[InstrumentId, list[Candle]]] = {}
        self._loaded: dict[VenueId, asyncio.Event] = {
            instrument.venue: asyncio.Event() for each in self._strategies for instrument in each.instruments
        }
        self._started: set[tuple[StrategyId, VenueId]] = set()

    async def load(self, venue: VenueId, feeds: Mapping[tuple[InstrumentId, str], CandleFeed]) -> None:
        """The venue agrees with the journal for the first time: load its candles and start the strategies on them.

        Raises VenueError as a feed's start does; what was done by then is not done again.
        """
        mine = [each for each in self._strategies if any(one.venue == venue for one in each.instruments)]
        for strategy in mine:
            history = self._histories.setdefault(strategy.id, {})
            for instrument in strategy.instruments:
                if instrument.venue == venue and instrument not in history:
                    key = (instrument, strategy.timeframe)
                    history[instrument] = await feeds[key].start(self._delivered.get(key))
        if not mine:
            return
        self._loaded[venue].set()
        others = {one.venue for each in mine for one in each.instruments if (each.id, one.venue) not in self._started}
        with suppress(TimeoutError):
            async with asyncio.timeout(TOGETHER_S):
                for other in others:
                    await self._loaded[other].wait()
        for strategy in mine:
            self._start(strategy, venue)

    def _start(self, strategy: LoadedStrategy, venue: VenueId) -> None:
        """Start it with every history that is there; once it runs, only hand it what is new."""
        history = {
            instrument: candles
            for instrument, candles in self._histories[strategy.id].items()
            if (strategy.id, instrument.venue) not in self._started
        }
        runs = any(each == strategy.id for each, _ in self._started)
        self._started.update((strategy.id, instrument.venue) for instrument in history)
        if runs:
            self._host.add_history(strategy.id, history)
        else:
            self._host.start(strategy.id, history)
