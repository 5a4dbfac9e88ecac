"""Exits are tried until flat, whatever the venue answers meanwhile."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal

import msgspec

from tradingd.domain.account import RejectKind, SubmitOutcome
from tradingd.domain.errors import Severity, VenueError, VenueUnreachable
from tradingd.domain.events import IntentDenied, incident
from tradingd.domain.ids import Purpose, StrategyId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Denial, DenyReason, Exit
from tradingd.domain.numbers import plain_text
from tradingd.domain.orders import Order, OrderRequest
from tradingd.domain.records import FlagRecord, IntentRecord, Record
from tradingd.execution.desk import Desk
from tradingd.execution.exchange_router import within
from tradingd.execution.order_router import OrderRouter
from tradingd.execution.resting_entries import RestingEntries
from tradingd.execution.risk_guard import RiskGuard
from tradingd.execution.sender import Leg, Sender
from tradingd.ports import Priority

EXIT_FLAG = "exit:"
"""Flags under this name keep a wanted exit across restarts."""
WHATEVER = "whatever"
"""The value of such a flag whose exit closes also what nobody here opened."""


class ExitGoal(msgspec.Struct):
    """A wanted exit; it stands until the position is flat and no entry can reopen it.

    `whatever`: also what nobody here opened; only the operator asks for that. `tell_at`: the try whose failure is told.
    """

    instrument: InstrumentId
    reason: str
    strategy: StrategyId | None = None
    intents: list[IntentRecord] = []
    tries: int = 0
    tell_at: int = 3
    retry_at: float = 0.0
    ask_venue: bool = False
    whatever: bool = False


class Exits:
    """Owns the wanted exits; its steps run in the lane, right behind protection."""

    def __init__(
        self,
        desk: Desk,
        *,
        sender: Sender,
        orders: OrderRouter,
        risk: RiskGuard,
        resting: RestingEntries,
        book_missing: Callable[[InstrumentId], Awaitable[object]],
        patience_s: Callable[[InstrumentId], float],
    ) -> None:
        self._state = desk.state
        self._recorder = desk.recorder
        self._sender = sender
        self._orders = orders
        self._risk = risk
        self._router = desk.router
        self._resting = resting
        self._retry = desk.retry
        self._bus = desk.bus
        self._clock = desk.clock
        self._book_missing = book_missing
        self._patience_s = patience_s
        self.goals: dict[InstrumentId, ExitGoal] = {}

    def want(self, goal: ExitGoal) -> None:
        """Begin to close; a second wish for the same instrument joins the first."""
        standing = self.goals.get(goal.instrument)
        if standing is None:
            self.goals[goal.instrument] = goal
            # an intent without an outcome brings the exit back as well: then the commit of the leg behind it is enough
            self._recorder.commit((self._flag(goal, standing=True),), durable=not goal.intents)
        else:
            standing.intents.extend(goal.intents)
            if goal.whatever and not standing.whatever:
                standing.whatever = True
                self._recorder.commit((self._flag(standing, standing=True),))

    def load(self, flags: tuple[FlagRecord, ...], parse: Callable[[str], InstrumentId]) -> None:
        """Take over exits that a stop or crash interrupted."""
        for flag in flags:
            if flag.name.startswith(EXIT_FLAG) and flag.value:
                instrument = parse(flag.name.removeprefix(EXIT_FLAG))
                self.goals[instrument] = ExitGoal(instrument, flag.reason, whatever=flag.value == WHATEVER)

    def retry_due(self, instrument: InstrumentId) -> bool:
        """Whether there is a goal whose next try may begin."""
        goal = self.goals.get(instrument)
        if goal is None:
            return False
        done = self._state.expected_quantity(instrument) == 0 and not any(self._state.entries(instrument))
        return (done and not goal.ask_venue) or self._clock.monotonic() >= goal.retry_at

    async def step(self, instrument: InstrumentId) -> None:
        """Do what is next: cancel resting entries, close what is held, or find that all is done."""
        goal = self.goals.get(instrument)
        if goal is None or not self.retry_due(instrument):
            return
        if not goal.whatever and self._state.is_foreign(instrument):
            self._leave_alone(goal)
            return
        await self._cancel_resting(goal)
        entries = list(self._state.entries(instrument))
        quantity = await self._held(goal)
        if quantity is None:
            return
        if not goal.whatever and self._state.is_foreign(instrument):
            self._leave_alone(goal)  # another hand turned the position during the waits above
            return
        if quantity == 0:
            if entries:
                self._later(goal)
            else:
                self._finish(goal)
            return
        if any(self._is_fresh_leg(order) for order in self._state.open_orders(instrument)):
            self._later(goal)
            return
        await self._close(goal, quantity)

    async def _cancel_resting(self, goal: ExitGoal) -> None:
        """All cancels and look-ups together take no longer than one answer may: a part that fills meanwhile is to be
        closed, and its stop stands behind this step. What still rests then keeps the goal."""
        cancel = self._resting.cancel(goal.instrument, goal.reason, Priority.EXIT)
        with suppress(VenueUnreachable):
            await within(self._patience_s(goal.instrument), cancel)

    def _leave_alone(self, goal: ExitGoal) -> None:
        """What is held is not ours (execution.foreign_position): the exit ends, its intents are denied. While an entry
        is in doubt the position may be its; then nothing is decided yet."""
        if any(order.status.is_unknown for order in self._state.entries(goal.instrument)):
            self._later(goal)
            return
        del self.goals[goal.instrument]
        quantity = plain_text(self._state.position(goal.instrument).quantity)
        denial = Denial(DenyReason.FOREIGN_POSITION, f"{quantity} contracts that nobody here opened")
        denied = [
            msgspec.structs.replace(
                intent,
                outcome="denied",
                reason=denial.reason.value,
                detail=denial.detail,
                decided_ms=self._clock.at(goal.instrument.venue).now_ms(),
            )
            for intent in goal.intents
        ]
        told = [
            IntentDenied(intent.intent_id, intent.strategy, Exit(goal.instrument, goal.reason), denial)
            for intent in goal.intents
        ]
        self._recorder.commit((*denied, self._flag(goal, standing=False)), told)

    async def _held(self, goal: ExitGoal) -> Decimal | None:
        """The signed contracts to close: as expected, or after a failed try as the venue shows; None: try later."""
        instrument = goal.instrument
        if not goal.ask_venue:
            return self._state.expected_quantity(instrument)
        try:
            shown = await within(self._patience_s(instrument), self._shown(instrument))
        except VenueError:
            self._later(goal)
            return None
        if shown == 0 and self._state.expected_quantity(instrument) != 0:
            self._later(goal)
            return None
        return shown

    async def _shown(self, instrument: InstrumentId) -> Decimal:
        """The signed contracts that the venue shows; what explains a difference is booked."""
        snapshot = await self._router.venue(instrument).account(Priority.EXIT)
        shown = snapshot.position(instrument).quantity
        if shown != self._state.expected_quantity(instrument):
            # a fill was missed, e.g. of the stop that closed the position while nobody listened
            await self._book_missing(instrument)
        return shown

    def _is_fresh_leg(self, order: Order) -> bool:
        """Whether an exit leg has just been taken: it deserves a moment to fill before another is sent."""
        if order.request.purpose is not Purpose.EXIT or order.status.is_unknown:
            return False
        clock = self._clock.at(order.instrument.venue)
        return clock.now_ms() - order.signed_ms < 2_000 * clock.speed

    async def _close(self, goal: ExitGoal, quantity: Decimal) -> None:
        instrument = goal.instrument
        rules = self._state.instruments.get(instrument)
        if rules is None:
            why = f"{instrument.venue} does not list {instrument.symbol}; close it by hand at the venue"
            self._failed(goal, why)
            return
        for draft in self._orders.exits(instrument, rules, quantity):
            request = self._sender.name(draft)
            approved = self._risk.approve_reducing(request, rules)
            denial = approved if isinstance(approved, Denial) else await self._reserve(request)
            if denial is not None or isinstance(approved, Denial):
                self._failed(goal, f"{denial.reason} {denial.detail}" if denial else "")
                return
            leg = Leg(
                goal.strategy,
                goal.intents[0].intent_id if goal.intents else None,
                reference_price=self._state.last_price(instrument),
                reason=goal.reason,
            )
            patience_s = self._patience_s(instrument)
            sent = await self._sender.send(
                approved, leg, Priority.EXIT, lambda order: self._ordered(goal, order), timeout_s=patience_s
            )
            if isinstance(sent, Denial):
                self._failed(goal, f"{sent.reason} {sent.detail}")
                return
            if sent.refused and sent.outcome is not None:
                # the position may be gone already (-2022): ask the venue before the next try
                goal.ask_venue = True
                if sent.outcome.kind is not RejectKind.REDUCE_ONLY:
                    self._failed(goal, sent.outcome.told())
                    return
        self._later(goal)

    async def _reserve(self, request: OrderRequest) -> Denial | None:
        return await self._sender.reserve(request, Priority.EXIT, self._patience_s(request.instrument))

    def on_late_refusal(self, outcome: SubmitOutcome, instrument: InstrumentId) -> None:
        """The venue refused an exit whose step had ended: as if its reply had said so."""
        goal = self.goals.get(instrument)
        if goal is not None:
            goal.ask_venue = True
            if outcome.kind is not RejectKind.REDUCE_ONLY:
                self._failed(goal, outcome.told())

    def _ordered(self, goal: ExitGoal, order: Order) -> list[Record]:
        """The outcome of the intents behind the goal, in the commit of the first leg. That leg is the first one's;
        those that joined name it."""
        now_ms = self._clock.at(goal.instrument.venue).now_ms()
        records: list[Record] = [
            msgspec.structs.replace(
                intent,
                outcome="ordered",
                reason=goal.reason,
                detail="" if intent.intent_id == order.intent_id else f"joined: {order.client_order_id}",
                decided_ms=now_ms,
            )
            for intent in goal.intents
            if intent.outcome is None
        ]
        goal.intents = []
        return records

    def _finish(self, goal: ExitGoal) -> None:
        del self.goals[goal.instrument]
        now_ms = self._clock.at(goal.instrument.venue).now_ms()
        done: list[Record] = [
            msgspec.structs.replace(intent, outcome="done", reason="flat", detail="nothing to close", decided_ms=now_ms)
            for intent in goal.intents
        ]
        self._recorder.commit((*done, self._flag(goal, standing=False)))

    def _later(self, goal: ExitGoal) -> None:
        goal.tries += 1
        goal.retry_at = self._clock.monotonic() + min(2.0, self._retry.delay_s(goal.tries))
        if goal.tries >= 3:
            goal.ask_venue = True

    def _failed(self, goal: ExitGoal, why: str) -> None:
        self._later(goal)
        if goal.tries >= goal.tell_at:
            goal.tell_at = 10 if goal.tries < 10 else (goal.tries // 100 + 1) * 100
            detail = f"try {goal.tries}: {why}"
            self._bus.publish(incident("exit_not_done", Severity.CRITICAL, detail, goal.instrument, goal.strategy))

    def _flag(self, goal: ExitGoal, *, standing: bool) -> FlagRecord:
        value = (WHATEVER if goal.whatever else "own") if standing else ""
        now_ms = self._clock.at(goal.instrument.venue).now_ms()
        return FlagRecord(f"{EXIT_FLAG}{goal.instrument}", value, goal.reason, now_ms)
