"""Records for the tests, with only what matters to say."""

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

from tradingd.domain.ids import ClientOrderId, IntentId, Purpose, StrategyId, TradeId, VenueOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import Fill, Order, OrderKind, OrderRequest, OrderStatus
from tradingd.domain.records import Record
from tradingd.journal.opening import open_inline
from tradingd.journal.rows import statement_of
from tradingd.journal.store import InlineStore

BTC = InstrumentId.parse("BTC/USDT:USDT@binance")
ETH = InstrumentId.parse("ETH/USDT:USDT@binance")
NOON = 1_700_000_000_000 // 86_400_000 * 86_400_000 + 43_200_000
"""A noon in November 2023, ms UTC."""


def make_order(number: int = 1, purpose: Purpose = Purpose.ENTRY, side: Side = Side.BUY, **fields: Any) -> Order:
    """An order with a client order id of its own; `fields` are those of `Order`."""
    kind = OrderKind.STOP_MARKET if purpose is Purpose.STOP else OrderKind.MARKET
    request = OrderRequest(
        ClientOrderId(f"td-lp1abcdef-{number}{purpose.value}"),
        fields.pop("instrument", BTC),
        purpose,
        side,
        kind,
        Decimal("0.5"),
        reduce_only=purpose is not Purpose.ENTRY,
    )
    given = {
        "strategy": StrategyId("trend"),
        "intent_id": IntentId("d1#1"),
        "status": OrderStatus.SUBMITTED,
        "created_ms": NOON,
        "signed_ms": NOON,
        "window_ms": 3_000,
        "updated_ms": NOON,
    }
    return Order(request, **{**given, **fields})


def make_fill(number: int = 1, side: Side = Side.BUY, **fields: Any) -> Fill:
    """A fill with a trade id of its own."""
    given: dict[str, Any] = {
        "instrument": BTC,
        "trade_id": TradeId(str(number)),
        "venue_order_id": VenueOrderId(f"v{number}"),
        "client_order_id": None,
        "side": side,
        "price": Decimal("43210.1"),
        "quantity": Decimal("0.5"),
        "fee": Decimal("0.25"),
        "fee_currency": "USDT",
        "realized_pnl": None,
        "maker": False,
        "time_ms": NOON + number,
    }
    return Fill(**{**given, **fields})


def inline(path: Path, mode: str = "sim", **pins: str) -> InlineStore:
    """An inline store on `path`."""
    return open_inline(path, mode=mode, now_ms=NOON, pins=pins)


def write(connection: sqlite3.Connection, *records: Record) -> None:
    """Store records at once through the statements of the real store."""
    for record in records:
        connection.execute(*statement_of(record))
    connection.commit()
