"""One venue's life: open, subscribe, recover, READY; and the same recovery again after every disconnect."""

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import structlog

from tradingd.app.compose import Execution
from tradingd.config import VenueSettings
from tradingd.domain.errors import Severity, TradingdError, VenueBanned, VenueError, VenueUnreachable
from tradingd.domain.events import VenueState
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.records import FlagRecord
from tradingd.feeds.candle_feed import CandleFeed
from tradingd.feeds.supervisor import Supervisor
from tradingd.ports import Clock, Venue, VenueSink

log = structlog.get_logger(__name__)

CLOCK_SAMPLES = 3
REFUSED_RETRY_S = 60.0
TROUBLE_AFTER_S = 10.0


class SyncedClock(Clock, Protocol):
    """A Clock whose venue time is set by the venue's answers."""

    def synchronise(self, venue_ms: float, at: float, error_s: float = 0.0) -> float:
        """Venue time was `venue_ms` at monotonic `at`, give or take; returns by how many ms we were ahead of it."""
        ...


class VenueRefused(TradingdError):
    """The venue answered, and what it said must be changed by the user before anything may be traded (exit 78)."""


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
    ) -> None:
        self.venue = venue
        self.id = venue.id
        self.settings = settings
        self.feeds = feeds
        self.supervisor: Supervisor | None = None
        self.ready = asyncio.Event()
        self._execution = execution
        self._clock = clock
        self._pin_account = pin_account
        self._first_recovered = first_recovered
        self._flags = flags
        self._restored = asyncio.Event()
        self._opened = False
        self._trouble_since: float | None = None
        self._trouble_told = False

    # --- what the streams tell ------------------------------------------------------------------------------------

    def on_streams_lost(self, venue: VenueId, kind: str, reason: str) -> None:
        """No entries until recovered; the sweep's proofs are void once the account stream was deaf."""
        self._execution.router.mark(venue, VenueState.DEGRADED, f"{kind}: {reason}")
        self._execution.sweeper.forget_venue(venue)

    def on_unreachable(self, venue: VenueId, kind: str, reason: str) -> None:
        """A stream cannot even be dialled: nothing gets through, so P5 does not count this time."""
        self._execution.router.mark(venue, VenueState.DOWN, f"{kind}: {reason}")
        self._execution.sweeper.forget_venue(venue)

    def on_streams_restored(self, venue: VenueId) -> None:
        """Recover now."""
        self._restored.set()

    def ask_recovery(self, reason: str) -> None:
        """Something does not fit: no entries until the venue was read anew."""
        self._execution.router.mark(self.id, VenueState.DEGRADED, reason)
        self._restored.set()

    # --- the task -------------------------------------------------------------------------------------------------

    async def run(self, sink: VenueSink) -> None:
        """Open, then recover whenever the streams were restored; ends only by cancellation or VenueRefused."""
        await self._open(sink)
        await self._prepare_with_patience()
        if self.supervisor is None:
            raise RuntimeError("a session needs its supervisor before it runs")
        self.supervisor.start()
        while True:
            await self._restored.wait()
            self._restored.clear()
            await self._recover_with_patience()

    async def _open(self, sink: VenueSink) -> None:
        attempt = 0
        while True:
            try:
                await self.venue.open(sink)
                break
            except VenueError as error:
                attempt += 1
                self._execution.router.mark(self.id, VenueState.DOWN, str(error))
                log.warning("venue_not_reached", venue=self.id, attempt=attempt, reason=str(error))
                await self._clock.sleep(self._execution.retry.delay_s(attempt))
        self._check_symbols()
        self._execution.state.instruments.update(
            {each: rules for each, rules in self.venue.instruments.items() if each in self._wanted()}
        )

    def _wanted(self) -> list[InstrumentId]:
        return self._execution.state.instruments_of(self.id)

    def _check_symbols(self) -> None:
        known = self.venue.instruments
        problems = []
        for instrument in self._wanted():
            if instrument in known:
                continue
            near = difflib.get_close_matches(instrument.symbol, [each.symbol for each in known], n=1)
            hint = f" (nearest: {near[0]}@{self.id})" if near else ""
            problems.append(f"{self.id} does not list {instrument.symbol}{hint}")
        if problems:
            raise VenueRefused("; ".join(problems) + ". Correct `instruments` in the strategy's section of the config.")

    async def _prepare_with_patience(self) -> None:
        """Modes and permissions, before any stream: what a new try cannot mend is the user's to change."""
        attempt = 0
        while True:
            try:
                await self.synchronise()
                await self._prepare()
                return
            except VenueBanned as error:
                self._execution.router.mark(self.id, VenueState.BANNED, str(error))
                await self._clock.sleep(1.0)
            except VenueError as error:
                if not error.transient:
                    raise VenueRefused(
                        f"{self.id} refuses: {error}. Check the key, its permissions and its IP rule at the venue."
                    ) from error
                attempt += 1
                self._execution.router.mark(self.id, VenueState.DOWN, str(error))
                log.warning("venue_not_reached", venue=self.id, attempt=attempt, reason=str(error))
                await self._clock.sleep(self._execution.retry.delay_s(attempt))

    async def _recover_with_patience(self) -> None:
        attempt = 0
        while self.supervisor is not None and self.supervisor.is_whole:
            try:
                await self._recover()
                return
            except VenueBanned as error:
                self._execution.router.mark(self.id, VenueState.BANNED, str(error))
                await self._clock.sleep(1.0)
            except VenueError as error:
                attempt += 1
                unreachable = isinstance(error, VenueUnreachable)
                state = VenueState.DOWN if unreachable else VenueState.DEGRADED
                self._execution.router.mark(self.id, state, f"recovering: {error}")
                log.warning("venue_recovery_failed", venue=self.id, attempt=attempt, reason=str(error))
                # a refusal (a revoked key) is not hammered: the venue would answer with a ban
                await self._clock.sleep(self._execution.retry.delay_s(attempt) if error.transient else REFUSED_RETRY_S)

    async def _recover(self) -> None:
        """Clock, orders, fills, positions, balance; only then READY (P10)."""
        await self.synchronise()
        if not self._opened:
            self._execution.reconciler.begin_history(self.id, self._flags)
        await self._execution.reconciler.reconcile(self.id)
        if not self._opened:
            await self._first_recovered(self)
            self._opened = True
        self._execution.pipeline.open_lanes(self.id)
        if self.supervisor is None or not self.supervisor.is_whole:
            raise VenueError("the streams broke again", transient=True)
        self._execution.router.mark(self.id, VenueState.READY, "reconciled")
        for feed in self.feeds.values():
            feed.release()
            if self.ready.is_set():
                # candles that closed while the stream was gone are read now, not when the next one shows a gap
                feed.resync()
        self.ready.set()

    async def _prepare(self) -> None:
        """Who the account is and how it is set; what must be changed by hand is refused with what to do."""
        mode = await self.venue.preflight()
        problems = list(mode.problems)
        if mode.hedge_mode and not problems:
            problems.append("the account is in hedge mode; switch it to one-way mode")
        if not mode.can_trade and not problems:
            problems.append("the key may not trade futures; give it that permission")
        if problems:
            raise VenueRefused(f"{self.id}: " + "; ".join(problems))
        await self._pin_account(self.id, mode.account_id)
        for instrument in self._wanted():
            await self.venue.prepare(instrument, self.settings.leverage, self.settings.margin_mode)

    def check_health(self) -> None:
        """Tell the operator when the venue has not been READY for long; loudly while a position is held there."""
        if self._execution.router.is_ready(self.id):
            self._trouble_since, self._trouble_told = None, False
            return
        now = self._clock.monotonic()
        if self._trouble_since is None:
            self._trouble_since = now
        held = self._execution.state.open_positions(self.id)
        if self._trouble_told or now - self._trouble_since < TROUBLE_AFTER_S:
            return
        self._trouble_told = True
        state, reason = self._execution.router.state(self.id), self._execution.router.reason(self.id)
        what = f"{len(held)} open positions cannot be managed" if held else "no positions are open"
        severity = Severity.CRITICAL if held else Severity.WARNING
        self._execution.recorder.incident_at(
            "venue_not_ready", severity, f"{self.id} is {state} for {TROUBLE_AFTER_S:.0f} s: {reason}; {what}", self.id
        )

    # --- the clock ------------------------------------------------------------------------------------------------

    async def synchronise(self) -> float:
        """Set our clock by the venue's, by the quickest of a few answers; returns how many ms we were ahead."""
        best: tuple[float, float, int] | None = None
        for _ in range(CLOCK_SAMPLES):
            began = self._clock.monotonic()
            server_ms = await self.venue.server_time_ms()
            took = self._clock.monotonic() - began
            if best is None or took < best[0]:
                best = (took, began + took / 2, server_ms)
        if best is None:
            return 0.0
        return self._clock.synchronise(best[2], best[1], best[0] / 2)
