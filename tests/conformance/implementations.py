"""Every implementation of the port, each in a world of its own with virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

from tests.conformance.bench import Face, Toll
from tests.conformance.counting import Counter, NotedBudget
from tradingd.config.credentials import SIM_CREDENTIALS
from tradingd.domain.ids import VenueId
from tradingd.domain.orders import OrderRequest
from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.direct.model import VENUE
from tradingd.emulator.direct.venue import DirectVenue
from tradingd.emulator.faults.language import Rule, Script
from tradingd.emulator.venues import VenueOptions, open_direct, open_model
from tradingd.ports import Clock, Priority, Venue
from tradingd.simulation.clock import START_MS, SimClock, SimRandom
from tradingd.simulation.faults import FaultPlan
from tradingd.simulation.loop import SimLoop, Timeline
from tradingd.simulation.network import Network
from tradingd.simulation.session import SimSession
from tradingd.venues.ccxt_venue import CcxtVenue, ClientSettings

SYMBOLS = ("BTCUSDT", "ETHUSDT")


class CcxtFace:
    """A venue over unmodified ccxt.pro, before the built-in venue of its name, through a session without sockets."""

    def __init__(self, venue: str) -> None:
        self.venue_id = VenueId(venue)
        self._timeline = Timeline()
        options = VenueOptions(venue=venue, symbols=SYMBOLS, history=1500)
        model: Any = cast(Any, open_model(options, START_MS))
        self._model = model
        self.exchange: Exchange = model._desk.exchange
        self._network = Network(self._timeline, self._model, FaultPlan(venue), venue)
        self.clock: Clock = SimClock(self._timeline)
        self._counter = Counter(venue, model._desk.limits)
        self._budget = NotedBudget(self.clock, self._counter)

    def make(self) -> Venue:
        session = SimSession(self._network, 1, lambda name: None, lambda: None, lambda: False)
        settings = ClientSettings(ping_interval_ms=10_000)
        venue = CcxtVenue(
            self.venue_id,
            SIM_CREDENTIALS,
            self.clock,
            SimRandom("conformance"),
            self._budget,
            endpoint="http://venue.invalid:80",
            settings=settings,
            open_session=lambda **_options: session,  # type: ignore[arg-type]
        )
        self._budget.add_venue(self.venue_id, venue.quirks.rate_plan())
        self._counter.budget = self._budget.of(self.venue_id)
        return venue

    async def pay(self, venue: Venue, request: OrderRequest, priority: Priority) -> None:
        await self._budget.acquire(self.venue_id, venue.submit_endpoint(request), priority)

    def tolls(self) -> list[Toll] | None:
        return self._counter.tolls()

    def begin(self, *rules: Rule) -> None:
        self._network.faults.begin(Script(rules=rules))

    def act(self, kind: str, **values: object) -> str:
        self._network.run_venue()
        text: str = self._model.act(kind, values)
        self._network.venue_changed()
        return text

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        run_in(self._timeline, work)


class DirectFace:
    """The port on the engine itself."""

    def __init__(self) -> None:
        self.venue_id = VENUE
        self._timeline = Timeline()
        self._model = open_direct(VenueOptions(symbols=SYMBOLS, history=1500), START_MS)
        self.exchange: Exchange = self._model.exchange
        self.clock: Clock = SimClock(self._timeline)

    def make(self) -> Venue:
        return DirectVenue(self._model, self.clock)

    async def pay(self, venue: Venue, request: OrderRequest, priority: Priority) -> None:
        """There is no budget where there is no wire."""

    def tolls(self) -> list[Toll] | None:
        return None

    def begin(self, *rules: Rule) -> None:
        self._model.begin(Script(rules=rules))

    def act(self, kind: str, **values: object) -> str:
        self._model.run(self.clock.now_ms())
        return self._model.act(kind, values)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        run_in(self._timeline, work)


def run_in(timeline: Timeline, work: Coroutine[Any, Any, None]) -> None:
    """Run to the end in virtual time."""
    loop = SimLoop(timeline)
    try:
        loop.run_until_complete(work)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.1))
    finally:
        loop.close()


IMPLEMENTATIONS: dict[str, Callable[[], Face]] = {
    "ccxt-binance": partial(CcxtFace, "binance"),
    "ccxt-bybit": partial(CcxtFace, "bybit"),
    "direct": DirectFace,
}
