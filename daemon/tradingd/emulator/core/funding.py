"""Funding: every eight hours each position pays or receives its notional times the rate."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

from tradingd.emulator.core.account import money

if TYPE_CHECKING:
    from tradingd.emulator.core.exchange import Exchange

FUNDING_MS = 8 * 3_600_000
_USUAL, _SPREAD, _MOST = 0.0001, 0.00015, 0.003


class Funding:
    """Rates are a function of the seed, unless one is set for the next time; positive means that longs pay."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self._exchange = exchange
        self._seed = seed
        self.fixed_rate: Decimal | None = None
        self._next_rates: dict[str, Decimal] = {}
        now_ms = exchange.now_ms
        is_due = now_ms % FUNDING_MS == 0 and exchange.ledger.meta("funded_ms") != str(now_ms)
        self.next_ms = now_ms if is_due else now_ms // FUNDING_MS * FUNDING_MS + FUNDING_MS

    def rate(self, symbol: str) -> Decimal:
        """The rate of the next funding time."""
        if symbol in self._next_rates:
            return self._next_rates[symbol]
        stored = self._exchange.ledger.meta(f"next_funding_rate/{symbol}")
        if stored:
            return Decimal(stored)
        if self.fixed_rate is not None:
            return self.fixed_rate
        draw = Random(f"{self._seed}/{symbol}/funding/{self.next_ms}").gauss(_USUAL, _SPREAD)
        return Decimal(f"{max(-_MOST, min(_MOST, draw)):.8f}")

    def set_next_rate(self, symbol: str, rate: Decimal) -> None:
        """Another rate for the next funding time only."""
        self._next_rates[symbol] = rate
        self._exchange.ledger.set_meta(f"next_funding_rate/{symbol}", str(rate))

    def settle(self) -> None:
        """Charge all positions at the time that is due."""
        exchange = self._exchange
        for symbol in exchange.feeds:
            self.charge(symbol, self.rate(symbol))
            if self._next_rates.pop(symbol, None) is not None or exchange.ledger.meta(f"next_funding_rate/{symbol}"):
                exchange.ledger.set_meta(f"next_funding_rate/{symbol}", "")
        exchange.ledger.set_meta("funded_ms", str(self.next_ms))
        self.next_ms += FUNDING_MS

    def charge(self, symbol: str, rate: Decimal) -> None:
        """Book one payment; an isolated position pays from its own margin as far as that reaches."""
        exchange = self._exchange
        account = exchange.account
        position = account.positions[symbol]
        usdt = money(-position.quantity * exchange.mark_price(symbol) * rate)
        if not usdt:
            return
        if account.isolated[symbol]:
            account.set_apart(symbol, max(-position.isolated_usdt, usdt))
        exchange.book_income(symbol, "FUNDING_FEE", usdt)
        told = (symbol,) if account.isolated[symbol] else ()
        exchange.listener.on_account(told, exchange.now_ms, "FUNDING_FEE")
        exchange.liquidator.forget()
