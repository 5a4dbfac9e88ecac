"""A market from a CSV file of one-minute candles; inside each minute the price runs from the open over both extremes.

Columns: timestamp_ms,open,high,low,close,volume. A falling candle visits its high first, a rising one its low.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from random import Random

from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.market import MINUTE_MS, STEPS, MarketFault, Minute, mark_path
from tradingd.emulator.core.records import Candle

GAPS_ACCEPTED = " (--allow-gaps accepts them)"
"""How the refusal of a gap ends; of use to who started the venue by hand."""

MAX_NUMBER = Decimal("1e15")
"""No price and no volume is larger; beyond it floats and REAL columns are not exact."""

LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, beyond which no calendar is of use."""

COLUMNS = ("timestamp_ms", "open", "high", "low", "close", "volume")


class CandleFileFault(MarketFault):
    """A candle file that is refused; names file, line and what is allowed."""


class FileMarket:
    """Candles of one or several files; the first `history` of them are the past."""

    kind = "file"
    waits_for_listener = True

    def __init__(
        self,
        files: Mapping[str, Path],
        instruments: Mapping[str, Instrument],
        history: int,
        seed: int,
        allow_gaps: bool = False,
    ) -> None:
        self.symbols = tuple(files)
        self._history = history
        self._seed = seed
        self._rows = {symbol: read_candles(path, instruments[symbol], allow_gaps) for symbol, path in files.items()}
        for symbol, path in files.items():
            if len(self._rows[symbol]) < history + 2:
                raise CandleFileFault(
                    f"{path}: {len(self._rows[symbol])} candles; the first {history} are history for "
                    f"warm-up, so at least {history + 2} are needed"
                )
        starts = {rows[history].open_ms for rows in self._rows.values()}
        if len(starts) > 1:
            raise CandleFileFault("candle files of one market must begin at the same minute")
        self.start_ms = starts.pop()
        self._cursor = dict.fromkeys(files, history)

    def history(self, symbol: str) -> list[Candle]:
        """The first candles of the file, or those up to the restored cursor."""
        return self._rows[symbol][: self._cursor[symbol]]

    def next_minute(self, symbol: str, previous: Candle, previous_mark: int) -> Minute | None:
        """The next row of the file as a path; None after the last."""
        rows, cursor = self._rows[symbol], self._cursor[symbol]
        if cursor >= len(rows):
            return None
        self._cursor[symbol] = cursor + 1
        row = rows[cursor]
        path = path_through(row, Random(f"{self._seed}/{symbol}/{row.open_ms}"))
        return Minute(row.open_ms, path, mark_path(path, previous_mark), row.volume, row.count)

    def state(self, symbol: str) -> str:
        """Number of rows given so far."""
        return str(self._cursor[symbol])

    def restore(self, symbol: str, state: str) -> None:
        """Go on after that many rows."""
        cursor = int(state)
        if cursor > len(self._rows[symbol]):
            raise CandleFileFault(
                f"the ledger stands at candle {cursor} of {symbol}, the file has only "
                f"{len(self._rows[symbol])}: give the file it was started with, or start anew"
            )
        self._cursor[symbol] = cursor


def path_through(candle: Candle, rng: Random) -> list[int]:
    """Prices per step that begin at open, touch both extremes, end at close and never leave the candle."""
    turns = (candle.low, candle.high) if candle.close >= candle.open else (candle.high, candle.low)
    first = rng.randrange(5, STEPS // 2 - 2)
    second = rng.randrange(STEPS // 2, STEPS - 4)
    corners = [(0, candle.open), (first, turns[0]), (second, turns[1]), (STEPS - 1, candle.close)]
    jitter = (candle.high - candle.low) // 12
    path: list[int] = []
    for (start, price), (end, target) in pairwise(corners):
        for step in range(start, end):
            straight = price + (target - price) * (step - start) // (end - start)
            noise = rng.randint(-jitter, jitter) if step != start else 0
            path.append(min(candle.high, max(candle.low, straight + noise)))
    path.append(candle.close)
    return path


def read_candles(path: Path, instrument: Instrument, allow_gaps: bool) -> list[Candle]:
    """Read and check a whole file; raises CandleFileFault at the first line that cannot be offered."""
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.reader(handle)
            header = next(reader, None)
            if header is None or tuple(cell.strip().lower() for cell in header) != COLUMNS:
                raise CandleFileFault(f"{path}:1: the first line must be {','.join(COLUMNS)}")
            out: list[Candle] = []
            for row in reader:
                if row:
                    out.append(_candle(path, reader.line_num, row, instrument, out[-1] if out else None, allow_gaps))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise CandleFileFault(f"{path}: cannot be read as CSV: {fault}") from fault
    return out


def _candle(
    path: Path, line: int, row: Sequence[str], instrument: Instrument, before: Candle | None, allow_gaps: bool
) -> Candle:
    place = f"{path}:{line}"
    if len(row) != len(COLUMNS):
        raise CandleFileFault(f"{place}: {len(row)} columns, {len(COLUMNS)} wanted ({','.join(COLUMNS)})")
    try:
        open_ms = int(row[0])
        prices = [Decimal(cell) for cell in row[1:5]]
        volume = Decimal(row[5])
    except (ValueError, InvalidOperation):
        raise CandleFileFault(
            f"{place}: {','.join(row)!r} is not a whole millisecond time, four prices and a volume"
        ) from None
    if not all(price.is_finite() and price > 0 for price in prices) or not volume.is_finite() or volume < 0:
        raise CandleFileFault(f"{place}: prices must be finite and above 0, the volume finite and not negative")
    if max(*prices, volume) > MAX_NUMBER:
        raise CandleFileFault(f"{place}: a price or the volume is beyond any market; allowed: at most {MAX_NUMBER:f}")
    opening, high, low, close = prices
    if high < max(opening, close) or low > min(opening, close):
        raise CandleFileFault(f"{place}: high {high} and low {low} do not enclose open {opening} and close {close}")
    if open_ms % MINUTE_MS:
        raise CandleFileFault(f"{place}: {open_ms} is not the start of a minute (a multiple of {MINUTE_MS} ms)")
    if not 0 <= open_ms <= LAST_MS:
        raise CandleFileFault(f"{place}: the time {row[0][:20]} ms is before 1970 or beyond the year 9999")
    _check_order(place, open_ms, before, allow_gaps)
    ticks = [instrument.ticks(price) for price in prices]
    if min(ticks) < 1:
        raise CandleFileFault(f"{place}: a price is below one tick of {instrument.symbol} ({instrument.tick_size})")
    return Candle(open_ms, ticks[0], ticks[1], ticks[2], ticks[3], float(volume), int(volume > 0) * 100)


def _check_order(place: str, open_ms: int, before: Candle | None, allow_gaps: bool) -> None:
    if before is None:
        return
    distance = open_ms - before.open_ms
    if distance <= 0:
        raise CandleFileFault(f"{place}: {open_ms} does not come after {before.open_ms}; times must rise line by line")
    if distance != MINUTE_MS and not allow_gaps:
        missing = distance // MINUTE_MS - 1
        raise CandleFileFault(
            f"{place}: {missing} candles are missing between {before.open_ms} and {open_ms}; the "
            f"file must have one line per minute{GAPS_ACCEPTED}"
        )
