"""The engine: plain and conditional orders, matching against the book, and the account behind them.

Everything that happens is told to a `Listener` in the order in which it happened, and written to the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Protocol

import msgspec

from tradingd.emulator.core.account import Account, Totals
from tradingd.emulator.core.checks import MAX_OPEN_ORDERS_PER_SYMBOL, check_immediate, check_plain
from tradingd.emulator.core.filters import Draft, check_band, check_quantity, check_tick
from tradingd.emulator.core.funding import Funding
from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.ledger import Ledger
from tradingd.emulator.core.liquidation import Liquidator
from tradingd.emulator.core.market import MINUTE_MS, STEP_MS, Feed, Source, candle_prices
from tradingd.emulator.core.matching import Matching
from tradingd.emulator.core.records import ZERO, Candle, Conditional, Fill, Order, Status
from tradingd.emulator.core.refusal import Cause, Reason, Refused
from tradingd.emulator.core.triggers import Triggers

NEVER_MS = 1 << 62
AFTERMATH_MS = 1_000


class Listener(Protocol):
    """Hears what happens, with the venue time at which it happened."""

    def on_order(self, order: Order, execution: str, fill: Fill | None, at_ms: int) -> None:
        """A plain order changed; `execution` is NEW, TRADE, CALCULATED, CANCELED, EXPIRED or AMENDMENT."""

    def on_conditional(self, order: Conditional, at_ms: int) -> None:
        """A conditional order changed."""

    def on_account(self, symbols: Iterable[str], at_ms: int, cause: str = "ORDER") -> None:
        """The wallet changed, and the positions of these symbols."""

    def on_minute(self, symbol: str, candle: Candle) -> None:
        """A one-minute candle closed."""


class Ids(msgspec.Struct):
    """The next free numbers."""

    order: int = 8_389_765_000_000
    conditional: int = 2_148_700_000
    trade: int = 5_400_000_000


class Exchange:
    """One account on one venue."""

    def __init__(
        self,
        source: Source,
        instruments: dict[str, Instrument],
        account: Account,
        ledger: Ledger,
        seed: int,
        now_ms: int,
        feeds: dict[str, Feed],
    ) -> None:
        self.source = source
        self.instruments = instruments
        self.account = account
        self.ledger = ledger
        self.now_ms = now_ms
        self.feeds = feeds
        self.orders: dict[int, Order] = {}
        self.open_orders: dict[str, dict[int, Order]] = {symbol: {} for symbol in instruments}
        self.fills: list[Fill] = []
        self.ids = Ids()
        self.leftover_on_close = True
        self.remembers_ids = False
        self.max_open_orders = MAX_OPEN_ORDERS_PER_SYMBOL
        self.end_next_in_ms: int | None = None
        self.doomed: set[int] = set()
        self.rng = Random(f"{seed}/exchange")
        self.triggers = Triggers(self)
        self.funding = Funding(self, seed)
        self.liquidator = Liquidator(self)
        self.matching = Matching(self, seed)
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = count()
        self._listener: Listener | None = None

    @property
    def listener(self) -> Listener:
        """Who hears of every change; must be set before anything happens."""
        assert self._listener is not None
        return self._listener

    @listener.setter
    def listener(self, listener: Listener) -> None:
        """Tell `listener`, and nobody else, from now on."""
        self._listener = listener

    # -- time ---------------------------------------------------------------------------------------------------

    def schedule(self, at_ms: int, action: Callable[[], None]) -> None:
        """Do something at a venue time."""
        heappush(self._agenda, (at_ms, next(self._sequence), action))

    @property
    def end_ms(self) -> int:
        """Where time stops: a moment after the last candle, so that what it set off still happens."""
        ends = [feed.minute.open_ms + AFTERMATH_MS for feed in self.feeds.values() if feed.finished]
        return min(ends) if ends else NEVER_MS

    @property
    def is_finished(self) -> bool:
        """Whether the market came to its end."""
        return self.now_ms >= self.end_ms

    def next_event_ms(self) -> int:
        """When something happens next."""
        due = min(self._agenda[0][0] if self._agenda else NEVER_MS, self.funding.next_ms)
        for symbol, feed in self.feeds.items():
            if not feed.finished:
                due = min(due, feed.minute.open_ms + MINUTE_MS)
                if self.is_watched(symbol):
                    due = min(due, self.now_ms // STEP_MS * STEP_MS + STEP_MS)
        return due

    def is_watched(self, symbol: str) -> bool:
        """Whether a price of the symbol can make something happen."""
        return (
            bool(self.open_orders[symbol])
            or self.triggers.is_waiting(symbol)
            or bool(self.account.positions[symbol].quantity)
        )

    def advance(self, to_ms: int) -> None:
        """Let time run, one event after the other."""
        while (due := self.next_event_ms()) <= min(to_ms, self.end_ms):
            self.now_ms = max(self.now_ms, due)
            self._roll_minutes()
            if self.now_ms % STEP_MS == 0:
                self._step()
            while self.funding.next_ms <= self.now_ms:
                self.funding.settle()
            while self._agenda and self._agenda[0][0] <= self.now_ms:
                heappop(self._agenda)[2]()
        self.now_ms = max(self.now_ms, min(to_ms, self.end_ms))

    def _roll_minutes(self) -> None:
        for symbol, feed in self.feeds.items():
            while not feed.finished and feed.minute.open_ms + MINUTE_MS <= self.now_ms:
                candle = feed.roll()
                if candle is None:
                    break
                instrument = self.instruments[symbol]
                self.ledger.add_candle(symbol, candle, candle_prices(candle, instrument))
                self.ledger.set_meta(f"market/{symbol}", self.market_state(symbol))
                self.listener.on_minute(symbol, candle)

    def market_state(self, symbol: str) -> str:
        """What a restart needs to go on inside the open minute."""
        feed = self.feeds[symbol]
        return msgspec.json.encode(
            {"minute": feed.minute, "finished": feed.finished, "source": self.source.state(symbol)}
        ).decode()

    def _step(self) -> None:
        for symbol, orders in self.open_orders.items():
            if orders:
                self.matching.match_resting(symbol)
            self.triggers.check(symbol)
        self.liquidator.check()

    # -- prices -------------------------------------------------------------------------------------------------

    def last_price(self, symbol: str) -> Decimal:
        """Last price of this moment."""
        return self.instruments[symbol].price(self.feeds[symbol].last(self.now_ms))

    def mark_price(self, symbol: str) -> Decimal:
        """Mark price of this moment."""
        return self.instruments[symbol].price(self.feeds[symbol].mark(self.now_ms))

    def book(self, symbol: str, side: int) -> list[tuple[int, int]]:
        """What a taker of `side` meets now, best first."""
        return self.matching.levels(symbol, side)

    def market_bound(self, symbol: str, side: int) -> int:
        """The worst price in ticks at which a market order may fill: the band around the mark."""
        instrument = self.instruments[symbol]
        return instrument.limit_ticks(self.mark_price(symbol) * (1 + side * instrument.price_band_fraction), side)

    # -- the account --------------------------------------------------------------------------------------------

    def totals(self, probe: Order | None = None) -> Totals:
        """The account at the marks of this moment, as if one more order rested."""
        figures = {}
        for symbol, position in self.account.positions.items():
            orders = list(self.open_orders[symbol].values())
            if probe is not None and probe.symbol == symbol:
                orders.append(probe)
            if orders or position.quantity:
                figures[symbol] = (position, self.account.margin(symbol, self.mark_price(symbol), orders))
        return self.account.totals(figures)

    def book_income(self, symbol: str, kind: str, usdt: Decimal) -> None:
        """Change the wallet by something that is no fill."""
        self.account.wallet += usdt
        self.ledger.add_income(self.now_ms, symbol, kind, usdt, None)
        self.ledger.set_meta("wallet", str(self.account.wallet))
        if symbol:
            self.ledger.put_position(self.account.positions[symbol])
        self.liquidator.forget()

    # -- plain orders -------------------------------------------------------------------------------------------

    def reserve_id(self) -> int:
        """An order number for an order that comes later, or never."""
        number = self.ids.order
        self.ids.order += self.rng.randrange(1, 40)
        return number

    def submit(self, draft: Draft, order_id: int | None = None) -> Order:
        """Check, accept and match a plain order; raises Refused with nothing changed."""
        return self.accept(self.drafted(draft, check_plain(self, draft), order_id))

    def drafted(self, draft: Draft, quantity: Decimal, order_id: int | None = None) -> Order:
        """The order that a draft asks for, under the next number or a reserved one."""
        return Order(
            order_id=self.ids.order if order_id is None else order_id,
            client_order_id=draft.client_order_id,
            symbol=draft.symbol,
            side=draft.side,
            kind=draft.kind,
            quantity=quantity,
            price=draft.price if draft.kind == "LIMIT" else ZERO,
            time_in_force=draft.time_in_force,
            reduce_only=draft.reduce_only,
            created_ms=self.now_ms,
            updated_ms=self.now_ms,
            original_kind=draft.kind,
            good_till_ms=draft.good_till_ms,
        )

    def accept(self, order: Order) -> Order:
        """Take a checked order into the book and match it."""
        if order.order_id == self.ids.order:
            self.reserve_id()
        self.store(order, "NEW")
        if self.end_next_in_ms is not None:
            return self._doom(order, self.end_next_in_ms)
        if order.good_till_ms:
            self._expire_at(order)
        instrument = self.instruments[order.symbol]
        limit = instrument.limit_ticks(order.price, order.side) if order.kind == "LIMIT" else None
        if order.parent_id:
            try:
                check_immediate(self, order.symbol, order.side, order.time_in_force, order.quantity, limit)
            except Refused as refusal:
                return self.finish(order, Status.EXPIRED, refusal.reason.value)
        order = self.matching.take(order, self.market_bound(order.symbol, order.side) if limit is None else limit)
        if order.is_open and (order.kind == "MARKET" or order.time_in_force in ("IOC", "FOK")):
            order = self.finish(order, Status.EXPIRED, Cause.NO_QUANTITY)
        return order

    def _doom(self, order: Order, in_ms: int) -> Order:
        """Never match it, and end it later: what an engine does that takes its word back."""
        self.doomed.add(order.order_id)

        def end() -> None:
            if (newest := self.orders[order.order_id]).is_open:
                self.finish(newest, Status.EXPIRED, Cause.VENUE)
            self.doomed.discard(order.order_id)

        self.schedule(self.now_ms + in_ms, end)
        return order

    def _expire_at(self, order: Order) -> None:
        def expire() -> None:
            if (newest := self.orders[order.order_id]).is_open:
                self.finish(newest, Status.EXPIRED, Cause.TIME)

        self.schedule(order.good_till_ms, expire)

    def resume(self) -> None:
        """After a restart: what was going to happen to orders still will."""
        for orders in self.open_orders.values():
            for order in list(orders.values()):
                if order.kind == "MARKET":  # it was doomed
                    self.finish(order, Status.EXPIRED, Cause.VENUE)
                elif order.good_till_ms:
                    self._expire_at(order)

    def cancel(self, order: Order) -> Order:
        """Take an open order out of the book."""
        if not order.is_open:
            raise Refused(Reason.UNKNOWN_ORDER)
        return self.finish(order, Status.CANCELED, Cause.OWNER)

    def amend(self, order: Order, price: Decimal, quantity: Decimal) -> Order:
        """Change price and quantity of a resting limit order; it may fill at once."""
        if not order.is_open:
            raise Refused(Reason.UNKNOWN_ORDER)
        if order.kind != "LIMIT":
            raise Refused(Reason.NOT_A_LIMIT_ORDER)
        if (price, quantity) == (order.price, order.quantity):
            raise Refused(Reason.NOTHING_TO_CHANGE)
        instrument = self.instruments[order.symbol]
        if instrument.status != "TRADING":
            raise Refused(Reason.AMEND_NOT_TRADING)
        check_tick(instrument, price)
        check_quantity(instrument, quantity, is_market=False)
        check_band(instrument, order.side, price, self.mark_price(order.symbol))
        if quantity <= order.filled:
            return self.finish(order, Status.CANCELED, Cause.OWNER)
        if not order.reduce_only and quantity * price < instrument.min_notional_usdt:
            raise Refused(Reason.AMEND_NOTIONAL, str(instrument.min_notional_usdt))
        order = msgspec.structs.replace(order, price=price, quantity=quantity, updated_ms=self.now_ms)
        self.store(order, "AMENDMENT")
        return self.matching.take(order, instrument.limit_ticks(price, order.side))

    def finish(self, order: Order, status: Status, reason: str = "") -> Order:
        """End an order without another fill."""
        order = msgspec.structs.replace(order, status=status, updated_ms=self.now_ms, reason=reason)
        self.store(order, status.value)
        return order

    def has_open_id(self, client_order_id: str) -> bool:
        """Whether an open order of either kind carries that client id; any order, if the venue remembers ids."""
        if not client_order_id:
            return False
        if self.remembers_ids and (
            self.triggers.has_known_id(client_order_id)
            or any(order.client_order_id == client_order_id for order in self.orders.values())
        ):
            return True
        plain = any(
            order.client_order_id == client_order_id
            for orders in self.open_orders.values()
            for order in orders.values()
        )
        return plain or self.triggers.has_open_id(client_order_id)

    # -- records ------------------------------------------------------------------------------------------------

    def store(self, order: Order, execution: str) -> None:
        """Keep a new state of an order and tell of it."""
        self.keep(order)
        self.listener.on_order(order, execution, None, self.now_ms)
        self.triggers.child_changed(order)

    def keep(self, order: Order) -> None:
        """Keep a new state of an order."""
        self.orders[order.order_id] = order
        if order.is_open:
            self.open_orders[order.symbol][order.order_id] = order
        else:
            self.open_orders[order.symbol].pop(order.order_id, None)
        self.ledger.put_order(order)
