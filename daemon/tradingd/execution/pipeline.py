"""The front of execution: takes intents and facts, and queues the steps that they call for in the right lane."""

import asyncio
from decimal import Decimal

import msgspec

from tradingd.domain.account import VenueOrder, VenuePosition
from tradingd.domain.errors import Severity, VenueError, VenueUnreachable
from tradingd.domain.events import incident
from tradingd.domain.ids import StrategyId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import CancelOrders, Denial, DenyReason, Enter, Exit, Protect
from tradingd.domain.orders import Order, OrderStatus
from tradingd.domain.records import IntentRecord, Record
from tradingd.execution.balance_reconciler import BalanceReconciler
from tradingd.execution.convergence import Convergence
from tradingd.execution.desk import Desk
from tradingd.execution.doubts import Doubts
from tradingd.execution.entries import Entries, PendingIntent, Switches
from tradingd.execution.exits import ExitGoal, Exits
from tradingd.execution.idempotency_manager import IdempotencyManager
from tradingd.execution.lanes import Lane
from tradingd.execution.leftover_sweeper import LeftoverSweeper
from tradingd.execution.lookout import Lookout
from tradingd.execution.missing_fills import MissingFills
from tradingd.execution.moves import Moves
from tradingd.execution.protection import Protection
from tradingd.execution.resting_entries import RestingEntries
from tradingd.ports import Priority

SWEEP_AGAIN_S = 1.0
"""Between two sweeps beside a foreign position that still has protection of ours; real time."""
CANCEL_AGAIN_MS = 2_000
"""An expired entry whose cancel brought nothing is cancelled again after this; venue time at speed 1."""
Actionable = Enter | Exit | Protect | CancelOrders


class Pipeline:
    """Owns the lanes. Every fact about an instrument is looked at once, here, and answered with steps."""

    def __init__(
        self,
        desk: Desk,
        *,
        entries: Entries,
        exits: Exits,
        resting: RestingEntries,
        lookout: Lookout,
        protection: Protection,
        moves: Moves,
        sweeper: LeftoverSweeper,
        reconciler: BalanceReconciler,
        idempotency: IdempotencyManager,
        switches: Switches,
    ) -> None:
        self._state = desk.state
        self._recorder = desk.recorder
        self._entries = entries
        self._exits = exits
        self._resting = resting
        self._lookout = lookout
        self._protection = protection
        self._moves = moves
        self._sweeper = sweeper
        self._reconciler = reconciler
        self._idempotency = idempotency
        self._router = desk.router
        self._retry = desk.retry
        self.switches = switches
        self._bus = desk.bus
        self._clock = desk.clock
        self._limits = desk.limits
        self.lanes: dict[InstrumentId, Lane] = {}
        self._convergence = Convergence(desk, reconciler)
        self._doubts = Doubts(desk, idempotency)
        self._missing = MissingFills(desk, reconciler)
        self._side: dict[InstrumentId, int] = {}
        self._foreign_sweep_due: dict[InstrumentId, float] = {}
        self._opened: set[VenueId | InstrumentId] = set()

    # --- lanes ----------------------------------------------------------------------------------------------------

    def lane(self, instrument: InstrumentId) -> Lane:
        """The lane of an instrument; it runs once its venue was opened."""
        lane = self.lanes.get(instrument)
        if lane is None:
            lane = self.lanes[instrument] = Lane(instrument, self._fault)
            if self._is_open(instrument):
                lane.start()
        return lane

    def open_lane(self, instrument: InstrumentId) -> None:
        """Let the steps of an instrument run: its orders and fills are known, and its stop waits for nothing else (P5).

        Entries wait for READY all the same.
        """
        self._opened.add(instrument)
        self._side.setdefault(instrument, _sign(self._state.expected_quantity(instrument)))
        self.lane(instrument).start()
        self.on_fact(instrument)

    def open_lanes(self, venue: VenueId) -> None:
        """Let all steps of a venue run: its journal and its account agree."""
        self._opened.add(venue)
        mine = [each for each in self.lanes if each.venue == venue]
        for instrument in dict.fromkeys([*self._state.instruments_of(venue), *mine]):
            self.open_lane(instrument)
            # at start and after each reconnect: whatever became a leftover meanwhile
            self._add_sweep(instrument, ended=False)

    def _is_open(self, instrument: InstrumentId) -> bool:
        return instrument in self._opened or instrument.venue in self._opened

    def _fault(self, instrument: InstrumentId, step: str, error: BaseException) -> None:
        self._bus.publish(incident("step_failed", Severity.CRITICAL, f"{step}: {error!r}", instrument))

    # --- intents --------------------------------------------------------------------------------------------------

    def submit_intent(
        self, record: IntentRecord, intent: Actionable, decided: "asyncio.Future[None]", *, late: bool, cause_ms: int
    ) -> None:
        """Take one intent of a strategy; its single outcome comes through journal and bus. Never waits.

        `decided` ends with the commit of the decision; `cause_ms` is the time of what caused it, by
        the venue that the intent is for.
        """
        lane = self.lane(intent.instrument)
        if isinstance(intent, Enter):
            signal_price = self._state.last_price(intent.instrument)
            now_ms = self._clock.at(intent.instrument.venue).now_ms()
            pending = PendingIntent(record, intent, decided, late, cause_ms, now_ms, signal_price)

            async def enter() -> None:
                await self._resting.clear_expired(intent.instrument, cause_ms)
                await self._entries.step(pending)

            if not lane.add(Priority.ENTRY, f"enter {record.intent_id}", enter, coalesce=False):
                self._entries.deny(record, intent, Denial(DenyReason.RATE_BUDGET, "too many steps wait in the lane"))
        elif isinstance(intent, Exit):
            self.exit(intent.instrument, intent.reason or "exit", StrategyId(record.strategy), record)
        elif isinstance(intent, Protect):
            self._moves.submit(record, intent)
        elif isinstance(intent, CancelOrders):

            async def cancel() -> None:
                await self._resting.cancel(intent.instrument, "cancel_orders", Priority.CANCEL)
                self._done(record, "entry orders cancelled")

            lane.add(Priority.CANCEL, f"cancel {record.intent_id}", cancel, coalesce=False)

    def exit(
        self, instrument: InstrumentId, reason: str, strategy: StrategyId | None, record: IntentRecord | None = None
    ) -> None:
        """Close what is held, until flat, for a strategy or its protection; what nobody here opened is left alone."""
        self._exits.want(ExitGoal(instrument, reason, strategy, [record] if record else []))
        self._add_exit(instrument)

    def flatten(self, instrument: InstrumentId, reason: str) -> None:
        """Close whatever is held, whoever opened it; for the operator."""
        self._exits.want(ExitGoal(instrument, reason, self._state.owners.get(instrument), whatever=True))
        self._add_exit(instrument)

    def _add_exit(self, instrument: InstrumentId) -> None:
        async def run() -> None:
            await self._exits.step(instrument)

        self.lane(instrument).add(Priority.EXIT, "exit", run)

    def cancel_entries(self, instrument: InstrumentId, why: str) -> None:
        """Queue the cancelling of own resting entries."""

        async def cancel() -> None:
            await self._resting.cancel(instrument, why, Priority.CANCEL)

        self.lane(instrument).add(Priority.CANCEL, "cancel entries", cancel, yields=True)

    def cancel_entries_of(self, strategy: StrategyId, why: str) -> None:
        """Queue the cancelling of all resting entries of a strategy."""
        for instrument, owner in self._state.owners.items():
            if owner == strategy and self._resting.of(instrument):
                self.cancel_entries(instrument, why)

    def _done(self, record: IntentRecord, why: str) -> None:
        now_ms = self._clock.at(record.instrument.venue).now_ms()
        done = msgspec.structs.replace(record, outcome="done", reason=why, decided_ms=now_ms)
        self._recorder.commit((done,))

    # --- facts ----------------------------------------------------------------------------------------------------

    def on_fact(self, instrument: InstrumentId) -> None:
        """The state of an instrument changed: protect, sweep on flat and when another hand turned the position, and go
        on with what waits. Plain and quick."""
        if not self._is_open(instrument):
            return
        side, before = _sign(self._state.expected_quantity(instrument)), self._side.get(instrument, 0)
        self._side[instrument] = side
        flat, ended = side == 0, before != 0 and side != before
        if self._protection.review(instrument) and self._protection.retry_due(instrument):
            self._add_protect(instrument)
        self._moves.look(instrument)
        if not flat:
            self._sweeper.forget(instrument)
        if ended:
            # after a turn the old stop stands on the wrong side: a leftover like any other
            self._add_sweep(instrument, ended=True)
        if ((flat and ended) or self._state.is_foreign(instrument)) and self._resting.of(instrument):
            # the rest of an entry would open the position anew inside its hold, or add to one that is not ours
            self.cancel_entries(instrument, "position closed" if flat else "foreign position")

    def _add_protect(self, instrument: InstrumentId) -> None:
        async def protect() -> None:
            await self._protection.step(instrument)

        self.lane(instrument).add(Priority.PROTECT, "protect", protect)

    def _add_sweep(self, instrument: InstrumentId, *, ended: bool) -> None:
        async def sweep() -> None:
            await self._sweep(instrument, ended)

        self.lane(instrument).add(Priority.CANCEL, "sweep after close" if ended else "sweep", sweep, yields=True)

    async def _sweep(self, instrument: InstrumentId, ended: bool) -> None:
        try:
            clean = await self._sweeper.sweep(instrument, Priority.CANCEL)
        except VenueError as error:
            clean = False
            if not isinstance(error, VenueUnreachable):
                # that a venue is out of reach is told once, for the venue
                self._bus.publish(incident("sweep_failed", Severity.WARNING, str(error), instrument))
        flat = self._state.expected_quantity(instrument) == 0
        if clean and flat and not list(self._state.entries(instrument)):
            record = self._protection.end(instrument)
            if record is not None:
                self._recorder.commit((record,))

    def note_fill(self, venue: VenueId) -> None:
        """A fill was booked: entries wait until a reading agrees with it."""
        self._convergence.begin(venue)

    # --- the clock's side -----------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Called a few times a second: overdue protection, exits to retry, legs in doubt, entries to expire."""
        self._recorder.queue.save_soon()
        now = self._clock.monotonic()
        for instrument in list(self.lanes):
            if not self._is_open(instrument):
                continue
            if self._protection.review(instrument) and (
                self._protection.retry_due(instrument) or self._protection.overdue(instrument)
            ):
                self._add_protect(instrument)
            self._moves.look(instrument)
            self._protection.levels.look_if_due(instrument, self.lanes[instrument])
            if self._exits.retry_due(instrument):
                self._add_exit(instrument)
            if self._sweep_missing(instrument) or self._stands_beside_foreign(instrument, now):
                self._add_sweep(instrument, ended=False)
            if self._missing.due(instrument, now):
                self._add_book_missing(instrument)
        for order in list(self._state.open_orders()):
            if order.status is OrderStatus.IN_DOUBT and self._is_open(order.instrument):
                if self._doubts.due(order, now):
                    self._settle_later(order)
            elif self._ends(order):
                self._expire(order)
            elif self._lookout.due(order, now):
                self._look_up(order)

    def _add_book_missing(self, instrument: InstrumentId) -> None:
        async def book() -> None:
            try:
                explained = await self._missing.book(instrument)
            except VenueError:
                # nothing was learned; the next tick that is due asks again
                return
            if not explained:
                self._reconciler.doubt(instrument.venue)
                self.note_fill(instrument.venue)

        self.lane(instrument).add(Priority.RECONCILE, "book missing fills", book, yields=True)

    def on_position(self, shown: VenuePosition) -> None:
        """A pushed position: what no fill explains within a moment is read from the venue, not left to the timer."""
        if self._missing.note_position(shown):
            self.lane(shown.instrument)  # its tick looks again

    def cancel_all_entries(self, why: str) -> list[Order]:
        """Queue the cancelling of every resting entry; returns those that rest."""
        resting = [order for instrument in list(self.lanes) for order in self._resting.of(instrument)]
        for instrument in dict.fromkeys(order.instrument for order in resting):
            self.cancel_entries(instrument, why)
        return resting

    def _look_up(self, order: Order) -> None:
        async def look() -> None:
            await self._lookout.look_up(order.client_order_id)

        self.lane(order.instrument).add(Priority.RECONCILE, f"look at {order.client_order_id}", look, yields=True)

    def _stands_beside_foreign(self, instrument: InstrumentId, now: float) -> bool:
        """Whether protection of ours stands beside a position that is not ours: a turn may come while a stop is on its
        way to the book, where the sweep behind the turn did not find it."""
        if not self._state.is_foreign(instrument) or now < self._foreign_sweep_due.get(instrument, 0.0):
            return False
        orders = self._state.open_orders(instrument)
        if not any(order.request.purpose.is_protective and not order.status.is_unknown for order in orders):
            return False
        self._foreign_sweep_due[instrument] = now + SWEEP_AGAIN_S
        return True

    def _sweep_missing(self, instrument: InstrumentId) -> bool:
        """Whether a position has ended and the sweep behind it has not proved anything yet."""
        return (
            instrument in self._protection.covers
            and not self._sweeper.has_proof(instrument)
            and self._state.expected_quantity(instrument) == 0
            and not list(self._state.entries(instrument))
        )

    def _settle_later(self, order: Order) -> None:
        async def settle() -> None:
            await self._doubts.settle(order.client_order_id)

        name = f"settle {order.client_order_id}"
        self.lane(order.instrument).add(Priority.RECONCILE, name, settle, yields=True)

    def _ends(self, order: Order) -> bool:
        """Whether an entry is to rest no longer: its time is over, or its cancel was asked for and brought nothing."""
        if order.expire_ms is None or order.status.is_unknown:
            return False
        now_ms = self._clock.at(order.instrument.venue).now_ms()
        return order.cancel_requested_ms is not None or now_ms >= order.expire_ms

    def _expire(self, order: Order) -> None:
        asked_ms = order.cancel_requested_ms
        clock = self._clock.at(order.instrument.venue)
        if asked_ms is None or clock.now_ms() - asked_ms >= CANCEL_AGAIN_MS * clock.speed:
            self.cancel_entries(order.instrument, "expired" if asked_ms is None else order.reason)

    def on_unknown(self, shown: VenueOrder) -> None:
        """The stream told of an order under our prefix that memory does not know: forgotten, or somebody else's."""
        if self._is_open(shown.instrument) and not self._sweeper.note_unknown(shown):
            self._add_sweep(shown.instrument, ended=False)

    def sweep_all(self, venue: VenueId) -> None:
        """The timer's sweep: every instrument of ours, flat or not."""
        for instrument in self._state.instruments_of(venue):
            self._add_sweep(instrument, ended=False)

    # --- after a start --------------------------------------------------------------------------------------------

    def resume_intents(self, records: tuple[IntentRecord, ...]) -> list[Record]:
        """Give every intent that a crash left without an outcome one: exits and moves that were begun
        are honoured, the rest is denied."""
        changed: list[Record] = []
        for record in records:
            if record.kind == "protect" and self._moves.resume(record):
                continue
            order = next((each for each in self._state.orders.values() if each.intent_id == record.intent_id), None)
            now_ms = self._clock.at(record.instrument.venue).now_ms()
            if order is not None and record.kind != "protect":
                changed.append(msgspec.structs.replace(record, outcome="ordered", decided_ms=now_ms))
            elif record.kind == "exit":
                self.exit(record.instrument, "exit resumed after restart", StrategyId(record.strategy), record)
            else:
                changed.append(
                    msgspec.structs.replace(
                        record,
                        outcome="denied",
                        reason=DenyReason.RESTARTED.value,
                        detail="the daemon stopped between the decision and its order",
                        decided_ms=now_ms,
                    )
                )
        return changed

    async def stop(self, limit_s: float) -> None:
        """Entries have stopped: let the steps under way end within `limit_s`, then end the lanes."""
        self.cancel_all_entries("daemon stopped")
        lanes = list(self.lanes.values())
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.gather(*(lane.idle() for lane in lanes))
        except TimeoutError:
            names = ", ".join(f"{lane.running or 'waiting steps'} on {lane.instrument}" for lane in lanes if lane.busy)
            why = f"cut off after {limit_s} s: {names}; the next start takes up what was sent"
            self._bus.publish(incident("stop_cut_short", Severity.WARNING, why))
        self._convergence.stop()
        for lane in lanes:
            await lane.stop()


def _sign(quantity: Decimal) -> int:
    return (quantity > 0) - (quantity < 0)
