"""The daemon's clock beside a built-in venue that runs already, over loopback."""

import asyncio

from tradingd.app.machine import MachineClock
from tradingd.app.sim_keeper import SimKeeper
from tradingd.app.sim_venue import SimVenue
from tradingd.config import load_settings
from tradingd.domain.ids import VenueId
from tradingd.emulator.server import VenueServer
from tradingd.emulator.venues import VenueOptions, open_venue


async def test_a_start_takes_over_the_pace_of_a_venue_that_runs_already() -> None:
    """A start of ten seconds beside a venue at speed 600 fell 6,000 venue seconds behind, and refused its candles as
    ones that cannot be."""
    clock = MachineClock().at(VenueId("binance"))
    server = VenueServer(open_venue(VenueOptions(symbols=("BTCUSDT",)), 1_790_000_000_000), clock.monotonic, 600.0)
    await server.start(0)
    sim = SimVenue(VenueId("binance"), f"http://127.0.0.1:{server.port}", clock)
    try:
        first = await sim.read_clock()
        clock.synchronise(first.now_ms, first.at)
        await asyncio.wait_for(SimKeeper(load_settings(None, {}), sim, first.speed, clock).follow(), 5)
        await clock.sleep(0.2)
        reading = await sim.read_clock()
        behind_ms = reading.now_ms - clock.now_ms()
        assert abs(behind_ms) < 0.1 * 600_000  # 0.2 s at the wrong pace would be 120,000
    finally:
        await sim.close()
        await server.stop()
