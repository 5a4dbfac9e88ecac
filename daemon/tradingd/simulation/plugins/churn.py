"""Enters and exits often, on both sides, in every way that the pipeline knows; for simulation only."""

from collections.abc import Iterator
from decimal import Decimal
from random import Random

from tradingd.strategy import Candle, Context, Enter, Exit, Intent, Note, Protect, Side, Strategy, TimeInForce


class Churn(Strategy):
    """Draws what to do on each candle from seed, instrument and the candle's time, so that a rerun does the same."""

    seed: str = "0"
    stake: Decimal = Decimal("0.02")  # share of available margin per entry, as notional
    last_entry_ms: int = 0  # no entry on candles that close later, and what is open is closed; 0: never
    entry_rate: float = 0.7
    exit_rate: float = 0.35
    protect_rate: float = 0.5

    def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
        """Exit, enter or a note, as drawn; after `last_entry_ms` only exits."""
        instrument = candle.instrument
        draw = Random(f"{self.seed}/{instrument}/{candle.close_time_ms}")
        position = ctx.position(instrument)
        state = ctx.state(instrument)
        state["candles"] = state.get("candles", 0) + 1
        if self.last_entry_ms and candle.close_time_ms > self.last_entry_ms:
            if not position.is_flat:
                yield Exit(instrument, reason="the run ends")
            return
        if not position.is_flat and draw.random() < self.exit_rate:
            yield Exit(instrument, reason="drawn")
        elif not position.is_flat and draw.random() < self.protect_rate:
            yield from self._protect(candle, ctx, draw)
        elif draw.random() < self.entry_rate:
            yield self._entry(candle, ctx, draw)
        else:
            yield Note(instrument, "drawn", {"candles": state["candles"]})

    def _protect(self, candle: Candle, ctx: Context, draw: Random) -> Iterator[Protect]:
        """Now nearer, now farther, now on the wrong side; now and then twice at once."""
        sign = 1 if ctx.position(candle.instrument).is_long else -1
        price = ctx.last_price(candle.instrument)
        for _ in range(draw.choice((1, 1, 2))):
            near = Decimal(draw.choice(("-0.0004", "0.0003", "0.0008", "0.002", "0.01")))
            far = Decimal(draw.choice(("-0.0004", "0.0006", "0.002", "0.02")))
            kind = draw.random()
            yield Protect(
                candle.instrument,
                stop_loss=None if kind < 0.2 else price * (1 - near * sign),
                take_profit=None if 0.2 <= kind < 0.7 else price * (1 + far * sign),
            )

    def _entry(self, candle: Candle, ctx: Context, draw: Random) -> Enter:
        side = draw.choice((Side.BUY, Side.SELL))
        price = ctx.last_price(candle.instrument)
        limit = None
        if draw.random() < 0.4:
            off = Decimal(draw.choice(("-0.0005", "0.0001", "0.0004", "0.001", "0.003")))
            limit = price * (1 - off * side.sign)
        near = Decimal(draw.choice(("0.0008", "0.0015", "0.004", "0.01")))
        far = Decimal(draw.choice(("0.001", "0.002", "0.006", "0.02")))
        return Enter(
            candle.instrument,
            side,
            notional=ctx.available(candle.instrument) * self.stake * draw.randrange(1, 4),
            limit_price=limit,
            time_in_force=draw.choice((TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC)),
            post_only=limit is not None and draw.random() < 0.2,
            expire_candles=draw.randrange(1, 3),
            stop_loss=None if draw.random() < 0.05 else price * (1 - near * side.sign),
            take_profit=price * (1 + far * side.sign) if draw.random() < 0.6 else None,
            tag="churn",
        )
