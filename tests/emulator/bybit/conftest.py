"""A built-in Bybit for each test; time runs thirty times as fast."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.emulator.bybit.bench import Bench
from tests.emulator.helpers import START_MS, serving
from tradingd.emulator.bybit.model import BybitVenue
from tradingd.emulator.server import VenueServer
from tradingd.emulator.venues import VenueOptions, open_bybit


@pytest_asyncio.fixture
async def server() -> AsyncIterator[VenueServer]:
    venue = open_bybit(VenueOptions(venue="bybit", symbols=("BTCUSDT", "ETHUSDT"), with_lags=False), START_MS)
    async with serving(venue, speed=30) as server:
        yield server


@pytest_asyncio.fixture
async def today() -> AsyncIterator[Bench]:
    """A venue whose clock is right, and as fast as any other."""
    venue = open_bybit(VenueOptions(venue="bybit", symbols=("BTCUSDT",), with_lags=False), time.time_ns() // 1_000_000)
    async with serving(venue) as server:
        bench = Bench(venue, server.port)
        try:
            yield bench
        finally:
            await bench.close()


@pytest_asyncio.fixture
async def bench(server: VenueServer) -> AsyncIterator[Bench]:
    assert isinstance(server._model, BybitVenue)
    bench = Bench(server._model, server.port)
    try:
        yield bench
    finally:
        await bench.close()
