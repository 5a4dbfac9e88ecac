"""Which venue an instrument belongs to, how well that venue is, and the one place from which an order leaves."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tradingd.bus import Bus
from tradingd.domain.account import CancelOutcome, CancelVerdict, SubmitOutcome, SubmitVerdict, VenueOrder
from tradingd.domain.errors import VenueUnreachable, Withheld
from tradingd.domain.events import VenueState, VenueStateChanged
from tradingd.domain.ids import ClientOrderId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Order, OrderEvent
from tradingd.execution.clearance import Clearance
from tradingd.execution.recorder import Recorder
from tradingd.ports import Approved, Clock, Priority, Venue

T = TypeVar("T")

SILENCE_S = 1.0
"""A venue that is DOWN or has banned us counts as out of reach once it has been silent for so long (real time)."""
ACK_EVIDENCE_S = 1.0
"""So long the stream may take to tell more of what the venue has only acknowledged; then it is looked up (real time).
No venue names a bound: half of the default of `execution.submit_timeout_s`, so that an entry that filled under a mute
stream has its stop well within `execution.unprotected_limit_s`."""
_CUT_OFF = (VenueState.DOWN, VenueState.BANNED)


async def within(seconds: float, call: Awaitable[T]) -> T:
    """What a venue call gives; VenueUnreachable when it takes longer. For steps that a stop may have to wait for."""
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError:
        raise VenueUnreachable(f"no answer within {seconds:.1f} s") from None


def _outcome_of(reply: "asyncio.Task[CancelOutcome]") -> CancelOutcome:
    """The adapter promises not to raise; whatever it was, it proves nothing."""
    if reply.cancelled() or reply.exception() is not None:
        why = "cancelled" if reply.cancelled() else repr(reply.exception())
        return CancelOutcome(CancelVerdict.AMBIGUOUS, message=f"the cancel ended without an answer: {why}")
    return reply.result()


class ExchangeRouter:
    """Holds the venues and their states, sends each order once, and turns each answer into order facts."""

    def __init__(self, venues: dict[VenueId, Venue], recorder: Recorder, bus: Bus, clock: Clock) -> None:
        self.venues = venues
        self._recorder = recorder
        self._bus = bus
        self._clock = clock
        self._states = dict.fromkeys(venues, VenueState.STARTING)
        self._reasons = dict.fromkeys(venues, "starting")
        self._reachable_since: dict[VenueId, float] = {}
        self._answered_at = {venue: clock.monotonic() for venue in venues}
        self._late: set[asyncio.Task[None]] = set()
        self.on_trouble: Callable[[InstrumentId, SubmitOutcome], None] = lambda instrument, outcome: None
        self._refusals: dict[ClientOrderId, SubmitOutcome | None] = {}
        recorder.on_refused = self._refused
        self.on_late_refusal: Callable[[Order, SubmitOutcome], None] = lambda order, outcome: None

    def venue(self, instrument: InstrumentId) -> Venue:
        """The venue of an instrument."""
        return self.venues[instrument.venue]

    # --- health ---------------------------------------------------------------------------------------------------

    def state(self, venue: VenueId) -> VenueState:
        """How well the venue is."""
        return self._states[venue]

    def reason(self, venue: VenueId) -> str:
        """Why it is in that state."""
        return self._reasons[venue]

    def is_ready(self, venue: VenueId) -> bool:
        """Whether entries may be sent (P10)."""
        return self._states[venue] is VenueState.READY

    def mark(self, venue: VenueId, state: VenueState, reason: str) -> None:
        """Change a venue's state; the change is an event."""
        before = self._states[venue]
        self._reasons[venue] = reason
        if before is state:
            return
        if before in _CUT_OFF or state is VenueState.READY:
            self.note_answer(venue)
        self._states[venue] = state
        self._bus.publish(VenueStateChanged(venue, before, state, reason))

    def note_answer(self, venue: VenueId) -> None:
        """The venue answered, whatever it said: it can be reached, even if one of its endpoints cannot."""
        now = self._clock.monotonic()
        silent = self._states[venue] in _CUT_OFF and now - self._answered_at[venue] >= SILENCE_S
        if silent or venue not in self._reachable_since:
            self._reachable_since[venue] = now
        self._answered_at[venue] = now

    def reachable_since(self, venue: VenueId) -> float | None:
        """Monotonic time since which requests get through; None before the first answer, and while they do not (P5
        counts from here).

        One endpoint that fails makes a venue DOWN; while others answer, a position there is naked all the same.
        """
        silent_s = self._clock.monotonic() - self._answered_at[venue]
        if self._states[venue] in _CUT_OFF and silent_s >= SILENCE_S:
            return None
        return self._reachable_since.get(venue)

    # --- sending --------------------------------------------------------------------------------------------------

    async def submit(
        self, clearance: Clearance, approved: Approved, priority: Priority, timeout_s: float
    ) -> SubmitOutcome | None:
        """Send a written-ahead order once, and wait for the first of: reply, stream evidence, timeout (then IN_DOUBT)
        `timeout_s` after it was cleared. What is not cleared by then, or when the step is broken off, never leaves.

        Returns the reply's outcome, or None when evidence or the timeout came first; a late reply is still taken in. A
        reply that is only an ack is followed by the wait for evidence; a refusal behind it is returned like a reply's.
        """
        order, key = clearance.order, clearance.order.client_order_id
        evidence = self._recorder.evidence(key)
        reply = asyncio.get_running_loop().create_task(
            self.venue(order.instrument).submit(approved, order.signed_ms, priority, clearance), name=f"submit {key}"
        )
        proof = asyncio.get_running_loop().create_task(evidence.wait(), name=f"evidence of {key}")
        self._refusals[key] = outcome = None
        try:
            left_s = timeout_s
            while left_s > 0 and not (reply.done() or proof.done()):
                await asyncio.wait({reply, proof}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                left_s = clearance.left_s(timeout_s)
            if reply.done():
                outcome = self._apply(clearance, reply)
            if outcome is not None and outcome.verdict is SubmitVerdict.SUBMITTED:
                await asyncio.wait({proof}, timeout=max(0.0, min(ACK_EVIDENCE_S, left_s)))
        finally:
            proof.cancel()
            self._recorder.forget_evidence(key)
            refusal = self._refusals.pop(key)
            if not reply.done():
                clearance.break_off("its step was broken off before the leg was committed")
                self._follow(clearance, reply)
        if clearance.denial is not None:
            return outcome
        if not evidence.is_set() and (outcome is None or outcome.verdict is SubmitVerdict.SUBMITTED):
            why = f"no answer within {timeout_s} s" if outcome is None else "acknowledged, and nothing told since"
            self._recorder.apply_event(key, OrderEvent.TIME_OUT, "local", detail=why)
        return refusal or outcome

    def _refused(self, order: Order, shown: VenueOrder) -> None:
        """The venue did not take what it had acknowledged: what its reply would have asked for is asked for now."""
        key, code = order.client_order_id, shown.reject_code
        message = shown.reject_reason if shown.reject_reason != code else ""
        verdict = SubmitVerdict.NOT_EXECUTED
        outcome = SubmitOutcome(verdict, order=shown, kind=shown.reject_kind, code=code, message=message)
        self.on_trouble(order.instrument, outcome)
        if key in self._refusals:
            self._refusals[key] = outcome
        else:
            self.on_late_refusal(order, outcome)

    def _follow(self, clearance: Clearance, reply: "asyncio.Task[SubmitOutcome]") -> None:
        """Take in a reply that comes after its step has ended."""

        async def follow() -> None:
            try:
                await asyncio.wait({reply})
            except asyncio.CancelledError:
                reply.cancel()
                raise
            self._apply(clearance, reply)

        name = f"late reply of {clearance.order.client_order_id}"
        self._keep(asyncio.get_running_loop().create_task(follow(), name=name))

    def _apply(self, clearance: Clearance, reply: "asyncio.Task[SubmitOutcome]") -> SubmitOutcome:
        order = clearance.order
        if reply.cancelled() or reply.exception() is not None:
            # the adapter promises not to raise; whatever this was, it proves nothing
            why = "cancelled" if reply.cancelled() else repr(reply.exception())
            outcome = SubmitOutcome(SubmitVerdict.AMBIGUOUS, message=f"the submit ended without an answer: {why}")
        else:
            outcome = reply.result()
        if clearance.is_withheld:
            return outcome  # nothing was sent, and the leg has ended
        self._take_in(order.client_order_id, outcome)
        if outcome.sent and outcome.verdict is not SubmitVerdict.AMBIGUOUS:
            self.note_answer(order.instrument.venue)
        if outcome.verdict not in (SubmitVerdict.ACCEPTED, SubmitVerdict.SUBMITTED):
            self.on_trouble(order.instrument, outcome)
        return outcome

    def _take_in(self, key: ClientOrderId, outcome: SubmitOutcome) -> None:
        if outcome.order is not None and outcome.verdict in (SubmitVerdict.ACCEPTED, SubmitVerdict.SUBMITTED):
            self._recorder.apply_shown(outcome.order, "reply")
        elif outcome.verdict is SubmitVerdict.NOT_EXECUTED:
            self._recorder.apply_event(
                key, OrderEvent.REJECT, "reply", code=outcome.code or outcome.kind.value, detail=outcome.message
            )
        elif outcome.verdict is SubmitVerdict.AMBIGUOUS:
            self._recorder.apply_event(key, OrderEvent.TIME_OUT, "reply", code=outcome.code, detail=outcome.message)

    async def cancel(self, order: VenueOrder | Order, priority: Priority, timeout_s: float) -> CancelOutcome:
        """Ask the venue to cancel; the end of the order is told by the stream or a look-up, never by this answer.

        CANCELED: it will not fill any more. Where the answer is only an ack, that is known once the order has ended, by
        a fill perhaps; not told of soon, the outcome is ASKED.
        """
        outcome = await self._cancelled(order, priority, timeout_s)
        key, limits = order.client_order_id, self.venue(order.instrument).limits
        is_ack = outcome.verdict is CancelVerdict.CANCELED and not limits.ack_is_acceptance
        if is_ack and key and not await self._recorder.ended_within(key, min(ACK_EVIDENCE_S, timeout_s)):
            outcome = CancelOutcome(CancelVerdict.ASKED, outcome.code, outcome.message)
        self._recorder.note_cancel(key, outcome)
        return outcome

    async def _cancelled(self, order: VenueOrder | Order, priority: Priority, timeout_s: float) -> CancelOutcome:
        """The answer to one cancel. One that comes when its step has ended is in the journal all the same; a request
        that has not left by then never does."""
        is_over = False

        async def clear() -> None:
            if is_over:
                raise Withheld("its step was broken off")

        venue, name = self.venue(order.instrument), f"cancel {order.client_order_id}"
        reply = asyncio.get_running_loop().create_task(venue.cancel(order, priority, clear), name=name)
        try:
            await asyncio.wait({reply}, timeout=timeout_s)
        finally:
            if not reply.done():
                is_over = True
                self._note_late(order, reply)
        if reply.done():
            return _outcome_of(reply)
        return CancelOutcome(CancelVerdict.AMBIGUOUS, message=f"no answer within {timeout_s:.1f} s")

    def _note_late(self, order: VenueOrder | Order, reply: "asyncio.Task[CancelOutcome]") -> None:
        async def note() -> None:
            try:
                await asyncio.wait({reply})
            except asyncio.CancelledError:
                reply.cancel()
                raise
            self._recorder.note_cancel(order.client_order_id, _outcome_of(reply))

        self._keep(asyncio.get_running_loop().create_task(note(), name=f"late answer to {reply.get_name()}"))

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def close(self) -> None:
        """Stop following late replies; their orders stay in doubt in the journal."""
        for task in list(self._late):
            task.cancel()
        if self._late:
            await asyncio.wait(set(self._late))
