"""The shipped strategy that trails, tested as its author would: candles in, intents out."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.feeds.candle_world import BTC
from tradingd.strategy import Enter, Position, Protect, Side
from tradingd.strategy.loader import load_plugin
from tradingd.strategy.parameters import ParameterError
from tradingd.strategy.testing import Bench, make_candles

TrailingBreakout = load_plugin("trailing_breakout", Path(__file__).parents[2] / "strategies").strategy_class


def run(*closes: int, long_from: int | None = None) -> list[list[object]]:
    """What it yields on each candle; from candle `long_from` on it holds a position."""
    bench = Bench(TrailingBreakout(length=3, trail=Decimal("0.1")), [BTC])
    bench.start()
    yields: list[list[object]] = []
    for number, candle in enumerate(make_candles(BTC, closes)):
        if number == long_from:
            bench.account.positions[BTC] = Position(BTC, Decimal(1), candle.open, candle.open_time_ms)
        yields.append(list(bench.candle(candle)))
    return yields


def test_a_close_above_the_last_highs_is_entered_at_that_close_with_its_risk_and_a_stop() -> None:
    *before, last = run(100, 101, 99, 102)
    assert before == [[], [], []]
    (entry,) = last
    assert isinstance(entry, Enter)
    assert (entry.side, entry.risk, entry.limit_price) == (Side.BUY, Decimal("0.002"), 102)
    assert (entry.stop_loss, entry.expire_candles) == (Decimal("91.8"), 1)


def test_no_breakout_and_too_little_history_are_no_entry() -> None:
    assert run(100, 105, 99, 104) == [[], [], [], []]
    assert run(100, 101) == [[], []]


def test_the_stop_follows_the_price_up_and_never_down() -> None:
    yields = run(100, 101, 99, 110, 120, 115, 130, long_from=4)
    assert yields[4:] == [
        [Protect(BTC, stop_loss=Decimal(108))],
        [],
        [Protect(BTC, stop_loss=Decimal(117))],
    ]


def test_a_position_that_it_does_not_remember_gets_a_stop_from_here() -> None:
    assert run(100, 90, long_from=1)[1] == [Protect(BTC, stop_loss=Decimal(81))]


@pytest.mark.parametrize("wrong", [{"length": 0}, {"trail": Decimal(1)}, {"risk": Decimal(0)}, {"wait": 0}])
def test_parameters_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    strategy = TrailingBreakout(**wrong)
    with pytest.raises(ValueError, match="allowed"):
        strategy.check_parameters()
    with pytest.raises(ParameterError):
        TrailingBreakout(unknown=1)
