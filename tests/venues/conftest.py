"""A built-in Binance on loopback, a proxy before it that can spoil things, and the adapter under test behind both."""

from collections.abc import AsyncIterator

import pytest

from tests.venues.bench import Bench, behind_a_proxy
from tests.venues.doubles import KEY, SECRET, MachineClock
from tradingd.emulator.venues import VenueOptions, open_venue


@pytest.fixture
def speed() -> float:
    return 1.0


@pytest.fixture
async def bench(speed: float) -> AsyncIterator[Bench]:
    clock = MachineClock(speed)
    options = VenueOptions(symbols=("BTCUSDT", "ETHUSDT"), history=400, api_key=KEY, api_secret=SECRET)
    model = open_venue(options, clock.now_ms())
    async with behind_a_proxy(model, speed) as (server, proxy):
        bench = Bench(clock, server, proxy)
        try:
            yield bench
        finally:
            await bench.close()
