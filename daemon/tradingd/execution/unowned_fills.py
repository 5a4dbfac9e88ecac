"""Booked fills whose order is not known: they wait for it to show itself, or to be found in the journal."""

from collections.abc import Iterable

from tradingd.domain.ids import (
    ClientOrderId,
    ParsedClientOrderId,
    TradeId,
    VenueId,
    VenueOrderId,
    parse_client_order_id,
)
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Fill, Order

UNOWNED_FILLS = 1_000
"""Fills remembered that nobody here ordered: a child's fill may come before anybody knows its parent."""


OWNERLESS_FILLS = 1_000
"""Fills that wait to be looked up, all in all. More stand among those that nobody here ordered: entries are denied
as long as any waits, and each is told as such."""


class UnownedFills:
    """Keeps the newest of them. `ownerless` are those under our id prefix: whose they are only the journal can tell,
    and if it cannot, an order went out unwritten (P2)."""

    def __init__(self, order_prefix: str) -> None:
        self._prefix = order_prefix
        self._fills: dict[tuple[InstrumentId, TradeId], Fill] = {}
        self.ownerless: dict[tuple[InstrumentId, TradeId], Fill] = {}

    def name_of(self, fill: Fill) -> ParsedClientOrderId | None:
        """The parts of the fill's client order id, when it is under our prefix."""
        return parse_client_order_id(fill.client_order_id, self._prefix)

    def remember(self, fill: Fill, *, is_new: bool) -> bool:
        """Keep one; a new one under our prefix is to be looked up: then True."""
        self._fills[(fill.instrument, fill.trade_id)] = fill
        waits = is_new and self.name_of(fill) is not None and len(self.ownerless) < OWNERLESS_FILLS
        if waits:
            self.ownerless[(fill.instrument, fill.trade_id)] = fill
        while len(self._fills) > UNOWNED_FILLS:
            del self._fills[next(iter(self._fills))]
        return waits

    def known(self, fill: Fill) -> Fill | None:
        """The same execution, as it was booked, while its order is not known."""
        return self._fills.get((fill.instrument, fill.trade_id))

    def of(self, order: Order, venue_ids: Iterable[VenueOrderId | None]) -> list[Fill]:
        """Those that belong to an order, by its own id or one of the venue's."""
        ids = set(venue_ids) - {None}
        return [
            fill
            for fill in (self._fills | self.ownerless).values()
            if fill.instrument == order.instrument
            and (fill.venue_order_id in ids or fill.client_order_id == order.client_order_id)
        ]

    def keys(self, venue: VenueId) -> dict[ClientOrderId, InstrumentId]:
        """The client order ids on a venue that are to be looked up."""
        fills = [fill for fill in self.ownerless.values() if fill.instrument.venue == venue]
        return {ClientOrderId(str(fill.client_order_id)): fill.instrument for fill in fills}

    def ownerless_of(self, key: ClientOrderId) -> list[Fill]:
        """Those of one order that are to be looked up."""
        return [fill for fill in self.ownerless.values() if fill.client_order_id == key]

    def give_up(self, key: ClientOrderId) -> None:
        """The journal does not have the order: that was told, and there is nobody else to ask."""
        for fill in self.ownerless_of(key):
            del self.ownerless[(fill.instrument, fill.trade_id)]

    def take(self, fill: Fill) -> None:
        """Its order is known now."""
        self._fills.pop((fill.instrument, fill.trade_id), None)
        self.ownerless.pop((fill.instrument, fill.trade_id), None)
