"""A built-in Bybit for each test; time runs thirty times as fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.emulator.bybit.bench import Bench
from tests.emulator.helpers import START_MS
from tradingd.emulator.bybit.model import BybitVenue
from tradingd.emulator.server import VenueServer
from tradingd.emulator.venues import VenueOptions, open_bybit


@pytest_asyncio.fixture
async def server() -> AsyncIterator[VenueServer]:
    venue = open_bybit(VenueOptions(venue="bybit", symbols=("BTCUSDT", "ETHUSDT"), with_lags=False), START_MS)
    server = VenueServer(venue, asyncio.get_running_loop().time, 30)
    await server.start(0)
    try:
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture
async def today() -> AsyncIterator[Bench]:
    """A venue whose clock is right, and as fast as any other."""
    venue = open_bybit(VenueOptions(venue="bybit", symbols=("BTCUSDT",), with_lags=False), time.time_ns() // 1_000_000)
    server = VenueServer(venue, asyncio.get_running_loop().time, 1)
    await server.start(0)
    bench = Bench(venue, server.port)
    try:
        yield bench
    finally:
        await asyncio.gather(*(client.close() for client in bench.clients))
        await server.stop()


@pytest_asyncio.fixture
async def bench(server: VenueServer) -> AsyncIterator[Bench]:
    assert isinstance(server._model, BybitVenue)
    bench = Bench(server._model, server.port)
    try:
        yield bench
    finally:
        await asyncio.gather(*(client.close() for client in bench.clients))
