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

from tradingd.emulator.core.account import Account
from tradingd.emulator.core.book import Book
from tradingd.emulator.core.filters import Draft, check_band, check_notional, check_quantity, check_tick
from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.ledger import Ledger
from tradingd.emulator.core.market import MINUTE_MS, STEP_MS, Feed, Source, candle_prices
from tradingd.emulator.core.records import BUY, ZERO, Candle, Conditional, Fill, Order, Status
from tradingd.emulator.core.refusal import Reason, Refused
from tradingd.emulator.core.triggers import Triggers

MAX_OPEN_ORDERS_PER_SYMBOL = 200
NEVER_MS = 1 << 62
AFTERMATH_MS = 1_000


class Listener(Protocol):
    """Hears what happens, with the venue time at which it happened."""

    def on_order(self, order: Order, execution: str, fill: Fill | None, at_ms: int) -> None:
        """A plain order changed; `execution` is NEW, TRADE, CANCELED, EXPIRED or AMENDMENT."""

    def on_conditional(self, order: Conditional, at_ms: int) -> None:
        """A conditional order changed."""

    def on_account(self, symbols: Iterable[str], at_ms: int) -> None:
        """Wallet and positions changed through fills."""

    def on_minute(self, symbol: str, candle: Candle) -> None:
        """A one-minute candle closed."""


class Ids(msgspec.Struct):
    """The next free numbers."""

    order: int = 8_389_765_000_000
    conditional: int = 2_148_700_000
    trade: int = 5_400_000_000


class Exchange:
    """One account on one venue."""

    def __init__(self, source: Source, instruments: dict[str, Instrument], account: Account, ledger: Ledger, seed: int,
                 now_ms: int, feeds: dict[str, Feed]) -> None:
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
        self.rng = Random(f"{seed}/exchange")
        self.triggers = Triggers(self)
        self._books = {symbol: Book(instrument, seed) for symbol, instrument in instruments.items()}
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
        due = self._agenda[0][0] if self._agenda else NEVER_MS
        for symbol, feed in self.feeds.items():
            if not feed.finished:
                due = min(due, feed.minute.open_ms + MINUTE_MS)
                if self.is_watched(symbol):
                    due = min(due, self.now_ms // STEP_MS * STEP_MS + STEP_MS)
        return due

    def is_watched(self, symbol: str) -> bool:
        """Whether a price of the symbol can make something happen."""
        return bool(self.open_orders[symbol]) or self.triggers.is_waiting(symbol)

    def advance(self, to_ms: int) -> None:
        """Let time run, one event after the other."""
        while (due := self.next_event_ms()) <= min(to_ms, self.end_ms):
            self.now_ms = max(self.now_ms, due)
            self._roll_minutes()
            if self.now_ms % STEP_MS == 0:
                self._step()
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
        return msgspec.json.encode({"minute": feed.minute, "finished": feed.finished,
                                    "source": self.source.state(symbol)}).decode()

    def _step(self) -> None:
        for symbol, orders in self.open_orders.items():
            if orders:
                self._match_resting(symbol)
            self.triggers.check(symbol)

    # -- prices -------------------------------------------------------------------------------------------------

    def last_price(self, symbol: str) -> Decimal:
        """Last price of this moment."""
        return self.instruments[symbol].price(self.feeds[symbol].last(self.now_ms))

    def mark_price(self, symbol: str) -> Decimal:
        """Mark price of this moment."""
        return self.instruments[symbol].price(self.feeds[symbol].mark(self.now_ms))

    def book(self, symbol: str, side: int) -> list[tuple[int, int]]:
        """What a taker of `side` meets now, best first."""
        feed = self.feeds[symbol]
        step_ms = feed.minute.open_ms + feed.step(self.now_ms) * STEP_MS
        return self._books[symbol].levels(side, step_ms, feed.last(self.now_ms))

    # -- plain orders -------------------------------------------------------------------------------------------

    def submit(self, draft: Draft) -> Order:
        """Check, accept and match a plain order; raises Refused with nothing changed."""
        quantity = self._check(draft)
        order = Order(
            order_id=self.ids.order,
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
        )
        return self.accept(order)

    def accept(self, order: Order) -> Order:
        """Take a checked order into the book and match it."""
        self.ids.order = order.order_id + self.rng.randrange(1, 40)
        self._store(order, "NEW")
        limit = self.instruments[order.symbol].ticks(order.price) if order.kind == "LIMIT" else None
        order = self._take(order, limit)
        if order.is_open and (order.kind == "MARKET" or order.time_in_force in ("IOC", "FOK")):
            order = self.finish(order, Status.EXPIRED)
        return order

    def cancel(self, order: Order) -> Order:
        """Take an open order out of the book."""
        if not order.is_open:
            raise Refused(Reason.UNKNOWN_ORDER)
        return self.finish(order, Status.CANCELED)

    def amend(self, order: Order, price: Decimal, quantity: Decimal) -> Order:
        """Change price and quantity of a resting limit order; it may fill at once."""
        if not order.is_open:
            raise Refused(Reason.UNKNOWN_ORDER)
        if order.kind != "LIMIT":
            raise Refused(Reason.NOT_A_LIMIT_ORDER)
        if (price, quantity) == (order.price, order.quantity):
            raise Refused(Reason.NOTHING_TO_CHANGE)
        instrument = self.instruments[order.symbol]
        check_tick(instrument, price)
        check_quantity(instrument, quantity, is_market=False)
        check_band(instrument, order.side, price, self.mark_price(order.symbol))
        if quantity <= order.filled:
            return self.finish(order, Status.CANCELED)
        if not order.reduce_only:
            check_notional(instrument, quantity, price)
        order = msgspec.structs.replace(order, price=price, quantity=quantity, updated_ms=self.now_ms)
        self._store(order, "AMENDMENT")
        return self._take(order, instrument.ticks(price))

    def finish(self, order: Order, status: Status) -> Order:
        """End an order without another fill."""
        order = msgspec.structs.replace(order, status=status, updated_ms=self.now_ms)
        self._store(order, status.value)
        return order

    def _check(self, draft: Draft) -> Decimal:
        """All checks of a plain order; gives the quantity, cut down to the position for a reduce-only order."""
        instrument = self.instruments[draft.symbol]
        mark = self.mark_price(draft.symbol)
        check_quantity(instrument, draft.quantity, draft.kind == "MARKET")
        if draft.kind == "LIMIT":
            check_tick(instrument, draft.price)
            check_band(instrument, draft.side, draft.price, mark)
        if self.has_open_id(draft.client_order_id):
            raise Refused(Reason.DUPLICATE_ID)
        if len(self.open_orders[draft.symbol]) >= MAX_OPEN_ORDERS_PER_SYMBOL:
            raise Refused(Reason.TOO_MANY_ORDERS)
        quantity = draft.quantity
        if draft.reduce_only:
            quantity = min(quantity, self.reducible(draft.symbol, draft.side))
        else:
            check_notional(instrument, quantity, draft.price if draft.kind == "LIMIT" else mark)
            self.check_margin(draft.symbol, draft.side, quantity, draft.price)
        if draft.time_in_force in ("FOK", "GTX"):
            self._check_immediate(draft, quantity)
        return quantity

    def reducible(self, symbol: str, side: int) -> Decimal:
        """How much an order of that side can take off the position; raises Refused if nothing."""
        held = self.account.positions[symbol].quantity
        if held * side >= 0:
            raise Refused(Reason.REDUCE_ONLY)
        return abs(held)

    def check_margin(self, symbol: str, side: int, quantity: Decimal, price: Decimal) -> None:
        """Whether the account can carry the order: initial margin of everything, and the loss it opens with."""
        mark, last = self.mark_price(symbol), self.last_price(symbol)
        worst = price or last * (Decimal("1.0005") if side == BUY else Decimal(1))
        probe = Order(0, "", symbol, side, "LIMIT", quantity, worst, "GTC", False, 0, 0)
        equity, bound = self.account.wallet, ZERO
        for other, position in self.account.positions.items():
            orders = list(self.open_orders[other].values())
            if other == symbol:
                orders.append(probe)
            elif not orders and not position.quantity:
                continue
            margin = self.account.margin(other, self.mark_price(other), orders)
            equity += margin.unrealized
            bound += margin.initial
            if other == symbol:
                leverage = self.account.leverage[symbol]
                bracket = self.instruments[symbol].bracket(margin.initial * leverage)
                held = position.quantity
                if bracket.leverage < leverage and held * side >= 0:
                    raise Refused(Reason.LEVERAGE_CAP)
                added = max(ZERO, quantity - (abs(held) if held * side < 0 else ZERO))
                bound += added * max(ZERO, (worst - mark) * side)
                if added == 0:
                    return
        if bound > equity:
            raise Refused(Reason.MARGIN)

    def _check_immediate(self, draft: Draft, quantity: Decimal) -> None:
        instrument = self.instruments[draft.symbol]
        levels = self.book(draft.symbol, draft.side)
        limit = instrument.ticks(draft.price) if draft.kind == "LIMIT" else None
        reachable = [size for price, size in levels if limit is None or (price - limit) * draft.side <= 0]
        if draft.time_in_force == "GTX" and reachable:
            raise Refused(Reason.POST_ONLY)
        if draft.time_in_force == "FOK" and sum(reachable) * instrument.lot_size < quantity:
            raise Refused(Reason.FILL_OR_KILL)

    def has_open_id(self, client_order_id: str) -> bool:
        """Whether an open order of either kind carries that client id; any order, if the venue remembers ids."""
        if not client_order_id:
            return False
        if self.remembers_ids and any(order.client_order_id == client_order_id for order in self.orders.values()):
            return True
        plain = any(order.client_order_id == client_order_id for orders in self.open_orders.values()
                    for order in orders.values())
        return plain or self.triggers.has_open_id(client_order_id)

    # -- matching -----------------------------------------------------------------------------------------------

    def _take(self, order: Order, limit_ticks: int | None) -> Order:
        """Fill against the book as taker."""
        instrument = self.instruments[order.symbol]
        if limit_ticks is None and order.kind == "LIMIT":
            return order
        self.book(order.symbol, order.side)
        lots = int(order.remaining / instrument.lot_size)
        taken = self._books[order.symbol].take(order.side, lots, limit_ticks)
        return self._fill(order, [(instrument.price(price), size * instrument.lot_size) for price, size in taken],
                          is_maker=False)

    def _match_resting(self, symbol: str) -> None:
        """Fill resting orders that the price has reached, at their own price, as far as the other side reaches."""
        instrument = self.instruments[symbol]
        for order in sorted(self.open_orders[symbol].values(), key=lambda o: (-o.side * o.price, o.order_id)):
            if order.order_id not in self.open_orders[symbol]:
                continue
            self.book(symbol, order.side)
            limit = instrument.ticks(order.price)
            taken = self._books[symbol].take(order.side, int(order.remaining / instrument.lot_size), limit)
            if taken:
                lots = sum(size for _, size in taken)
                self._fill(order, [(order.price, lots * instrument.lot_size)], is_maker=True)

    def _fill(self, order: Order, parts: list[tuple[Decimal, Decimal]], is_maker: bool) -> Order:
        """Book fills of one order; tells of the account first and of the order after, as the venue does."""
        told: list[tuple[Order, Fill]] = []
        closed = False
        for price, wanted in parts:
            quantity = wanted
            if order.reduce_only:
                held = self.account.positions[order.symbol].quantity
                quantity = min(wanted, abs(held) if held * order.side < 0 else ZERO)
                if quantity <= 0:
                    break
            before = self.account.positions[order.symbol].quantity
            realized, fee = self.account.apply_fill(order.symbol, order.side, price, quantity, is_maker, self.now_ms)
            fill = Fill(self.ids.trade, order.symbol, order.order_id, order.client_order_id, order.side, price,
                        quantity, fee, realized, self.now_ms, is_maker)
            self.ids.trade += self.rng.randrange(1, 9)
            filled = order.filled + quantity
            order = msgspec.structs.replace(
                order, filled=filled, quote=order.quote + price * quantity, updated_ms=self.now_ms,
                status=Status.FILLED if filled >= order.quantity else Status.PARTIALLY_FILLED)
            self._book_fill(fill)
            told.append((order, fill))
            closed = closed or (before != 0 and before * self.account.positions[order.symbol].quantity <= 0)
        if told:
            self._keep(order)
            self.listener.on_account((order.symbol,), self.now_ms)
            for state, fill in told:
                self.listener.on_order(state, "TRADE", fill, self.now_ms)
            self.triggers.child_changed(order)
            if closed:
                self._position_closed(order.symbol)
        return self.orders[order.order_id]

    def _book_fill(self, fill: Fill) -> None:
        self.fills.append(fill)
        self.ledger.add_fill(fill, self.account.positions[fill.symbol], self.account.wallet)
        if fill.realized_usdt:
            self.ledger.add_income(fill.time_ms, fill.symbol, "REALIZED_PNL", fill.realized_usdt, fill.trade_id)
        self.ledger.add_income(fill.time_ms, fill.symbol, "COMMISSION", -fill.fee_usdt, fill.trade_id)

    def _position_closed(self, symbol: str) -> None:
        """Resting reduce-only orders end with the position; conditional ones stay unless they were tied to it."""
        for order in list(self.open_orders[symbol].values()):
            if order.reduce_only:
                self.finish(order, Status.EXPIRED)
        self.triggers.position_closed(symbol, self.leftover_on_close)

    def _store(self, order: Order, execution: str) -> None:
        self._keep(order)
        self.listener.on_order(order, execution, None, self.now_ms)
        self.triggers.child_changed(order)

    def _keep(self, order: Order) -> None:
        self.orders[order.order_id] = order
        if order.is_open:
            self.open_orders[order.symbol][order.order_id] = order
        else:
            self.open_orders[order.symbol].pop(order.order_id, None)
        self.ledger.put_order(order)
