"""A host over a real journal file, real plugin files and the real timer; only the pipeline behind it is a list."""

import asyncio
import contextlib
import sqlite3
import textwrap
from pathlib import Path
from typing import Any

from tests.feeds.candle_world import BTC, T0, ManualClock, candle
from tradingd.bus import Bus
from tradingd.domain.candles import Candle
from tradingd.domain.events import CandleClosed, Event, IncidentRaised, IntentDenied, StrategyQuarantined
from tradingd.domain.ids import StrategyId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Intent
from tradingd.domain.records import IntentRecord
from tradingd.journal.opening import open_inline
from tradingd.journal.store import InlineStore
from tradingd.strategy.host import HostSettings, StrategyHost
from tradingd.strategy.loader import LoadedStrategy, check_parameters, load_plugin
from tradingd.strategy.testing import Account
from tradingd.strategy.timer import HandlerTimer, SignalTimer

ETH = InstrumentId(VenueId("binance"), "ETH/USDT:USDT")
TREND = StrategyId("trend")
HEAD = """
from collections.abc import Iterator
from tradingd.strategy import *
"""


def write_plugin(directory: Path, name: str, body: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.py").write_text(HEAD + textwrap.dedent(body))


def load(
    directory: Path, body: str, *, strategy: str = "trend", instruments: tuple[InstrumentId, ...] = (BTC,), **given: Any
) -> LoadedStrategy:
    write_plugin(directory, strategy, body)
    plugin = load_plugin(strategy, directory)
    return LoadedStrategy(StrategyId(strategy), plugin, instruments, "1m", 10, check_parameters(plugin, given))


class Sink:
    """What reached the pipeline, in order."""

    def __init__(self) -> None:
        self.taken: list[tuple[IntentRecord, Intent, bool, int]] = []

    def submit_intent(
        self, record: IntentRecord, intent: Intent, decided: "asyncio.Future[None]", *, late: bool, cause_ms: int
    ) -> None:
        self.taken.append((record, intent, late, cause_ms))


class HostWorld:
    """One run of a host. Opening a second one on the same path is a restart."""

    def __init__(
        self,
        path: Path,
        *strategies: LoadedStrategy,
        settings: HostSettings | None = None,
        timer: HandlerTimer | None = None,
    ) -> None:
        self.path = path
        self.clock = ManualClock(T0)
        self.store: InlineStore = open_inline(path, mode="sim", now_ms=T0)
        self.events: list[Event] = []
        self.faults: list[BaseException] = []
        self.bus = Bus(lambda _event, error: self.faults.append(error))
        for kind in (IncidentRaised, IntentDenied, StrategyQuarantined):
            self.bus.subscribe(kind, self.events.append)
        self.account = Account()
        self.sink = Sink()
        self._strategies = strategies
        self._settings = settings or HostSettings(hard_budget_ms=200)
        self._timer = timer or SignalTimer()

    async def open(self, *, started: bool = True) -> StrategyHost:
        self.host = StrategyHost(
            strategies=self._strategies,
            bus=self.bus,
            clock=self.clock,
            store=self.store,
            account=self.account,
            sink=self.sink,
            timer=self._timer,
            recovered=await self.store.recover(T0),
            settings=self._settings,
        )
        self.host.subscribe()
        if started:
            for loaded in self._strategies:
                self.host.start(loaded.id, {})
        return self.host

    def give(self, given: Candle | int) -> None:
        self.bus.publish(CandleClosed(candle(given) if isinstance(given, int) else given))

    async def close(self) -> None:
        await self.store.close()
        assert not self.faults, self.faults

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql).fetchall()

    @property
    def intents(self) -> list[Intent]:
        return [intent for _, intent, _, _ in self.sink.taken]
