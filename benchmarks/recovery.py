"""Opening and recovering a journal with a million fills, beside one with a thousand."""

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.journal_rows import INSTRUMENT, NOON_MS
from tradingd.journal.opening import open_journal

LIMIT_TIMES = 1.2
ROUNDS = 9
SPACING_MS = 600_000
"""A fill every ten minutes, so that both journals hold as many fills of the last days."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--count", type=int, default=1_000_000, metavar="N", help="fills in the large journal")
    parser.add_argument("--small", type=int, default=1_000, metavar="N", help="fills in the small journal")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 past what is claimed."""
    with tempfile.TemporaryDirectory(prefix="tradingd-recovery-") as directory:
        paths = {count: Path(directory) / f"{count}.db" for count in (args.small, args.count)}
        for count, path in paths.items():
            asyncio.run(_make(path, count))
        sizes = {count: path.stat().st_size / 1e6 for count, path in paths.items()}
        print(f"recovery: {args.count} fills ({sizes[args.count]:.0f} MB) beside {args.small} "
              f"({sizes[args.small]:.1f} MB), each with its decision and order event; {ROUNDS} openings in turn; "
              "no randomness", flush=True)
        times: dict[int, list[float]] = {count: [] for count in paths}
        for _ in range(ROUNDS):
            for count, path in paths.items():
                times[count].append(asyncio.run(_recover(path)))
    large, small = statistics.median(times[args.count]), statistics.median(times[args.small])
    print(f"  {large * 1000:.1f} ms beside {small * 1000:.1f} ms: {large / small:.2f} times (claimed: {LIMIT_TIMES})")
    return 0 if large / small <= LIMIT_TIMES else 1


async def _recover(path: Path) -> float:
    """Seconds to open the journal with all checks and read what a start needs."""
    began = time.perf_counter()
    store = await open_journal(path, mode="sim", now_ms=NOON_MS)
    await store.recover(NOON_MS)
    took_s = time.perf_counter() - began
    await store.close()
    return took_s


async def _make(path: Path, count: int) -> None:
    """A journal of the real schema whose newest fill is a moment old."""
    store = await open_journal(path, mode="sim", now_ms=NOON_MS)
    await store.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.executemany(
            "INSERT INTO fills (venue, symbol, trade_id, venue_order_id, client_order_id, side, price, quantity, fee,"
            " fee_currency, maker, time_ms, reason) VALUES (?, ?, ?, ?, ?, ?, 64000.1, 0.002, 0.05, 'USDT', 0, ?, '')",
            ((INSTRUMENT.venue, INSTRUMENT.symbol, str(n), str(n), f"td-x-{n}", ("buy", "sell")[n % 2], time_ms)
             for n, time_ms in _times(count)))
        db.executemany(
            "INSERT INTO order_events (client_order_id, event, before, after, time_ms, source, detail, trade_id)"
            " VALUES (?, 'fill_all', 'ACCEPTED', 'FILLED', ?, 'stream', '', ?)",
            ((f"td-x-{n}", time_ms, str(n)) for n, time_ms in _times(count)))
        db.executemany(
            "INSERT INTO decisions (key, strategy, cause, venue, symbol, time_ms, outcome, duration_us, code_sha256,"
            " late) VALUES (?, 'trend', ?, ?, ?, ?, 'nothing', 80, '', 0)",
            ((f"trend|candle|{n}", f"candle {n}", INSTRUMENT.venue, INSTRUMENT.symbol, time_ms)
             for n, time_ms in _times(count)))
        db.execute(
            "INSERT INTO positions (venue, symbol, quantity, entry_price, updated_ms)"
            " VALUES (?, ?, 0.002, 64000.1, ?)", (INSTRUMENT.venue, INSTRUMENT.symbol, NOON_MS))
        db.execute("ANALYZE")
    db.close()


def _times(count: int) -> Iterator[tuple[int, int]]:
    """Each fill's number and time; the last one is the newest."""
    return ((n, NOON_MS - (count - n) * SPACING_MS) for n in range(count))
