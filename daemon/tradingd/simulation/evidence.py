"""What the oracle judges by: the venue's ledger, the journal and the wire; nothing of the daemon's own code."""

import re
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from tradingd.simulation.clock import START_MS
from tradingd.simulation.dialects import DIALECTS
from tradingd.simulation.wire import Exchanged, SocketLife

_OURS = re.compile(r"^td-[0-9a-z]{8,16}-[0-9]+([a-z])$")
FOREVER_MS = 1 << 60


def letter_of(client_order_id: str | None) -> str:
    """The purpose letter of an id under our prefix; empty for any other id."""
    match = _OURS.match(client_order_id or "")
    return match[1] if match else ""


class Life(msgspec.Struct, frozen=True):
    """One run of the daemon, world µs."""

    number: int
    started_us: int
    ended_us: int


class Span(msgspec.Struct, frozen=True):
    """A time, venue ms, end excluded."""

    start_ms: int
    end_ms: int


class Limits(msgspec.Struct, frozen=True):
    """What the user asked for in the config, as far as the oracle must know it."""

    hold_ms: int
    unprotected_ms: int = 5_000
    max_notional_usdt: Decimal = Decimal(5_000)
    timeframe_ms: int = 60_000


class Evidence:
    """One venue of a world, read once: what the journal holds of others is left out, but for what belongs to no venue.

    Rows are dicts; venue records are their JSON, decoded. `start_ms`: the venue's clock at world time 0.
    """

    def __init__(
        self,
        ledger: Path,
        journal: Path,
        requests: list[Exchanged],
        sockets: list[SocketLife],
        lives: list[Life],
        limits: Limits,
        now_us: int,
        unable: list[Span],
        deaf: list[Span],
        start_ms: int = START_MS,
    ) -> None:
        self.requests, self.sockets, self.lives, self.limits = requests, sockets, lives, limits
        self.now_us, self.unable, self.deaf, self.start_ms = now_us, unable, deaf, start_ms
        with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as db:
            market = msgspec.json.decode(db.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()[0])
            self.venue: str = market.get("venue", "binance")
            self.dialect = DIALECTS[self.venue]
            self.orders = [msgspec.json.decode(row[0]) for row in db.execute("SELECT record FROM orders")]
            self.algos = [msgspec.json.decode(row[0]) for row in db.execute("SELECT record FROM algo_orders")]
            self.fills = _rows(db, "SELECT * FROM fills ORDER BY time_ms, rowid")
            self.changes = _rows(db, "SELECT * FROM position_changes ORDER BY change_id")
            self.positions = _rows(db, "SELECT * FROM positions")
            self.arrivals = _rows(db, "SELECT * FROM requests ORDER BY request_id")
            self.candles = _rows(db, "SELECT symbol, open_ms FROM candles ORDER BY open_ms")
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as db:
            self.j_orders = self._mine(_rows(db, "SELECT * FROM orders"))
            mine = {row["client_order_id"] for row in self.j_orders}
            events = _rows(db, "SELECT * FROM order_events ORDER BY sequence")
            self.j_events = [row for row in events if row["client_order_id"] in mine]
            self.j_fills = self._mine(_rows(db, "SELECT * FROM fills ORDER BY sequence"))
            self.j_intents = self._mine(_rows(db, "SELECT * FROM intents"))
            self.j_decisions = self._mine(_rows(db, "SELECT * FROM decisions ORDER BY sequence"))
            self.j_positions = self._mine(_rows(db, "SELECT * FROM positions"))
            self.j_incidents = self._mine(_rows(db, "SELECT * FROM incidents"))

    def _mine(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row["venue"] in (self.venue, None)]

    def at_ms(self, us: int) -> int:
        """World time as venue time."""
        return self.start_ms + us // 1000

    @property
    def symbols(self) -> list[str]:
        """Symbols that ever had a fill."""
        return list(dict.fromkeys(row["symbol"] for row in self.changes))

    def entries(self) -> list[dict[str, Any]]:
        """Accepted entry orders of ours."""
        return [order for order in self.orders if letter_of(order["client_order_id"]) == "e"]

    def stops(self, symbol: str) -> list[tuple[Span, dict[str, Any]]]:
        """Our stops of a symbol, each with the time for which it waited for its price."""
        return [
            (Span(order["created_ms"], waits_until(order)), order)
            for order in self.algos
            if order["symbol"] == symbol and _is_stop(order)
        ]

    def banned(self) -> list[Span]:
        """The times at which a daemon that had read of a ban may send nothing."""
        return [
            Span(self.at_ms(each.answered_us), self.at_ms(each.ban_ends_us))
            for each in self.requests
            if each.ban_ends_us is not None and each.answered_us is not None
        ]

    def closes(self, symbol: str) -> list[int]:
        """The times at which the position became zero, or changed its sign."""
        found: list[int] = []
        before = Decimal(0)
        for row in self.changes:
            if row["symbol"] != symbol:
                continue
            after = Decimal(row["quantity"])
            if before != 0 and (after == 0 or before * after < 0):
                found.append(row["time_ms"])
            before = after
        return found


def _is_stop(order: dict[str, Any]) -> bool:
    """One of ours by its id, or what a venue makes of the stop that a position carries: that has no id."""
    key = order["client_order_id"]
    return letter_of(key) in ("s", "b") or (not key and order["close_position"] and not order["is_take_profit"])


def waits_until(algo: dict[str, Any]) -> int:
    """When a conditional order ceased to wait."""
    if algo["status"] == "NEW":
        return FOREVER_MS
    return int(algo["triggered_ms"] or algo["updated_ms"])


def market_id(symbol: str) -> str:
    """`BTC/USDT:USDT` as the venue writes it."""
    return symbol.partition(":")[0].replace("/", "")


def _rows(db: sqlite3.Connection, query: str) -> list[dict[str, Any]]:
    cursor = db.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
