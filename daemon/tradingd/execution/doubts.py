"""Legs in doubt are looked up again and again, with growing pauses, until their fate is known (P3)."""

from tradingd.domain.errors import VenueError
from tradingd.domain.ids import ClientOrderId
from tradingd.domain.orders import Order
from tradingd.execution.desk import Desk
from tradingd.execution.idempotency_manager import IdempotencyManager

LONGEST_PAUSE_S = 2.0


class Doubts:
    """Says when a leg in doubt is looked up next, and does it; the step runs in the lane of its instrument."""

    def __init__(self, desk: Desk, idempotency: IdempotencyManager) -> None:
        self._state = desk.state
        self._router = desk.router
        self._retry = desk.retry
        self._idempotency = idempotency
        self._tries: dict[ClientOrderId, tuple[int, float]] = {}

    def due(self, order: Order, now: float) -> bool:
        """Whether to look it up now; then not again for a pause."""
        tries, due = self._tries.get(order.client_order_id, (0, 0.0))
        if now < due or self._router.reachable_since(order.instrument.venue) is None:
            return False
        pause_s = min(LONGEST_PAUSE_S, self._retry.delay_s(tries + 1))
        self._tries[order.client_order_id] = (tries + 1, now + pause_s)
        return True

    async def settle(self, client_order_id: ClientOrderId) -> None:
        """One look-up."""
        order = self._state.orders.get(client_order_id)
        if order is None or not order.status.is_unknown:
            self._tries.pop(client_order_id, None)
            return
        try:
            if await self._idempotency.settle(order, self._router.venue(order.instrument)):
                self._tries.pop(client_order_id, None)
        except VenueError:
            # nothing was learned, which is no verdict; the next tick that is due asks again
            return
