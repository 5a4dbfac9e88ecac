"""The way of an entry: every guard in its order, then one leg. Whatever is refused is refused with a reason (P16)."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import msgspec

from tradingd.domain.account import RejectKind, SubmitOutcome, SubmitVerdict
from tradingd.domain.errors import VenueError
from tradingd.domain.events import IntentDenied
from tradingd.domain.ids import ClientOrderId, Purpose, StrategyId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import CheckedEnter, Denial, DenyReason, Enter, Intent, check_enter
from tradingd.domain.numbers import ZERO
from tradingd.domain.orders import Order, OrderStatus
from tradingd.domain.records import IntentRecord, Record
from tradingd.execution.balance_reconciler import BalanceReconciler
from tradingd.execution.desk import Desk
from tradingd.execution.exchange_router import within
from tradingd.execution.hold_period_guard import HoldPeriodGuard
from tradingd.execution.leftover_sweeper import LeftoverSweeper
from tradingd.execution.limits import StrategyPlan, VenuePlan
from tradingd.execution.order_router import EntryDraft, OrderRouter
from tradingd.execution.protection import Protection
from tradingd.execution.risk_guard import EntryView, RiskGuard
from tradingd.execution.sender import Leg, Sender
from tradingd.ports import Approved, Priority

MAX_CLOCK_ERROR_MS = 1_000
"""No entry while venue time is known less exactly than this, at speed 1 (P10)."""
FRESH_PRICE_S = 5.0
"""Venue seconds for which a price of the candle stream stands in for the mark price; older, the venue is asked."""

READY_CHECK_S = 0.05
SIGN_ANEW = Denial(DenyReason.VENUE_NOT_READY, "signed out of time, and then the venue did not become ready")
"""The venue refused an entry by its clock: ours is set, and the intent gets one more leg."""


class PendingIntent(msgspec.Struct, frozen=True):
    """An intent on its way, with the future of the commit that holds its decision. Both times are of the venue that it
    is for: `cause_ms` when what caused it happened, `decided_ms` when it was handed over."""

    record: IntentRecord
    intent: Enter
    decided: "asyncio.Future[None] | None"
    late: bool = False
    cause_ms: int = 0
    decided_ms: int = 0
    signal_price: Decimal | None = None


def _undecided(pending: PendingIntent) -> Denial | None:
    """The denial when the decision behind the intent did not commit: the store keeps order, so by now it is known.

    Both share one commit on the fast path, which is why nobody waited for the decision before.
    """
    decided = pending.decided
    if decided is None or (decided.done() and not decided.cancelled() and decided.exception() is None):
        return None
    return Denial(DenyReason.JOURNAL_NOT_WRITABLE, "the decision behind the intent was not committed")


def _expire_ms(pending: PendingIntent, intent: CheckedEnter, plan: StrategyPlan, now_ms: int) -> int:
    """The close of the n-th candle that closes after the decision, however late the order was sent."""
    decided_ms = pending.cause_ms or now_ms
    return (decided_ms // plan.timeframe_ms + intent.expire_candles) * plan.timeframe_ms


class _Turn:
    """Whether the loop has turned since: until it does nobody else has run, and what was found still holds."""

    def __init__(self) -> None:
        self.has_passed = False
        asyncio.get_running_loop().call_soon(self._pass)

    def _pass(self) -> None:
        self.has_passed = True


class Switches(msgspec.Struct):
    """What stops entries everywhere, and why; empty text means "not so"."""

    paused: str = ""
    halted: str = ""
    stopping: str = ""
    quarantined: dict[StrategyId, str] = {}

    def denial(self) -> Denial | None:
        """The strongest reason that stands."""
        for reason, why in (
            (DenyReason.STOPPING, self.stopping),
            (DenyReason.HALTED, self.halted),
            (DenyReason.PAUSED, self.paused),
        ):
            if why:
                return Denial(reason, why)
        return None


class Entries:
    """Carries `Enter` intents through the guards to the wire; runs only inside the lane of its instrument."""

    def __init__(
        self,
        desk: Desk,
        *,
        hold: HoldPeriodGuard,
        sweeper: LeftoverSweeper,
        orders: OrderRouter,
        risk: RiskGuard,
        sender: Sender,
        protection: Protection,
        reconciler: BalanceReconciler,
        plans: dict[InstrumentId, StrategyPlan],
        venue_plans: dict[str, VenuePlan],
        switches: Switches,
        exiting: Callable[[InstrumentId], bool],
    ) -> None:
        self._state = desk.state
        self._recorder = desk.recorder
        self._hold = hold
        self._sweeper = sweeper
        self._orders = orders
        self._risk = risk
        self._sender = sender
        self._router = desk.router
        self._protection = protection
        self._reconciler = reconciler
        self._bus = desk.bus
        self._clock = desk.clock
        self._limits = desk.limits
        self._plans = plans
        self._venue_plans = venue_plans
        self._switches = switches
        self._exiting = exiting
        self._ordered: dict[ClientOrderId, IntentRecord] = {}

    async def step(self, pending: PendingIntent) -> None:
        """Run one entry to its single outcome."""
        outcome = await self._run(pending)
        if outcome is SIGN_ANEW:
            await self._until_ready(pending.intent.instrument.venue)
            outcome = await self._run(pending, is_last=True)
        if outcome is not None:
            self.deny(pending.record, pending.intent, outcome)

    async def _until_ready(self, venue: VenueId) -> None:
        """The refusal asked for a recovery, which sets the clock; what is not done soon is for the gate to deny."""
        until_s = self._clock.monotonic() + self._limits.submit_timeout_s
        while not self._router.is_ready(venue) and self._clock.monotonic() < until_s:
            await self._clock.sleep(READY_CHECK_S)

    async def _run(self, pending: PendingIntent, *, is_last: bool = False) -> Denial | None:
        checked = check_enter(pending.intent)
        if isinstance(checked, Denial):
            return checked
        turn = _Turn()
        denial = self._gate(checked, pending)
        if denial is None:
            denial = await self._sweeper.check(checked.instrument)
        if denial is not None:
            return denial
        view = await self._view(checked.instrument)
        if isinstance(view, Denial):
            return view
        draft = self._orders.entry(checked, view.rules, view.mark_price, view.account.balance.equity)
        if isinstance(draft, Denial):
            return draft
        draft = msgspec.structs.replace(draft, request=self._sender.name(draft.request))
        approved = self._risk.approve_entry(draft, view)
        if isinstance(approved, Denial):
            return approved
        denial = self._check_way_out(draft, view)
        if denial is not None:
            return denial
        denial = await self._sender.reserve(draft.request, Priority.ENTRY)
        if denial is not None:
            return denial
        if turn.has_passed:
            again = self._ask_again(checked, pending, draft, view)
            if isinstance(again, Denial):
                return again
            approved = again
        return await self._send(pending, checked, draft, approved, is_last=is_last)

    def _ask_again(
        self, checked: CheckedEnter, pending: PendingIntent, draft: EntryDraft, view: EntryView
    ) -> Approved | Denial:
        """The waits gave the world time to change, and another lane may have spent the same margin: gate and guard
        are asked again, with nothing between them and the leg."""
        denial = self._gate(checked, pending)
        if denial is not None:
            return denial
        newest = self._state.accounts.get(checked.instrument.venue, view.account)
        return self._risk.approve_entry(draft, msgspec.structs.replace(view, account=newest))

    async def _send(
        self, pending: PendingIntent, checked: CheckedEnter, draft: EntryDraft, approved: Approved, *, is_last: bool
    ) -> Denial | None:
        plan = self._plans[checked.instrument]
        now_ms = self._clock.at(checked.instrument.venue).now_ms()
        leg = Leg(
            strategy=self._state.owners.get(checked.instrument),
            intent_id=pending.record.intent_id,
            reference_price=pending.signal_price or draft.price,
            stop_loss=draft.stop_loss,
            take_profit=draft.take_profit,
            expire_ms=None if checked.limit_price is None else _expire_ms(pending, checked, plan, now_ms),
            reason=checked.tag,
        )

        def with_leg(order: Order) -> list[Record]:
            ordered = msgspec.structs.replace(pending.record, outcome="ordered", decided_ms=now_ms)
            self._ordered = {key: each for key, each in self._ordered.items() if key in self._state.open_ids}
            self._ordered[order.client_order_id] = ordered
            return [ordered, self._protection.want(order, draft.stop_loss, draft.take_profit)]

        sent = await self._sender.send(approved, leg, Priority.ENTRY, with_leg, lambda: _undecided(pending))
        if isinstance(sent, Denial):
            return sent
        outcome = sent.outcome
        if outcome is not None and outcome.verdict is SubmitVerdict.NOT_EXECUTED:
            if outcome.kind is RejectKind.CLOCK and not is_last:
                return SIGN_ANEW
            self._fail(pending.record, outcome, now_ms)
        return None

    def _fail(self, record: IntentRecord, outcome: SubmitOutcome, now_ms: int) -> None:
        detail = f"{outcome.code or ''} {outcome.message}".strip()
        refused = msgspec.structs.replace(
            record, outcome="failed", reason=outcome.kind.value, detail=detail, decided_ms=now_ms
        )
        self._recorder.commit((refused,))

    def on_late_refusal(self, order: Order, outcome: SubmitOutcome) -> None:
        """The venue refused an entry whose step had ended: its intent has failed after all."""
        record = self._ordered.pop(order.client_order_id, None)
        if record is not None:
            self._fail(record, outcome, self._clock.at(order.instrument.venue).now_ms())

    # --- guards ---------------------------------------------------------------------------------------------------

    def _gate(self, intent: CheckedEnter, pending: PendingIntent) -> Denial | None:
        """Everything that can be known without asking the venue."""
        instrument = intent.instrument
        now_ms = self._clock.at(instrument.venue).now_ms()
        return (
            self._switches.denial()
            or self._gate_instrument(instrument)
            or self._gate_venue(instrument, pending)
            or self._gate_position(intent)
            or self._hold.check(instrument, now_ms - self._clock.at(instrument.venue).error_ms)
            or self._reconciler.check(instrument.venue)
        )

    def _gate_instrument(self, instrument: InstrumentId) -> Denial | None:
        owner = self._state.owners.get(instrument)
        if owner is not None and owner in self._switches.quarantined:
            return Denial(DenyReason.QUARANTINED, self._switches.quarantined[owner])
        why = self._state.takes_only_exits(instrument, self._clock.monotonic())
        return Denial(DenyReason.INSTRUMENT_BLOCKED, why) if why else None

    def _gate_venue(self, instrument: InstrumentId, pending: PendingIntent) -> Denial | None:
        if not self._recorder.journal_writable:
            return Denial(DenyReason.JOURNAL_NOT_WRITABLE, "facts wait in memory for the journal")
        if not self._router.is_ready(instrument.venue):
            state = self._router.state(instrument.venue)
            return Denial(
                DenyReason.VENUE_NOT_READY, f"{instrument.venue} is {state}: {self._router.reason(instrument.venue)}"
            )
        error_ms = self._clock.at(instrument.venue).error_ms
        if error_ms > MAX_CLOCK_ERROR_MS * self._clock.at(instrument.venue).speed:
            return Denial(DenyReason.VENUE_NOT_READY, f"venue time is known only to {error_ms} ms")
        if pending.late:
            return Denial(DenyReason.STALE, "the candle was delivered late (risk.max_candle_age_s)")
        age_ms = self._clock.at(instrument.venue).now_ms() - pending.decided_ms
        if age_ms > self._limits.max_candle_age_ms:
            return Denial(DenyReason.STALE, f"{age_ms / 1000:.1f} s of venue time since the decision")
        return None

    def _gate_position(self, intent: CheckedEnter) -> Denial | None:
        """An entry goes on only from flat, with nothing pending and nothing in doubt."""
        instrument = intent.instrument
        doubtful = self._state.unknown_orders(instrument)
        if doubtful:
            ids = ", ".join(order.client_order_id for order in doubtful)
            return Denial(DenyReason.IN_DOUBT, f"legs whose fate is unknown: {ids}")
        pending = [order for order in self._state.entries(instrument) if order.status is not OrderStatus.INITIALIZED]
        if pending:
            return Denial(DenyReason.ENTRY_PENDING, f"{pending[0].client_order_id} is {pending[0].status}")
        quantity = self._state.expected_quantity(instrument)
        if quantity == 0:
            if self._exiting(instrument):
                return Denial(DenyReason.POSITION_OPEN, "an exit has not ended yet")
            return None
        position = self._state.position(instrument)
        if position.strategy is None and not position.is_flat:
            return Denial(DenyReason.FOREIGN_POSITION, f"{position.quantity} contracts that nobody here opened")
        same = quantity * intent.side.sign > 0
        reason = DenyReason.POSITION_OPEN if same else DenyReason.OPPOSITE_POSITION
        return Denial(reason, f"{quantity} contracts are held")

    async def _view(self, instrument: InstrumentId) -> EntryView | Denial:
        rules = self._state.instruments.get(instrument)
        account = self._state.accounts.get(instrument.venue)
        if rules is None or account is None:
            return Denial(DenyReason.VENUE_NOT_READY, "rules or account have not been read yet")
        max_age_s = FRESH_PRICE_S / self._clock.at(instrument.venue).speed
        mark = self._state.fresh_price(instrument, self._clock.monotonic(), max_age_s)
        if mark is None:
            reading = self._router.venue(instrument).mark_price(instrument)
            try:
                mark = await within(self._limits.submit_timeout_s, reading)
            except VenueError as error:
                return Denial(DenyReason.NO_PRICE, f"the mark price could not be read: {error}")
        limits = self._router.venue(instrument).limits
        return EntryView(rules, mark, account, self._venue_plans[instrument.venue], limits.conditional_orders)

    def _check_way_out(self, draft: EntryDraft, view: EntryView) -> Denial | None:
        """An entry whose exit or protection could not be placed is refused: the way out is built before the way in."""
        instrument = draft.request.instrument
        quantity = (draft.request.quantity or ZERO) * draft.request.side.sign
        close_position = self._router.venue(instrument).limits.close_position_stops
        ways = self._orders.exits(instrument, view.rules, quantity)
        for purpose, level in ((Purpose.STOP, draft.stop_loss), (Purpose.TAKE_PROFIT, draft.take_profit)):
            if level is not None:
                ways.append(
                    self._orders.protection(
                        instrument, view.rules, quantity, purpose, level, close_position=close_position
                    )
                )
        for request in ways:
            approved = self._risk.approve_reducing(request, view.rules)
            if isinstance(approved, Denial):
                return Denial(DenyReason.NOT_PROTECTABLE, f"its {request.purpose.name.lower()}: {approved.detail}")
        return None

    # --- outcomes -------------------------------------------------------------------------------------------------

    def deny(self, record: IntentRecord, intent: Intent, denial: Denial) -> None:
        """Give the intent its outcome: denied, with the reason and the numbers."""
        now_ms = self._clock.at(intent.instrument.venue).now_ms()
        denied = msgspec.structs.replace(
            record, outcome="denied", reason=denial.reason.value, detail=denial.detail, decided_ms=now_ms
        )
        self._recorder.commit((denied,), (IntentDenied(record.intent_id, record.strategy, intent, denial),))
