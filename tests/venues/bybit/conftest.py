"""A built-in Bybit on loopback, a proxy before it that can spoil things, and the adapter under test behind both."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.venues.bybit.bench import BybitBench
from tests.venues.doubles import KEY, SECRET, MachineClock
from tests.venues.faulty_proxy import FaultyProxy
from tradingd.emulator.server import VenueServer
from tradingd.emulator.venues import VenueOptions, open_bybit


@pytest.fixture
async def bench() -> AsyncIterator[BybitBench]:
    clock = MachineClock()
    options = VenueOptions(
        venue="bybit", symbols=("BTCUSDT", "ETHUSDT"), history=400, api_key=KEY, api_secret=SECRET, with_lags=True
    )
    model = open_bybit(options, clock.now_ms())
    server = VenueServer(model, asyncio.get_running_loop().time, 1.0)
    await server.start(0)
    proxy = FaultyProxy(server.port)
    await proxy.start()
    bench = BybitBench(clock, model, server, proxy)
    try:
        yield bench
    finally:
        await bench.close()
        await proxy.stop()
        await server.stop()
