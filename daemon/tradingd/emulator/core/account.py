"""One USDT account in one-way mode, cross or isolated per symbol: wallet, positions, and what a new order may use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.records import BUY, ZERO, Order, Position

TAKER_FEE = Decimal("0.0005")
MAKER_FEE = Decimal("0.0002")
"""Of an account that is not told others."""
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


class Totals(msgspec.Struct, frozen=True):
    """Figures of the whole account in USDT. Margin set apart for isolated positions is no part of `cross_wallet`."""

    symbols: dict[str, SymbolMargin]
    wallet: Decimal
    cross_wallet: Decimal
    unrealized: Decimal
    cross_unrealized: Decimal
    position_margin: Decimal
    order_margin: Decimal
    maintenance: Decimal
    cross_maintenance: Decimal
    bound: Decimal

    @property
    def equity(self) -> Decimal:
        """Wallet and open profit."""
        return self.wallet + self.unrealized

    @property
    def free_equity(self) -> Decimal:
        """What cross positions and all resting orders share."""
        return self.cross_wallet + self.cross_unrealized

    @property
    def initial(self) -> Decimal:
        """Initial margin of everything."""
        return self.position_margin + self.order_margin

    @property
    def available(self) -> Decimal:
        """What a new order may bind."""
        return max(ZERO, self.free_equity - self.bound)


class Account:
    """The truth about balances and positions; what clients see of it lags behind elsewhere."""

    def __init__(
        self,
        instruments: dict[str, Instrument],
        wallet: Decimal,
        taker_fee: Decimal = TAKER_FEE,
        maker_fee: Decimal = MAKER_FEE,
        leverage: int = DEFAULT_LEVERAGE,
    ) -> None:
        self.taker_fee, self.maker_fee = taker_fee, maker_fee
        self.instruments = instruments
        self.wallet = wallet
        self.positions = {symbol: Position(symbol) for symbol in instruments}
        self.leverage = dict.fromkeys(instruments, leverage)
        self.isolated = dict.fromkeys(instruments, False)
        self.is_hedged = False

    def apply_fill(
        self, symbol: str, side: int, price: Decimal, quantity: Decimal, is_maker: bool, now_ms: int
    ) -> tuple[Decimal, Decimal]:
        """Book one fill; gives realised profit before fee, and the fee."""
        position = self.positions[symbol]
        signed = quantity * side
        realized = ZERO
        if position.quantity * signed < 0:
            closed = min(abs(position.quantity), quantity)
            direction = BUY if position.quantity > 0 else -BUY
            realized = money((price - position.entry_price) * closed * direction)
        after = position.quantity + signed
        fee = money(price * quantity * (self.maker_fee if is_maker else self.taker_fee))
        self.positions[symbol] = Position(
            symbol=symbol,
            quantity=after,
            entry_price=_entry(position, signed, after, price),
            realized_usdt=position.realized_usdt + realized,
            updated_ms=now_ms,
            isolated_usdt=self._isolated_after(position, after, price) if self.isolated[symbol] else ZERO,
        )
        self.wallet += realized - fee
        return realized, fee

    def _isolated_after(self, position: Position, after: Decimal, price: Decimal) -> Decimal:
        """What is added brings its initial margin, what is closed takes its share away, a turn begins anew."""
        held, leverage = position.quantity, self.leverage[position.symbol]
        if held * after <= 0:
            return money(abs(after) * price / leverage)
        if abs(after) <= abs(held):
            return money(position.isolated_usdt * after / held)
        return position.isolated_usdt + money(abs(after - held) * price / leverage)

    def set_apart(self, symbol: str, usdt: Decimal) -> None:
        """Change the margin of an isolated position."""
        position = self.positions[symbol]
        self.positions[symbol] = msgspec.structs.replace(position, isolated_usdt=position.isolated_usdt + usdt)

    def totals(self, figures: Mapping[str, tuple[Position, SymbolMargin]], wallet: Decimal | None = None) -> Totals:
        """The account from what its symbols show; symbols without position and order may be left out."""
        wallet = self.wallet if wallet is None else wallet
        cross_wallet, bound = wallet, ZERO
        cross = [ZERO, ZERO]
        for symbol, (position, margin) in figures.items():
            if self.isolated[symbol]:
                cross_wallet -= position.isolated_usdt
                bound += margin.order_margin
            else:
                bound += margin.initial
                cross[0] += margin.unrealized
                cross[1] += margin.maintenance
        margins = {symbol: margin for symbol, (_, margin) in figures.items()}
        return Totals(
            symbols=margins,
            wallet=wallet,
            cross_wallet=cross_wallet,
            unrealized=sum((margin.unrealized for margin in margins.values()), ZERO),
            cross_unrealized=cross[0],
            position_margin=sum((margin.position_margin for margin in margins.values()), ZERO),
            order_margin=sum((margin.order_margin for margin in margins.values()), ZERO),
            maintenance=sum((margin.maintenance for margin in margins.values()), ZERO),
            cross_maintenance=cross[1],
            bound=bound,
        )

    def liquidation_price(self, symbol: str, position: Position, mark: Decimal, totals: Totals) -> Decimal:
        """Where margin meets maintenance if only this symbol moves; zero when that is nowhere."""
        held = position.quantity
        if not held:
            return ZERO
        if self.isolated[symbol]:
            margin = position.isolated_usdt
        else:
            own = totals.symbols[symbol]
            margin = totals.free_equity - own.unrealized - (totals.cross_maintenance - own.maintenance)
        bracket = self.instruments[symbol].bracket(abs(held) * mark)
        slope = held - abs(held) * bracket.maintenance_fraction
        return max(ZERO, (held * position.entry_price - margin - bracket.cumulative_usdt) / slope)

    def margin(
        self,
        symbol: str,
        mark: Decimal,
        orders: Iterable[Order],
        position: Position | None = None,
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
