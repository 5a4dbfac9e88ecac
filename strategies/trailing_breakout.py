"""Long on a close above the last highs, sized by what it may lose; its stop follows the price up and never down."""

from collections.abc import Iterator
from decimal import Decimal

from tradingd.strategy import Candle, Context, Enter, Intent, Protect, Side, Strategy


class TrailingBreakout(Strategy):
    length: int = 20
    risk: Decimal = Decimal("0.002")  # share of equity that an entry may lose at its stop, fees included
    trail: Decimal = Decimal("0.01")  # distance of the stop, as a fraction of the highest close since the entry
    wait: int = 1  # candles for which an entry rests at the close that it broke out with

    def check_parameters(self) -> None:
        if self.length < 1 or self.wait < 1 or not 0 < self.trail < 1 or not 0 < self.risk < 1:
            raise ValueError("allowed: length and wait from 1 on, trail and risk above 0 and below 1")

    def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
        state = ctx.state(candle.instrument)
        stop = candle.close * (1 - self.trail)
        if ctx.position(candle.instrument).is_long:
            # the stop that the entry was given is where it begins; an earlier one would be below it
            if stop > Decimal(state.get("stop", "0")):
                state["stop"] = str(stop)
                yield Protect(candle.instrument, stop_loss=stop)
            return
        before = ctx.candles(candle.instrument, self.length + 1)[:-1]
        if len(before) == self.length and candle.close > max(each.high for each in before):
            state["stop"] = str(stop)
            yield Enter(
                candle.instrument,
                Side.BUY,
                risk=self.risk,
                limit_price=candle.close,
                expire_candles=self.wait,
                stop_loss=stop,
            )
