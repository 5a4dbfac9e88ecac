"""Two instruments in on one candle of the first, out on its next."""

from collections.abc import Iterator
from decimal import Decimal

from tradingd.strategy import Candle, Context, Enter, Exit, Intent, Side, Strategy


class BothAtOnce(Strategy):
    quantity: Decimal = Decimal("0.02")

    def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
        if candle.instrument != ctx.instruments[0]:
            return
        closing = not ctx.position(candle.instrument).is_flat
        for instrument in ctx.instruments:
            if closing:
                yield Exit(instrument, reason="one candle has passed")
            else:
                price = ctx.last_price(instrument) or candle.close
                yield Enter(instrument, Side.BUY, quantity=self.quantity, stop_loss=price / 2)
