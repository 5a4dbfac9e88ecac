"""The daemon as a process: the core with its control socket, its log lines, systemd and the built-in venues."""

import asyncio
import gc
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog

from tradingd import __version__
from tradingd.app.core import Core
from tradingd.app.machine import MachineClock, MachineRandom, pid
from tradingd.app.refusals import VenueRefused
from tradingd.app.service import Service
from tradingd.app.settling import Naked
from tradingd.app.sim_keeper import SimKeeper
from tradingd.config import Settings
from tradingd.config.credentials import Credentials, MqttPassword
from tradingd.domain.errors import JournalError, VenueError
from tradingd.domain.ids import VenueId, make_epoch
from tradingd.domain.records import BootRecord, CommandRecord, Recovered
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.execution.retry_policy import RetryPolicy
from tradingd.gateway.commands import socket_path
from tradingd.gateway.control import ControlServer
from tradingd.journal.store import SqliteStore
from tradingd.ports import Venue
from tradingd.sd_notify import Notifier
from tradingd.strategy.loader import LoadedStrategy
from tradingd.strategy.timer import HandlerTimer
from tradingd.telemetry.announcer import Announcer
from tradingd.telemetry.heartbeat import HeartbeatDriver
from tradingd.telemetry.logs import Logs
from tradingd.telemetry.mqtt import MqttLink
from tradingd.telemetry.narrator import Narrator
from tradingd.telemetry.outbox import Outbox
from tradingd.timers import ScheduledTimers
from tradingd.venues.ccxt_venue import CcxtVenue, ClientSettings

log = structlog.get_logger(__name__)

CLOCK_PROBE_S = 30.0
SIM_CLOCK_PROBE_S = 2.0
JOURNAL_STOP_LIMIT_S = 1.0
CANDLE_LINE_S = 2.0
MQTT_STATE_S = 1.0
MQTT_STOP_LIMIT_S = 0.5
COLLECT_AFTER_S = 3.0
"""From its first import until so long after its start the process collects no garbage: all that is made stays."""


def _boot(settings: Settings, clock: MachineClock, random: MachineRandom) -> BootRecord:
    # the host's clock: venue time may begin anew with a new ledger, and an epoch is never used twice
    epoch = make_epoch(clock.wall_ms(), random.token(3))
    digest = hashlib.sha256(repr(settings).encode()).hexdigest()
    return BootRecord(epoch, clock.now_ms(), settings.mode, __version__, pid(), digest)


class Daemon:
    """One run: `start`, then `run` until told to stop, then `stop`."""

    def __init__(
        self,
        settings: Settings,
        strategies: list[LoadedStrategy],
        timer: HandlerTimer,
        store: SqliteStore,
        recovered: Recovered,
        sims: Mapping[VenueId, SimKeeper],
        credentials: Mapping[VenueId, Credentials],
        spool: Callable[[str], None],
        clock: MachineClock,
        random: MachineRandom,
        logs: Logs,
        notifier: Notifier,
        mqtt_password: MqttPassword | None,
    ) -> None:
        self.settings = settings
        self._store = store
        self._sims = sims
        self._credentials = credentials
        self._clock = clock
        self._random = random
        self._refused = False
        self._stop_reason: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._boot = _boot(settings, clock, random)
        limiter = RateLimiter(clock)
        self.core = Core(
            settings,
            strategies,
            {name: self._venue(name, limiter) for name in map(VenueId, settings.enabled_venues)},
            limiter,
            store,
            recovered,
            clock,
            random,
            timer,
            self._boot.epoch,
            spool,
            self.request_stop,
            partial(ScheduledTimers, clock),
        )
        self.service = Service(notifier, self.core, clock)
        self._heartbeat = HeartbeatDriver(clock, self.core.operator, self.core.bus.publish)
        self._tell_people(logs, recovered)
        self._mqtt = self._tell_machines(logs, mqtt_password) if settings.mqtt.enabled else None
        self._control = ControlServer(
            socket_path(settings.daemon.state_dir, settings.mode),
            self.core.operator,
            clock,
            record=self._record_command,
            scrub=logs.scrubber.scrub,
        )

    def _tell_people(self, logs: Logs, recovered: Recovered) -> None:
        """Lines for what happens on the bus, and the state in a word for systemd."""
        Narrator(
            self.core.bus,
            self._clock,
            # a person at a terminal wants to see the market move; a log file does not need each candle
            candle_interval_s=None if logs.is_json else CANDLE_LINE_S,
            own_fills=logs.is_json,
            heartbeat_s=self.settings.log.heartbeat_s,
            positions=recovered.positions,
            fills=recovered.recent_fills,
        )

    def _tell_machines(self, logs: Logs, password: MqttPassword | None) -> tuple[MqttLink, Announcer]:
        """Events and state for the broker, which may be there or not."""
        outbox = Outbox()
        patience = RetryPolicy(self._clock, self._random, first_s=1.0, cap_s=60.0)
        secret = password.secret if password else None
        link = MqttLink(self.settings.mqtt, self.settings.daemon.name, secret, outbox, patience.delay_s)
        return link, Announcer(
            self.core.bus,
            self._clock,
            outbox,
            self.core.operator.status,
            logs.scrubber.scrub,
            lambda: outbox.dropped,
        )

    def _venue(self, name: VenueId, limiter: RateLimiter) -> Venue:
        section = self.settings.venues[name]
        sim = self._sims.get(name)
        venue = CcxtVenue(
            name,
            self._credentials[name],
            self._clock.at(name),
            self._random,
            limiter,
            endpoint=sim.sim.endpoint if sim else section.endpoint,
            window_scale=float(self.settings.daemon.speed) if self.settings.mode == "sim" else 1.0,
            settings=ClientSettings(
                receive_window_ms=section.receive_window_ms,
                # an account stream may be silent for hours: only its pongs say that it lives
                ping_interval_ms=round(self.settings.execution.stale_after_s * 1000 / 3),
            ),
        )
        limiter.add_venue(name, venue.quirks.rate_plan())
        return venue

    # --- start ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen to the operator first, so that a start that takes long can be asked why; then bring the venues up."""
        asyncio.get_running_loop().call_later(COLLECT_AFTER_S, gc.enable)
        await self._control.start()
        self.core.jobs.every("heartbeat", self.settings.log.heartbeat_s, self._beat)
        self.core.start(self._boot)
        for name, sim in self._sims.items():
            self.core.tasks.start(f"time of {name}", sim.follow())
        self.service.start()
        if self._mqtt is not None:
            link, announcer = self._mqtt
            link.start()
            self.core.jobs.every("mqtt state", MQTT_STATE_S, announcer.flush)
        self.core.tasks.start("ready", self._when_ready())

    async def _when_ready(self) -> None:
        """All venues up: let venue time run at its speed, start the slow jobs, tell systemd."""
        await self.core.wait_up()
        await asyncio.gather(*(sim.begin() for sim in self._sims.values()))  # at one moment: their times stay together
        if self._sims:
            try:
                await self.core.synchronise()
            except VenueError as error:  # the clock probe asks again, and the venue's own session sees what it is
                log.warning("clock_not_set", reason=str(error))
        missing = {venue: state.value for venue, state in self.core.operator.venues_not_ready().items()}
        venues = [venue for venue in self.core.sessions if venue not in missing]
        told = {"venues_not_ready": missing} if missing else {}
        log.info("daemon_ready", venues=venues, speed=self._clock.speed, **told)
        self.service.up()
        for name, sim in self._sims.items():
            self.core.tasks.start(f"market of {name}", sim.watch(partial(self._market_finished, name)))
        self.core.start_jobs(SIM_CLOCK_PROBE_S if self._sims else CLOCK_PROBE_S)

    def _market_finished(self, name: VenueId) -> None:
        """The silence after the end of a candle file is no trouble."""
        supervisor = self.core.sessions[name].supervisor
        if supervisor is not None:
            supervisor.expects_silence = True

    async def _beat(self) -> None:
        self._heartbeat.tick()

    def _record_command(self, record: CommandRecord) -> None:
        self.core.execution.recorder.submit((record,))

    # --- run and stop ---------------------------------------------------------------------------------------------

    def request_stop(self, reason: str) -> None:
        """Begin the orderly stop; a second request changes nothing."""
        if not self._stop_reason.done():
            self._stop_reason.set_result(reason)

    async def run(self) -> BaseException | None:
        """Trade until told to stop; returns the error that ended the daemon, if one did."""
        failed = self.core.tasks.failed
        ends: set[asyncio.Future[Any]] = {self._stop_reason, failed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not failed.done():
            return None
        error = failed.result()
        self._refused = isinstance(error, VenueRefused)
        self.request_stop(f"{'refused' if self._refused else 'failed'}: {error}")
        return error

    async def stop(self) -> list[Naked]:
        """The orderly stop, within 10 s: the core, the operator's socket, the built-in venues, the journal.

        Returns the positions that are left without the stop that they want.
        """
        reason = self._stop_reason.result()
        if not self._refused:  # a refusal is told once, as the last line
            log.info("daemon_stopping", reason=reason)
        self.service.stopping(reason)
        naked = await self.core.stop(reason)
        await self._control.stop()
        await asyncio.gather(self._close_mqtt(), *(sim.stop() for sim in self._sims.values()))
        state, protection = self.core.execution.state, self.core.execution.protection
        held = [position.instrument for position in state.open_positions()]
        log.info(
            "daemon_stopped",
            reason="refused" if self._refused else reason,
            open_positions=len(held),
            **({"protected": sum(map(protection.has_stop, held))} if held else {}),
            unknown_orders=len(state.unknown_orders()),
        )
        await self._end_journal(reason)
        return naked

    async def _close_mqtt(self) -> None:
        if self._mqtt is not None:
            link, announcer = self._mqtt
            await announcer.flush()
            await link.stop(MQTT_STOP_LIMIT_S)

    async def _end_journal(self, reason: str) -> None:
        boot = msgspec.structs.replace(self._boot, stopped_ms=self._clock.now_ms(), stop_reason=reason)
        try:
            async with asyncio.timeout(JOURNAL_STOP_LIMIT_S):
                await self._store.submit((boot,), durable=True)
                await self._store.close()
        except (JournalError, TimeoutError) as error:
            log.error("journal_not_closed", reason=str(error) or f"locked for {JOURNAL_STOP_LIMIT_S} s")
