"""What the daemon believes, in memory: orders, positions, closes, balances. Changed only by the recorder."""

from collections.abc import Iterator
from decimal import Decimal

from tradingd.domain.account import AccountSnapshot, VenueOrder
from tradingd.domain.ids import ClientOrderId, Purpose, StrategyId, TradeId, VenueId, VenueOrderId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.numbers import ZERO
from tradingd.domain.orders import Order
from tradingd.domain.positions import Position
from tradingd.domain.records import LastCloseRecord, Recovered

REMEMBERED_ORDERS = 2_000
"""Final orders kept in memory for late fills; older ones are read from the journal."""


class TradingState:
    """The picture that guards and lanes read. Reads are cheap and synchronous; nothing here waits."""

    def __init__(self) -> None:
        self.orders: dict[ClientOrderId, Order] = {}
        self.open_ids: dict[ClientOrderId, None] = {}
        self._final_ids: dict[ClientOrderId, None] = {}
        self._lacking: dict[InstrumentId, dict[ClientOrderId, Decimal]] = {}
        self._by_venue_id: dict[tuple[InstrumentId, str, VenueOrderId], ClientOrderId] = {}
        self.order_books: dict[VenueId, tuple[str, ...]] = {}
        self.positions: dict[InstrumentId, Position] = {}
        self.last_closes: dict[InstrumentId, LastCloseRecord] = {}
        self.seen_trades: dict[InstrumentId, set[TradeId]] = {}
        self.last_fill_ms: dict[InstrumentId, int] = {}
        self.stop_end: dict[InstrumentId, tuple[ClientOrderId, int]] = {}
        self.accounts: dict[VenueId, AccountSnapshot] = {}
        self.prices: dict[InstrumentId, tuple[Decimal, float]] = {}
        self.instruments: dict[InstrumentId, Instrument] = {}
        self.owners: dict[InstrumentId, StrategyId] = {}
        self.blocked: dict[InstrumentId, str] = {}
        self.exits_only: dict[InstrumentId, tuple[float, str]] = {}

    def takes_only_exits(self, instrument: InstrumentId, now_s: float) -> str:
        """Why no entry is sent there, for good or until a monotonic time; empty where one may be."""
        until_s, why = self.exits_only.get(instrument, (0.0, ""))
        return self.blocked.get(instrument) or (why if now_s < until_s else "")

    def load(self, recovered: Recovered) -> None:
        """Take over what a start read from the journal."""
        for order in (*recovered.recent_orders, *recovered.open_orders):
            self.put_order(order)
        self.positions.update({position.instrument: position for position in recovered.positions})
        self.last_closes.update({close.instrument: close for close in recovered.last_closes})
        self.last_fill_ms.update(recovered.last_fill_ms)
        for fill in recovered.recent_fills:
            self.seen_trades.setdefault(fill.instrument, set()).add(fill.trade_id)

    def put_order(self, order: Order) -> None:
        """Replace what is known of an order, and index it by every id that the venue may name it with."""
        key = order.client_order_id
        self.orders[key] = order
        for indexed in self._venue_keys(order):
            self._by_venue_id[indexed] = key
        self._note_lacking(order)
        # in one of the two, never both: a late fact may take an order back from its end
        if not order.status.is_final:
            self._final_ids.pop(key, None)
            self.open_ids[key] = None
        elif key not in self._final_ids:
            self.open_ids.pop(key, None)
            self._final_ids[key] = None
            self._forget_old()

    def _forget_old(self) -> None:
        while len(self._final_ids) > REMEMBERED_ORDERS:
            old = next(iter(self._final_ids))
            del self._final_ids[old]
            order = self.orders.pop(old)
            self._lacking.get(order.instrument, {}).pop(old, None)
            for indexed in self._venue_keys(order):
                self._by_venue_id.pop(indexed, None)

    def _note_lacking(self, order: Order) -> None:
        """Remember what the venue reported as filled beyond what is booked: asked many times for each change."""
        lacking = self._lacking.setdefault(order.instrument, {})
        missing = order.filled_quantity - order.booked_quantity
        if missing > 0:
            lacking[order.client_order_id] = missing * order.request.side.sign
        else:
            lacking.pop(order.client_order_id, None)

    def _book(self, venue: VenueId, *, conditional: bool) -> str:
        """The order book that an order is in: conditional ones in the last, all others and every fill in the first."""
        books = self.order_books.get(venue, ("",))
        return books[-1 if conditional else 0]

    def _venue_keys(self, order: Order) -> Iterator[tuple[InstrumentId, str, VenueOrderId]]:
        """Each id that the venue gave it, with its book: two books may count alike. A child is a plain order."""
        venue = order.instrument.venue
        if order.venue_order_id is not None:
            book = self._book(venue, conditional=order.request.kind.is_conditional)
            yield order.instrument, book, order.venue_order_id
        if order.child_venue_order_id is not None:
            yield order.instrument, self._book(venue, conditional=False), order.child_venue_order_id

    def order_by_any_id(
        self,
        instrument: InstrumentId,
        client_order_id: str | None,
        venue_order_id: VenueOrderId | None,
        book: str | None = None,
    ) -> Order | None:
        """The order that either id names; the client order id goes first. Without a `book`: where fills come from."""
        if client_order_id is not None and (order := self.orders.get(ClientOrderId(client_order_id))) is not None:
            return order
        if venue_order_id is None:
            return None
        if book is None or instrument.venue not in self.order_books:
            book = self._book(instrument.venue, conditional=False)
        key = self._by_venue_id.get((instrument, book, venue_order_id))
        return None if key is None else self.orders.get(key)

    def open_orders(self, instrument: InstrumentId | None = None) -> Iterator[Order]:
        """Orders that are not final, oldest first."""
        for key in list(self.open_ids):
            order = self.orders[key]
            if instrument is None or order.instrument == instrument:
                yield order

    def entries(self, instrument: InstrumentId | None = None) -> Iterator[Order]:
        """Orders that may still enlarge a position."""
        return (order for order in self.open_orders(instrument) if order.needs_exposure_margin)

    def position(self, instrument: InstrumentId) -> Position:
        """The journal's position: the sum of the booked fills."""
        return self.positions.get(instrument) or Position(instrument)

    def note_end(self, order: Order, shown: VenueOrder) -> None:
        """Keep when the last stop of an instrument ended, by the venue: it may be told long after."""
        if order.request.purpose is Purpose.STOP and shown.status.is_final and shown.updated_ms > order.signed_ms:
            self.stop_end[order.instrument] = order.client_order_id, shown.updated_ms

    def is_foreign(self, instrument: InstrumentId) -> bool:
        """Whether what is held is nobody's here: whoever opened a position owns it, also when others add to it."""
        position = self.position(instrument)
        return not position.is_flat and position.strategy is None

    def unbooked_quantity(self, instrument: InstrumentId) -> Decimal:
        """Signed contracts that the venue reported as filled and whose fills have not arrived yet."""
        lacking = self._lacking.get(instrument)
        return sum(lacking.values(), ZERO) if lacking else ZERO

    def lacks_fills(self, instrument: InstrumentId) -> bool:
        """Whether anything reported as filled is not booked yet; an entry and its exit add up to nothing."""
        return bool(self._lacking.get(instrument))

    def recent_orders(self, instrument: InstrumentId) -> Iterator[Order]:
        """Open orders, then the final ones that are remembered, newest first: any of them can still lack fills."""
        keys = [*self.open_ids, *reversed(self._final_ids)]
        return (self.orders[key] for key in keys if self.orders[key].instrument == instrument)

    def expected_quantity(self, instrument: InstrumentId) -> Decimal:
        """Signed contracts we believe the venue holds now."""
        return self.position(instrument).quantity + self.unbooked_quantity(instrument)

    def unknown_orders(self, instrument: InstrumentId | None = None) -> list[Order]:
        """Orders whose fate at the venue is not known."""
        return [order for order in self.open_orders(instrument) if order.status.is_unknown]

    def open_positions(self, venue: VenueId | None = None) -> list[Position]:
        """Positions that are not flat."""
        return [
            position
            for position in self.positions.values()
            if not position.is_flat and (venue is None or position.instrument.venue == venue)
        ]

    def note_price(self, instrument: InstrumentId, price: Decimal, monotonic: float) -> None:
        """The newest price seen, and when (real seconds)."""
        self.prices[instrument] = (price, monotonic)

    def fresh_price(self, instrument: InstrumentId, monotonic: float, max_age_s: float) -> Decimal | None:
        """The newest price, unless it is older than `max_age_s` real seconds."""
        known = self.prices.get(instrument)
        return known[0] if known is not None and monotonic - known[1] <= max_age_s else None

    def last_price(self, instrument: InstrumentId) -> Decimal | None:
        """The newest price seen, however old."""
        known = self.prices.get(instrument)
        return known[0] if known is not None else None

    def instruments_of(self, venue: VenueId) -> list[InstrumentId]:
        """Our instruments on a venue: those a strategy owns, and those where something is still open."""
        found = {instrument: None for instrument in self.owners if instrument.venue == venue}
        found.update({position.instrument: None for position in self.open_positions(venue)})
        found.update({order.instrument: None for order in self.open_orders() if order.instrument.venue == venue})
        return list(found)
