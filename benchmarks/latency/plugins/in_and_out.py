"""In on one candle, out on the next."""

from collections.abc import Iterator
from decimal import Decimal

from tradingd.strategy import Candle, Context, Enter, Exit, Intent, Side, Strategy


class InAndOut(Strategy):
    quantity: Decimal = Decimal("0.002")

    def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
        if ctx.position(candle.instrument).is_flat:
            yield Enter(candle.instrument, Side.BUY, quantity=self.quantity, stop_loss=candle.close / 2)
        else:
            yield Exit(candle.instrument, reason="one candle has passed")
