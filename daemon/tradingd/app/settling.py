"""The first stage of an orderly stop: what is under way settles, and no position is left without the stop it wants."""

import msgspec

from tradingd.app.compose import Execution
from tradingd.bus import Bus
from tradingd.domain.errors import Severity
from tradingd.domain.events import IncidentRaised, VenueState
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.numbers import ZERO, plain_text
from tradingd.domain.orders import Order
from tradingd.ports import Clock

SETTLE_LIMIT_S = 4.0
"""So long answers, ends of orders and stops on their way are waited for."""
CLOSE_NAKED_AFTER_S = 3.5
"""A position that has no stop by then is closed: below P5's limit, for nobody will be here when that is over."""
CLOSE_LIMIT_S = 2.5
"""So much longer that close may take."""
NAKED_GRACE_S = 0.5
"""What became naked a moment ago, by an entry that filled late, is given so long for its stop first."""
AGAIN_S = 1.0


class Naked(msgspec.Struct, frozen=True):
    """A position that asked for a stop and has none."""

    instrument: InstrumentId
    text: str


class Settling:
    """Cancels what rests, waits for evidence, goes on protecting, and closes what cannot be protected in time."""

    def __init__(self, execution: Execution, bus: Bus, clock: Clock) -> None:
        self._execution = execution
        self._bus = bus
        self._clock = clock
        self._naked_since: dict[InstrumentId, float] = {}

    async def run(self) -> None:
        """Return when nothing is open any more, or at the limit; what then remains is told as an incident."""
        began, again_at, limit_s = self._clock.monotonic(), 0.0, SETTLE_LIMIT_S
        while True:
            now = self._clock.monotonic()
            if now >= again_at:
                self._ask_again()
                again_at = now + AGAIN_S
            naked, remains = self.naked(), self._remains()
            if not naked and not remains:
                return
            self._naked_since = {each.instrument: self._naked_since.get(each.instrument, now) for each in naked}
            if now - began >= CLOSE_NAKED_AFTER_S and (closable := [each for each in naked if self._closable(each)]):
                self._close(closable, now)
                limit_s = CLOSE_NAKED_AFTER_S + CLOSE_LIMIT_S
            if now - began >= limit_s:
                break
            await self._clock.sleep(0.05)
        if remains:
            self._raise("stopped_unsettled", f"left behind at the stop: {'; '.join(remains)}")

    def naked(self) -> list[Naked]:
        """The positions that asked for a stop and have none now."""
        state, protection = self._execution.state, self._execution.protection
        found: list[Naked] = []
        for instrument, cover in protection.covers.items():
            held = state.expected_quantity(instrument)
            if held and not protection.is_covered(instrument):
                size = f"{'long' if held > 0 else 'short'} {plain_text(abs(held))} {instrument}"
                found.append(Naked(instrument, f"{size} without its stop at {plain_text(cover.stop_loss or ZERO)}"))
        return found

    def tell_naked(self) -> list[Naked]:
        """What is left naked at the very end: positions, each told as an incident, and entries that may yet fill."""
        left = self.naked()
        for each in left:
            self._raise("stopped_naked", f"left behind at the stop: {each.text}", each.instrument)
        return left + [_once_filled(order) for order in self._execution.state.entries()]

    def _ask_again(self) -> None:
        """Cancel resting entries, and sweep where a protective order is believed to outlive its position."""
        execution = self._execution
        execution.pipeline.cancel_all_entries("daemon stopped")
        for venue in {order.instrument.venue for order in self._outlived()}:
            if execution.router.state(venue) in (VenueState.READY, VenueState.DEGRADED):
                execution.pipeline.sweep_all(venue)

    def _outlived(self) -> list[Order]:
        """Protective orders that memory holds as open although their position is gone: cancelled, or about to be."""
        state = self._execution.state
        return [
            order
            for order in state.open_orders()
            if order.request.purpose.is_protective
            and not order.status.is_unknown
            and state.expected_quantity(order.instrument) == 0
        ]

    def _remains(self) -> list[str]:
        state = self._execution.state
        entries = [f"entry {each.client_order_id} {each.status}" for each in state.entries()]
        doubts = [
            f"order {each.client_order_id} {each.status}"
            for each in state.unknown_orders()
            if not each.needs_exposure_margin
        ]
        ends = [f"end of order {each.client_order_id}, which was {each.status}" for each in self._outlived()]
        return [*entries, *doubts, *ends, *(f"exit of {each}" for each in self._execution.exits.goals)]

    def _closable(self, naked: Naked) -> bool:
        """Whether a close can get through. Where not, the next start had better place the stop: no close is wanted."""
        venue, router = naked.instrument.venue, self._execution.router
        return router.state(venue) is not VenueState.STARTING and router.reachable_since(venue) is not None

    def _close(self, naked: list[Naked], now: float) -> None:
        for each in naked:
            if now - self._naked_since[each.instrument] >= NAKED_GRACE_S:
                self._execution.protection.give_up(each.instrument, "the daemon stops and there is no stop yet")

    def _raise(self, kind: str, detail: str, instrument: InstrumentId | None = None) -> None:
        venue = instrument.venue if instrument else None
        self._bus.publish(IncidentRaised(kind, Severity.CRITICAL, detail, venue, instrument))


def _once_filled(entry: Order) -> Naked:
    request = entry.request
    what = f"{request.side} {plain_text(request.quantity or ZERO)} {entry.instrument}"
    return Naked(entry.instrument, f"{what} by entry {entry.client_order_id} ({entry.status}), should it fill")
