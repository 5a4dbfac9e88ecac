"""What clients may see: orders, fills, positions and balances, each a little behind the truth and not in step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from tradingd.emulator.core.account import Account, SymbolMargin, Totals
from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.core.lags import FOREVER_MS, Lagged, Lags
from tradingd.emulator.core.records import Conditional, ConditionalStatus, Fill, Order, Position, Status

RETENTION_MS = 3 * 86_400_000
FILLS_RETENTION_MS = 90 * 86_400_000
LONGEST_LAG_MS = 60_000
"""Real milliseconds for which one that ended is remembered as open, for those who are shown the past."""


class Views:
    """Lagging copies of the account; `now_ms` is moved by the model."""

    def __init__(self, account: Account, lags: Lags, unfilled_kept_ms: int = RETENTION_MS) -> None:
        self.now_ms = 0
        self._unfilled_kept_ms = unfilled_kept_ms
        self._lags = lags
        self._account = account
        self._orders: dict[int, Lagged[Order | None]] = {}
        self._conditionals: dict[int, Lagged[Conditional | None]] = {}
        self._maybe_open: dict[int, str] = {}
        self._maybe_waiting: dict[int, str] = {}
        self._by_client_id: dict[str, list[int]] = {}
        self._conditional_by_client_id: dict[str, list[int]] = {}
        self._fills: dict[str, list[tuple[int, Fill]]] = {symbol: [] for symbol in account.instruments}
        self._wallet = Lagged(account.wallet)
        self._positions = {symbol: Lagged(position) for symbol, position in account.positions.items()}

    # -- changes ------------------------------------------------------------------------------------------------

    def put_order(self, order: Order, at_ms: int) -> None:
        """A plain order changed."""
        if order.order_id not in self._orders:
            self._orders[order.order_id] = Lagged(None)
            self._by_client_id.setdefault(order.client_order_id, []).append(order.order_id)
            self._maybe_open[order.order_id] = order.symbol
        self._orders[order.order_id].put(at_ms + self._lags.order(), order)

    def put_conditional(self, order: Conditional, at_ms: int) -> None:
        """A conditional order changed."""
        number = order.conditional_id
        if number not in self._conditionals:
            self._conditionals[number] = Lagged(None)
            self._conditional_by_client_id.setdefault(order.client_order_id, []).append(number)
            self._maybe_waiting[number] = order.symbol
        self._conditionals[number].put(at_ms + self._lags.order(), order)

    def put_fill(self, fill: Fill, at_ms: int) -> None:
        """An execution happened."""
        self._fills[fill.symbol].append((at_ms + self._lags.fill(), fill))

    def put_account(self, symbols: Iterable[str], at_ms: int) -> None:
        """Wallet and positions changed."""
        self._wallet.put(at_ms + self._lags.balance(), self._account.wallet)
        for symbol in symbols:
            self._positions[symbol].put(at_ms + self._lags.position(), self._account.positions[symbol])

    def load(self, orders: Iterable[Order], conditionals: Iterable[Conditional], fills: Iterable[Fill]) -> None:
        """Take everything over from the ledger, without delay."""
        enabled, self._lags = self._lags, Lags.none()
        for order in orders:
            self.put_order(order, 0)
        for conditional in conditionals:
            self.put_conditional(conditional, 0)
        for fill in fills:
            self.put_fill(fill, 0)
        self._wallet = Lagged(self._account.wallet)
        self._positions = {symbol: Lagged(position) for symbol, position in self._account.positions.items()}
        self._lags = enabled

    # -- looks --------------------------------------------------------------------------------------------------

    def order(self, symbol: str, order_id: int | None, client_order_id: str | None) -> Order | None:
        """A plain order by either id, newest first."""
        numbers = [order_id] if order_id is not None else reversed(self._by_client_id.get(client_order_id or "", []))
        for number in numbers:
            lagged = self._orders.get(number)
            order = lagged.at(self.now_ms) if lagged else None
            if order is not None and order.symbol == symbol and not self._is_forgotten(order):
                return order
        return None

    def conditional(self, number: int | None, client_order_id: str | None) -> Conditional | None:
        """A conditional order by either id, newest first."""
        numbers = (
            [number] if number is not None else reversed(self._conditional_by_client_id.get(client_order_id or "", []))
        )
        for each in numbers:
            lagged = self._conditionals.get(each)
            order = lagged.at(self.now_ms) if lagged else None
            if order is not None and not self._is_old_conditional(order):
                return order
        return None

    def open_orders(self, symbol: str | None) -> list[Order]:
        """Plain orders that look open."""
        out: list[Order] = []
        for number, owner in list(self._maybe_open.items()):
            order = self._orders[number].at(self.now_ms)
            if order is not None and not order.is_open:
                if self._is_past_asking(order.updated_ms):
                    del self._maybe_open[number]
            elif order is not None and symbol in (None, owner):
                out.append(order)
        return out

    def open_conditionals(self, symbol: str | None) -> list[Conditional]:
        """Conditional orders that look as if they still waited."""
        out: list[Conditional] = []
        for number, owner in list(self._maybe_waiting.items()):
            order = self._conditionals[number].at(self.now_ms)
            if order is None:
                continue
            if order.status not in (ConditionalStatus.NEW, ConditionalStatus.TRIGGERING):
                if self._is_past_asking(order.updated_ms):
                    del self._maybe_waiting[number]
            elif symbol in (None, owner):
                out.append(order)
        return out

    def all_orders(self, symbol: str | None) -> Iterator[Order]:
        """All plain orders, oldest first."""
        for lagged in self._orders.values():
            order = lagged.at(self.now_ms)
            if order is not None and symbol in (None, order.symbol) and not self._is_forgotten(order):
                yield order

    def all_conditionals(self, symbol: str | None) -> Iterator[Conditional]:
        """All conditional orders, oldest first."""
        for lagged in self._conditionals.values():
            order = lagged.at(self.now_ms)
            if order is not None and symbol in (None, order.symbol) and not self._is_old_conditional(order):
                yield order

    def fills(self, symbol: str) -> Iterator[Fill]:
        """Executions of a symbol, oldest first."""
        for visible_ms, fill in self._fills[symbol]:
            if visible_ms <= self.now_ms:
                yield fill

    def position(self, symbol: str) -> Position:
        """A position as it looks now."""
        return self._positions[symbol].at(self.now_ms)

    @property
    def wallet(self) -> Decimal:
        """The wallet as it looks now."""
        return self._wallet.at(self.now_ms)

    def _is_past_asking(self, ended_ms: int) -> bool:
        """Whether the end of an order lies beyond what a lagging read can show."""
        return ended_ms < self.now_ms - LONGEST_LAG_MS * self._lags.scale

    def _is_forgotten(self, order: Order) -> bool:
        """The venue forgets cancelled and expired orders without a fill after some days, all others after ninety."""
        if order.is_open or self.now_ms >= FOREVER_MS:
            return False
        age_ms = self.now_ms - order.updated_ms
        unfilled = order.status in (Status.CANCELED, Status.EXPIRED) and not order.filled
        return age_ms > (self._unfilled_kept_ms if unfilled else FILLS_RETENTION_MS)

    def _is_old_conditional(self, order: Conditional) -> bool:
        if order.status in (ConditionalStatus.NEW, ConditionalStatus.TRIGGERING) or self.now_ms >= FOREVER_MS:
            return False
        kept_ms = FILLS_RETENTION_MS if order.child_filled else self._unfilled_kept_ms
        return self.now_ms - order.updated_ms > kept_ms


def seen_totals(exchange: Exchange, views: Views) -> Totals:
    """Visible figures of the whole account; symbols without position and order are left out."""
    held = exchange.account
    figures: dict[str, tuple[Position, SymbolMargin]] = {}
    for symbol in exchange.feeds:
        orders, position = views.open_orders(symbol), views.position(symbol)
        if position.quantity or orders:
            figures[symbol] = (position, held.margin(symbol, exchange.mark_price(symbol), orders, position))
    return held.totals(figures, views.wallet)
