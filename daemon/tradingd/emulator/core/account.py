"""One USDT account in one-way mode with cross margin: wallet, positions, leverage, and what a new order may use."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.records import BUY, ZERO, Order, Position

TAKER_FEE = Decimal("0.0005")
MAKER_FEE = Decimal("0.0002")
DEFAULT_LEVERAGE = 20
_MONEY = Decimal("0.00000001")
_PRICE = Decimal("0.000000000001")


def money(value: Decimal) -> Decimal:
    """USDT to eight digits, as the venue books it."""
    return value.quantize(_MONEY, ROUND_HALF_EVEN)


class SymbolMargin(msgspec.Struct, frozen=True):
    """Margin figures of one symbol in USDT; `notional` is signed."""

    notional: Decimal
    unrealized: Decimal
    position_margin: Decimal
    order_margin: Decimal
    maintenance: Decimal

    @property
    def initial(self) -> Decimal:
        """What the symbol binds."""
        return self.position_margin + self.order_margin


class Account:
    """The truth about balances and positions; what clients see of it lags behind elsewhere."""

    def __init__(self, instruments: dict[str, Instrument], wallet: Decimal) -> None:
        self.instruments = instruments
        self.wallet = wallet
        self.positions = {symbol: Position(symbol) for symbol in instruments}
        self.leverage = dict.fromkeys(instruments, DEFAULT_LEVERAGE)
        self.isolated = dict.fromkeys(instruments, False)

    def apply_fill(self, symbol: str, side: int, price: Decimal, quantity: Decimal, is_maker: bool,
                   now_ms: int) -> tuple[Decimal, Decimal]:
        """Book one fill; gives realised profit before fee, and the fee."""
        position = self.positions[symbol]
        signed = quantity * side
        realized = ZERO
        if position.quantity * signed < 0:
            closed = min(abs(position.quantity), quantity)
            direction = BUY if position.quantity > 0 else -BUY
            realized = money((price - position.entry_price) * closed * direction)
        after = position.quantity + signed
        fee = money(price * quantity * (MAKER_FEE if is_maker else TAKER_FEE))
        self.positions[symbol] = Position(
            symbol=symbol,
            quantity=after,
            entry_price=_entry(position, signed, after, price),
            realized_usdt=position.realized_usdt + realized,
            updated_ms=now_ms,
        )
        self.wallet += realized - fee
        return realized, fee

    def margin(self, symbol: str, mark: Decimal, orders: Iterable[Order], position: Position | None = None,
               ) -> SymbolMargin:
        """Figures of one symbol at a mark price; resting orders bind margin only beyond the position they reduce."""
        held = self.positions[symbol] if position is None else position
        leverage = self.leverage[symbol]
        notional = held.quantity * mark
        bids = asks = ZERO
        for order in orders:
            if not order.reduce_only:
                value = order.remaining * (order.price or mark)
                if order.side == BUY:
                    bids += value
                else:
                    asks += value
        most = max(abs(notional + bids), abs(notional - asks))
        position_margin = abs(notional) / leverage
        bracket = self.instruments[symbol].bracket(abs(notional))
        maintenance = abs(notional) * bracket.maintenance_fraction - bracket.cumulative_usdt if notional else ZERO
        return SymbolMargin(
            notional=notional,
            unrealized=held.quantity * (mark - held.entry_price) if held.quantity else ZERO,
            position_margin=position_margin,
            order_margin=max(ZERO, most / leverage - position_margin),
            maintenance=maintenance,
        )


def _entry(position: Position, signed: Decimal, after: Decimal, price: Decimal) -> Decimal:
    if after == 0:
        return ZERO
    if position.quantity * after < 0 or position.quantity == 0:
        return price
    if abs(after) < abs(position.quantity):
        return position.entry_price
    cost = position.quantity * position.entry_price + signed * price
    return (cost / after).quantize(_PRICE, ROUND_HALF_EVEN)
