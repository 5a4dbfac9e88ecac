"""One venue's life: open, subscribe, recover, READY; and the same recovery again after every disconnect."""

import asyncio
import difflib
import gc
from collections.abc import Awaitable, Callable, Mapping

import structlog

from tradingd.app.compose import Execution
from tradingd.app.refusals import REFUSED_RETRY_S, Refusals, VenueRefused, advised
from tradingd.app.synced_clock import SyncedClock
from tradingd.config import VenueSettings
from tradingd.domain.errors import JournalError, Severity, VenueBanned, VenueError, VenueUnreachable
from tradingd.domain.events import VenueState
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.records import FlagRecord
from tradingd.domain.text import moment
from tradingd.feeds.candle_feed import CandleFeed
from tradingd.feeds.supervisor import Supervisor
from tradingd.ports import Venue, VenueSink

log = structlog.get_logger(__name__)

CLOCK_SAMPLES = 3
TROUBLE_AFTER_S = 10.0
POLL_S = 5.0
CLOCK_LIMIT_S = 2.0


class VenueSession:
    """Brings one venue up and keeps it so. Boot, reconnect and the end of a ban share one path: `_recover`."""

    def __init__(
        self,
        venue: Venue,
        settings: VenueSettings,
        execution: Execution,
        feeds: Mapping[tuple[InstrumentId, str], CandleFeed],
        clock: SyncedClock,
        pin_account: Callable[[VenueId, str], Awaitable[None]],
        first_recovered: Callable[["VenueSession"], Awaitable[None]],
        flags: tuple[FlagRecord, ...],
        refusals: Refusals,
    ) -> None:
        self.venue = venue
        self.id = venue.id
        self.settings = settings
        self.feeds = feeds
        self.supervisor: Supervisor | None = None
        self.ready = asyncio.Event()
        self.up = asyncio.Event()
        self.declared = asyncio.Event()
        """Set as well where it is known that the venue will not be up soon: the operator was told why."""
        self._execution = execution
        self._clock = clock
        self._pin_account = pin_account
        self._first_recovered = first_recovered
        self._flags = flags
        self._refusals = refusals
        self._restored = asyncio.Event()
        self._begun = False
        self._account_read = False
        self._prepared: set[InstrumentId] = set()
        self._warm = False
        self._left_told = False
        self._failures = 0
        self._streams_awaited = False
        self._trouble_since: float | None = None
        self._trouble_told = False

    # --- what the streams tell ------------------------------------------------------------------------------------

    def on_streams_lost(self, venue: VenueId, kind: str, reason: str) -> None:
        """No entries until recovered; the sweep's proofs are void once the account stream was deaf."""
        self._degrade(f"{kind}: {reason}")
        self._execution.sweeper.forget_venue(venue)

    def on_unreachable(self, venue: VenueId, kind: str, reason: str) -> None:
        """A stream cannot be dialled. Only REST decides whether the venue is DOWN: it is asked every few seconds."""
        self.on_streams_lost(venue, kind, reason)

    def on_streams_restored(self, venue: VenueId) -> None:
        """Recover now."""
        self._restored.set()

    def ask_recovery(self, reason: str) -> None:
        """Something does not fit: no entries until the venue was read anew."""
        self._degrade(reason)
        self._restored.set()

    def on_banned(self, until_ms: int, reason: str) -> None:
        """The venue lets nothing through for a while: P5 does not count that time."""
        self._execution.router.mark(self.id, VenueState.BANNED, f"until {moment(until_ms)} (venue time): {reason}")
        self._restored.set()

    def _degrade(self, reason: str) -> None:
        """READY no more; a worse state than DEGRADED stands until an answer says otherwise."""
        if self._execution.router.state(self.id) in (VenueState.READY, VenueState.STARTING):
            self._execution.router.mark(self.id, VenueState.DEGRADED, reason)

    # --- the task -------------------------------------------------------------------------------------------------

    async def run(self, sink: VenueSink) -> None:
        """Open, then keep the venue READY; ends only by cancellation, or once every venue refuses.

        While it is not READY it is read over REST every few seconds, streams or no streams: fills are booked, stops
        are placed and exits go on even if no websocket can be dialled for hours.
        """
        await self._open(sink)
        for step in (self._check_symbols, self._check_with_patience):
            await self._refusals.outlast(self.id, step, self.declared)
        if self.supervisor is None:
            raise RuntimeError("a session needs its supervisor before it runs")
        self.supervisor.start()
        self._restored.set()  # what is held is looked after at once; streams that stand ask for a second reading
        while True:
            await self._wait_for_cause()
            self._restored.clear()
            await self._refusals.outlast(self.id, self._try_recover, self.declared)

    async def _wait_for_cause(self) -> None:
        """Until a recovery is asked for, or the venue is found not READY: streams that break ask for none."""
        while not self._restored.is_set():
            try:
                async with asyncio.timeout(POLL_S):
                    await self._restored.wait()
            except TimeoutError:
                if not self._execution.router.is_ready(self.id):
                    return

    def _tell_not_reached(self, attempt: int, error: VenueError) -> None:
        what = "the network" if self.settings.endpoint is None else f"venues.{self.id}.endpoint"
        reason = f"{str(error).rstrip('.')}; tried again; check {what}"
        log.warning("venue_not_reached", venue=self.id, attempt=attempt, reason=reason)

    async def _open(self, sink: VenueSink) -> None:
        attempt = 0
        while True:
            try:
                await self.venue.open(sink)
                break
            except VenueError as error:
                attempt += 1
                state = VenueState.BANNED if isinstance(error, VenueBanned) else VenueState.DOWN
                self._execution.router.mark(self.id, state, str(error))
                self._tell_not_reached(attempt, error)
                await self._clock.sleep(self._execution.retry.delay_s(attempt))
        self._reached()
        gc.freeze()  # not collected before: looking at all modules and markets for a few dead objects takes 0.2 s

    def _reached(self) -> None:
        """It answers: P5's time runs, whatever is still to be read before READY."""
        if self._execution.router.state(self.id) in (VenueState.DOWN, VenueState.BANNED):
            state = VenueState.DEGRADED if self._account_read else VenueState.STARTING
            self._execution.router.mark(self.id, state, "it answers, and is being read")
        self._execution.router.note_answer(self.id)

    def _wanted(self) -> list[InstrumentId]:
        return self._execution.state.instruments_of(self.id)

    async def _check_symbols(self) -> None:
        """A configured symbol that the venue lacks is a mistake to correct; one only held is told and blocked."""
        known = self.venue.instruments
        problems = []
        for instrument in self._wanted():
            if instrument in known:
                continue
            if instrument not in self._execution.state.owners:
                self.block(instrument, f"{self.id} does not list {instrument.symbol} any more")
                continue
            near = difflib.get_close_matches(instrument.symbol, [each.symbol for each in known], n=1)
            hint = f" (nearest: {near[0]}@{self.id})" if near else ""
            problems.append(f"{self.id} does not list {instrument.symbol}{hint}")
        if problems:
            raise VenueRefused("; ".join(problems) + ". Correct `instruments` in the strategy's section of the config.")

    def block(self, instrument: InstrumentId, why: str) -> None:
        """No entries there until a new start."""
        self._execution.state.blocked[instrument] = why = f"{why.rstrip('.')}. No entries there until a restart"
        self._execution.recorder.incident("instrument_blocked", Severity.CRITICAL, f"{instrument}: {why}", self.id)

    async def _check_with_patience(self) -> None:
        """Modes and permissions, before any stream: what a new try cannot mend is the user's to change."""
        attempt = 0
        while True:
            try:
                await self.synchronise()
                await self._check_account()
                return
            except VenueBanned as error:
                self._execution.router.mark(self.id, VenueState.BANNED, str(error))
                await self._clock.sleep(1.0)
            except VenueError as error:
                self._refused_for_good(error)
                attempt += 1
                self._execution.router.mark(self.id, VenueState.DOWN, str(error))
                self._tell_not_reached(attempt, error)
                await self._clock.sleep(self._execution.retry.delay_s(attempt))

    def _refused_for_good(self, error: VenueError, advice: str = "") -> None:
        """What a new try cannot mend ends the daemon."""
        if not error.transient:
            raise VenueRefused(f"{self.id} refuses: {advised(self.id, error, advice)}.") from error

    async def _try_recover(self) -> None:
        """One recovery; after a failure the pause before the next."""
        try:
            await self._recover()
            self._failures = 0
            return
        except VenueBanned as error:
            self._execution.router.mark(self.id, VenueState.BANNED, str(error))
            pause_s = 1.0
        except (VenueError, JournalError) as error:
            self._failures += 1
            state = VenueState.DOWN if isinstance(error, VenueUnreachable) else VenueState.DEGRADED
            # a refusal (a revoked key) is not hammered: the venue would answer with a ban
            refused = isinstance(error, VenueError) and not error.transient
            told = advised(self.id, error)
            self._execution.router.mark(self.id, state, f"recovering: {told}")
            log.warning("venue_recovery_failed", venue=self.id, attempt=self._failures, reason=told)
            pause_s = REFUSED_RETRY_S if refused else self._execution.retry.delay_s(self._failures)
        self._restored.set()
        await self._clock.sleep(pause_s)

    async def _recover(self) -> None:
        """Clock, orders, fills, positions, balance; then the lanes run; with the streams whole, READY (P10).

        Protection and exits wait for neither streams nor candles nor leverage: the lane of an instrument opens as soon
        as its own orders and fills are known, whatever holds up the rest.
        """
        if self._execution.router.is_ready(self.id):
            self._degrade("recovering")
        clock_error = await self._clock_error()
        if not self._begun:
            self._execution.reconciler.begin_history(self.id, self._flags)
            self._begun = True
        await self._execution.reconciler.reconcile(self.id, self._execution.pipeline.open_lane)
        self._account_read = True
        self._reached()
        self._tell_left_alone()
        self._execution.pipeline.open_lanes(self.id)
        await self._prepare()
        if clock_error is not None:
            # the account was read, so the venue is not DOWN
            raise VenueError(f"the clock could not be set: {clock_error}", transient=True) from clock_error
        if self.supervisor is None or not self.supervisor.is_whole:
            self._without_streams()
            return
        if not self._warm:
            await self._first_recovered(self)
            self._warm = True
        if self._restored.is_set():
            return  # asked again meanwhile: what was read is older than the cause
        self._execution.router.mark(self.id, VenueState.READY, "reconciled")
        for feed in self.feeds.values():
            feed.release()
            if self.ready.is_set():
                # candles that closed while the stream was gone are read now, not when the next one shows a gap
                feed.resync()
        self.ready.set()
        self._is_up()

    def _without_streams(self) -> None:
        """At a start the streams come a moment after the account: until the next reading that is no trouble."""
        state, self._streams_awaited = self._execution.router.state(self.id), not self._streams_awaited
        if state is not VenueState.STARTING or not self._streams_awaited:
            self._execution.router.mark(self.id, VenueState.DEGRADED, "read over REST; the streams are not subscribed")

    def _is_up(self) -> None:
        self.up.set()
        self.declared.set()

    def _tell_left_alone(self) -> None:
        """Once: what is held for a strategy that the config has no more."""
        state = self._execution.state
        for held in () if self._left_told else state.open_positions(self.id):
            if held.strategy is not None and held.instrument not in state.owners:
                what = f"{held.quantity:f} {held.instrument}"
                why = f"{held.strategy} is not in the config and holds {what}: stop and take profit stay; nothing else "
                why += "closes it but `tradingd flatten`"
                self._execution.recorder.incident("strategy_gone", Severity.WARNING, why, held.instrument)
        self._left_told = True

    async def read_rules(self) -> None:
        """The venue's rules anew: each order from now on keeps to them; an instrument that is gone is blocked."""
        await self.venue.load_instruments()
        # thousands of market records were made: a later full collection over them would stall the loop
        gc.collect()
        gc.freeze()
        known = self.venue.instruments
        self._execution.state.instruments.update(known)
        for instrument in self._wanted():
            if instrument not in known and instrument not in self._execution.state.blocked:
                self.block(instrument, f"{self.id} does not list {instrument.symbol} any more")

    async def _check_account(self) -> None:
        """Who the account is and how it is set; what must be changed by hand is refused with what to do."""
        mode = await self.venue.preflight()
        # all of them: what a human holds elsewhere is kept account of, and closed when the operator asks for it
        self._execution.state.instruments.update(self.venue.instruments)
        self._reached()
        problems = list(mode.problems)
        if mode.hedge_mode and not problems:
            problems.append("the account is in hedge mode; switch it to one-way mode")
        if not mode.can_trade and not problems:
            problems.append("the key may not trade futures; give it that permission")
        if problems:
            raise VenueRefused(f"{self.id}: " + "; ".join(problems))
        await self._pin_account(self.id, mode.account_id)

    async def _prepare(self) -> None:
        """Leverage and margin mode of what our strategies trade, once: only entries need them."""
        for instrument in self._wanted():
            # what somebody else holds on this account keeps the leverage that they chose
            known = instrument in self.venue.instruments and instrument in self._execution.state.owners
            if known and instrument not in self._prepared:
                await self._prepare_instrument(instrument)
                self._prepared.add(instrument)
        self._execution.state.instruments.update(self.venue.instruments)

    async def _prepare_instrument(self, instrument: InstrumentId) -> None:
        """Leverage and margin mode. The venue may refuse a change while something is held: entries are denied there,
        but the position must be managed, so the daemon goes on; a key that lacks the right is tried again."""
        state, settings = self._execution.state, self.settings
        try:
            await self.venue.prepare(instrument, settings.leverage, settings.margin_mode)
        except VenueError as error:
            if state.position(instrument).is_flat and not list(state.open_orders(instrument)):
                self._refused_for_good(error, f"Correct venues.{self.id}.leverage or venues.{self.id}.margin_mode")
            if error.transient or error.about_key:
                raise
            self.block(instrument, f"leverage or margin mode cannot be set while something is held: {error}")

    def check_health(self) -> None:
        """Tell the operator when the venue has not been READY for long; loudly while a position is held there."""
        if self._execution.router.is_ready(self.id):
            self._trouble_since, self._trouble_told = None, False
            return
        now = self._clock.monotonic()
        if self._trouble_since is None:
            self._trouble_since = now
        if now - self._trouble_since < TROUBLE_AFTER_S:
            return
        if self._account_read and self._execution.router.state(self.id) is VenueState.DEGRADED:
            self._is_up()  # declared so: protection and exits go on, and nobody needs to wait for more
        if self._execution.router.state(self.id) is not VenueState.STARTING:
            self.declared.set()
        if self._trouble_told:
            return
        held = self._execution.state.open_positions(self.id)
        self._trouble_told = True
        state, reason = self._execution.router.state(self.id), self._execution.router.reason(self.id)
        count = f"{len(held)} open position{'' if len(held) == 1 else 's'}"
        what = f"{count} cannot be managed" if held else "no position is open"
        severity = Severity.CRITICAL if held else Severity.WARNING
        self._execution.recorder.incident(
            "venue_not_ready", severity, f"{self.id} is {state} for {TROUBLE_AFTER_S:.0f} s: {reason}; {what}", self.id
        )

    # --- the clock ------------------------------------------------------------------------------------------------

    async def _clock_error(self) -> VenueError | None:
        """Set the clock, or say why not: it was set before, so that without an answer fills are booked and stops placed
        all the same; only READY needs a fresh one."""
        try:
            await self.synchronise()
        except VenueBanned:
            raise
        except VenueError as error:
            return error
        self._execution.router.note_answer(self.id)
        return None

    async def synchronise(self) -> float:
        """Set our clock by the venue's, by the quickest of a few answers; returns how many ms we were ahead.

        Raises VenueError without a single answer; one that takes long is worth nothing and is not waited for.
        """
        best: tuple[float, float, int] | None = None
        try:
            async with asyncio.timeout(CLOCK_LIMIT_S):
                for _ in range(CLOCK_SAMPLES):
                    began = self._clock.monotonic()
                    server_ms = await self.venue.server_time_ms()
                    took = self._clock.monotonic() - began
                    self._execution.router.note_answer(self.id)
                    if best is None or took < best[0]:
                        best = (took, began + took / 2, server_ms)
        except TimeoutError:
            if best is None:
                raise VenueUnreachable(f"{self.id} did not tell its time within {CLOCK_LIMIT_S:g} s") from None
        except VenueError:
            if best is None:
                raise
        if best is None:
            return 0.0
        return self._clock.synchronise(best[2], best[1], best[0] / 2)
