"""A position whose strategy asked for a stop has one at the venue, or is being closed (P5)."""

from collections.abc import Callable
from decimal import Decimal

from tradingd.domain.account import RejectKind, SubmitOutcome, SubmitVerdict
from tradingd.domain.errors import Severity, VenueError
from tradingd.domain.events import ProtectionChanged, incident
from tradingd.domain.ids import ClientOrderId, Purpose
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Denial
from tradingd.domain.orders import Order, OrderStatus
from tradingd.domain.records import ProtectionRecord
from tradingd.execution.cover import TAKE_PROFIT_TRIES, Cover, Covers
from tradingd.execution.desk import Desk
from tradingd.execution.exchange_router import within
from tradingd.execution.levels import Levels
from tradingd.execution.protective_orders import ProtectiveOrders
from tradingd.execution.sender import Sent
from tradingd.ports import Priority

NOT_A_TRY = (RejectKind.BANNED, RejectKind.THROTTLED, RejectKind.NOT_SENT)
MIN_PATIENCE_S = 0.2
FIRST_PATIENCE_S = 1.0
NAKED_ANSWERS = 5
"""So often a naked position is seen to within its limit, though no answer ever comes: a lost request must not take the
time of those that follow it. A second leg cannot add exposure."""


class Protection:
    """Owns the wanted and the placed protection of each instrument; its steps run in the lane, before anything else."""

    def __init__(
        self,
        desk: Desk,
        legs: ProtectiveOrders,
        levels: Levels,
        covers: Covers,
        emergency_exit: Callable[[InstrumentId, str], None],
    ) -> None:
        self._state = desk.state
        self._recorder = desk.recorder
        self.legs = legs
        self._router = desk.router
        self._retry = desk.retry
        self._bus = desk.bus
        self._clock = desk.clock
        self._limits = desk.limits
        self._emergency_exit = emergency_exit
        self.levels = levels
        self.covers = covers
        self._unknown: dict[InstrumentId, int | None] = {}
        self.on_end: Callable[[Cover, str], None] = lambda cover, why: None

    # --- what is wanted -------------------------------------------------------------------------------------------

    def load(self, records: tuple[ProtectionRecord, ...]) -> None:
        """Take over what the journal knows. A stop that turns out to be gone has been gone since before this start."""
        self.covers.load(records)
        for cover in self.covers.values():
            cover.loaded_at, cover.unread = self._clock.monotonic(), True

    def want(self, entry: Order, stop_loss: Decimal | None, take_profit: Decimal | None) -> ProtectionRecord:
        """What an entry will need, to be committed with its leg."""
        cover = Cover(entry.instrument, entry.strategy, entry.intent_id, stop_loss, take_profit)
        self.covers[entry.instrument] = cover
        return self._record(cover, "wanted")

    def keep_ids(self, instrument: InstrumentId) -> frozenset[ClientOrderId]:
        """The protective orders that belong to the open position: a sweep leaves them."""
        return self.covers.keep_ids(instrument)

    # --- what is so -----------------------------------------------------------------------------------------------

    def is_covered(self, instrument: InstrumentId) -> bool:
        """Whether the whole position stands behind a live stop, or wants none."""
        return self.covers.is_covered(instrument)

    def has_stop(self, instrument: InstrumentId) -> bool:
        """Whether a stop is wanted and stands, for the whole position."""
        cover = self.covers.get(instrument)
        return cover is not None and cover.stop_loss is not None and self.is_covered(instrument)

    def unprotected_s(self, instrument: InstrumentId) -> float:
        """Real seconds that an open position has been without its stop while the venue could be reached."""
        cover = self.covers.get(instrument)
        reachable = self._router.reachable_since(instrument.venue)
        if cover is None or cover.unprotected_since is None or reachable is None:
            return 0.0
        return self._clock.monotonic() - max(cover.unprotected_since, reachable)

    def review(self, instrument: InstrumentId) -> bool:
        """Look at the state after a fact; True when a protection step is due. Starts and stops the P5 clock."""
        exposed = self._state.expected_quantity(instrument) != 0
        cover = self.covers.get(instrument)
        position = self._state.position(instrument)
        if not position.is_flat and position.strategy is None:
            self._let_go(instrument)
            return False
        if cover is None and exposed:
            cover = self._revive(instrument)
        if cover is None:
            return False
        covered = self.is_covered(instrument)
        loaded_at, cover.loaded_at = cover.loaded_at, None
        if not exposed:
            cover.unprotected_since = None
            cover.told_covered = cover.closing = cover.unread = False
            cover.carries, cover.sure, cover.era, cover.told_gone = None, False, cover.era + 1, None
            cover.changed = ""
            self.on_end(cover, "the position was closed meanwhile")
            return False
        if covered:
            if not cover.told_covered:
                self._tell(cover, covered=True)
            cover.unprotected_since = None
            cover.told_covered = True
            cover.tries = 0
            return self._levels_due(cover) if self.covers.by_state(instrument) else self._take_profit_due(cover)
        if cover.unprotected_since is None:
            cover.unprotected_since = self._bare_since(cover, loaded_at)
            if cover.told_covered:
                self._tell(cover, covered=False)
            cover.told_covered = False
        return True

    def _bare_since(self, cover: Cover, loaded_at: float | None) -> float:
        """Monotonic time since which the stop is missing, as far as is known: its end may have been told late."""
        now = self._clock.monotonic()
        since = now if loaded_at is None else loaded_at
        since = since if cover.told_gone is None else min(since, cover.told_gone[0])
        key, ended_ms = self._state.stop_end.get(cover.instrument, (None, 0))
        if key is None or key != cover.stop_order:
            return since
        clock = self._clock.at(cover.instrument.venue)
        return min(since, now - max(0, clock.now_ms() - ended_ms) / 1000 / clock.speed)

    def _let_go(self, instrument: InstrumentId) -> None:
        """The position is nobody's here (opened or turned by hand): it is told of, and not ours to protect or close."""
        record = self.end(instrument)
        if record is not None:
            self._recorder.commit((record,))

    def _revive(self, instrument: InstrumentId) -> Cover | None:
        """What the entry wanted that opened the position after all: a fill after a verdict or a cancel comes when the
        sweep behind it has long ended the wish."""
        position = self._state.position(instrument)
        for order in self._state.recent_orders(instrument):
            late = order.filled_quantity > order.booked_quantity
            opened = position.strategy is not None and order.updated_ms >= (position.opened_ms or 0)
            if order.request.purpose is Purpose.ENTRY and order.filled_quantity > 0 and (late or opened):
                self._recorder.commit((self.want(order, order.stop_loss, order.take_profit),))
                return self.covers[instrument]
        if position.strategy is not None and self._unknown.get(instrument) != position.opened_ms:
            self._unknown[instrument] = position.opened_ms
            why = f"{instrument}: the journal does not know what stop {position.strategy} wanted for what it holds; "
            why += "see at the venue whether one stands, place one there by hand, or close it: `tradingd flatten`"
            self._bus.publish(incident("protection_unknown", Severity.CRITICAL, why, instrument, position.strategy))
        return None

    def _take_profit_due(self, cover: Cover) -> bool:
        if cover.take_profit is None or cover.take_profit_tries >= TAKE_PROFIT_TRIES or cover.closing:
            return False
        if self._clock.monotonic() < cover.take_profit_retry_at:
            return False
        order = self._state.orders.get(cover.take_profit_order) if cover.take_profit_order else None
        return order is None or (order.status.is_final and order.status is not OrderStatus.FILLED)

    def _levels_due(self, cover: Cover) -> bool:
        """Whether the position carries its stop, and yet not surely all that is wanted. A move sees to that itself."""
        if cover.closing or cover.move is not None or self._clock.monotonic() < cover.take_profit_retry_at:
            return False
        return (cover.stop_loss, cover.take_profit) != (None, None) and not self.covers.stands(cover)

    def overdue(self, instrument: InstrumentId) -> bool:
        """Whether the position has been naked for longer than P5 allows."""
        return self.unprotected_s(instrument) > self._limits.unprotected_limit_s

    def retry_due(self, instrument: InstrumentId) -> bool:
        """Whether a step that failed may be tried again by now."""
        cover = self.covers.get(instrument)
        return cover is not None and self._clock.monotonic() >= cover.retry_at

    # --- making it so ---------------------------------------------------------------------------------------------

    async def step(self, instrument: InstrumentId) -> None:
        """Place what is missing, stop first; close the position when the stop cannot stand."""
        cover = self.covers.get(instrument)
        quantity = self._state.expected_quantity(instrument)
        if cover is None or quantity == 0 or not self.review(instrument):
            return
        # after a slow start the time may be over before the first try
        if self.overdue(instrument) and cover.tries and not cover.closing:
            self.emergency(cover, f"no stop for {self.unprotected_s(instrument):.1f} s")
        if not self.retry_due(instrument):
            return
        if self.covers.by_state(instrument):
            await self.set_levels(cover)
            return
        if not self.is_covered(instrument):
            await self.place_stop(cover, quantity)
        if self.is_covered(instrument) and self._take_profit_due(cover):
            await self._place_take_profit(cover, quantity)

    async def place_stop(self, cover: Cover, quantity: Decimal) -> None:
        if cover.stop_loss is None:
            return
        patience_s = self.patience_s(cover)
        sent = await self.legs.place(cover, Purpose.STOP, cover.stop_loss, quantity, timeout_s=patience_s)
        if isinstance(sent, Denial):
            self._failed(cover, f"stop denied: {sent.reason} {sent.detail}")
            return
        if not sent.refused:
            if sent.order.status.is_unknown:
                await self._settle_doubt(cover, sent.order)
            self.review(cover.instrument)
            return
        outcome = sent.outcome
        kind = outcome.kind if outcome else RejectKind.OTHER
        why = f"the stop does not stand: {outcome.told() if outcome else 'no answer'}"
        if kind is RejectKind.WOULD_TRIGGER:
            # the stop level is breached already: what the stop would do now is close
            self.emergency(cover, f"the price is beyond the stop {cover.stop_loss}")
        elif kind is RejectKind.DUPLICATE_PROTECTION:
            await self.adopt_existing(cover, Purpose.STOP, why)
        else:
            self._failed(cover, why, kind)

    async def _place_take_profit(self, cover: Cover, quantity: Decimal) -> None:
        if cover.take_profit is None:
            return
        patience_s = self.patience_s(cover)
        sent = await self.legs.place(cover, Purpose.TAKE_PROFIT, cover.take_profit, quantity, timeout_s=patience_s)
        kind = sent.outcome.kind if isinstance(sent, Sent) and sent.outcome else RejectKind.OTHER
        if isinstance(sent, Denial) or kind in NOT_A_TRY:
            # the venue never judged it: an outage must not use up the tries
            cover.take_profit_retry_at = self._clock.monotonic() + self._retry.cap_s / 2
            return
        cover.take_profit_tries += 1
        if not sent.refused:
            return
        if kind is RejectKind.WOULD_TRIGGER:
            self._emergency_exit(cover.instrument, f"take profit {cover.take_profit} reached before it could stand")
        elif kind is RejectKind.DUPLICATE_PROTECTION:
            cover.take_profit_retry_at = self._clock.monotonic() + self._retry.delay_s(cover.take_profit_tries)
            await self.adopt_existing(cover, Purpose.TAKE_PROFIT, "take profit refused as duplicate")
        elif cover.take_profit_tries >= TAKE_PROFIT_TRIES:
            self._raise(cover, "take_profit_not_placed", Severity.WARNING, f"given up after {TAKE_PROFIT_TRIES} tries")
        else:
            cover.take_profit_retry_at = self._clock.monotonic() + self._retry.delay_s(cover.take_profit_tries)

    # --- where levels are a state of the position -----------------------------------------------------------------

    async def set_levels(self, cover: Cover) -> tuple[str, str] | None:
        """Set both once; returns reason and words of a refusal. An answer that was lost is none: the position is read,
        and both are set again."""
        outcome = await self.levels.set(cover, self.patience_s(cover))
        if self._may_be_the_target(cover, outcome):
            # which of the two the venue does not want shows when the stop is set alone, and that goes first
            alone = await self.levels.set(cover, self.patience_s(cover), target=False)
            if alone.verdict is SubmitVerdict.ACCEPTED:
                self._refused_target(cover, outcome)
                self.review(cover.instrument)
                return outcome.kind.value, outcome.told()
            outcome = alone
        if outcome.verdict is SubmitVerdict.NOT_EXECUTED:
            self._refused_stop(cover, outcome)
            return outcome.kind.value, outcome.told()
        if outcome.verdict is not SubmitVerdict.ACCEPTED:
            await self._read_back(cover, outcome)
        self.review(cover.instrument)
        return None

    def _may_be_the_target(self, cover: Cover, outcome: SubmitOutcome) -> bool:
        if outcome.verdict is not SubmitVerdict.NOT_EXECUTED or self.covers.wanted(cover).take_profit is None:
            return False
        return outcome.kind not in (*NOT_A_TRY, RejectKind.REDUCE_ONLY)

    def _refused_target(self, cover: Cover, outcome: SubmitOutcome) -> None:
        cover.take_profit_tries += cover.move is None
        cover.take_profit_retry_at = self._clock.monotonic() + self._retry.delay_s(max(1, cover.take_profit_tries))
        if outcome.kind is RejectKind.WOULD_TRIGGER:
            self._emergency_exit(cover.instrument, f"take profit {cover.take_profit} reached before it could stand")
        elif cover.take_profit_tries >= TAKE_PROFIT_TRIES:
            self._raise(cover, "take_profit_not_placed", Severity.WARNING, f"given up after {TAKE_PROFIT_TRIES} tries")

    def _refused_stop(self, cover: Cover, outcome: SubmitOutcome) -> None:
        cover.look_at = 0.0  # whatever we take the position for, the venue may know better
        if outcome.kind is RejectKind.WOULD_TRIGGER and cover.stop_loss is not None:
            self.emergency(cover, f"the price is beyond the stop {cover.stop_loss}")
        elif self.is_covered(cover.instrument):
            cover.take_profit_retry_at = self._clock.monotonic() + self._retry.delay_s(1)
        else:
            self._failed(cover, f"the stop does not stand: {outcome.told()}", outcome.kind)

    async def _read_back(self, cover: Cover, outcome: SubmitOutcome) -> None:
        why = f"the stop may not stand: {outcome.told()}"
        try:
            await within(self.patience_s(cover), self.levels.look(cover.instrument, Priority.PROTECT))
        except VenueError as error:
            why += f"; nor could it be read: {error}"
        if not self.is_covered(cover.instrument):
            self._failed(cover, why)
        elif not self.covers.stands(cover):
            cover.take_profit_retry_at = self._clock.monotonic() + self._retry.delay_s(1)

    def patience_s(self, cover: Cover) -> float:
        """How long to wait for one answer: no longer than until the position must be closed instead. The first try
        after a slow start gets its chance all the same."""
        if cover.unprotected_since is None:
            return self._limits.submit_timeout_s
        naked_s = min(self._limits.submit_timeout_s, self._limits.unprotected_limit_s / NAKED_ANSWERS)
        if cover.closing:
            return naked_s
        left_s = self._limits.unprotected_limit_s - self.unprotected_s(cover.instrument)
        least_s = MIN_PATIENCE_S if cover.tries else FIRST_PATIENCE_S
        return min(self._limits.submit_timeout_s, max(least_s, min(naked_s, left_s)))

    def patience_of_s(self, instrument: InstrumentId) -> float:
        """How long another step may hold the lane of an instrument for one thing; the stop waits behind it."""
        cover = self.covers.get(instrument)
        return self._limits.submit_timeout_s if cover is None else self.patience_s(cover)

    async def _settle_doubt(self, cover: Cover, order: Order) -> None:
        """The stop's answer was lost: look for it at once; the next try is a new leg, which cannot add exposure."""
        try:
            await self.legs.settle(order, self.patience_s(cover))
        except VenueError as error:
            self._failed(cover, f"stop in doubt, look-up failed: {error}")
            return
        if not self.is_covered(cover.instrument):
            self._failed(cover, "stop in doubt and not found yet")

    async def adopt_existing(self, cover: Cover, purpose: Purpose, why: str) -> None:
        """The venue says that an equivalent close-position order stands: find it among our own in-doubt legs."""
        try:
            order = await self.legs.find_own(cover.instrument, purpose, self.patience_s(cover))
        except VenueError as error:
            self._failed(cover, f"{why}; the order books could not be read: {error}")
            return
        if order is None:
            self._failed(cover, f"{why}; none of ours stands")
            return
        if purpose is Purpose.STOP:
            cover.stop_order = order.client_order_id
        else:
            cover.take_profit_order = order.client_order_id
        self._recorder.commit((self._record(cover, "adopted"),))
        self.review(cover.instrument)
        if purpose is Purpose.STOP and not self.is_covered(cover.instrument):
            self._failed(cover, f"{why}; {order.client_order_id} stands, but had been taken for {order.status}")

    # --- telling --------------------------------------------------------------------------------------------------

    def _failed(self, cover: Cover, why: str, kind: RejectKind = RejectKind.OTHER) -> None:
        """Try again soon. The first time that the venue knows of no position it has most likely just been closed, and
        its fill is on the way: nobody is woken for that."""
        cover.tries += 1
        cover.retry_at = self._clock.monotonic() + min(1.0, self._retry.delay_s(cover.tries))
        if kind is RejectKind.REDUCE_ONLY and cover.tries == 1:
            return
        self._raise(cover, "stop_not_placed", Severity.CRITICAL, f"try {cover.tries}: {why}")

    def emergency(self, cover: Cover, why: str) -> None:
        """Close, once per position; the stop goes on being tried until it stands or the position is gone, but with
        pauses: it goes before the exit in the lane, and a stop refused at once would never let the exit through."""
        cover.tries += 1
        cover.retry_at = self._clock.monotonic() + min(1.0, self._retry.delay_s(cover.tries))
        gone = self._state.expected_quantity(cover.instrument) == 0  # closed while the stop's refusal was on its way
        if cover.closing or gone:
            return
        cover.closing = True
        self._raise(cover, "emergency_close", Severity.CRITICAL, why)
        self._emergency_exit(cover.instrument, f"emergency: {why}")

    def give_up(self, instrument: InstrumentId, why: str) -> None:
        """Close a naked position before its time is over: nobody will be here then."""
        cover = self.covers.get(instrument)
        if cover is not None:
            self.emergency(cover, why)

    def _tell(self, cover: Cover, *, covered: bool) -> None:
        seconds = self.unprotected_s(cover.instrument)
        event = ProtectionChanged(cover.instrument, covered, cover.stop_loss, cover.take_profit, seconds)
        self._recorder.commit((self._record(cover, "covered" if covered else "naked"),), (event,))

    def _record(self, cover: Cover, state: str) -> ProtectionRecord:
        return cover.record(state, self._clock.at(cover.instrument.venue).now_ms())

    def end(self, instrument: InstrumentId) -> ProtectionRecord | None:
        """The position is flat and swept, or not ours: nothing is wanted any more."""
        cover = self.covers.pop(instrument, None)
        if cover is None:
            return None
        self.on_end(cover, "the position has ended, or is not ours any more")
        cover.stop_loss = cover.take_profit = cover.stop_order = cover.take_profit_order = None
        return self._record(cover, "ended")

    def _raise(self, cover: Cover, kind: str, severity: Severity, detail: str) -> None:
        self._bus.publish(incident(kind, severity, detail, cover.instrument, cover.strategy))
