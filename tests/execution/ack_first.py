"""A venue in memory that acknowledges a request before its engine has looked at it."""

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from tests.execution.fakes import Accept, FakeVenue, Lose, Reject, Silence, VirtualClock
from tradingd.domain.account import (
    CancelOutcome,
    CancelVerdict,
    RejectKind,
    SubmitOutcome,
    SubmitVerdict,
    VenueOrder,
)
from tradingd.domain.orders import Order, OrderRequest, OrderStatus
from tradingd.ports import Approved, Clear, Priority, at_once

AT_THE_GATE = (RejectKind.CLOCK, RejectKind.AUTHENTICATION, RejectKind.THROTTLED, RejectKind.BANNED)
"""Refusals that the answer itself tells; all others come from the engine."""


class AckFirstVenue(FakeVenue):
    """As FakeVenue, but each answer is an ack, and `engine_delay_s` after the request the engine takes, refuses or
    cancels. With less than the delay of the ack, the engine is first."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.limits = msgspec.structs.replace(self.limits, ack_is_acceptance=False)
        self.engine_delay_s = 0.03
        self.engine_stands = False
        self._engine: deque[Callable[[], None]] = deque()
        self._acknowledged: dict[str, VenueOrder] = {}

    def _hand_over(self, action: Callable[[], None]) -> None:
        self._engine.append(action)
        asyncio.get_running_loop().call_later(self.engine_delay_s, self.work)

    def work(self) -> None:
        """The engine does what is next, unless it stands still."""
        if self._engine and not self.engine_stands:
            self._engine.popleft()()

    async def submit(
        self, approved: Approved, signed_ms: int, priority: Priority, clear: Clear = at_once
    ) -> SubmitOutcome:
        request = approved.request
        if (withheld := await self._withheld(clear)) is not None:
            return withheld
        self.on_submit(request)
        self.submitted.append(request)
        self.priorities.append(priority)
        answer = self._next_answer(request)
        if isinstance(answer, Silence):
            await asyncio.get_running_loop().create_future()
        if isinstance(answer, Reject) and answer.kind in AT_THE_GATE:
            await asyncio.sleep(answer.delay_s)
            return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=answer.kind, code=answer.code, message="refused")
        made = self._acknowledged[request.client_order_id] = self._made(request)
        if not isinstance(answer, Lose) or answer.taken:
            self._hand_over(lambda: self._judge(request, answer if isinstance(answer, Reject) else None))
        if isinstance(answer, Accept) and answer.silent:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(answer.delay_s if not isinstance(answer, Silence) else 0)
        if isinstance(answer, Lose):
            return SubmitOutcome(SubmitVerdict.AMBIGUOUS, message="the body was cut")
        return SubmitOutcome(SubmitVerdict.SUBMITTED, order=msgspec.structs.replace(made, status=OrderStatus.SUBMITTED))

    def _made(self, request: OrderRequest) -> VenueOrder:
        """Under the id that the ack has told."""
        made = self._acknowledged.pop(request.client_order_id, None) or super()._made(request)
        return msgspec.structs.replace(made, updated_ms=self.clock.now_ms())

    def _judge(self, request: OrderRequest, wanted: Reject | None) -> None:
        refusal = wanted or self._refusal(request)
        if refusal is None:
            self.take(request)
            return
        order = self._made(request)
        code, kind = refusal.code, refusal.kind
        status = OrderStatus.REJECTED
        self._show(
            msgspec.structs.replace(order, status=status, reject_code=code, reject_reason=code, reject_kind=kind)
        )

    def refuse(self, client_order_id: str, code: str) -> None:
        """The venue ends an order that it had taken."""
        order, status = self.orders[client_order_id], OrderStatus.REJECTED
        now_ms = self.clock.now_ms()
        self._show(msgspec.structs.replace(order, status=status, reject_code=code, updated_ms=now_ms))

    def forget(self) -> None:
        """What was acknowledged, and not worked off, is lost."""
        self._engine.clear()

    async def cancel(self, order: VenueOrder | Order, priority: Priority, clear: Clear = at_once) -> CancelOutcome:
        await clear()
        self.cancelled.append(order)
        self.calls.append("cancel")
        if "cancel" in self.hanging:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(self.read_delay_s)
        if self.cancel_answer is not None:
            return CancelOutcome(self.cancel_answer)
        key = str(order.client_order_id or order.venue_order_id)
        known = self.orders.get(key)
        if known is None or known.status.is_final:
            return CancelOutcome(CancelVerdict.GONE, code="110001")
        self._hand_over(lambda: self._take_out(key))
        return CancelOutcome(CancelVerdict.CANCELED)

    def _take_out(self, key: str) -> None:
        """What filled on the way is told once more."""
        if self.orders[key].status.is_final:
            self._show(self.orders[key])
        else:
            self.end(key, OrderStatus.CANCELED)
