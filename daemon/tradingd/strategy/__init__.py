"""What a strategy plugin may import: `from tradingd.strategy import Strategy, Candle, Enter, …` and nothing else."""

from tradingd.domain.candles import Candle
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.intents import CancelOrders, Enter, Exit, Intent, Note, Protect, Side, TimeInForce
from tradingd.domain.orders import Fill, Order, OrderKind, OrderStatus
from tradingd.domain.positions import Position
from tradingd.strategy.base import Signal, Strategy
from tradingd.strategy.context import Context
from tradingd.strategy.parameters import Range

__all__ = [
    "CancelOrders",
    "Candle",
    "Context",
    "Enter",
    "Exit",
    "Fill",
    "Instrument",
    "InstrumentId",
    "Intent",
    "Note",
    "Order",
    "OrderKind",
    "OrderStatus",
    "Position",
    "Protect",
    "Range",
    "Side",
    "Signal",
    "Strategy",
    "TimeInForce",
]
