"""What the core knows of orders, fills and positions; a change makes a new record, so a record is also a snapshot."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

ZERO = Decimal(0)
BUY = 1
SELL = -1


class Status(StrEnum):
    """Life of a plain order."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"


class ConditionalStatus(StrEnum):
    """Life of a conditional order; after TRIGGERED its child, a plain order, carries on."""

    NEW = "NEW"
    TRIGGERING = "TRIGGERING"
    TRIGGERED = "TRIGGERED"
    FINISHED = "FINISHED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"


OPEN = (Status.NEW, Status.PARTIALLY_FILLED)
WAITING = (ConditionalStatus.NEW,)


class Order(msgspec.Struct, frozen=True):
    """A plain order; `side` is +1 or -1, `quote` the sum of price times quantity over its fills, `reason` why it ended
    without being filled (a value of `Reason` or `Cause`)."""

    order_id: int
    client_order_id: str
    symbol: str
    side: int
    kind: str
    quantity: Decimal
    price: Decimal
    time_in_force: str
    reduce_only: bool
    created_ms: int
    updated_ms: int
    status: Status = Status.NEW
    filled: Decimal = ZERO
    quote: Decimal = ZERO
    original_kind: str = ""
    trigger_price: Decimal = ZERO
    working_type: str = "CONTRACT_PRICE"
    close_position: bool = False
    parent_id: int = 0
    good_till_ms: int = 0
    reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.status in OPEN

    @property
    def remaining(self) -> Decimal:
        """What is not filled yet."""
        return self.quantity - self.filled

    @property
    def average_price(self) -> Decimal:
        """Mean price of its fills, zero before the first."""
        return self.quote / self.filled if self.filled else ZERO


class Conditional(msgspec.Struct, frozen=True):
    """An order that waits for a price; `is_take_profit` fixes on which side of the price it waits."""

    conditional_id: int
    client_order_id: str
    symbol: str
    side: int
    kind: str
    is_take_profit: bool
    trigger_price: Decimal
    trigger_ticks: int
    price: Decimal
    quantity: Decimal
    close_position: bool
    reduce_only: bool
    working_type: str
    time_in_force: str
    price_protect: bool
    created_ms: int
    updated_ms: int
    status: ConditionalStatus = ConditionalStatus.NEW
    child_order_id: int = 0
    triggered_ms: int = 0
    reason: str = ""
    child_average_price: Decimal = ZERO
    child_filled: Decimal = ZERO
    callback_fraction: Decimal = ZERO
    activation_ticks: int = 0
    extreme_ticks: int = 0

    @property
    def fires_above(self) -> bool:
        """Whether the price has to rise to the trigger."""
        return (self.side == BUY) != self.is_take_profit

    @property
    def trails(self) -> bool:
        """Whether its trigger follows the price."""
        return self.callback_fraction > 0

    @property
    def expires_with_position(self) -> bool:
        """Whether the venue takes it back when the position closes."""
        return self.time_in_force == "GTE_GTC"


class Fill(msgspec.Struct, frozen=True):
    """One execution of one order; `fee_usdt` is what was paid, `realized_usdt` before that fee."""

    trade_id: int
    symbol: str
    order_id: int
    client_order_id: str
    side: int
    price: Decimal
    quantity: Decimal
    fee_usdt: Decimal
    realized_usdt: Decimal
    time_ms: int
    is_maker: bool


class Position(msgspec.Struct, frozen=True):
    """Signed net quantity of one symbol with its average entry; `isolated_usdt` is the margin set apart for it."""

    symbol: str
    quantity: Decimal = ZERO
    entry_price: Decimal = ZERO
    realized_usdt: Decimal = ZERO
    updated_ms: int = 0
    isolated_usdt: Decimal = ZERO


class Candle(msgspec.Struct, frozen=True, gc=False):
    """One candle in ticks; `volume` in base quantity."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: float
    count: int
