"""What stands at the venue and may fill or end unheard is looked up every few seconds, streams or no streams (P5)."""

from collections.abc import Awaitable, Callable

from tradingd.domain.errors import VenueError
from tradingd.domain.ids import ClientOrderId, Purpose
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Order, OrderStatus
from tradingd.execution.desk import Desk
from tradingd.execution.exchange_router import within
from tradingd.execution.idempotency_manager import IdempotencyManager

RESTING = (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED)
STOPS = (Purpose.STOP, Purpose.BRIDGE)
AGAIN_S = 0.5
"""After a look that brought no answer the next one comes so soon; real time."""


class Lookout:
    """Says when an entry that rests, or a stop behind a position, is looked up next, and does it.

    A stream can lose one message and stay open: the fill of an entry that rests, the end of a stop. At the default of
    `execution.look_every_s`, 2 s, a stop whose end was lost is missed in time to be placed anew within 5 s even if the
    answer to that is lost as well. A look costs Binance's weight of 1: with 20 stops 600 of the 2,400 per minute, sent
    as priority reconcile, before entries and data alone.
    """

    def __init__(
        self, desk: Desk, idempotency: IdempotencyManager, book_missing: Callable[[InstrumentId], Awaitable[int]]
    ) -> None:
        self._state = desk.state
        self._router = desk.router
        self._clock = desk.clock
        self._limits = desk.limits
        self._idempotency = idempotency
        self._book_missing = book_missing
        self._due_at: dict[ClientOrderId, float] = {}

    def due(self, order: Order, now: float) -> bool:
        """Whether to look it up now; then not again for a while."""
        if not self._is_watched(order):
            return False
        every_s = self._limits.look_every_s
        if now < self._due_at.setdefault(order.client_order_id, now + every_s):
            return False
        self._due_at = {key: at for key, at in self._due_at.items() if key in self._state.open_ids}
        self._due_at[order.client_order_id] = now + every_s
        return True

    def _is_watched(self, order: Order) -> bool:
        if order.request.purpose in STOPS:
            held = self._state.expected_quantity(order.instrument) != 0
            return held and not order.status.is_unknown and not order.status.is_final
        return order.needs_exposure_margin and order.status in RESTING

    async def look_up(self, client_order_id: ClientOrderId, *, fills_first: bool = False) -> None:
        """What became of one. Fills first where the order is expected to have ended: they decide about a stop, and are
        dear to ask for; else what the order shows as filled is read by whoever misses those fills."""
        wait_s = self._limits.submit_timeout_s
        order = self._state.orders.get(client_order_id)
        if order is None or order.status.is_final:
            return
        try:
            if fills_first:
                await within(wait_s, self._book_missing(order.instrument))
            current = self._state.orders[client_order_id]
            if not current.status.is_final:
                await within(wait_s, self._idempotency.refresh(current, self._router.venue(order.instrument)))
        except VenueError:
            # nothing was learned: asked again soon; expiry, exit and reconcile ask as well
            self._due_at[client_order_id] = self._clock.monotonic() + AGAIN_S
