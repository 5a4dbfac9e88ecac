"""Positions in one-way mode: signed net quantity, average entry price, and what a fill makes of them."""

from decimal import Decimal

import msgspec

from tradingd.domain.ids import StrategyId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.numbers import ZERO
from tradingd.domain.orders import Fill


class Position(msgspec.Struct, frozen=True):
    """Signed net quantity in contracts; `entry_price` is the average of the fills that opened it.

    `strategy` opened it; None while flat, or when nobody here did.
    """

    instrument: InstrumentId
    quantity: Decimal = ZERO
    entry_price: Decimal | None = None
    opened_ms: int | None = None
    updated_ms: int = 0
    strategy: StrategyId | None = None

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held."""
        return self.quantity == 0

    @property
    def is_long(self) -> bool:
        """Whether contracts are held."""
        return self.quantity > 0

    @property
    def is_short(self) -> bool:
        """Whether contracts are owed."""
        return self.quantity < 0

    def unrealized_pnl(self, price: Decimal, contract_size: Decimal = Decimal(1)) -> Decimal:
        """Profit or loss at `price`, in quote currency, before fees."""
        if self.entry_price is None:
            return ZERO
        return (price - self.entry_price) * self.quantity * contract_size


class PositionChange(msgspec.Struct, frozen=True):
    """What one fill did: the position after it, the profit it realised (quote currency, before fees), what it ended."""

    position: Position
    realized_pnl: Decimal
    closed: bool
    opened: bool
    flipped: bool


def apply_fill(
    position: Position, fill: Fill, contract_size: Decimal = Decimal(1), strategy: StrategyId | None = None
) -> PositionChange:
    """The change that `fill` makes to `position`; a sign change in one step is reported as `flipped` (P9)."""
    before, change = position.quantity, fill.signed_quantity
    after = before + change
    closing = min(abs(before), abs(change)) if before * change < 0 else ZERO
    realized = ZERO
    if closing and position.entry_price is not None:
        direction = 1 if before > 0 else -1
        realized = (fill.price - position.entry_price) * closing * direction * contract_size
    flipped = before * after < 0
    owner = position.strategy
    if after == 0:
        entry, opened_ms, owner = None, None, None
    elif before == 0 or flipped:
        entry, opened_ms, owner = fill.price, fill.time_ms, strategy
    elif closing:
        entry, opened_ms = position.entry_price, position.opened_ms
    else:
        paid = (position.entry_price or fill.price) * abs(before) + fill.price * fill.quantity
        entry, opened_ms = paid / abs(after), position.opened_ms
    changed = Position(position.instrument, after, entry, opened_ms, max(position.updated_ms, fill.time_ms), owner)
    return PositionChange(
        position=changed,
        realized_pnl=realized,
        closed=before != 0 and (after == 0 or flipped),
        opened=after != 0 and (before == 0 or flipped),
        flipped=flipped,
    )
