"""Executions that the stream did not tell: it can lose one message and stay open."""

from tradingd.domain.account import VenuePosition
from tradingd.domain.instruments import InstrumentId
from tradingd.execution.balance_reconciler import BalanceReconciler
from tradingd.execution.desk import Desk

CHASE_FILLS_S = 1.0
"""So long a reported fill, or a pushed position, may lack its execution before the history is read; real time."""


class MissingFills:
    """Knows what an order or a pushed position showed that no booked fill explains, and since when."""

    def __init__(self, desk: Desk, reconciler: BalanceReconciler) -> None:
        self._state = desk.state
        self._clock = desk.clock
        self._reconciler = reconciler
        self._unbooked_due: dict[InstrumentId, float] = {}
        self._pushed: dict[InstrumentId, tuple[VenuePosition, float]] = {}

    def note_position(self, shown: VenuePosition) -> bool:
        """A pushed position; True when the journal does not agree with it yet."""
        known = self._pushed.get(shown.instrument)
        if known is not None and known[0].updated_ms > shown.updated_ms:
            return True
        if self._agrees(shown):
            self._pushed.pop(shown.instrument, None)
            return False
        self._pushed[shown.instrument] = (shown, self._clock.monotonic() + CHASE_FILLS_S)
        return True

    def _agrees(self, shown: VenuePosition) -> bool:
        """Whether the journal holds as much, or knows of something newer than the push."""
        newest_ms = self._state.last_fill_ms.get(shown.instrument, 0)
        return newest_ms > shown.updated_ms or self._state.expected_quantity(shown.instrument) == shown.quantity

    def due(self, instrument: InstrumentId, now: float) -> bool:
        """Whether the venue's history should be read now; then not again for a while."""
        unbooked, unexplained = self._unbooked(instrument, now), self._unexplained(instrument, now)
        return unbooked or unexplained

    def _unbooked(self, instrument: InstrumentId, now: float) -> bool:
        if not self._state.lacks_fills(instrument):
            self._unbooked_due.pop(instrument, None)
            return False
        if now < self._unbooked_due.setdefault(instrument, now + CHASE_FILLS_S):
            return False
        self._unbooked_due[instrument] = now + CHASE_FILLS_S
        return True

    def _unexplained(self, instrument: InstrumentId, now: float) -> bool:
        pushed = self._pushed.get(instrument)
        if pushed is None or now < pushed[1]:
            return False
        if self._agrees(pushed[0]):
            del self._pushed[instrument]
            return False
        self._pushed[instrument] = (pushed[0], now + CHASE_FILLS_S)
        return True

    async def book(self, instrument: InstrumentId) -> bool:
        """Book what the venue's history has; False when a pushed position is not explained by it, so that the account
        must be read anew. Raises VenueError."""
        await self._reconciler.book_missing(instrument)
        pushed = self._pushed.get(instrument)
        if pushed is None or self._agrees(pushed[0]):
            return True
        # asked once for each push: the reconcile behind it decides who is right
        del self._pushed[instrument]
        return False
