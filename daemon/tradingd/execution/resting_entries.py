"""Own entry orders that rest at the venue: cancelled on expiry, exit, close, quarantine and stop."""

from collections.abc import Awaitable, Callable

import msgspec

from tradingd.domain.account import CancelVerdict
from tradingd.domain.errors import VenueError
from tradingd.domain.ids import ClientOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Order, OrderStatus
from tradingd.execution.desk import Desk
from tradingd.execution.exchange_router import within
from tradingd.execution.idempotency_manager import IdempotencyManager
from tradingd.ports import Priority

LOOK_EVERY_S = 3.0
"""Between two looks at an entry that rests: well within what a position may be without its stop; real time."""
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
        self._look_at: dict[ClientOrderId, float] = {}

    def of(self, instrument: InstrumentId) -> list[Order]:
        """Those that rest now."""
        return [order for order in self._state.entries(instrument) if order.status in RESTING]

    def look_due(self, order: Order, now: float) -> bool:
        """Whether an entry that rests has not been looked at for long: it may fill while the account stream is deaf."""
        if not order.needs_exposure_margin or order.status not in RESTING:
            return False
        due = self._look_at.setdefault(order.client_order_id, now + LOOK_EVERY_S)
        if now < due:
            return False
        self._look_at = {key: at for key, at in self._look_at.items() if key in self._state.open_ids}
        self._look_at[order.client_order_id] = now + LOOK_EVERY_S
        return True

    async def cancel(self, instrument: InstrumentId, why: str, priority: Priority) -> None:
        """Ask the venue to cancel each; what it does not confirm is looked up before the step ends (P5)."""
        for order in self.of(instrument):
            marked = msgspec.structs.replace(order, cancel_requested_ms=self._clock.now_ms(), reason=why)
            self._state.put_order(marked)
            self._recorder.commit((marked,))
            outcome = await self._router.cancel(marked, priority, self._limits.submit_timeout_s)
            if outcome.verdict is not CancelVerdict.CANCELED:
                await self.look_up(marked.client_order_id)

    async def look_up(self, client_order_id: ClientOrderId) -> None:
        """What became of one: its fills first, since they decide about a stop, then the order itself."""
        wait_s = self._limits.submit_timeout_s
        order = self._state.orders.get(client_order_id)
        if order is None or order.status.is_final:
            return
        try:
            await within(wait_s, self._book_missing(order.instrument))
            current = self._state.orders[client_order_id]
            if not current.status.is_final:
                await within(wait_s, self._idempotency.refresh(current, self._router.venue(order.instrument)))
        except VenueError:
            # nothing was learned; the next look, expiry, exit or reconcile asks again
            return
