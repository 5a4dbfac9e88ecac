"""The part of the daemon that trades: bus, execution, strategies, venues. Runs on any clock, store and wire."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import structlog

from tradingd.app.account_view import StateAccountView
from tradingd.app.compose import Execution, build_execution
from tradingd.app.incidents import Incidents
from tradingd.app.jobs import Jobs
from tradingd.app.operator import Operator
from tradingd.app.refusals import Refusals
from tradingd.app.settling import Naked, Settling
from tradingd.app.synced_clock import SyncedClocks
from tradingd.app.tasks import Tasks, all_or_one
from tradingd.app.trouble import Trouble
from tradingd.app.venue_session import VenueSession
from tradingd.app.warm_up import WarmUp
from tradingd.bus import Bus
from tradingd.config import Settings
from tradingd.domain.candles import Candle
from tradingd.domain.errors import JournalError, JournalRefused, Severity, VenueError, VenueUnreachable
from tradingd.domain.events import Event, IncidentRaised, IntentDenied, JournalChanged
from tradingd.domain.ids import Epoch, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.records import BootRecord, JobRecord, Recovered
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.feeds.account_feed import AccountFeed
from tradingd.feeds.candle_feed import CandleFeed, CandleFeedSettings
from tradingd.feeds.supervisor import Supervisor
from tradingd.ports import Priority, Random, Store, StreamKey, Timers, Venue
from tradingd.strategy.host import HostSettings, StrategyHost
from tradingd.strategy.loader import LoadedStrategy
from tradingd.strategy.timer import HandlerTimer

log = structlog.get_logger(__name__)

TICK_S = 0.1
CANDLE_CHECK_S = 1.0
HEALTH_CHECK_S = 1.0
BALANCE_S = 10.0
"""Also how soon it is seen what another hand did while the account stream was mute."""
RULES_S = 86_400.0
UNANSWERED_LIMIT = 2
UP_LIMIT_S = 50.0
"""How long a venue that is up waits for the others before the daemon counts as started."""
CLOSE_GRACE_MS = 2_000
# the stages of a stop: with settling (6 s at most) and what the process adds (1.75 s), under 10 s
STEPS_LIMIT_S = 0.5
VENUE_CLOSE_LIMIT_S = 0.75
SAVE_LIMIT_S = 0.5


class PinnedStore(Store, Protocol):
    """A journal that also pins which accounts it belongs to."""

    async def pin(self, pins: Mapping[str, str], now_ms: int) -> None:
        """Pin each, or raise JournalRefused where it is pinned otherwise."""
        ...


def endpoint_pin(settings: Settings, venue: str) -> dict[str, str]:
    """Where a venue's orders go, pinned: a journal is never continued against another place."""
    own = "built-in" if settings.mode == "sim" else settings.mode
    return {f"endpoint.{venue}": settings.venues[venue].endpoint or own}


class Core:
    """Owns everything between a venue's pushes and its orders, for one run."""

    def __init__(
        self,
        settings: Settings,
        strategies: list[LoadedStrategy],
        venues: dict[VenueId, Venue],
        limiter: RateLimiter,
        store: PinnedStore,
        recovered: Recovered,
        clock: SyncedClocks,
        random: Random,
        timer: HandlerTimer,
        epoch: Epoch,
        spool: Callable[[str], None],
        request_stop: Callable[[str], None],
        make_timers: Callable[[Callable[[BaseException], None]], Timers],
    ) -> None:
        self.settings = settings
        self._strategies = strategies
        self._store = store
        self._recovered = recovered
        self._clock = clock
        self._random = random
        self._speed = settings.daemon.speed if settings.mode == "sim" else 1
        self.tasks = Tasks()
        self.bus = Bus(self._on_handler_fault)
        self.jobs = Jobs(make_timers(self.tasks.fail), clock, self._record_job, self.bus.publish)
        self.limiter = limiter
        self.execution: Execution = build_execution(
            settings, venues, limiter, store, self.bus, clock, random, epoch, recovered, spool
        )
        for ban in recovered.bans:
            limiter.restore(ban)
        self._resumable = {
            venue: tuple(each for each in recovered.open_intents if each.instrument.venue == venue) for venue in venues
        }
        self.execution.reconciler.on_reconciled = self._resume_intents
        self.incidents = Incidents(self.execution.recorder, clock, epoch, recovered.incidents)
        self.host = StrategyHost(
            strategies=strategies,
            bus=self.bus,
            clock=clock,
            store=self.execution.recorder,
            account=StateAccountView(self.execution.state),
            sink=self.execution.pipeline,
            timer=timer,
            recovered=recovered,
            settings=HostSettings(settings.execution.handler_budget_ms, settings.execution.handler_limit_ms),
        )
        self._warm_up = WarmUp(self.host, strategies, recovered.streams)
        self._refusals = Refusals(self.execution, venues, clock)
        self.sessions = {name: self._session(venue) for name, venue in venues.items()}
        self.trouble = Trouble(self.execution, self.sessions, clock, lambda venue: self.jobs.soon(f"rules of {venue}"))
        self.operator = Operator(
            settings, self.execution, self.sessions, self.host, self.incidents, clock, request_stop
        )
        # in the order of the flow: state first (subscribed by build_execution), strategies, then who only watches
        self.bus.subscribe(IncidentRaised, self.incidents.on_incident)
        self.bus.subscribe(JournalChanged, self.incidents.on_journal)
        self.bus.subscribe(JournalChanged, self.operator.on_journal)
        self.host.subscribe()
        self.bus.subscribe(IntentDenied, self.operator.on_denied)

    # --- making ---------------------------------------------------------------------------------------------------

    def _session(self, venue: Venue) -> VenueSession:
        feeds = {
            (instrument, strategy.timeframe): self._candle_feed(venue, instrument, strategy)
            for strategy in self._strategies
            for instrument in strategy.instruments
            if instrument.venue == venue.id
        }
        session = VenueSession(
            venue,
            self.settings.venues[venue.id],
            self.execution,
            feeds,
            self._clock.at(venue.id),
            self._pin_account,
            self._first_recovered,
            self._recovered.flags,
            self._refusals,
        )
        wanted = [StreamKey(venue.id, "candles", instrument.symbol, timeframe) for instrument, timeframe in feeds]
        session.supervisor = Supervisor(
            venue,
            [*wanted, StreamKey(venue.id, "account")],
            self.bus,
            self._clock.at(venue.id),
            self.execution.retry,
            session,
            self.settings.execution.stale_after_s,
        )
        return session

    def _candle_feed(self, venue: Venue, instrument: InstrumentId, strategy: LoadedStrategy) -> CandleFeed:
        return CandleFeed(
            instrument,
            strategy.timeframe,
            venue=venue,
            bus=self.bus,
            clock=self._clock.at(venue.id),
            random=self._random,
            settings=CandleFeedSettings(
                warmup=strategy.warmup,
                max_candle_age_ms=round(self.settings.risk.max_candle_age_s * 1000 * self._speed),
                close_grace_ms=CLOSE_GRACE_MS * self._speed,
                backfill_limit_candles=self.settings.execution.backfill_limit_candles,
            ),
        )

    # --- start ----------------------------------------------------------------------------------------------------

    def start(self, boot: BootRecord) -> None:
        """Journal the boot and bring the venues up; returns at once."""
        self.execution.recorder.submit((boot,))
        self.execution.idempotency.doubt_submitted()
        self.execution.router.on_trouble = self.trouble.on_outcome
        self.limiter.on_ban = lambda venue, until_ms, reason: self.sessions[venue].on_banned(until_ms, reason)
        self.jobs.every("tick", TICK_S, self.execution.pipeline.tick)
        self.jobs.every("health", HEALTH_CHECK_S, self._check_health)
        for session in self.sessions.values():
            if session.supervisor is None:
                raise RuntimeError("a session was made without its supervisor")
            sink = AccountFeed(self.execution.recorder, session.feeds, session.supervisor, self.bus, self._note_price)
            self.tasks.start(f"venue {session.id}", session.run(sink))

    async def wait_up(self) -> None:
        """Return once every venue has been READY, or the operator was told why it is not, and one of them is up.

        One of which nothing is known yet is waited for `UP_LIMIT_S`; each becomes READY whenever it can be reached.
        """
        sessions = self.sessions.values()
        await all_or_one(UP_LIMIT_S, *(session.declared for session in sessions))
        await all_or_one(0, *(session.up for session in sessions))

    def start_jobs(self, clock_probe_s: float) -> None:
        """Begin the jobs of a daemon that trades."""
        execution = self.settings.execution
        self.jobs.every("sweep", execution.sweep_interval_s, self._sweep)
        self.jobs.every("candle check", CANDLE_CHECK_S, self._check_candles)
        for session in self.sessions.values():  # each a job of its own: a venue that is mute holds up no other
            self._every_ready(session, "reconcile", execution.reconcile_interval_s, self._reconcile_one)
            self._every_ready(session, "clock probe", clock_probe_s, VenueSession.synchronise)
            self._every_ready(session, "balance", BALANCE_S, self._read_balance)
            self.jobs.every(f"rules of {session.id}", RULES_S, session.read_rules, deadline_s=60.0)

    def _every_ready(
        self, session: VenueSession, name: str, interval_s: float, job: Callable[[VenueSession], Awaitable[object]]
    ) -> None:
        """One venue's job, which pauses while that venue is not READY: its recovery does the same and more.

        A venue that left it without an answer twice in a row is READY no more, whatever its streams tell.
        """
        unanswered = 0

        async def run() -> None:
            nonlocal unanswered
            if not self.execution.router.is_ready(session.id):
                return
            try:
                await job(session)
            except VenueUnreachable as error:
                unanswered += 1
                if unanswered >= UNANSWERED_LIMIT:
                    session.ask_recovery(f"{name}: {error}")
                raise
            unanswered = 0

        self.jobs.every(f"{name} of {session.id}", interval_s, run)

    async def _first_recovered(self, session: VenueSession) -> None:
        """The venue agrees with the journal for the first time."""
        await self._warm_up.load(session.id, session.feeds)

    def _resume_intents(self, venue: VenueId) -> None:
        """After the first reconcile: what a crash left undecided gets its outcome, exits before any candle is read."""
        intents = self._resumable.pop(venue, ())
        records = self.execution.pipeline.resume_intents(intents)
        if records:
            self.execution.recorder.commit(records)

    async def _pin_account(self, venue: VenueId, account_id: str) -> None:
        try:
            pins = {**endpoint_pin(self.settings, venue), f"account.{venue}": account_id}
            await self._store.pin(pins, self._clock.wall_ms())
        except JournalRefused:
            raise
        except JournalError as error:
            raise VenueError(f"the account cannot be compared with the journal's: {error}", transient=True) from error

    # --- jobs -----------------------------------------------------------------------------------------------------

    def _record_job(self, record: JobRecord) -> None:
        if self.execution.recorder.journal_writable:  # the next run will tell again: nothing to hold for it
            self.execution.recorder.submit((record,), durable=False)

    async def _each_ready(self, job: Callable[[VenueSession], Awaitable[object]]) -> None:
        """At all venues at once: one that does not answer holds up no other. Raises the first error."""
        ready = [session for session in self.sessions.values() if self.execution.router.is_ready(session.id)]
        for result in await asyncio.gather(*(job(session) for session in ready), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _reconcile(self) -> None:
        await self._each_ready(self._reconcile_one)

    async def _reconcile_one(self, session: VenueSession) -> None:
        try:
            await self.execution.reconciler.reconcile(session.id)
        except (VenueError, JournalError) as error:
            session.ask_recovery(f"reconcile failed: {error}")
            raise

    async def _read_balance(self, session: VenueSession) -> None:
        """A stream that is mute answers pings: what is held is compared as if it had been pushed."""
        snapshot = await self.execution.reconciler.read(session.id, Priority.DATA)
        held = [position.instrument for position in self.execution.state.open_positions(session.id)]
        for instrument in dict.fromkeys((*held, *(position.instrument for position in snapshot.positions))):
            self.execution.pipeline.on_position(snapshot.position(instrument))
        await self.execution.reconciler.book_if_due(session.id)

    async def read_anew(self) -> None:
        """The venues' rules, and then journal and venues compared: what an operator's reload asks for."""
        await self._each_ready(lambda session: session.read_rules())
        await self._reconcile()

    async def synchronise(self) -> None:
        """Set the clock by the venues'."""
        await self._each_ready(lambda session: session.synchronise())

    async def _sweep(self) -> None:
        for session in self.sessions.values():
            if self.execution.router.is_ready(session.id):
                self.execution.pipeline.sweep_all(session.id)

    async def _check_health(self) -> None:
        self.execution.recorder.queue.look()
        for session in self.sessions.values():
            session.check_health()

    async def _check_candles(self) -> None:
        for session in self.sessions.values():
            now_ms = self._clock.at(session.id).now_ms()
            for feed in session.feeds.values():
                feed.check(now_ms)

    def _note_price(self, candle: Candle) -> None:
        self.execution.state.note_price(candle.instrument, candle.close, self._clock.monotonic())

    def _on_handler_fault(self, event: Event, error: BaseException) -> None:
        log.error("handler_fault", handler_of=type(event).__name__, error=repr(error), exc_info=error)
        if not isinstance(event, IncidentRaised):
            self.bus.publish(IncidentRaised("handler_fault", Severity.CRITICAL, f"{type(event).__name__}: {error!r}"))

    # --- stop -----------------------------------------------------------------------------------------------------

    async def stop(self, reason: str) -> list[Naked]:
        """Entries stop, resting entries are cancelled, what is under way settles, protection stays; limited in time.

        Returns the positions that are left without the stop that they want: somebody has to see to them.
        """
        settling = Settling(self.execution, self.bus, self._clock)
        self.execution.switches.stopping = reason
        self.host.stop()
        await settling.run()
        await self.execution.pipeline.stop(STEPS_LIMIT_S)
        naked = settling.tell_naked()
        await self.jobs.stop()
        await self.tasks.stop()
        await asyncio.gather(*(self._close_session(session) for session in self.sessions.values()))
        await self.execution.router.close()
        await self.limiter.close()
        await self.execution.recorder.queue.close(SAVE_LIMIT_S)
        return naked

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
