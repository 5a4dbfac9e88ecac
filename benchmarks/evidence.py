"""Both sides of the comparison, read with sqlite3 and csv alone: the venue's ledger and the daemon's journal.

Nothing of tradingd is imported here or in compare.py, so that a mistake in the daemon, in its journal or in the
built-in venue's code cannot also be a mistake of the comparison.
"""

import csv
import hashlib
import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

ZERO = Decimal(0)


class VenueOrder(NamedTuple):
    """An order that the venue accepted, in either of its two books; `end_ms` is None while it lives."""

    client_order_id: str
    venue_order_id: str
    symbol: str
    side: str
    kind: str
    status: str
    quantity: Decimal
    filled: Decimal
    trigger_price: Decimal | None
    created_ms: int
    end_ms: int | None


class Level(NamedTuple):
    """A stop or take profit that a position carried as its state; `end_ms` is None while it stands."""

    symbol: str
    kind: str
    created_ms: int
    end_ms: int | None


class Fill(NamedTuple):
    """One execution, in the same terms on both sides."""

    symbol: str
    trade_id: str
    client_order_id: str
    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    realized: Decimal
    time_ms: int


class Holding(NamedTuple):
    """The venue's position after one fill."""

    time_ms: int
    symbol: str
    quantity: Decimal


class VenueSide(NamedTuple):
    """Everything the venue's ledger knows; `name` is the venue's."""

    name: str
    orders: list[VenueOrder]
    levels: list[Level]
    fills: list[Fill]
    of_levels: set[str]
    """trade ids of fills that a level of the position made: nobody ordered them"""
    holdings: list[Holding]
    positions: dict[str, Decimal]
    creates: list[tuple[str, int]]
    """(client order id, times that a request with it was accepted)"""
    candles: list[tuple[str, int, tuple[Decimal, ...]]]
    income: list[tuple[str, Decimal]]
    start_balance: Decimal
    wallet: Decimal


class JournalOrder(NamedTuple):
    """An order as the journal has it."""

    client_order_id: str
    venue_order_id: str | None
    symbol: str
    purpose: str
    side: str
    kind: str
    quantity: Decimal | None
    trigger_price: Decimal | None
    filled: Decimal
    booked: Decimal
    status: str
    intent_id: str | None


class Decision(NamedTuple):
    """A strategy's answer to one candle; `told_ms` is venue time when it was asked."""

    stream: str
    close_ms: int
    told_ms: int
    late: bool


class Intent(NamedTuple):
    """What a strategy wanted, and what became of it."""

    intent_id: str
    decision: str | None
    symbol: str
    kind: str
    outcome: str | None
    reason: str
    payload: dict[str, Any]


class JournalSide(NamedTuple):
    """Everything the journal knows."""

    orders: list[JournalOrder]
    fills: list[Fill]
    positions: dict[str, Decimal]
    decisions: list[Decision]
    decision_keys: set[str]
    streams: dict[str, int]
    intents: list[Intent]
    incidents: list[tuple[str, str, str]]
    wallet: Decimal | None
    ledger_sum: Decimal
    boots: int
    integrity: str


class Row(NamedTuple):
    """One line of the candle file."""

    open_ms: int
    prices: tuple[Decimal, ...]


_OVER = ("FILLED", "CANCELED", "EXPIRED", "REJECTED", "FINISHED")


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


def _number(value: object) -> Decimal:
    """Decimal text as it stands, a REAL by its shortest text."""
    return Decimal(value if isinstance(value, str) else repr(value))


def _maybe(value: object) -> Decimal | None:
    return None if value is None else _number(value)


def venue_symbol(symbol: str) -> str:
    """BTC/USDT:USDT is BTCUSDT on the venue."""
    return symbol.partition(":")[0].replace("/", "")


def number_of(public: str) -> str:
    """An id that a venue shows like a UUID is a number in its last group; any other id stands as it is."""
    try:
        number = str(int(public.rpartition("-")[2], 16)) if public.count("-") == 4 else public
    except ValueError:
        return public
    digest = hashlib.sha256(number.encode()).hexdigest()
    shown = f"{digest[:8]}-{digest[8:12]}-4{digest[12:15]}-a{digest[15:18]}-{int(number):012x}" if "-" in public else ""
    return number if shown == public else public


def read_venue(path: Path) -> VenueSide:
    """The venue's ledger. Children of conditional orders are no orders of their own here, their fills count; what waits
    without a client's id is a level that a position carries."""
    db = _open(path)
    meta = dict(db.execute("SELECT key, value FROM meta"))
    orders = [
        VenueOrder(r[0], str(r[1]), r[2], r[3], r[4], r[5], _number(r[6]), _number(r[7]), None, r[8],
                   r[9] if r[5] in _OVER else None)
        for r in db.execute("SELECT client_order_id, order_id, symbol, side, json_extract(record, '$.kind'), status,"
                            " quantity, filled, created_ms, updated_ms FROM orders WHERE parent_id = 0 ORDER BY 9")
    ]
    orders += [
        VenueOrder(r[0], str(r[1]), r[2], r[3], r[4], r[5], _number(r[6]), _number(r[7]), _number(r[8]), r[9],
                   r[10] if r[5] in _OVER else None)
        for r in db.execute("SELECT client_order_id, algo_id, symbol, side, kind, status, quantity,"
                            " json_extract(record, '$.child_filled'), trigger_price, created_ms, updated_ms"
                            " FROM algo_orders WHERE client_order_id <> '' ORDER BY 10")
    ]
    levels = [Level(r[0], r[1], r[2], (r[3] or r[4]) if r[5] != "NEW" else None)
              for r in db.execute("SELECT symbol, kind, created_ms, json_extract(record, '$.triggered_ms'), updated_ms,"
                                  " status FROM algo_orders WHERE client_order_id = '' ORDER BY 3")]
    of_levels = db.execute("SELECT trade_id FROM fills JOIN orders USING (order_id) JOIN algo_orders"
                           " ON algo_id = parent_id WHERE algo_orders.client_order_id = ''")
    fills = [
        Fill(r[0], str(r[1]), r[2], r[3], _number(r[4]), _number(r[5]), _number(r[6]), _number(r[7]), r[8])
        for r in db.execute("SELECT symbol, trade_id, client_order_id, side, price, quantity, fee, realized_pnl,"
                            " time_ms FROM fills ORDER BY time_ms, trade_id")
    ]
    changes = db.execute("SELECT time_ms, symbol, quantity FROM position_changes ORDER BY change_id")
    candles = db.execute("SELECT symbol, open_ms, open, high, low, close FROM candles ORDER BY open_ms")
    creates = db.execute("SELECT client_order_id, count(*) FROM requests WHERE method = 'POST' AND accepted = 1"
                         " AND path IN ('/fapi/v1/order', '/fapi/v1/algoOrder', '/v5/order/create') GROUP BY 1")
    side = VenueSide(
        name=json.loads(meta["identity"]).get("venue", "binance"),
        orders=orders,
        levels=levels,
        fills=fills,
        of_levels={str(r[0]) for r in of_levels},
        holdings=[Holding(r[0], r[1], _number(r[2])) for r in changes],
        positions={r[0]: _number(r[1]) for r in db.execute("SELECT symbol, quantity FROM positions")},
        creates=[(r[0], r[1]) for r in creates],
        candles=[(r[0], r[1], tuple(map(_number, r[2:6]))) for r in candles],
        income=[(r[0], _number(r[1])) for r in db.execute("SELECT kind, usdt FROM income")],
        start_balance=_number(meta["start_balance"]),
        wallet=_number(meta["wallet"]),
    )
    db.close()
    return side


def read_journal(path: Path) -> JournalSide:
    """The daemon's journal, from its tables."""
    db = _open(path)
    orders = [
        JournalOrder(r[0], r[1] and number_of(r[1]), venue_symbol(r[2]), r[3], r[4].upper(), r[5].upper(), _maybe(r[6]),
                     _maybe(r[7]), _number(r[8]), _number(r[9]), r[10], r[11])
        for r in db.execute("SELECT client_order_id, venue_order_id, symbol, purpose, side, kind, quantity,"
                            " trigger_price, filled_quantity, booked_quantity, status, intent_id FROM orders"
                            " ORDER BY created_ms")
    ]
    fills = [
        Fill(venue_symbol(r[0]), number_of(r[1]), r[2] or "", r[3].upper(), _number(r[4]), _number(r[5]), _number(r[6]),
             _number(r[7]), r[8])
        for r in db.execute("SELECT symbol, trade_id, client_order_id, side, price, quantity, fee,"
                            " coalesce(realized_pnl, 0), time_ms FROM fills ORDER BY sequence")
    ]
    decisions = [
        # key: strategy|candle|instrument|timeframe|close time
        Decision(key.rpartition("|")[0], int(key.rpartition("|")[2].partition("#")[0]), told_ms, bool(late))
        for key, told_ms, late in db.execute("SELECT key, time_ms, late FROM decisions WHERE cause = 'candle'"
                                             " ORDER BY sequence")
    ]
    intents = [
        Intent(r[0], r[1], venue_symbol(r[2]), r[3], r[4], r[5], json.loads(r[6]))
        for r in db.execute("SELECT intent_id, decision, symbol, kind, outcome, reason, payload_json FROM intents"
                            " ORDER BY created_ms")
    ]
    wallet = db.execute("SELECT wallet FROM balances ORDER BY sequence DESC LIMIT 1").fetchone()
    booked = db.execute("SELECT amount FROM ledger").fetchall()
    side = JournalSide(
        orders=orders,
        fills=fills,
        positions={venue_symbol(r[0]): _number(r[1]) for r in db.execute("SELECT symbol, quantity FROM positions")},
        decisions=decisions,
        decision_keys={r[0] for r in db.execute("SELECT key FROM decisions")},
        streams={f"{r[0]}@{r[1]}|{r[2]}": r[3] for r in db.execute(
            "SELECT symbol, venue, timeframe, last_open_ms FROM streams")},
        intents=intents,
        incidents=list(db.execute("SELECT kind, severity, detail FROM incidents ORDER BY raised_ms")),
        wallet=_maybe(wallet[0]) if wallet else None,
        ledger_sum=sum((_number(r[0]) for r in booked), ZERO),
        boots=db.execute("SELECT count(*) FROM boots").fetchone()[0],
        integrity=db.execute("PRAGMA integrity_check").fetchone()[0],
    )
    db.close()
    return side


def read_candles(path: Path) -> list[Row]:
    """The candle file: timestamp_ms, open, high, low, close, volume."""
    with path.open(newline="", encoding="utf-8") as handle:
        lines = list(csv.reader(handle))[1:]
    return [Row(int(line[0]), tuple(map(Decimal, line[1:5]))) for line in lines if line]
