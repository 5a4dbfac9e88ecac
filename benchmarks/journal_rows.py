"""Durable journal rows per second with units in flight, beside SQLAlchemy's async engine on the same table."""

import argparse
import asyncio
import statistics
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from benchmarks.world import BenchmarkFailed
from tradingd.domain.ids import TradeId, VenueId, VenueOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import Fill
from tradingd.journal import schema
from tradingd.journal.opening import open_journal

LIMIT_TIMES = 20.0
ROUNDS = 3
NOON_MS = 1_790_000_000_000
INSTRUMENT = InstrumentId(VenueId("binance"), "BTC/USDT:USDT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--count", type=int, default=20_000, metavar="N", help="rows per round through the journal")
    parser.add_argument("--engine-count", type=int, default=1_000, metavar="N", help="rows per round, async engine")
    parser.add_argument("--in-flight", type=int, default=64, metavar="N", help="units that wait for their commit")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 below what is claimed."""
    print(f"journal_rows: one fill a unit, {args.in_flight} in flight, synchronous = FULL; {ROUNDS} rounds in turn of "
          f"{args.count} rows and, through the async engine, of {args.engine_count}; no randomness", flush=True)
    journal: list[float] = []
    engines: dict[int, list[float]] = {1: [], 5: []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="tradingd-rows-") as directory:
            journal.append(asyncio.run(_journal(Path(directory) / "own.db", args.count, args.in_flight)))
            for connections, rates in engines.items():
                path = Path(directory) / f"engine-{connections}.db"
                rates.append(asyncio.run(_engine(path, args.engine_count, args.in_flight, connections)))
    best = max(engines, key=lambda connections: statistics.median(engines[connections]))
    own, other = statistics.median(journal), statistics.median(engines[best])
    print(f"  journal {own:,.0f} rows/s; async engine, pool of {best}, {other:,.0f} rows/s: {own / other:.1f} times "
          f"(claimed: {LIMIT_TIMES:.0f})")
    return 0 if own / other >= LIMIT_TIMES else 1


def _fill(number: int) -> Fill:
    return Fill(INSTRUMENT, TradeId(str(number)), VenueOrderId(str(number)), None, Side.BUY, Decimal("64000.1"),
                Decimal("0.002"), Decimal("0.0512"), "USDT", None, False, NOON_MS + number)


async def _journal(path: Path, count: int, in_flight: int) -> float:
    """Rows per second of the production store."""
    store = await open_journal(path, mode="sim", now_ms=NOON_MS)
    fills = iter([_fill(number) for number in range(count)])

    async def submit_all() -> None:
        for fill in fills:
            await store.submit((fill,))

    began = time.perf_counter()
    await asyncio.gather(*(submit_all() for _ in range(in_flight)))
    took_s = time.perf_counter() - began
    await store.close()
    _check(path, count)
    return count / took_s


async def _engine(path: Path, count: int, in_flight: int, connections: int) -> float:
    """Rows per second of one transaction a row over a pool of connections, as the library's own pages show it."""
    store = await open_journal(path, mode="sim", now_ms=NOON_MS)
    await store.close()
    engine: AsyncEngine = create_async_engine(
        f"sqlite+aiosqlite:///{path}", pool_size=connections, max_overflow=0, pool_timeout=120,
        connect_args={"timeout": 60},
    )

    @sa.event.listens_for(engine.sync_engine, "connect")
    def _full(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous = FULL")

    insert = sa.insert(schema.fills)
    rows = iter([_row(_fill(number)) for number in range(count)])

    async def insert_all() -> None:
        for row in rows:
            async with engine.begin() as connection:
                await connection.execute(insert, row)

    async with engine.begin() as connection:
        await connection.execute(insert, _row(_fill(count)))  # dialled and compiled
    began = time.perf_counter()
    await asyncio.gather(*(insert_all() for _ in range(in_flight)))
    took_s = time.perf_counter() - began
    await engine.dispose()
    _check(path, count + 1)
    return count / took_s


def _row(fill: Fill) -> dict[str, object]:
    return {
        "venue": fill.instrument.venue, "symbol": fill.instrument.symbol, "trade_id": fill.trade_id,
        "venue_order_id": fill.venue_order_id, "client_order_id": None, "side": fill.side.value,
        "price": float(fill.price), "quantity": float(fill.quantity), "fee": float(fill.fee),
        "fee_currency": fill.fee_currency, "realized_pnl": None, "maker": 0, "time_ms": fill.time_ms, "reason": "",
    }


def _check(path: Path, count: int) -> None:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        stored = connection.execute(sa.select(sa.func.count()).select_from(schema.fills)).scalar_one()
    engine.dispose()
    if stored != count:
        raise BenchmarkFailed(f"{stored} rows of {count} are in {path}: the figure would be of something else")
