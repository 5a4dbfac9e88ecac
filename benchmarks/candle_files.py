"""Candle files for the runs: cut from the user's file, or a seeded random walk of the same shape."""

import csv
from decimal import Decimal
from pathlib import Path
from random import Random

from benchmarks.world import HISTORY_CANDLES, BenchmarkFailed

HEADER = ["timestamp_ms", "open", "high", "low", "close", "volume"]
TICK = Decimal("0.1")
"""Tick size of BTCUSDT on every built-in venue, in USDT: a file may hold prices between ticks, a market may not."""
_START_MS = 1_700_000_040_000 // 60_000 * 60_000


def prepare(source: Path | None, count: int, seed: int, target: Path) -> str:
    """Write `count` candles to trade, after those that the venue takes as the past; says what they are."""
    wanted = count + HISTORY_CANDLES
    if source is None:
        _write(target, _walk(wanted, Random(seed)))
        return f"{count} synthetic candles (seed {seed}) after {HISTORY_CANDLES} of warm-up"
    with source.open(newline="", encoding="utf-8") as handle:
        lines = list(csv.reader(handle))[1 : wanted + 1]
    if len(lines) < wanted:
        raise BenchmarkFailed(f"{source}: {len(lines)} candles; {count} to trade need {wanted}, for the first "
                              f"{HISTORY_CANDLES} are warm-up")
    moved = [[line[0], *map(_on_tick, line[1:5]), *line[5:]] for line in lines]
    _write(target, moved)
    off = sum(before != after for before, after in zip(lines, moved, strict=True))
    rounded = f" ({off} of them moved onto the tick)" if off else ""
    return f"{count} candles of {source.name} after {HISTORY_CANDLES} of warm-up{rounded}"


def _on_tick(price: str) -> str:
    exact = Decimal(price)
    return price if exact % TICK == 0 else str(round(exact / TICK) * TICK)


def _write(target: Path, lines: list[list[str]]) -> None:
    with target.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([HEADER, *lines])


def _walk(count: int, rng: Random) -> list[list[str]]:
    """About as restless as a BTC perpetual: 0.05 % a minute, in ticks of 0.1."""
    close, lines = 470_000, []
    for number in range(count):
        opening = close
        path = [opening]
        for _ in range(8):
            path.append(max(100_000, path[-1] + round(rng.gauss(0, 0.00018) * path[-1])))
        close = path[-1]
        prices = [f"{ticks / 10:.1f}" for ticks in (opening, max(path), min(path), close)]
        lines.append([str(_START_MS + number * 60_000), *prices, f"{rng.uniform(20, 400):.4f}"])
    return lines
