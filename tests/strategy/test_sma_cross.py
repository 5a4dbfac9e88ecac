"""The shipped strategy, run as its author would."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.feeds.candle_world import BTC
from tradingd.domain.positions import Position
from tradingd.strategy import Enter, Exit, Side, Strategy
from tradingd.strategy.loader import load_plugin
from tradingd.strategy.parameters import ParameterError
from tradingd.strategy.testing import Bench, make_candles, make_context

STRATEGIES = Path(__file__).parents[2] / "strategies"


@pytest.fixture(scope="module")
def sma_cross() -> type[Strategy]:
    return load_plugin("sma_cross", STRATEGIES).strategy_class


def test_it_enters_with_stop_and_take_profit_when_the_fast_average_rises(sma_cross):
    bench = Bench(sma_cross(fast=2, slow=4), [BTC])
    bench.start()
    *quiet, last = make_candles(BTC, [100, 100, 100, 110])
    assert [bench.candle(one) for one in quiet] == [[], [], []]
    (enter,) = bench.candle(last)
    assert enter == Enter(
        BTC,
        Side.BUY,
        notional=Decimal("50.00"),
        stop_loss=Decimal("107.80"),
        take_profit=Decimal("114.40"),
    )


def test_it_exits_when_the_fast_average_falls_and_only_then(sma_cross):
    bench = Bench(sma_cross(fast=2, slow=4), [BTC])
    bench.start()
    bench.account.positions[BTC] = Position(BTC, Decimal(1), Decimal(100))
    given = [bench.candle(one) for one in make_candles(BTC, [100, 101, 102, 103, 90, 80])]
    assert given[:4] == [[Exit(BTC, reason="fast below slow")]] * 3 + [[]]
    assert given[4:] == [[Exit(BTC, reason="fast below slow")]] * 2


def test_it_uses_the_warm_up_history(sma_cross):
    strategy = sma_cross(fast=2, slow=4)
    history = make_candles(BTC, [100, 100, 100])
    ctx = make_context([BTC], history=history)
    strategy.on_start(ctx)
    (candle,) = make_candles(BTC, [120], start_ms=history[-1].close_time_ms)
    assert [type(intent) for intent in strategy.on_candle(candle, ctx)] == [Enter]


def test_without_take_profit_it_asks_for_none(sma_cross):
    bench = Bench(sma_cross(fast=1, slow=2, take_profit=0), [BTC])
    bench.start()
    first, last = make_candles(BTC, [100, 110])
    assert bench.candle(first) == []
    (enter,) = bench.candle(last)
    assert isinstance(enter, Enter)
    assert enter.take_profit is None


@pytest.mark.parametrize("wrong", [{"fast": 30}, {"stop": 1}, {"stake": 0}, {"take_profit": -1}])
def test_parameters_that_do_not_fit_are_refused(sma_cross, wrong):
    with pytest.raises(ValueError, match="allowed"):
        sma_cross(**wrong).check_parameters()


def test_a_misspelt_parameter_is_named_with_the_nearest(sma_cross):
    with pytest.raises(ParameterError, match="fats is not a parameter of SmaCross; nearest: fast"):
        sma_cross(fats=3)
