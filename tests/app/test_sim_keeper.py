"""The daemon's clock beside a built-in venue that runs already, over loopback."""

import asyncio
import socket
from pathlib import Path

import pytest
import structlog

from tradingd.app import sim_venue
from tradingd.app.machine import MachineClock
from tradingd.app.sim_keeper import SimKeeper
from tradingd.app.sim_venue import SimVenue, SimVenueRefused
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


async def test_a_built_in_venue_whose_port_was_taken_is_started_once_the_port_is_free(tmp_path: Path) -> None:
    venue = VenueId("bybit")
    (tmp_path / "c.toml").write_text(f'[daemon]\nstate_dir = "{tmp_path}"\n[venues.bybit]\nenabled = true\n')
    settings = load_settings(tmp_path / "c.toml", {})
    clock = MachineClock().at(venue)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sim = SimVenue(venue, f"http://127.0.0.1:{taken.getsockname()[1]}", clock)
        with pytest.raises(SimVenueRefused, match=r"set venues\.bybit\.port to another"):
            await sim_venue.start(settings, sim, clock)
    keeper = SimKeeper(settings, sim, 1.0, clock)
    watching = asyncio.create_task(keeper.watch(lambda: None))
    try:
        async with asyncio.timeout(30):
            while await sim_venue.living(settings, venue) is None:
                await clock.sleep(0.1)
    finally:
        watching.cancel()
        await keeper.stop()


async def test_a_built_in_venue_that_stands_still_is_told_once_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[venues.bybit]\nenabled = true\n")
    clock = MachineClock().at(VenueId("bybit"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sim = SimVenue(VenueId("bybit"), f"http://127.0.0.1:{silent.getsockname()[1]}", clock)
        keeper = SimKeeper(load_settings(tmp_path / "c.toml", {}), sim, 1.0, clock)
        with structlog.testing.capture_logs() as told:
            for _ in range(2):
                await keeper._gone(TimeoutError())
        await sim.close()
    (line,) = told
    assert line["event"] == "built_in_venue_gone" and line["log_level"] == "error"
    assert line["reason"].startswith("no answer; its process stands still") and "ended it" in line["reason"]
