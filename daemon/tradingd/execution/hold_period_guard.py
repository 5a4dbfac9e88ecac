"""No entry within the hold period after a close by anyone (P4): counted from the fill, kept in the journal."""

from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Denial, DenyReason
from tradingd.execution.limits import StrategyPlan
from tradingd.execution.state import TradingState


class HoldPeriodGuard:
    """Denies entries until venue time ≥ time of the fill that made the position zero + hold period."""

    def __init__(self, state: TradingState, plans: dict[InstrumentId, StrategyPlan]) -> None:
        self._state = state
        self._plans = plans

    def ends_ms(self, instrument: InstrumentId) -> int | None:
        """Venue time at which entries are allowed again; None when there was no close or no hold is wanted."""
        close = self._state.last_closes.get(instrument)
        plan = self._plans.get(instrument)
        if close is None or plan is None or plan.hold_ms == 0:
            return None
        return close.close_ms + plan.hold_ms

    def check(self, instrument: InstrumentId, now_ms: int) -> Denial | None:
        """The denial while the hold lasts; a close that lies ahead of the clock holds too, whatever the clock says."""
        ends_ms = self.ends_ms(instrument)
        if ends_ms is None or now_ms >= ends_ms:
            return None
        cause = self._state.last_closes[instrument].cause
        return Denial(DenyReason.HOLD_PERIOD, f"{(ends_ms - now_ms) / 1000:.0f} s left after a close by {cause}")
