"""A built-in Bybit on loopback, a proxy before it that can spoil things, and the adapter under test behind both."""

from collections.abc import AsyncIterator

import pytest

from tests.venues.bench import behind_a_proxy
from tests.venues.bybit.bench import BybitBench
from tests.venues.doubles import KEY, SECRET, MachineClock
from tradingd.emulator.venues import VenueOptions, open_bybit


@pytest.fixture
async def bench() -> AsyncIterator[BybitBench]:
    clock = MachineClock()
    options = VenueOptions(
        venue="bybit", symbols=("BTCUSDT", "ETHUSDT"), history=400, api_key=KEY, api_secret=SECRET, with_lags=True
    )
    model = open_bybit(options, clock.now_ms())
    async with behind_a_proxy(model) as (server, proxy):
        bench = BybitBench(clock, model, server, proxy)
        try:
            yield bench
        finally:
            await bench.close()
