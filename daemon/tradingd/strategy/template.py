"""The plugin that `tradingd strategies new` writes: it runs as it is, and says what may be changed."""

import re

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")


def is_plugin_name(name: str) -> bool:
    """Whether a plugin file may have that name."""
    return _NAME.fullmatch(name) is not None


def class_name(name: str) -> str:
    """`sma_cross` → `SmaCross`."""
    return "".join(part.capitalize() for part in name.split("_")) or "Mine"


TEMPLATE = '''"""Say in one line what it does: `tradingd strategies list` shows it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

from tradingd.strategy import Candle, Context, Enter, Exit, Fill, Intent, Note, Range, Side, Strategy


class ClassName(Strategy):
    # Parameters: annotated, with a default; keys of the same name in [strategies.<id>] replace it.
    # Types: int, float, str, bool, Decimal, Literal[...]; Range bounds a number.
    lookback: Annotated[int, Range(2, 500)] = 20
    stake: Annotated[Decimal, Range(0, 1)] = Decimal("0.05")  # share of available margin per entry, as notional
    stop: Decimal = Decimal("0.01")  # stop distance as a fraction of price

    def check_parameters(self) -> None:
        # Raise ValueError when parameters do not fit each other; the daemon then refuses to start.
        if not 0 < self.stop < 1:
            raise ValueError(f"stop is {self.stop}; allowed: above 0 and below 1")

    def on_start(self, ctx: Context) -> None:
        # Once. `warmup` candles are in ctx.candles already. Set up what you keep in memory here, not in __init__.
        self.fills = 0

    def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
        # Each closed candle once, in order; the last of ctx.candles and ctx.closes is this one.
        instrument = candle.instrument
        closes = ctx.closes(instrument, self.lookback)
        if len(closes) < self.lookback:
            yield Note(instrument, "history is too short", {"have": len(closes), "need": self.lookback})
            return
        position = ctx.position(instrument)
        highest, lowest = max(closes), min(closes)
        if position.is_flat and candle.close == highest:
            # One of quantity= (contracts), notional= (USDT), risk= (fraction of equity lost at the stop).
            yield Enter(
                instrument,
                Side.BUY,
                notional=ctx.available(instrument) * self.stake,
                stop_loss=candle.close * (1 - self.stop),
            )
        elif position.is_long and candle.close == lowest:
            yield Exit(instrument, reason="lowest close")

    def on_fill(self, fill: Fill, ctx: Context) -> None:
        # Each execution on an own instrument. ctx.state is a JSON dict that survives restarts.
        self.fills += 1
        ctx.state(fill.instrument)["fills"] = ctx.state(fill.instrument).get("fills", 0) + 1

    # Also there: on_order(order, ctx), on_signal(signal, ctx), on_stop(ctx). Leave out what you do not need.
'''
