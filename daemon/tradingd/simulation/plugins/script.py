"""Does what it is told, candle by candle; for simulation only."""

from collections.abc import Iterator
from decimal import Decimal

from tradingd.strategy import Candle, Context, Enter, Exit, Intent, Protect, Side, Strategy


class Script(Strategy):
    """`lines`: "1 buy 0.01 0.02; 3 protect 0.01 -; 4 exit; 6 sell 0.005 -; 9 buy 0.01 0.02 0.999" by number of candle.

    Behind the side: distance of the stop and of the take profit as fractions of the price ("-": none), then the limit
    price as a multiple of the price, for a market order none. `protect` takes the distances from the price of then.
    """

    lines: str = ""
    notional: Decimal = Decimal(500)

    def on_start(self, ctx: Context) -> None:
        """Read `lines` once."""
        steps = [line.split() for line in self.lines.split(";") if line.strip()]
        self.steps = {int(words[0]): words[1:] for words in steps}

    def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
        """Do what the script says of this candle of the instrument."""
        state = ctx.state(candle.instrument)
        state["candles"] = state.get("candles", 0) + 1
        words = self.steps.get(state["candles"])
        if words is None:
            return
        if words[0] == "exit":
            yield Exit(candle.instrument, reason="script")
            return
        long = ctx.position(candle.instrument).is_long if words[0] == "protect" else words[0] == "buy"
        side = Side.BUY if long else Side.SELL
        price = ctx.last_price(candle.instrument)
        stop, target = (None if word == "-" else price * Decimal(word) * side.sign for word in words[1:3])
        if words[0] == "protect":
            yield Protect(
                candle.instrument,
                stop_loss=None if stop is None else price - stop,
                take_profit=None if target is None else price + target,
            )
            return
        yield Enter(
            candle.instrument,
            side,
            notional=self.notional,
            limit_price=price * Decimal(words[3]) if len(words) > 3 else None,
            stop_loss=None if stop is None else price - stop,
            take_profit=None if target is None else price + target,
            expire_candles=3,
            tag="script",
        )
