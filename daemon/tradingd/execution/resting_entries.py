"""Own entry orders that rest at the venue: cancelled on expiry, exit, close, quarantine and stop."""

from collections.abc import Awaitable, Callable

import msgspec

from tradingd.domain.account import CancelVerdict
from tradingd.domain.errors import VenueError
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Order, OrderStatus
from tradingd.execution.desk import Desk
from tradingd.execution.exchange_router import within
from tradingd.execution.idempotency_manager import IdempotencyManager
from tradingd.ports import Priority

RESTING = (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED)


class RestingEntries:
    """Cancels entries, and finds out what became of one that the venue says is gone: it may have filled unheard."""

    def __init__(
        self,
        desk: Desk,
        idempotency: IdempotencyManager,
        book_missing: Callable[[InstrumentId], Awaitable[int]],
    ) -> None:
        self._state = desk.state
        self._recorder = desk.recorder
        self._router = desk.router
        self._idempotency = idempotency
        self._clock = desk.clock
        self._limits = desk.limits
        self._book_missing = book_missing

    def of(self, instrument: InstrumentId) -> list[Order]:
        """Those that rest now."""
        return [order for order in self._state.entries(instrument) if order.status in RESTING]

    async def cancel(self, instrument: InstrumentId, why: str, priority: Priority) -> None:
        """Ask the venue to cancel each; what it does not confirm is looked up before the step ends (P5)."""
        for order in self.of(instrument):
            marked = msgspec.structs.replace(order, cancel_requested_ms=self._clock.now_ms(), reason=why)
            self._state.put_order(marked)
            self._recorder.commit((marked,))
            outcome = await self._router.cancel(marked, priority, self._limits.submit_timeout_s)
            if outcome.verdict is not CancelVerdict.CANCELED:
                await self._look_up(marked)

    async def _look_up(self, order: Order) -> None:
        """A cancel that found nothing, or got no answer: its fills first, since they decide about a stop."""
        wait_s = self._limits.submit_timeout_s
        try:
            await within(wait_s, self._book_missing(order.instrument))
            current = self._state.orders[order.client_order_id]
            if not current.status.is_final:
                await within(wait_s, self._idempotency.refresh(current, self._router.venue(order.instrument)))
        except VenueError:
            # nothing was learned; the next expiry, exit or reconcile asks again
            return
