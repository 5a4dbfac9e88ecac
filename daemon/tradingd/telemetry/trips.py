"""What each round trip that is under way has earned and cost so far; a restart in the middle changes nothing."""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from tradingd.domain.instruments import InstrumentId
from tradingd.domain.numbers import ZERO
from tradingd.domain.orders import Fill
from tradingd.domain.positions import Position


class Trip(msgspec.Struct):
    """One instrument from flat to flat; USDT. `known`: every fill since it was flat is in the sums."""

    quantity: Decimal = ZERO
    realized: Decimal = ZERO
    fees: Decimal = ZERO
    known: bool = True


class Trips:
    """The trips by instrument. `positions` are those recovered, `fills` recent ones from the journal."""

    def __init__(self, positions: Iterable[Position], fills: Iterable[Fill]) -> None:
        held = {each.instrument: each for each in positions if not each.is_flat}
        self._trips = {instrument: Trip() for instrument in held}
        for fill in fills:
            position, trip = held.get(fill.instrument), self._trips.get(fill.instrument)
            if position is None or trip is None or fill.time_ms < (position.opened_ms or 0):
                continue
            trip.quantity += fill.signed_quantity
            trip.fees += fill.fee
            trip.realized += fill.realized_pnl or ZERO
        for instrument, position in held.items():
            trip = self._trips[instrument]
            # fills older than those given, or a correction without one: the sums are not the whole
            trip.known = trip.quantity == position.quantity
            trip.quantity = position.quantity

    def quantity(self, instrument: InstrumentId) -> Decimal:
        """The signed quantity that was last told."""
        return self._of(instrument).quantity

    def paid(self, fill: Fill) -> None:
        """A fill cost its fee."""
        self._of(fill.instrument).fees += fill.fee

    def moved(self, instrument: InstrumentId, quantity: Decimal, realized: Decimal) -> Trip:
        """The position changed to `quantity`, which realised a profit; the trip as it is then."""
        trip = self._of(instrument)
        trip.quantity = quantity
        trip.realized += realized
        return trip

    def end(self, instrument: InstrumentId, quantity: Decimal) -> None:
        """It is over; the next one begins with `quantity`, after a change of sign."""
        self._trips[instrument] = Trip(quantity)

    def _of(self, instrument: InstrumentId) -> Trip:
        return self._trips.setdefault(instrument, Trip())
