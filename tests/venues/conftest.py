"""A built-in Binance on loopback, a proxy before it that can spoil things, and the adapter under test behind both."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.venues.doubles import BINANCE_ID, CREDENTIALS, KEY, SECRET, Budget, MachineClock, SeededRandom, Sink
from tests.venues.faulty_proxy import FaultyProxy
from tradingd.emulator.server import VenueServer
from tradingd.emulator.venues import VenueOptions, open_venue
from tradingd.venues.ccxt_venue import CcxtVenue, ClientSettings


class Bench:
    """Everything that one test needs, and what came out of it."""

    def __init__(self, clock: MachineClock, server: VenueServer, proxy: FaultyProxy) -> None:
        self.clock = clock
        self.server = server
        self.proxy = proxy
        self.budget = Budget()
        self.sink = Sink()
        self._venues: list[CcxtVenue] = []

    def build(self, *, window_scale: float = 1.0, port: int | None = None, **settings: Any) -> CcxtVenue:
        """An adapter that is not open yet."""
        venue = CcxtVenue(
            BINANCE_ID,
            CREDENTIALS,
            self.clock,
            SeededRandom(),
            self.budget,
            endpoint=f"http://127.0.0.1:{port or self.proxy.port}",
            window_scale=window_scale,
            settings=ClientSettings(**settings),
        )
        self._venues.append(venue)
        return venue

    async def open(self, **settings: Any) -> CcxtVenue:
        """An open adapter whose clock agrees with the venue's."""
        venue = self.build(**settings)
        await venue.open(self.sink)
        self.clock.offset_ms += await venue.server_time_ms() - self.clock.now_ms()
        self.proxy.seen.clear()
        self.budget.acquired.clear()
        return venue

    async def close(self) -> None:
        for venue in self._venues:
            await venue.close()


@pytest.fixture
def speed() -> float:
    return 1.0


@pytest.fixture
async def bench(speed: float) -> AsyncIterator[Bench]:
    clock = MachineClock(speed)
    options = VenueOptions(symbols=("BTCUSDT", "ETHUSDT"), history=400, api_key=KEY, api_secret=SECRET)
    model = open_venue(options, clock.now_ms())
    server = VenueServer(model, asyncio.get_running_loop().time, speed)
    await server.start(0)
    proxy = FaultyProxy(server.port)
    await proxy.start()
    bench = Bench(clock, server, proxy)
    try:
        yield bench
    finally:
        await bench.close()
        await proxy.stop()
        await server.stop()
