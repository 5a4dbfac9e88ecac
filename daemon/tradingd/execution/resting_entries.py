"""Own entry orders that rest at the venue: cancelled on expiry, exit, close, quarantine and stop."""

import msgspec

from tradingd.domain.account import CancelVerdict
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Order
from tradingd.execution.desk import Desk
from tradingd.execution.lookout import RESTING, Lookout
from tradingd.ports import Priority


class RestingEntries:
    """Cancels entries, and finds out what became of one that the venue says is gone: it may have filled unheard."""

    def __init__(self, desk: Desk, lookout: Lookout) -> None:
        self._state = desk.state
        self._recorder = desk.recorder
        self._router = desk.router
        self._clock = desk.clock
        self._limits = desk.limits
        self._lookout = lookout

    def of(self, instrument: InstrumentId) -> list[Order]:
        """Those that rest now."""
        return [order for order in self._state.entries(instrument) if order.status in RESTING]

    async def clear_expired(self, instrument: InstrumentId, cause_ms: int) -> None:
        """End those whose time is over by now or by the candle that closed at `cause_ms`: a strategy that quotes anew
        on each candle decides at the very moment at which its last entry expires, and would be told it is pending."""
        now_ms = max(self._clock.at(instrument.venue).now_ms(), cause_ms)
        expired = [order for order in self.of(instrument) if order.expire_ms is not None and order.expire_ms <= now_ms]
        if not expired:
            return
        await self.cancel(instrument, "expired", Priority.CANCEL)
        for order in expired:
            await self._lookout.look_up(order.client_order_id, fills_first=True)

    async def cancel(self, instrument: InstrumentId, why: str, priority: Priority) -> None:
        """Ask the venue to cancel each; what it does not confirm is looked up before the step ends (P5)."""
        for resting in self.of(instrument):
            order = self._state.orders[resting.client_order_id]  # it may have filled while another was cancelled
            if order.status not in RESTING:
                continue
            now_ms = self._clock.at(instrument.venue).now_ms()
            marked = msgspec.structs.replace(order, cancel_requested_ms=now_ms, reason=why)
            self._state.put_order(marked)
            self._recorder.commit((marked,))
            outcome = await self._router.cancel(marked, priority, self._limits.submit_timeout_s)
            if outcome.verdict is not CancelVerdict.CANCELED:
                await self._lookout.look_up(marked.client_order_id, fills_first=True)
