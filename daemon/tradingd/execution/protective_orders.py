"""Protective orders, one at a time: placed as new legs, found again when in doubt, taken back."""

from collections.abc import Callable
from decimal import Decimal

import msgspec

from tradingd.domain.account import CancelOutcome
from tradingd.domain.ids import Purpose
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Denial
from tradingd.domain.orders import Order
from tradingd.domain.records import ProtectionRecord
from tradingd.execution.cover import Cover
from tradingd.execution.desk import Desk
from tradingd.execution.exchange_router import within
from tradingd.execution.idempotency_manager import IdempotencyManager
from tradingd.execution.order_router import OrderRouter
from tradingd.execution.risk_guard import RiskGuard
from tradingd.execution.sender import Leg, Sender, Sent
from tradingd.ports import Priority


class ProtectiveOrders:
    """Sends and cancels what protects a position; who calls decides what is wanted."""

    def __init__(
        self,
        desk: Desk,
        *,
        sender: Sender,
        orders: OrderRouter,
        risk: RiskGuard,
        idempotency: IdempotencyManager,
        placed: Callable[[InstrumentId], None],
    ) -> None:
        self._state = desk.state
        self._recorder = desk.recorder
        self._router = desk.router
        self._clock = desk.clock
        self._limits = desk.limits
        self._sender = sender
        self._orders = orders
        self._risk = risk
        self._idempotency = idempotency
        self._placed = placed

    async def place(
        self,
        cover: Cover,
        purpose: Purpose,
        trigger: Decimal,
        quantity: Decimal,
        *,
        priority: Priority = Priority.PROTECT,
        timeout_s: float | None = None,
    ) -> Sent | Denial:
        """Send one as a new leg for `quantity` (signed, as held); a stop or take profit is remembered as the current
        one in the same commit. A bridge never is close-position: only one such order may stand in a direction."""
        instrument = cover.instrument
        rules = self._state.instruments[instrument]
        whole = purpose is not Purpose.BRIDGE and self._router.venue(instrument).limits.close_position_stops
        draft = self._orders.protection(instrument, rules, quantity, purpose, trigger, close_position=whole)
        request = self._sender.name(draft)
        approved = self._risk.approve_reducing(request, rules)
        if isinstance(approved, Denial):
            return approved
        denial = await self._sender.reserve(request, priority, timeout_s)
        if denial is not None:
            return denial
        self._placed(instrument)

        def remember(order: Order) -> tuple[ProtectionRecord, ...]:
            if purpose is Purpose.TAKE_PROFIT:
                cover.take_profit_order = order.client_order_id
            elif purpose is Purpose.STOP:
                cover.stop_order = order.client_order_id
            return (cover.record("placing", self._clock.at(cover.instrument.venue).now_ms()),)

        leg = Leg(cover.strategy, cover.intent_id, reference_price=request.trigger_price)
        return await self._sender.send(approved, leg, priority, remember, timeout_s=timeout_s)

    async def settle(self, order: Order, timeout_s: float, priority: Priority = Priority.PROTECT) -> None:
        """Look for one in doubt. Raises VenueError when nothing was learned."""
        looking = self._idempotency.settle(order, self._router.venue(order.instrument), priority)
        await within(timeout_s, looking)

    async def look_up(self, order: Order, timeout_s: float) -> None:
        """What became of one that stood. Raises VenueError when nothing was learned."""
        await within(timeout_s, self._idempotency.refresh(order, self._router.venue(order.instrument)))

    async def find_own(self, instrument: InstrumentId, purpose: Purpose, timeout_s: float) -> Order | None:
        """One of ours for that purpose that the venue shows as open, whatever we took it for. Raises VenueError."""
        venue = self._router.venue(instrument)
        for shown in await within(timeout_s, venue.open_orders(instrument, Priority.PROTECT)):
            order = self._recorder.apply_shown(shown, "lookup")
            if order is not None and order.request.purpose is purpose:
                return order
        return None

    async def cancel(self, order: Order, why: str) -> CancelOutcome:
        """Ask for the end of one; that it was asked for is written first. Its end is told by the stream or a look-up,
        never by this answer."""
        now_ms = self._clock.at(order.instrument.venue).now_ms()
        marked = msgspec.structs.replace(order, cancel_requested_ms=now_ms, reason=why)
        self._state.put_order(marked)
        self._recorder.commit((marked,))
        return await self._router.cancel(marked, Priority.CANCEL, self._limits.submit_timeout_s)

    def keep(self, order: Order) -> None:
        """A cancel that was asked for did nothing, and can do nothing any more."""
        kept = msgspec.structs.replace(order, cancel_requested_ms=None)
        self._state.put_order(kept)
        self._recorder.commit((kept,))

    def can_still_be_cancelled(self, order: Order) -> bool:
        """Whether a cancel on its way may still reach the venue: its window is that of a submit."""
        asked_ms = order.cancel_requested_ms
        if asked_ms is None:
            return False
        limits = self._router.venue(order.instrument).limits
        margin_ms = max(limits.visibility_margin_ms, self._limits.visibility_margin_ms)
        return self._clock.at(order.instrument.venue).now_ms() <= asked_ms + limits.receive_window_ms + margin_ms
