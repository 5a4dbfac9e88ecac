"""What the runs over candles are given to trade."""

from pathlib import Path

from benchmarks import candle_files
from benchmarks.world import HISTORY_CANDLES


def test_prices_between_ticks_are_moved_onto_the_tick_and_counted(tmp_path: Path) -> None:
    source, target = tmp_path / "source.csv", tmp_path / "candles.csv"
    lines = ["timestamp_ms,open,high,low,close,volume"]
    lines += [f"{1_700_000_040_000 + n * 60_000},100.5,101,100.1,100.90,7" for n in range(HISTORY_CANDLES)]
    lines.append(f"{1_700_000_040_000 + HISTORY_CANDLES * 60_000},100.5,101.04,100.06,100.9,7")
    source.write_text("\n".join(lines) + "\n")
    what = candle_files.prepare(source, 1, 1, target)
    first, *_, last = target.read_text().splitlines()[1:]
    assert first.endswith(",100.5,101,100.1,100.90,7")
    assert last.endswith(",100.5,101.0,100.1,100.9,7")
    assert "(1 of them moved onto the tick)" in what
