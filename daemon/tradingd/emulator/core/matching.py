"""Matching: takers meet the book, resting orders are reached by the price, and each fill is booked and told of."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from tradingd.emulator.core.book import Book
from tradingd.emulator.core.market import STEP_MS
from tradingd.emulator.core.records import ZERO, Fill, Order, Status
from tradingd.emulator.core.refusal import Cause

if TYPE_CHECKING:
    from tradingd.emulator.core.exchange import Exchange


class Matching:
    """The books of all symbols and what is filled against them."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self._exchange = exchange
        self._books = {symbol: Book(instrument, seed) for symbol, instrument in exchange.instruments.items()}

    def levels(self, symbol: str, side: int) -> list[tuple[int, int]]:
        """What a taker of `side` meets now, best first."""
        feed, now_ms = self._exchange.feeds[symbol], self._exchange.now_ms
        step_ms = feed.minute.open_ms + feed.step(now_ms) * STEP_MS
        return self._books[symbol].levels(side, step_ms, feed.last(now_ms))

    def take(self, order: Order, limit_ticks: int) -> Order:
        """Fill against the book as taker."""
        instrument = self._exchange.instruments[order.symbol]
        self.levels(order.symbol, order.side)
        taken = self._books[order.symbol].take(order.side, instrument.lots(order.remaining), limit_ticks)
        return self._fill(
            order, [(instrument.price(price), size * instrument.lot_unit) for price, size in taken], is_maker=False
        )

    def fill_by_venue(self, order: Order, price: Decimal) -> None:
        """An order of the venue's own fills whole at a price, past the book."""
        self._exchange.ids.order = order.order_id + self._exchange.rng.randrange(1, 40)
        self._exchange.store(order, "NEW")
        self._fill(order, [(price, order.quantity)], is_maker=False, execution="CALCULATED")

    def match_resting(self, symbol: str) -> None:
        """Fill resting orders that the price has reached, at their own price, as far as the other side reaches."""
        instrument = self._exchange.instruments[symbol]
        for order in sorted(self._exchange.open_orders[symbol].values(), key=lambda o: (-o.side * o.price, o.order_id)):
            if order.order_id not in self._exchange.open_orders[symbol] or order.order_id in self._exchange.doomed:
                continue
            self.levels(symbol, order.side)
            limit = instrument.limit_ticks(order.price, order.side)
            taken = self._books[symbol].take(order.side, instrument.lots(order.remaining), limit)
            if taken:
                lots = sum(size for _, size in taken)
                self._fill(order, [(order.price, lots * instrument.lot_unit)], is_maker=True)

    def _fill(
        self, order: Order, parts: list[tuple[Decimal, Decimal]], is_maker: bool, execution: str = "TRADE"
    ) -> Order:
        """Book fills of one order; tells of the account first and of the order after, as the venue does."""
        exchange = self._exchange
        account = exchange.account
        told: list[tuple[Order, Fill]] = []
        closed = False
        for price, wanted in parts:
            quantity = wanted
            if order.reduce_only:
                held = account.positions[order.symbol].quantity
                quantity = min(wanted, abs(held) if held * order.side < 0 else ZERO)
                if quantity <= 0:
                    break
            before = account.positions[order.symbol].quantity
            realized, fee = account.apply_fill(order.symbol, order.side, price, quantity, is_maker, exchange.now_ms)
            fill = Fill(
                exchange.ids.trade,
                order.symbol,
                order.order_id,
                order.client_order_id,
                order.side,
                price,
                quantity,
                fee,
                realized,
                exchange.now_ms,
                is_maker,
            )
            exchange.ids.trade += exchange.rng.randrange(1, 9)
            filled = order.filled + quantity
            order = msgspec.structs.replace(
                order,
                filled=filled,
                quote=order.quote + price * quantity,
                updated_ms=exchange.now_ms,
                status=Status.FILLED if filled >= order.quantity else Status.PARTIALLY_FILLED,
            )
            self._book_fill(fill)
            told.append((order, fill))
            closed = closed or (before != 0 and before * account.positions[order.symbol].quantity <= 0)
        if told:
            exchange.keep(order)
            exchange.liquidator.forget()
            exchange.listener.on_account((order.symbol,), exchange.now_ms)
            for state, fill in told:
                exchange.listener.on_order(state, execution, fill, exchange.now_ms)
            exchange.triggers.child_changed(order)
            if closed:
                self._position_closed(order.symbol)
        return exchange.orders[order.order_id]

    def _book_fill(self, fill: Fill) -> None:
        exchange = self._exchange
        exchange.fills.append(fill)
        exchange.ledger.add_fill(fill, exchange.account.positions[fill.symbol], exchange.account.wallet)
        if fill.realized_usdt:
            exchange.ledger.add_income(fill.time_ms, fill.symbol, "REALIZED_PNL", fill.realized_usdt, fill.trade_id)
        exchange.ledger.add_income(fill.time_ms, fill.symbol, "COMMISSION", -fill.fee_usdt, fill.trade_id)

    def _position_closed(self, symbol: str) -> None:
        """Resting reduce-only orders end with the position; conditional ones stay unless they were tied to it."""
        for order in list(self._exchange.open_orders[symbol].values()):
            if order.reduce_only:
                self._exchange.finish(order, Status.EXPIRED, Cause.REDUCE_ONLY)
        self._exchange.triggers.position_closed(symbol, self._exchange.leftover_on_close)
