"""Keeps a built-in venue at its speed for as long as the daemon runs, and alive where that is the daemon's business."""

import asyncio
from collections.abc import Callable

import aiohttp
import structlog

from tradingd.app import sim_venue
from tradingd.app.machine import VenueClock
from tradingd.app.sim_venue import Reading, SimVenue, SimVenueRefused
from tradingd.config import Settings
from tradingd.domain.errors import plain_failure

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0
FOLLOW_EVERY_S = 0.1
START_AGAIN_S = 10.0
"""A process that cannot start is not started every two seconds: each try costs the daemon its processor."""
STOP_LIMIT_S = 0.75
NO_ANSWER = (OSError, TimeoutError, aiohttp.ClientError, SimVenueRefused)


class SimKeeper:
    """One built-in venue. Ours is the one on our ledger, whoever started it; the one at `endpoint` is somebody else's:
    it is given our speed for as long as we are here, and neither started nor stopped."""

    def __init__(self, settings: Settings, sim: SimVenue, found_speed: float, clock: VenueClock) -> None:
        self.sim = sim
        self._settings = settings
        self._speed = float(settings.daemon.speed)
        self._found_speed = found_speed
        self._clock = clock
        self._is_ours = settings.venues[sim.id].endpoint is None
        self._told_gone = False
        self._start_after_s = 0.0
        self._began = False
        self._sped = False

    async def follow(self) -> None:
        """Take over the pace of a market that runs already, before we are READY: it begins to with our streams, and a
        start that takes long would lose sight of its time. Ends when our time runs as its does."""
        while not self._began:
            await self._clock.sleep(FOLLOW_EVERY_S)
            try:
                reading = await self.sim.read_clock()
            except NO_ANSWER:
                continue  # the venue's own session tells of it
            if not reading.stands_still and not self._began:
                self._clock.set_speed(reading.speed)
                self._clock.synchronise(reading.now_ms, reading.at)
                return

    async def begin(self) -> None:
        """Let venue time run at its speed. A venue that does not answer gets it when it does."""
        self._began = True
        try:
            await self._set_speed()
        except NO_ANSWER as error:
            await self._gone(error)

    async def watch(self, on_finished: Callable[[], None]) -> None:
        """Look after it, for ever; `on_finished` is called once, when a market from a file has ended."""
        finished = False
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            try:
                reading = await self.sim.read_clock()
                await self._found(reading)
            except NO_ANSWER as error:
                await self._gone(error)
                continue
            if reading.finished and not finished:
                finished = True
                on_finished()
                log.info(
                    "market_finished", venue=self.sim.id, reason="the candle file has ended; Ctrl-C stops the daemon"
                )

    async def stop(self) -> None:
        """End it in order, or give it back at the speed that it had."""
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await self.sim.set_speed(1 if self._is_ours else self._found_speed)
                if self._is_ours:
                    await self.sim.stop()
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            log.warning("built_in_venue_not_stopped", venue=self.sim.id, reason=_why(error))
        await self.sim.close()

    async def _found(self, reading: Reading) -> None:
        if self._told_gone:
            self._told_gone = False
            log.info("built_in_venue_back", venue=self.sim.id, endpoint=self.sim.endpoint)
        if reading.speed != self._speed or not self._sped:
            await self._set_speed()

    async def _set_speed(self) -> None:
        await self.sim.set_speed(self._speed)
        self._clock.set_speed(self._speed)
        self._sped = True

    async def _gone(self, error: BaseException) -> None:
        """Only a venue that nobody listens for any more is dead: one that is slow would find its ledger locked."""
        dead = self._is_ours and isinstance(error, aiohttp.ClientConnectorError)
        if dead and self._clock.monotonic() < self._start_after_s:
            return
        advice = ""
        if dead:
            try:
                await sim_venue.start(self._settings, self.sim, self._clock, self._speed)
            except SimVenueRefused as refused:
                self._start_after_s = self._clock.monotonic() + START_AGAIN_S
                advice = f"{refused}. End what stands in its way, or stop tradingd and start it again"
            else:
                log.warning("built_in_venue_restarted", venue=self.sim.id, endpoint=self.sim.endpoint, reason="it died")
                self._told_gone = False
                return
        elif not self._is_ours:
            port = self.sim.endpoint.rpartition(":")[2]
            advice = f"start it again at its place (`tradingd venue {self.sim.id} --port {port} --state ITS_LEDGER`)"
        elif not isinstance(error, SimVenueRefused):
            advice = "its process stands still, and is started again on its ledger once somebody has ended it"
        if not self._told_gone:
            self._told_gone = True
            log.error("built_in_venue_gone", venue=self.sim.id, reason=f"{_why(error)}; {advice}".removesuffix("; "))


def _why(error: BaseException) -> str:
    return plain_failure(str(error)) or "no answer"
