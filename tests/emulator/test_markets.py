"""The two markets: candles from a file, and the seeded synthetic one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest

from tests.emulator.helpers import START_MS, Caller, flat, steady, write_candles
from tradingd.emulator.core.market import MINUTE_MS, MarketFault, interval_end, interval_start
from tradingd.emulator.venues import VenueOptions, open_venue

ROWS = [(100.0 + i, 103.0 + i, 98.0 + i, 101.0 + i) for i in range(12)] + [(50.0, 52.0, 40.0, 41.0)]


def edited(tmp_path: Path, change: Callable[[list[str]], object]) -> Path:
    path = write_candles(tmp_path / "market.csv", flat(100, 10))
    lines = path.read_text().splitlines()
    change(lines)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("change", "line", "text"),
    [
        (lambda lines: lines.pop(5), 6, "1 candles are missing"),
        (lambda lines: lines.insert(5, lines[4]), 6, "times must rise"),
        (lambda lines: lines.__setitem__(5, lines[5].replace("100,", "nan,", 1)), 6, "finite"),
        (lambda lines: lines.__setitem__(5, "junk"), 6, "1 columns, 6 wanted"),
        (lambda lines: lines.__setitem__(5, lines[5].replace("100", "hundred", 1)), 6, "four prices"),
        (lambda lines: lines.__setitem__(5, lines[5].rsplit(",", 5)[0] + ",100,90,95,100,1"), 6, "do not enclose"),
        (lambda lines: lines.__setitem__(5, lines[5].replace(",100,100,", ",-100,100,", 1)), 6, "above 0"),
        (
            lambda lines: lines.__setitem__(5, lines[5].rsplit(",", 5)[0] + ",1e300,1e300,1e300,1e300,1"),
            6,
            "at most 1000000000000000",
        ),
        (lambda lines: lines.__setitem__(5, lines[5].rsplit(",", 1)[0] + ",1e16"), 6, "at most 1000000000000000"),
        (lambda lines: lines.__setitem__(5, "9" * 30 + lines[5]), 6, "beyond the year 9999"),
        (lambda lines: lines.__setitem__(5, "1" + lines[5]), 6, "start of a minute"),
        (lambda lines: lines.__setitem__(0, "time,o,h,l,c,v"), 1, "timestamp_ms,open,high,low,close,volume"),
        (lambda lines: lines.__setitem__(1, lines[1].replace("0000,", "0001,", 1)), 2, "start of a minute"),
    ],
)
def test_a_bad_candle_file_is_refused_with_line_and_remedy(
    tmp_path: Path, change: Callable[[list[str]], object], line: int, text: str
) -> None:
    path = edited(tmp_path, change)
    with pytest.raises(MarketFault) as fault:
        open_venue(VenueOptions(candles={"BTCUSDT": path}, history=2), START_MS)
    assert f"{path}:{line}:" in str(fault.value) and text in str(fault.value)


def test_gaps_can_be_allowed_and_short_files_are_refused(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda lines: lines.pop(5))
    open_venue(VenueOptions(candles={"BTCUSDT": path}, history=2, allow_gaps=True), START_MS).close()
    with pytest.raises(MarketFault, match=r"at least 302 are needed$"):
        open_venue(VenueOptions(candles={"BTCUSDT": path}, allow_gaps=True), START_MS)
    with pytest.raises(MarketFault, match="cannot be read"):
        open_venue(VenueOptions(candles={"BTCUSDT": tmp_path / "none.csv"}), START_MS)


def test_every_candle_of_a_file_closes_once_with_its_own_prices(tmp_path: Path) -> None:
    caller = steady(tmp_path, ROWS)
    assert caller.now_ms == START_MS + 2 * MINUTE_MS
    caller.run(3600)
    closed = [frame["k"] for frame in caller.events("kline") if frame["k"]["x"]]
    assert [row["t"] for row in closed] == [START_MS + i * MINUTE_MS for i in range(2, len(ROWS))]
    assert [tuple(float(row[name]) for name in "ohlc") for row in closed] == ROWS[2:]
    assert all(row["T"] == row["t"] + 59_999 for row in closed)
    open_ones = [frame["k"] for frame in caller.events("kline") if not frame["k"]["x"]]
    assert len(open_ones) > 20 * len(closed)
    assert caller.venue.stands_still and caller.venue.describe()["finished"] is True
    assert caller.run(600) == []


def test_prices_inside_a_candle_touch_both_extremes_in_its_direction(tmp_path: Path) -> None:
    caller = steady(tmp_path, ROWS)
    caller.run(60 * len(ROWS))
    falling = [frame["k"] for frame in caller.events("kline") if frame["k"]["t"] == START_MS + 12 * MINUTE_MS]
    highest = next(index for index, row in enumerate(falling) if float(row["h"]) == 52)
    lowest = next(index for index, row in enumerate(falling) if float(row["l"]) == 40)
    assert highest < lowest


def test_rest_candles_end_with_the_open_one_and_agree_with_the_stream(tmp_path: Path) -> None:
    caller = steady(tmp_path, ROWS)
    caller.run(200)
    rows = caller.call("GET", "/fapi/v1/klines", signed=False, symbol="BTCUSDT", interval="1m", limit=4)
    assert [row[0] for row in rows] == [START_MS + i * MINUTE_MS for i in (2, 3, 4, 5)]
    assert rows[-1][6] > caller.now_ms
    last = [frame["k"] for frame in caller.events("kline") if frame["k"]["x"]][-1]
    assert rows[-2][1:6] == [last[name] for name in "ohlcv"]
    since = caller.call(
        "GET",
        "/fapi/v1/klines",
        signed=False,
        symbol="BTCUSDT",
        interval="1m",
        startTime=START_MS + 60_001,
        endTime=START_MS + 3 * MINUTE_MS,
    )
    assert [row[0] for row in since] == [START_MS + 2 * MINUTE_MS, START_MS + 3 * MINUTE_MS]


def test_longer_candles_are_merged_from_minutes() -> None:
    caller = Caller(start_ms=START_MS)
    caller.listen("btcusdt@kline_5m", "btcusdt@kline_1m")
    caller.run(1800)
    minutes = {
        frame["k"]["t"]: frame["k"] for frame in caller.events("kline") if frame["k"]["i"] == "1m" and frame["k"]["x"]
    }
    fives = [frame["k"] for frame in caller.events("kline") if frame["k"]["i"] == "5m" and frame["k"]["x"]]
    assert len(fives) >= 5 and len({row["t"] for row in fives}) == len(fives)
    for five in fives[1:]:
        parts = [minutes[five["t"] + i * MINUTE_MS] for i in range(5)]
        assert (five["o"], five["c"]) == (parts[0]["o"], parts[-1]["c"])
        assert float(five["h"]) == max(float(part["h"]) for part in parts)
        assert float(five["v"]) == pytest.approx(sum(float(part["v"]) for part in parts))
    rest = caller.call("GET", "/fapi/v1/klines", signed=False, symbol="BTCUSDT", interval="5m", limit=3)
    assert rest[-2][0] == fives[-1]["t"] and rest[-2][1:5] == [fives[-1][name] for name in "ohlc"]


def test_intervals_begin_where_the_venue_begins_them() -> None:
    assert interval_start("1w", 1_795_000_000_000) == 1_794_787_200_000
    assert interval_start("1M", 1_795_000_000_000) == 1_793_491_200_000
    assert interval_end("1M", 1_793_491_200_000) == 1_796_083_200_000


def closes(caller: Caller, symbol: str, minutes: int) -> list[float]:
    caller.run(60 * minutes)
    feed = caller.exchange.feeds[symbol]
    return [candle.close for candle in feed.closed]


def test_the_same_seed_gives_the_same_market_and_another_seed_another() -> None:
    first, again, other = (closes(Caller(seed=seed), "BTCUSDT", 300) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize(("stop", "take"), [(0.005, 0.0075), (0.005, 0.01), (0.01, 0.02), (0.02, 0.03), (0.02, 0.04)])
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_a_trend_follower_meets_stop_take_profit_gap_and_partial_fill_within_160_candles(
    symbol: str, stop: float, take: float
) -> None:
    caller = Caller()
    digits = caller.exchange.instruments[symbol].price_digits
    ends: list[tuple[str, float]] = []
    parts: list[int] = []
    resting = 0
    for _ in range(160):
        caller.run(60)
        rows = [candle.close for candle in caller.exchange.feeds[symbol].closed]
        rising = mean(rows[-10:]) > mean(rows[-30:])
        waiting = caller.call("GET", "/fapi/v1/openAlgoOrders", symbol=symbol)
        held = caller.position(symbol)
        if resting and not held:
            finished = [
                row
                for row in caller.call("GET", "/fapi/v1/allAlgoOrders", symbol=symbol)
                if row["algoStatus"] == "FINISHED"
            ][-1]
            slip = 1 - float(finished["actualPrice"]) / float(finished["triggerPrice"])
            ends.append((finished["orderType"], slip))
            for row in waiting:
                caller.call("DELETE", "/fapi/v1/algoOrder", algoId=row["algoId"])
            resting = 0
        elif not held and rising:
            price = caller.price(symbol)
            entry = caller.order("BUY", f"{500 / price:.3f}", symbol=symbol)
            fills = caller.call("GET", "/fapi/v1/userTrades", symbol=symbol, orderId=entry["orderId"])
            parts.append(len(fills))
            mark = float(caller.call("GET", "/fapi/v1/premiumIndex", signed=False, symbol=symbol)["markPrice"])
            below, above = min(price, mark) * (1 - stop), max(price, mark) * (1 + take)
            for kind, trigger in (("STOP_MARKET", below), ("TAKE_PROFIT_MARKET", above)):
                assert "algoId" in caller.algo(
                    "SELL", kind, f"{trigger:.{digits}f}", symbol=symbol, closePosition="true", workingType="MARK_PRICE"
                )
            resting = 2
        elif held and not rising:
            caller.order("SELL", f"{held:.3f}", symbol=symbol, reduceOnly="true")
            caller.call("DELETE", "/fapi/v1/algoOpenOrders", symbol=symbol)
            resting = 0
    kinds = [kind for kind, _ in ends]
    assert "STOP_MARKET" in kinds and "TAKE_PROFIT_MARKET" in kinds
    assert any(kind == "STOP_MARKET" and slip > 0.01 for kind, slip in ends), ends
    assert any(count > 1 for count in parts), parts
