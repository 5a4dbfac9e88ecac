"""`Protect` intents: a stop or take profit that stands is replaced, and the position has a stop at every moment.

A venue takes one close-position stop in a direction and amends none. So a bridge goes first: a reduce-only stop at the
new level, for all that is held. Then the old stop is cancelled, the new one placed, the bridge cancelled. Each step is
one request, and follows from what stands now, so that a crash, a lost answer or a fill in between changes what comes
next and nothing else.
"""

from collections.abc import Callable
from decimal import Decimal

import msgspec

from tradingd.domain.account import CancelVerdict, RejectKind
from tradingd.domain.errors import Severity, VenueError
from tradingd.domain.events import ProtectionChanged, incident
from tradingd.domain.ids import Purpose
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Denial, DenyReason, Protect, check_protect
from tradingd.domain.orders import Order, OrderStatus
from tradingd.domain.records import IntentRecord
from tradingd.execution.cover import TAKE_PROFIT_TRIES, Carried, Cover, Move, is_ending, is_firing
from tradingd.execution.desk import Desk
from tradingd.execution.entries import FRESH_PRICE_S
from tradingd.execution.exchange_router import within
from tradingd.execution.lanes import Lane
from tradingd.execution.protection import NOT_A_TRY, Protection
from tradingd.execution.sender import Sent
from tradingd.ports import Priority

GIVE_UP_S = 30.0
"""A move that has not got further by then fails, and the old protection stays; real time."""
STOP_TRIES = 3
ANSWER_S = 0.25
"""How long the end of an order that the venue says it cancelled may take on the stream before it is looked up."""
LONGEST_PAUSE_S = 5.0
NOT_NOW = (DenyReason.RATE_BUDGET, DenyReason.BANNED, DenyReason.JOURNAL_NOT_WRITABLE)
BRIDGE, DROP, TAKE_BACK, PLACE, TAKE_PROFIT, FINISH = "bridge", "drop", "take back", "place", "take profit", "finish"
SET = "set"
Step = tuple[str, Order | None]


class Moves:
    """Carries `Protect` intents to their outcome. Its steps go behind exits: what is moved stands already."""

    def __init__(
        self,
        desk: Desk,
        protection: Protection,
        *,
        lane: Callable[[InstrumentId], Lane],
        exiting: Callable[[InstrumentId], bool],
        deny: Callable[[IntentRecord, Protect, Denial], None],
    ) -> None:
        self._state = desk.state
        self._recorder = desk.recorder
        self._router = desk.router
        self._retry = desk.retry
        self._bus = desk.bus
        self._clock = desk.clock
        self._limits = desk.limits
        self._protection = protection
        self._covers = protection.covers
        self._legs = protection.legs
        self._lane = lane
        self._exiting = exiting
        self._deny = deny
        protection.on_end = self._end

    # --- intents --------------------------------------------------------------------------------------------------

    def submit(self, record: IntentRecord, intent: Protect) -> None:
        """Queue a strategy's intent."""

        async def accept() -> None:
            denial = await self._accept(record, intent)
            if denial is not None:
                self._deny(record, intent, denial)
            self.look(intent.instrument)

        self._lane(intent.instrument).add(Priority.CANCEL, f"accept {record.intent_id}", accept, coalesce=False)

    async def _accept(self, record: IntentRecord, intent: Protect) -> Denial | None:
        instrument = intent.instrument
        levels = check_protect(intent)
        if isinstance(levels, Denial):
            return levels
        denial = self._gate(instrument)
        if denial is not None:
            return denial
        price = await self._price(instrument)
        denial = self._gate(instrument)
        if price is None or denial is not None:
            return denial or Denial(DenyReason.NO_PRICE, "the mark price could not be read")
        rules = self._state.instruments[instrument]
        stop, target = (None if level is None else rules.round_price(level) for level in levels)
        denial = self._check_sides(instrument, price, stop, target)
        if denial is None:
            self._begin(record, stop, target)
        return denial

    def _gate(self, instrument: InstrumentId) -> Denial | None:
        position, quantity = self._state.position(instrument), self._state.expected_quantity(instrument)
        if self._state.is_foreign(instrument):
            return Denial(DenyReason.FOREIGN_POSITION, f"{position.quantity} contracts that nobody here opened")
        if quantity == 0:
            return Denial(DenyReason.NO_POSITION, "nothing is held")
        cover = self._covers.get(instrument)
        if self._exiting(instrument) or (cover is not None and cover.closing):
            return Denial(DenyReason.NO_POSITION, "what is held is being closed")
        if instrument not in self._state.instruments:
            return Denial(DenyReason.VENUE_NOT_READY, "the venue's rules have not been read yet")
        if not self._recorder.journal_writable:
            return Denial(DenyReason.JOURNAL_NOT_WRITABLE, "facts wait in memory for the journal")
        return None

    async def _price(self, instrument: InstrumentId) -> Decimal | None:
        max_age_s = FRESH_PRICE_S / self._clock.at(instrument.venue).speed
        fresh = self._state.fresh_price(instrument, self._clock.monotonic(), max_age_s)
        if fresh is not None:
            return fresh
        reading = self._router.venue(instrument).mark_price(instrument, Priority.CANCEL)
        try:
            return await within(self._limits.submit_timeout_s, reading)
        except VenueError:
            return None

    def _check_sides(
        self, instrument: InstrumentId, price: Decimal, stop: Decimal | None, target: Decimal | None
    ) -> Denial | None:
        """A level on the wrong side would fire at once: the strategy errs, or is too late. What stands stays."""
        sign = 1 if self._state.expected_quantity(instrument) > 0 else -1
        if stop is not None and (stop <= 0 or (price - stop) * sign <= 0):
            return Denial(DenyReason.STOP_WRONG_SIDE, f"stop_loss {stop} against mark price {price}")
        if target is not None and (target <= 0 or (target - price) * sign <= 0):
            return Denial(DenyReason.TAKE_PROFIT_WRONG_SIDE, f"take_profit {target} against mark price {price}")
        return None

    def _begin(self, record: IntentRecord, stop: Decimal | None, target: Decimal | None) -> None:
        """From here on the levels are wanted, whatever happens; an intent that still waited for its own has ended."""
        instrument = record.instrument
        owner = self._state.position(instrument).strategy
        cover = self._covers.setdefault(instrument, Cover(instrument, owner))
        before, now_ms = cover.move, self._clock.at(record.instrument.venue).now_ms()
        same = stop in (None, cover.stop_loss) and target in (None, cover.take_profit)
        if same and before is None:
            self._recorder.commit((self._ended(record, "done", "already_so", "nothing was sent"),))
            return
        superseded = []
        if before is not None:
            superseded = [self._ended(before.record, "cancelled", "superseded", f"by {record.intent_id}")]
        if target is not None and target != cover.take_profit:
            cover.take_profit_tries = 0
            cover.take_profit_retry_at = 0.0
        cover.intent_id = record.intent_id
        cover.stop_loss = cover.stop_loss if stop is None else stop
        cover.take_profit = cover.take_profit if target is None else target
        cover.move = Move(record, self._clock.monotonic(), cover.carries if before is None else before.before)
        self._recorder.commit((cover.record("wanted", now_ms), *superseded))

    def resume(self, record: IntentRecord) -> bool:
        """Take up an intent that a crash left without an outcome; False when nothing of it was begun."""
        cover = self._covers.get(record.instrument)
        if cover is None or cover.intent_id != record.intent_id:
            return False
        cover.move = Move(record, self._clock.monotonic())
        self._protection.review(record.instrument)
        self.look(record.instrument)
        return True

    # --- what comes next ------------------------------------------------------------------------------------------

    def look(self, instrument: InstrumentId) -> None:
        """Queue the next step, if there is one."""
        cover = self._covers.get(instrument)
        if cover is None:
            return
        step = self._next(cover)
        name, at = cover.wait
        if step is None or (step[0] == name and self._clock.monotonic() < at):
            return

        async def run() -> None:
            await self._step(instrument)
            self.look(instrument)

        self._lane(instrument).add(Priority.CANCEL, "move protection", run)

    def _next(self, cover: Cover) -> Step | None:
        """The one thing to do now; None: nothing, or an answer or the venue's own act is waited for."""
        if self._covers.by_state(cover.instrument):
            idle = cover.move is None or cover.closing or self._state.expected_quantity(cover.instrument) == 0
            return None if idle else (FINISH if self._covers.stands(cover) else SET, None)
        size = self._state.expected_quantity(cover.instrument)
        stop, target = self._covers.stop(cover), self._covers.take_profit(cover)
        bridges = list(self._covers.bridges(cover.instrument))
        if size == 0 or cover.closing or any(is_firing(order) for order in (stop, target, *bridges)):
            return None
        if stop is not None and stop.status.is_unknown:
            return None
        if self._is_right(cover, stop, cover.stop_loss) and self._covers.is_firm(cover):
            standing = [order for order in bridges if order.status is OrderStatus.ACCEPTED]
            if standing:
                return DROP, standing[0]
        elif self._covers.is_whole(stop):
            if any(order.status.is_unknown for order in bridges):
                return None
            return (TAKE_BACK, stop) if self._covers.is_bridged(cover.instrument) else (BRIDGE, None)
        elif cover.stop_loss is not None:
            return (PLACE, None) if self._covers.is_bridged(cover.instrument) else None
        waits = target is not None and target.status is OrderStatus.ACCEPTED
        if waits and (is_ending(target) or not self._is_right(cover, target, cover.take_profit)):
            return TAKE_PROFIT, target
        if cover.move is not None and not bridges and self._take_profit_ended(cover, target):
            return FINISH, None
        return None

    def _is_right(self, cover: Cover, order: Order | None, level: Decimal | None) -> bool:
        """Whether an order stands where it is wanted. Only a move wants it elsewhere than where it was placed."""
        if cover.move is None or level is None or order is None:
            return True
        return order.request.trigger_price == self._state.instruments[cover.instrument].round_price(level)

    def _take_profit_ended(self, cover: Cover, order: Order | None) -> bool:
        """Whether the take profit stands, is not wanted, or was given up; protection places it."""
        if cover.take_profit is None or cover.take_profit_tries >= TAKE_PROFIT_TRIES:
            return True
        return order is not None and order.status is OrderStatus.ACCEPTED

    # --- doing it -------------------------------------------------------------------------------------------------

    async def _step(self, instrument: InstrumentId) -> None:
        cover = self._covers.get(instrument)
        step = self._next(cover) if cover is not None else None
        if cover is None or step is None:
            return
        name, order = step
        if name == BRIDGE:
            await self._bridge(cover)
        elif name == PLACE:
            await self._place(cover)
        elif name == SET:
            await self._set(cover)
        elif name == FINISH:
            self._finish(cover)
        elif order is not None:
            await self._take_back(cover, name, order)

    async def _set(self, cover: Cover) -> None:
        """Levels that are a state of the position are moved by one setting, and are never missing."""
        if self._is_overdue(cover):
            self._fail(cover, "not_set", "the venue gave no answer in time")
            return
        why = await self._protection.set_levels(cover)
        if why is not None and why[0] not in NOT_A_TRY:
            self._fail(cover, *why)
        elif not self._covers.stands(cover):
            self._pause(cover, SET)

    async def _bridge(self, cover: Cover) -> None:
        """Let a reduce-only stop stand in; several where the venue's largest order is smaller than the position."""
        if self._is_overdue(cover):
            self._fail(cover, "not_bridged", "the venue did not take the bridge in time")
            return
        quantity = self._state.expected_quantity(cover.instrument)
        rules = self._state.instruments[cover.instrument]
        largest = rules.floor_quantity(rules.max_market_quantity)
        part = abs(quantity) - self._covers.bridged(cover.instrument)
        part = min(part, largest) if largest > 0 else part
        level = cover.stop_loss or Decimal(0)
        sent = await self._legs.place(cover, Purpose.BRIDGE, level, part.copy_sign(quantity), priority=Priority.CANCEL)
        why = self._refusal(cover, BRIDGE, sent)
        if why is not None:
            self._fail(cover, *why)

    async def _place(self, cover: Cover) -> None:
        """The bridge stands alone: the stop itself, where it is wanted."""
        quantity, level = self._state.expected_quantity(cover.instrument), cover.stop_loss or Decimal(0)
        sent = await self._legs.place(cover, Purpose.STOP, level, quantity, priority=Priority.CANCEL)
        why = self._refusal(cover, PLACE, sent)
        if why is None:
            return
        tries = self._pause(cover, PLACE)
        if isinstance(sent, Sent) and sent.outcome and sent.outcome.kind is RejectKind.DUPLICATE_PROTECTION:
            await self._protection.adopt_existing(cover, Purpose.STOP, why[1])
        elif tries >= STOP_TRIES and cover.move is not None:
            self._fail(cover, why[0], f"{why[1]}; a reduce-only stop stands in for it, and it is tried again")

    def _refusal(self, cover: Cover, step: str, sent: Sent | Denial) -> tuple[str, str] | None:
        """Why a leg does not stand, as reason and detail; None when it does, may, or is only to be tried again."""
        if isinstance(sent, Denial):
            if sent.reason not in NOT_NOW:
                return sent.reason.value, sent.detail
            self._pause(cover, step)
            return None
        if not sent.refused or sent.outcome is None:
            return None
        kind = sent.outcome.kind
        if kind in NOT_A_TRY:
            self._pause(cover, step)
            return None
        if kind is RejectKind.WOULD_TRIGGER:
            # breached between the decision and now: what the stop would do is close
            self._protection.emergency(cover, f"the price is beyond the stop {cover.stop_loss}")
        return kind.value, sent.outcome.told()

    async def _take_back(self, cover: Cover, name: str, order: Order) -> None:
        """Cancel one, until the venue shows that it has ended: a cancel that was asked for is never taken back."""
        if order.cancel_requested_ms is not None:
            try:
                await self._legs.look_up(order, self._limits.submit_timeout_s)
            except VenueError:
                self._pause(cover, name)
                return
            order = self._state.orders[order.client_order_id]
            if order.status is not OrderStatus.ACCEPTED or self._keeps(cover, name, order):
                return
        outcome = await self._legs.cancel(order, "replaced")
        if outcome.verdict in (CancelVerdict.CANCELED, CancelVerdict.ASKED):
            cover.wait = (name, self._clock.monotonic() + ANSWER_S)
        elif outcome.verdict is CancelVerdict.FAILED:
            self._pause(cover, name)

    def _keeps(self, cover: Cover, name: str, order: Order) -> bool:
        """Whether an order that the venue does not let go stays after all, since no cancel is on its way any more."""
        if name == DROP or self._legs.can_still_be_cancelled(order):
            return False
        if cover.move is not None and not self._is_overdue(cover):
            return False
        self._legs.keep(order)
        if cover.move is not None:
            self._fail(cover, "not_cancelled", f"{order.client_order_id} could not be cancelled")
        return True

    def _is_overdue(self, cover: Cover) -> bool:
        return cover.move is not None and self._clock.monotonic() - cover.move.began > GIVE_UP_S

    def _pause(self, cover: Cover, name: str) -> int:
        """Let a step wait, longer each time; returns how often it failed."""
        tries = cover.move_tries = cover.move_tries + 1 if cover.wait[0] == name else 1
        cover.wait = (name, self._clock.monotonic() + min(LONGEST_PAUSE_S, self._retry.delay_s(tries)))
        return tries

    # --- outcomes -------------------------------------------------------------------------------------------------

    def _finish(self, cover: Cover) -> None:
        if cover.move is None:
            return
        if cover.take_profit is not None and cover.take_profit_tries >= TAKE_PROFIT_TRIES:
            self._fail(
                cover, "take_profit_not_placed", "the venue refused the take profit; the stop is where it should be"
            )
            return
        done = self._ended(
            cover.move.record, "done", "replaced", f"stop {cover.stop_loss}, take profit {cover.take_profit}"
        )
        cover.move = None
        told = ProtectionChanged(cover.instrument, True, cover.stop_loss, cover.take_profit, 0.0, replaced=True)
        self._recorder.commit((done, cover.record("covered", self._clock.at(cover.instrument.venue).now_ms())), (told,))

    def _fail(self, cover: Cover, reason: str, why: str) -> None:
        """End the intent; what stands at the venue is what is wanted from now on."""
        if cover.move is None:
            return
        stood = self._stood(cover)
        cover.stop_loss = cover.stop_loss if stood.stop is None else stood.stop
        cover.take_profit = cover.take_profit if stood.take_profit is None else stood.take_profit
        failed = self._ended(cover.move.record, "failed", reason, why)
        cover.move = None
        self._recorder.commit((failed, cover.record("covered", self._clock.at(cover.instrument.venue).now_ms())))
        told = incident("protection_not_replaced", Severity.WARNING, why, cover.instrument, cover.strategy)
        self._bus.publish(told)

    def _stood(self, cover: Cover) -> Carried:
        """What stands at the venue, or stood before the move and is put back."""
        if self._covers.by_state(cover.instrument):
            before = cover.move.before if cover.move is not None else None
            return before or cover.carries or Carried(None, None)
        stop, target = self._covers.stop(cover), self._covers.take_profit(cover)
        return Carried(
            stop.request.trigger_price if stop is not None and self._covers.is_whole(stop) else None,
            target.request.trigger_price if target is not None and target.status is OrderStatus.ACCEPTED else None,
        )

    def _end(self, cover: Cover, why: str) -> None:
        """What was held is not held any more, or not by us."""
        if cover.move is not None:
            ended = self._ended(cover.move.record, "failed", DenyReason.NO_POSITION.value, why)
            cover.move = None
            self._recorder.commit((ended,))

    def _ended(self, record: IntentRecord, outcome: str, reason: str, detail: str) -> IntentRecord:
        now_ms = self._clock.at(record.instrument.venue).now_ms()
        return msgspec.structs.replace(record, outcome=outcome, reason=reason, detail=detail, decided_ms=now_ms)
