"""The daemon: staged start, run, staged stop. Each stage has a limit, and each says what it is about."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from tradingd import __version__
from tradingd.app.account_view import StateAccountView
from tradingd.app.compose import Execution, ban_saver, build_execution
from tradingd.app.incidents import Incidents
from tradingd.app.machine import MachineClock, MachineRandom, pid
from tradingd.app.operator import Operator
from tradingd.app.sim_venue import SimVenue
from tradingd.app.tasks import Tasks
from tradingd.app.venue_session import VenueSession
from tradingd.bus import Bus
from tradingd.config import Settings
from tradingd.config.credentials import Credentials
from tradingd.domain.candles import Candle
from tradingd.domain.errors import JournalError, Severity
from tradingd.domain.events import (
    Event,
    Heartbeat,
    IncidentRaised,
    IntentDenied,
)
from tradingd.domain.ids import StrategyId, VenueId, make_epoch
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.records import BootRecord, CommandRecord, Recovered
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.feeds.account_feed import AccountFeed
from tradingd.feeds.candle_feed import CandleFeed, CandleFeedSettings
from tradingd.feeds.supervisor import Supervisor
from tradingd.gateway.commands import socket_path
from tradingd.gateway.control import ControlServer
from tradingd.journal.store import SqliteStore
from tradingd.ports import StreamKey, Venue
from tradingd.sd_notify import Notifier
from tradingd.strategy.host import HostSettings, StrategyHost
from tradingd.strategy.loader import LoadedStrategy
from tradingd.strategy.timer import SignalTimer
from tradingd.telemetry.heartbeat import HeartbeatDriver
from tradingd.telemetry.logs import Logs
from tradingd.telemetry.narrator import Narrator
from tradingd.venues.ccxt_venue import CcxtVenue, ClientSettings

log = structlog.get_logger(__name__)

TICK_S = 0.1
CLOCK_PROBE_S = 30.0
CLOSE_GRACE_MS = 2_000
SETTLE_LIMIT_S = 4.0
STEPS_LIMIT_S = 2.0
VENUE_CLOSE_LIMIT_S = 1.5


class Daemon:
    """Owns every part for one run; `start`, then `run` until told to stop, then `stop`."""

    def __init__(
        self,
        settings: Settings,
        strategies: list[LoadedStrategy],
        store: SqliteStore,
        recovered: Recovered,
        sims: dict[VenueId, SimVenue],
        credentials: dict[VenueId, Credentials],
        spool: Callable[[str], None],
        clock: MachineClock,
        random: MachineRandom,
        logs: Logs,
        notifier: Notifier,
    ) -> None:
        self.settings = settings
        self._strategies = strategies
        self._store = store
        self._sims = sims
        self._credentials = credentials
        self._clock = clock
        self._random = random
        self._logs = logs
        self._notifier = notifier
        self._stop_reason: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks = Tasks(clock)
        started_ms = clock.wall_ms()
        self.epoch = make_epoch(started_ms, random.token(3))
        digest = hashlib.sha256(repr(settings).encode()).hexdigest()
        self._boot = BootRecord(self.epoch, started_ms, settings.mode, __version__, pid(), digest)
        self._recovered = recovered
        self.bus = Bus(self._on_handler_fault)
        self._limiter = RateLimiter(clock, ban_saver(store))
        self._venues = {name: self._venue(name) for name in map(VenueId, settings.enabled_venues)}
        self.execution: Execution = build_execution(
            settings,
            self._venues,
            self._limiter,
            store,
            self.bus,
            clock,
            random,
            self.epoch,
            recovered,
            spool,
        )
        for ban in recovered.bans:
            self._limiter.restore(ban)
        self._incidents = Incidents(store, clock, self.epoch, recovered.incidents)
        self._host = StrategyHost(
            strategies=strategies,
            bus=self.bus,
            clock=clock,
            store=store,
            account=StateAccountView(self.execution.state),
            sink=self.execution.pipeline,
            timer=SignalTimer(),
            recovered=recovered,
            settings=HostSettings(settings.execution.handler_budget_ms, settings.execution.handler_limit_ms),
        )
        self.sessions = {name: self._session(name) for name in self._venues}
        self._operator = Operator(
            settings, self.execution, self.sessions, self._host, self._incidents, clock, self.request_stop
        )
        self._subscribe()
        self._control = ControlServer(
            socket_path(settings.daemon.state_dir, settings.mode),
            self._operator,
            clock,
            record=self._record_command,
            scrub=logs.scrubber.scrub,
        )
        self._heartbeat = HeartbeatDriver(clock, self._operator, self.bus.publish)

    # --- making -------------------------------------------------------------------------------------------------

    def _venue(self, name: VenueId) -> Venue:
        section = self.settings.venues[name]
        sim = self._sims.get(name)
        scale = float(self.settings.daemon.speed) if self.settings.mode == "sim" else 1.0
        venue = CcxtVenue(
            name,
            self._credentials[name],
            self._clock,
            self._random,
            self._limiter,
            endpoint=sim.endpoint if sim else section.endpoint,
            window_scale=scale,
            settings=ClientSettings(receive_window_ms=section.receive_window_ms),
        )
        self._limiter.add_venue(name, venue.quirks.rate_plan())
        return venue

    def _session(self, name: VenueId) -> VenueSession:
        venue = self._venues[name]
        feeds = {
            (instrument, strategy.timeframe): self._candle_feed(venue, instrument, strategy)
            for strategy in self._strategies
            for instrument in strategy.instruments
            if instrument.venue == name
        }
        session = VenueSession(
            venue,
            self.settings.venues[name],
            self.execution,
            feeds,
            self._clock,
            self._pin_account,
            self._first_recovered,
            self._recovered.flags,
        )
        wanted = [StreamKey(name, "candles", instrument.symbol, timeframe) for instrument, timeframe in feeds]
        session.supervisor = Supervisor(
            venue,
            [*wanted, StreamKey(name, "account")],
            self.bus,
            self._clock,
            self.execution.retry,
            session,
            self.settings.execution.stale_after_s,
        )
        return session

    def _candle_feed(self, venue: Venue, instrument: InstrumentId, strategy: LoadedStrategy) -> CandleFeed:
        speed = self.settings.daemon.speed if self.settings.mode == "sim" else 1
        return CandleFeed(
            instrument,
            strategy.timeframe,
            venue=venue,
            bus=self.bus,
            clock=self._clock,
            random=self._random,
            settings=CandleFeedSettings(
                warmup=strategy.warmup,
                max_candle_age_ms=round(self.settings.risk.max_candle_age_s * 1000 * speed),
                close_grace_ms=CLOSE_GRACE_MS * speed,
                backfill_limit_candles=self.settings.execution.backfill_limit_candles,
            ),
        )

    def _subscribe(self) -> None:
        """In the order of the flow: state first (made by compose), strategies, then telemetry."""
        state = self.execution.state
        self.bus.subscribe(IncidentRaised, self._incidents.on_incident)
        self.bus.subscribe(IntentDenied, self._operator.on_denied)
        self._host.subscribe()
        beat = self.settings.log.heartbeat_s
        Narrator(self.bus, self._clock, heartbeat_s=beat, positions=state.positions.values())
        self.bus.subscribe(Heartbeat, lambda event: self._notify_status(event))

    # --- start ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Journal the boot, listen to the operator, bring the venues up."""
        self._store.submit((self._boot,), durable=True)
        await self._control.start()
        self._tasks.every("tick", TICK_S, self.execution.pipeline.tick)
        self._tasks.every("heartbeat", self.settings.log.heartbeat_s, self._beat)
        for session in self.sessions.values():
            if session.supervisor is None:
                raise RuntimeError("a session was made without its supervisor")
            sink = AccountFeed(
                self.execution.recorder, session.feeds, session.supervisor, self.bus, self._note_price
            )
            self._tasks.start(f"venue {session.id}", session.run(sink))
        self._tasks.start("ready", self._when_ready())

    async def _first_recovered(self, session: VenueSession) -> None:
        """The venue agrees with the journal for the first time: warm strategies up, take crashed intents up again."""
        streams = {(each.instrument, each.timeframe): each.last_open_ms for each in self._recovered.streams}
        for strategy in self._strategies:
            if all(instrument.venue != session.id for instrument in strategy.instruments):
                continue
            history = {}
            for instrument in strategy.instruments:
                feed = session.feeds[(instrument, strategy.timeframe)]
                history[instrument] = await feed.start(streams.get((instrument, strategy.timeframe)))
            self._host.start(StrategyId(strategy.id), history)
        mine = tuple(each for each in self._recovered.open_intents if each.instrument.venue == session.id)
        records = self.execution.pipeline.resume_intents(mine)
        if records:
            self.execution.recorder.commit(records)

    async def _when_ready(self) -> None:
        """All venues READY: let venue time run at its speed, start the slow jobs, tell systemd."""
        for session in self.sessions.values():
            await session.ready.wait()
        for name, sim in self._sims.items():
            await sim.set_speed(self.settings.daemon.speed)
            self._clock.set_speed(self.settings.daemon.speed)
            await self.sessions[name].synchronise()
        log.info("daemon_ready", venues=list(self.sessions), speed=self._clock.speed)
        self._notifier.ready("trading")
        execution = self.settings.execution
        self._tasks.every("reconcile", execution.reconcile_interval_s, self._reconcile)
        self._tasks.every("sweep", execution.sweep_interval_s, self._sweep)
        self._tasks.every("clock probe", CLOCK_PROBE_S if not self._sims else 2.0, self._probe_clocks)
        self._tasks.every("candle check", 1.0, self._check_candles)

    # --- jobs -----------------------------------------------------------------------------------------------------

    async def _each_ready(self, job: Callable[[VenueSession], Awaitable[None]]) -> None:
        for session in self.sessions.values():
            if self.execution.router.is_ready(session.id):
                await job(session)

    async def _reconcile(self) -> None:
        await self._each_ready(lambda session: self.execution.reconciler.reconcile(session.id))

    async def _sweep(self) -> None:
        for session in self.sessions.values():
            if self.execution.router.is_ready(session.id):
                self.execution.pipeline.sweep_all(session.id)

    async def _probe_clocks(self) -> None:
        for session in self.sessions.values():
            if self.execution.router.is_ready(session.id):
                await session.synchronise()

    async def _check_candles(self) -> None:
        now_ms = self._clock.now_ms()
        for session in self.sessions.values():
            for feed in session.feeds.values():
                feed.check(now_ms)

    async def _beat(self) -> None:
        self._heartbeat.tick()

    def _notify_status(self, event: Heartbeat) -> None:
        words = "entries allowed" if event.entries_allowed else "no entries"
        self._notifier.status(f"{event.open_positions} open positions, {event.unknown_orders} unknown orders, {words}")
        self._notifier.watchdog()

    def _note_price(self, candle: Candle) -> None:
        self.execution.state.note_price(candle.instrument, candle.close, self._clock.monotonic())

    async def _pin_account(self, venue: VenueId, account_id: str) -> None:
        await self._store.pin({f"account.{venue}": account_id}, self._clock.wall_ms())

    def _record_command(self, record: CommandRecord) -> None:
        self._store.submit((record,)).add_done_callback(lambda done: done.cancelled() or done.exception())

    def _on_handler_fault(self, event: Event, error: BaseException) -> None:
        self._logs.uncaught(f"handler of {type(event).__name__}", error)
        if not isinstance(event, IncidentRaised):
            self.bus.publish(
                IncidentRaised("handler_fault", Severity.CRITICAL, f"{type(event).__name__}: {error!r}")
            )

    # --- run and stop ---------------------------------------------------------------------------------------------

    def request_stop(self, reason: str) -> None:
        """Begin the orderly stop; a second request changes nothing."""
        if not self._stop_reason.done():
            self._stop_reason.set_result(reason)

    async def run(self) -> BaseException | None:
        """Trade until told to stop; returns the error that ended the daemon, if one did."""
        ends: set[asyncio.Future[Any]] = {self._stop_reason, self._tasks.failed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._tasks.failed.done():
            error = self._tasks.failed.result()
            self.request_stop(f"failed: {error}")
            return error
        return None

    async def stop(self) -> None:
        """Entries stop, resting entries are cancelled, what is under way settles, protection stays; within 10 s."""
        reason = self._stop_reason.result() if self._stop_reason.done() else "start failed"
        log.info("daemon_stopping", reason=reason)
        self._notifier.stopping(reason)
        self.execution.switches.stopping = reason
        self._host.stop()
        await self._settle()
        await self.execution.pipeline.stop(STEPS_LIMIT_S)
        await self._tasks.stop()
        for session in self.sessions.values():
            await self._close_session(session)
        await self.execution.router.close()
        await self._limiter.close()
        await self._control.stop()
        for name, sim in self._sims.items():
            await self._stop_sim(name, sim)
        self._logs_of_end(reason)
        await self._end_journal(reason)

    async def _settle(self) -> None:
        """Wait for answers on the way, and for the stop of a position that has just opened; with a limit."""
        state, protection = self.execution.state, self.execution.protection
        deadline = self._clock.monotonic() + SETTLE_LIMIT_S
        while self._clock.monotonic() < deadline:
            held = [each for each in protection.covers if state.expected_quantity(each)]
            naked = [each for each in held if not protection.is_covered(each)]
            if not naked and not state.unknown_orders() and not self.execution.exits.goals:
                return
            await self._clock.sleep(0.05)

    async def _close_session(self, session: VenueSession) -> None:
        if session.supervisor is not None:
            await session.supervisor.stop()
        for feed in session.feeds.values():
            await feed.close()
        try:
            async with asyncio.timeout(VENUE_CLOSE_LIMIT_S):
                await session.venue.close()
        except TimeoutError:
            log.warning("venue_not_closed", venue=session.id, limit_s=VENUE_CLOSE_LIMIT_S)

    async def _stop_sim(self, name: VenueId, sim: SimVenue) -> None:
        try:
            async with asyncio.timeout(VENUE_CLOSE_LIMIT_S):
                await sim.set_speed(1)
                await sim.stop()
        except (OSError, TimeoutError) as error:
            log.warning("built_in_venue_not_stopped", venue=name, reason=str(error) or "no answer")
        await sim.close()

    def _logs_of_end(self, reason: str) -> None:
        state = self.execution.state
        log.info(
            "daemon_stopped",
            reason=reason,
            open_positions=len(state.open_positions()),
            unknown_orders=len(state.unknown_orders()),
        )

    async def _end_journal(self, reason: str) -> None:
        boot = msgspec.structs.replace(self._boot, stopped_ms=self._clock.wall_ms(), stop_reason=reason)
        try:
            await self._store.submit((boot,), durable=True)
        except JournalError as error:
            log.error("boot_not_closed", reason=str(error))
        await self._store.close()
