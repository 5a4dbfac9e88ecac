"""Long while the fast average is above the slow one; flat otherwise."""

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from statistics import mean

from tradingd.strategy import Candle, Context, Enter, Exit, Intent, Side, Strategy


class SmaCross(Strategy):
    fast: int = 10
    slow: int = 30
    stake: Decimal = Decimal("0.05")  # share of available margin per entry, as notional
    stop: Decimal = Decimal("0.02")  # stop distance as a fraction of price
    take_profit: Decimal = Decimal("0.04")  # take profit distance as a fraction of price; 0: none

    def check_parameters(self) -> None:
        if not 1 <= self.fast < self.slow:
            raise ValueError(f"fast is {self.fast} and slow is {self.slow}; allowed: 1 <= fast < slow")
        if not 0 < self.stop < 1 or self.take_profit < 0 or self.stake <= 0:
            raise ValueError("allowed: stop above 0 and below 1, take_profit 0 or more, stake above 0")

    def on_start(self, ctx: Context) -> None:
        self.closes = {i: deque(ctx.closes(i, self.slow), self.slow) for i in ctx.instruments}

    def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
        closes = self.closes[candle.instrument]
        closes.append(candle.close)
        rising = len(closes) == self.slow and mean(list(closes)[-self.fast :]) > mean(closes)
        position = ctx.position(candle.instrument)
        if rising and position.is_flat:
            yield Enter(
                candle.instrument,
                Side.BUY,
                notional=ctx.available(candle.instrument) * self.stake,
                stop_loss=candle.close * (1 - self.stop),
                take_profit=candle.close * (1 + self.take_profit) if self.take_profit else None,
            )
        elif position.is_long and not rising:
            yield Exit(candle.instrument, reason="fast below slow")
