"""What the venue does to positions by itself: liquidation, deleveraging for somebody else's, settlement of a symbol."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tradingd.emulator.core.account import money
from tradingd.emulator.core.records import ZERO, Order, Status
from tradingd.emulator.core.refusal import Cause

if TYPE_CHECKING:
    from tradingd.emulator.core.exchange import Exchange

CLEARANCE_FEE = Decimal("0.0125")
LIQUIDATION, DELEVERAGING, SETTLEMENT = "autoclose-", "adl_autoclose", "settlement_autoclose-"
_MAINTENANCE_SLACK = 1.2


class Liquidator:
    """Watches margin against maintenance, and closes at the mark price what is no longer carried."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._safe: list[tuple[str, int, float]] | None = None
        self._headroom = 0.0

    def forget(self) -> None:
        """Wallet, positions or settings changed: the next look is a full one."""
        self._safe = None

    def check(self) -> None:
        """Liquidate what the mark prices of this moment no longer carry."""
        if self._is_surely_safe():
            return
        exchange = self._exchange
        account = exchange.account
        totals = exchange.totals()
        headroom = [totals.free_equity - totals.cross_maintenance]
        for symbol, margin in totals.symbols.items():
            position = account.positions[symbol]
            if position.quantity and account.isolated[symbol]:
                own = position.isolated_usdt + margin.unrealized - margin.maintenance
                if own <= 0:
                    self._liquidate_isolated(symbol)
                    self.check()
                    return
                headroom.append(own)
        held = [symbol for symbol, position in account.positions.items() if position.quantity]
        cross = [symbol for symbol in held if not account.isolated[symbol]]
        if cross and headroom[0] <= 0:
            self._liquidate_cross(cross)
            return
        self._headroom = float(min(headroom if cross else headroom[1:], default=ZERO))
        self._safe = [
            (symbol, exchange.feeds[symbol].mark(exchange.now_ms), _slope(exchange, symbol)) for symbol in held
        ]

    def _is_surely_safe(self) -> bool:
        """Whether prices have moved by less than the room that the last full look found; cheap, asked at every step."""
        if self._safe is None:
            return not any(position.quantity for position in self._exchange.account.positions.values())
        exchange, moved = self._exchange, 0.0
        for symbol, mark, slope in self._safe:
            moved += abs(exchange.feeds[symbol].mark(exchange.now_ms) - mark) * slope
        return moved < self._headroom

    def _liquidate_isolated(self, symbol: str) -> None:
        self._cancel_orders(symbol)
        margin = self._exchange.account.positions[symbol].isolated_usdt
        before = self._exchange.account.wallet
        self.close(symbol, LIQUIDATION)
        self._settle_with_insurance(symbol, margin + self._exchange.account.wallet - before)

    def _liquidate_cross(self, symbols: list[str]) -> None:
        """The position that loses most goes first; the rest stays if the account then carries it."""
        for symbol in self._exchange.feeds:
            if not self._exchange.account.isolated[symbol]:
                self._cancel_orders(symbol)
        totals = self._exchange.totals()
        first = min(symbols, key=lambda symbol: totals.symbols[symbol].unrealized)
        self.close(first, LIQUIDATION)
        after = self._exchange.totals()
        if len(symbols) == 1:
            self._settle_with_insurance(first, after.cross_wallet)
        elif after.free_equity > 0:
            self._settle_with_insurance(first, after.free_equity)
        self.check()

    def _settle_with_insurance(self, symbol: str, left_usdt: Decimal) -> None:
        """A fee from what is left of the margin, or what is missing from the insurance fund."""
        exchange = self._exchange
        fill = exchange.fills[-1]
        usdt = -min(left_usdt, money(fill.price * fill.quantity * CLEARANCE_FEE))
        if usdt:
            exchange.book_income(symbol, "INSURANCE_CLEAR", usdt)
            exchange.listener.on_account((), exchange.now_ms, "INSURANCE_CLEAR")
            self.forget()

    def _cancel_orders(self, symbol: str, cause: Cause = Cause.LIQUIDATION) -> None:
        for order in list(self._exchange.open_orders[symbol].values()):
            self._exchange.finish(order, Status.CANCELED, cause)

    def close(self, symbol: str, prefix: str, quantity: Decimal | None = None) -> None:
        """Close a position, or a part of it, at the mark price under an order of the venue's own."""
        exchange = self._exchange
        held = exchange.account.positions[symbol].quantity
        if not held:
            return
        mark = exchange.mark_price(symbol)
        suffix = "" if prefix == DELEVERAGING else f"{exchange.now_ms}{exchange.rng.randrange(10**6):06d}"
        order = Order(
            order_id=exchange.ids.order,
            client_order_id=prefix + suffix,
            symbol=symbol,
            side=-1 if held > 0 else 1,
            kind="LIMIT",
            quantity=abs(held) if quantity is None else min(abs(held), quantity),
            price=mark,
            time_in_force="IOC",
            reduce_only=False,
            created_ms=exchange.now_ms,
            updated_ms=exchange.now_ms,
            original_kind="LIMIT",
        )
        exchange.matching.fill_by_venue(order, mark)

    def settle_symbol(self, symbol: str) -> None:
        """The symbol leaves the market: orders end, the position is settled at the mark price."""
        self._cancel_orders(symbol, Cause.SETTLEMENT)
        self._exchange.triggers.cancel_all(symbol)
        self.close(symbol, SETTLEMENT)

    def liquidate(self, symbol: str) -> None:
        """Liquidate a position now, whatever the margin says."""
        if not self._exchange.account.positions[symbol].quantity:
            return
        if self._exchange.account.isolated[symbol]:
            self._liquidate_isolated(symbol)
        else:
            self._cancel_orders(symbol)
            self.close(symbol, LIQUIDATION)
            totals = self._exchange.totals()
            if totals.free_equity > 0 or not totals.cross_maintenance:
                self._settle_with_insurance(symbol, totals.free_equity)


def _slope(exchange: Exchange, symbol: str) -> float:
    """By how much one tick can change margin less maintenance, with room for a higher bracket."""
    instrument = exchange.instruments[symbol]
    return float(abs(exchange.account.positions[symbol].quantity) * instrument.price_unit) * _MAINTENANCE_SLACK
