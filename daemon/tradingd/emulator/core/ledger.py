"""The venue's own record in one SQLite file: what was asked, what was accepted, what happened.

Readable by anybody with sqlite3; prices, quantities and money are exact decimal text, times venue milliseconds. It
also is what the venue starts from again, after an orderly stop or a kill.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec

from tradingd.emulator.core.records import Candle, Conditional, Fill, Order, Position

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (request_id INTEGER PRIMARY KEY, arrival_ms INTEGER NOT NULL, method TEXT NOT NULL,
  path TEXT NOT NULL, params TEXT NOT NULL, symbol TEXT, client_order_id TEXT, order_id INTEGER,
  accepted INTEGER NOT NULL, http_status INTEGER NOT NULL, code INTEGER);
CREATE INDEX IF NOT EXISTS requests_by_client_order_id ON requests (client_order_id);
CREATE TABLE IF NOT EXISTS orders (order_id INTEGER PRIMARY KEY, client_order_id TEXT NOT NULL, symbol TEXT NOT NULL,
  side TEXT NOT NULL, status TEXT NOT NULL, quantity TEXT NOT NULL, filled TEXT NOT NULL, created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL, parent_id INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS algo_orders (algo_id INTEGER PRIMARY KEY, client_order_id TEXT NOT NULL,
  symbol TEXT NOT NULL, side TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, trigger_price TEXT NOT NULL,
  quantity TEXT NOT NULL, close_position INTEGER NOT NULL, child_order_id INTEGER NOT NULL, created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fills (trade_id INTEGER NOT NULL, symbol TEXT NOT NULL, order_id INTEGER NOT NULL,
  client_order_id TEXT NOT NULL, side TEXT NOT NULL, price TEXT NOT NULL, quantity TEXT NOT NULL, fee TEXT NOT NULL,
  realized_pnl TEXT NOT NULL, time_ms INTEGER NOT NULL, maker INTEGER NOT NULL, PRIMARY KEY (symbol, trade_id));
CREATE TABLE IF NOT EXISTS positions (symbol TEXT PRIMARY KEY, quantity TEXT NOT NULL, entry_price TEXT NOT NULL,
  realized_pnl TEXT NOT NULL, updated_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS position_changes (change_id INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL,
  symbol TEXT NOT NULL, trade_id INTEGER NOT NULL, quantity TEXT NOT NULL, wallet TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS income (income_id INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, symbol TEXT NOT NULL,
  kind TEXT NOT NULL, usdt TEXT NOT NULL, trade_id INTEGER);
CREATE TABLE IF NOT EXISTS candles (symbol TEXT NOT NULL, open_ms INTEGER NOT NULL, open TEXT NOT NULL,
  high TEXT NOT NULL, low TEXT NOT NULL, close TEXT NOT NULL, volume REAL NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (symbol, open_ms)) WITHOUT ROWID;
"""
_SIDES = {1: "BUY", -1: "SELL"}
_R = TypeVar("_R", Order, Conditional)


class LedgerFault(ValueError):
    """A ledger file that cannot be used; the text says what to do."""


class Ledger:
    """Writes inside one open transaction; `commit` makes everything since the last one durable."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(
                ":memory:" if path is None else path, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            stored = self.meta("schema_version")
        except sqlite3.Error as fault:
            raise LedgerFault(f"{path}: not a usable venue ledger ({fault}); move it away to start anew") from fault
        if stored not in (None, str(SCHEMA_VERSION)):
            raise LedgerFault(
                f"{path}: ledger version {stored}, this program knows {SCHEMA_VERSION}; move it away to start anew"
            )
        self._open = False
        if stored is None:
            self.set_meta("schema_version", str(SCHEMA_VERSION))

    def _write(self, sql: str, values: Iterable[object]) -> None:
        if not self._open:
            self._db.execute("BEGIN")
            self._open = True
        self._db.execute(sql, tuple(values))

    def commit(self) -> None:
        """End the open transaction, if there is one."""
        if self._open:
            self._db.execute("COMMIT")
            self._open = False

    @property
    def is_dirty(self) -> bool:
        """Whether something waits for a commit."""
        return self._open

    def abandon(self) -> None:
        """Close the file without the open transaction."""
        self._db.close()

    def close(self) -> None:
        """Commit and close the file."""
        self.commit()
        self._db.close()

    def meta(self, key: str) -> str | None:
        """A stored setting."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Store a setting."""
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def add_request(
        self,
        arrival_ms: int,
        method: str,
        path: str,
        params: str,
        symbol: str | None,
        client_order_id: str | None,
        order_id: int | None,
        http_status: int,
        code: int | None,
    ) -> None:
        """One request with the verdict on it; `params` without the signature."""
        self._write(
            "INSERT INTO requests (arrival_ms, method, path, params, symbol, client_order_id, order_id, accepted,"
            " http_status, code) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                arrival_ms,
                method,
                path,
                params,
                symbol,
                client_order_id,
                order_id,
                int(http_status == 200),
                http_status,
                code,
            ),
        )

    def put_order(self, order: Order) -> None:
        """The newest state of a plain order."""
        self._write(
            "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                order.order_id,
                order.client_order_id,
                order.symbol,
                _SIDES[order.side],
                order.status.value,
                str(order.quantity),
                str(order.filled),
                order.created_ms,
                order.updated_ms,
                order.parent_id,
                msgspec.json.encode(order).decode(),
            ),
        )

    def put_conditional(self, order: Conditional) -> None:
        """The newest state of a conditional order."""
        self._write(
            "INSERT OR REPLACE INTO algo_orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                order.conditional_id,
                order.client_order_id,
                order.symbol,
                _SIDES[order.side],
                order.kind,
                order.status.value,
                str(order.trigger_price),
                str(order.quantity),
                int(order.close_position),
                order.child_order_id,
                order.created_ms,
                order.updated_ms,
                msgspec.json.encode(order).decode(),
            ),
        )

    def add_fill(self, fill: Fill, position: Position, wallet: Decimal) -> None:
        """A fill with the position and the wallet after it."""
        self._write(
            "INSERT INTO fills VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                fill.trade_id,
                fill.symbol,
                fill.order_id,
                fill.client_order_id,
                _SIDES[fill.side],
                str(fill.price),
                str(fill.quantity),
                str(fill.fee_usdt),
                str(fill.realized_usdt),
                fill.time_ms,
                int(fill.is_maker),
            ),
        )
        self.put_position(position)
        self._write(
            "INSERT INTO position_changes (time_ms, symbol, trade_id, quantity, wallet) VALUES (?, ?, ?, ?, ?)",
            (fill.time_ms, fill.symbol, fill.trade_id, str(position.quantity), str(wallet)),
        )
        self.set_meta("wallet", str(wallet))

    def put_position(self, position: Position) -> None:
        """The newest state of a position; margin set apart for it has a setting, since the table is older than that."""
        self._write(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)",
            (
                position.symbol,
                str(position.quantity),
                str(position.entry_price),
                str(position.realized_usdt),
                position.updated_ms,
            ),
        )
        key = f"isolated_usdt/{position.symbol}"
        if position.isolated_usdt or self.meta(key) is not None:
            self.set_meta(key, str(position.isolated_usdt))

    def add_income(self, time_ms: int, symbol: str, kind: str, usdt: Decimal, trade_id: int | None) -> None:
        """One booking on the wallet."""
        self._write(
            "INSERT INTO income (time_ms, symbol, kind, usdt, trade_id) VALUES (?, ?, ?, ?, ?)",
            (time_ms, symbol, kind, str(usdt), trade_id),
        )

    def income(
        self, symbol: str | None, kind: str | None, from_ms: int, to_ms: int, limit: int
    ) -> list[tuple[int, int, str, str, str, int | None]]:
        """Bookings as (id, time, symbol, kind, usdt, trade id), oldest first."""
        return self._db.execute(
            "SELECT income_id, time_ms, symbol, kind, usdt, trade_id FROM income WHERE time_ms BETWEEN :begin AND :end"
            " AND (:symbol IS NULL OR symbol = :symbol) AND (:kind IS NULL OR kind = :kind)"
            " ORDER BY income_id LIMIT :most",
            {"begin": from_ms, "end": to_ms, "symbol": symbol, "kind": kind, "most": limit},
        ).fetchall()

    def add_candle(self, symbol: str, candle: Candle, prices: tuple[str, str, str, str]) -> None:
        """One closed candle."""
        self._write(
            "INSERT OR REPLACE INTO candles VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (symbol, candle.open_ms, *prices, candle.volume, candle.count),
        )

    def candles(self, symbol: str, limit: int) -> list[tuple[int, str, str, str, str, float, int]]:
        """The newest candles, oldest first."""
        rows = self._db.execute(
            "SELECT open_ms, open, high, low, close, volume, count FROM candles WHERE symbol = ?"
            " ORDER BY open_ms DESC LIMIT ?",
            (symbol, limit),
        ).fetchall()
        return rows[::-1]

    def orders(self) -> Iterator[Order]:
        """All plain orders."""
        return self._records("SELECT record FROM orders ORDER BY order_id", Order)

    def conditionals(self) -> Iterator[Conditional]:
        """All conditional orders."""
        return self._records("SELECT record FROM algo_orders ORDER BY algo_id", Conditional)

    def _records(self, sql: str, kind: type[_R]) -> Iterator[_R]:
        decoder = msgspec.json.Decoder(kind)
        for (record,) in self._db.execute(sql):
            yield decoder.decode(record)

    def fills(self) -> Iterator[Fill]:
        """All fills in order of their time."""
        sql = (
            "SELECT trade_id, symbol, order_id, client_order_id, side, price, quantity, fee, realized_pnl, time_ms,"
            " maker FROM fills ORDER BY time_ms, rowid"
        )
        for row in self._db.execute(sql):
            yield Fill(
                row[0],
                row[1],
                row[2],
                row[3],
                1 if row[4] == "BUY" else -1,
                Decimal(row[5]),
                Decimal(row[6]),
                Decimal(row[7]),
                Decimal(row[8]),
                row[9],
                bool(row[10]),
            )

    def positions(self) -> Iterator[Position]:
        """All positions that ever were."""
        for row in self._db.execute("SELECT symbol, quantity, entry_price, realized_pnl, updated_ms FROM positions"):
            yield Position(
                row[0],
                Decimal(row[1]),
                Decimal(row[2]),
                Decimal(row[3]),
                row[4],
                Decimal(self.meta(f"isolated_usdt/{row[0]}") or 0),
            )
