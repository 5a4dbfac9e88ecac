"""A seeded market that shows a trend follower everything within its first 150 candles.

The path is a chain of cycles: a slow fall that resets moving averages, a rise that invites a long position, and then a
fall through its stop, a run to its take profit, or a gap past its stop. The first three cycles are fixed, later ones
are drawn.
"""

from __future__ import annotations

import math
from decimal import Decimal
from random import Random

import msgspec

from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.market import MINUTE_MS, STEPS, Minute, mark_path
from tradingd.emulator.core.records import Candle

Leg = tuple[float, float]
"""One candle: drift from open to close, gap between the last close and this open, both as fractions."""

_STEP_NOISE = 0.00009
_MINUTE_NOTIONAL_USDT = 2_000_000.0


class _State(msgspec.Struct):
    cycle: int
    legs: list[Leg]


def _fall(candles: int = 22) -> list[Leg]:
    return [(-0.0006, 0.0)] * candles


def _rise(candles: int) -> list[Leg]:
    return [(0.0015, 0.0)] * candles


_RISES = {"gap": 11}
"""A gap comes soon after the signal, before a near take profit can take the position away; other endings wait."""


_ENDINGS: dict[str, list[Leg]] = {
    "stop": [(-0.008, 0.0)] * 5 + [(0.0003, 0.0)] * 3,
    "take_profit": [(0.0028, 0.0)] * 20 + [(-0.0004, 0.0)] * 4,
    "gap": [(-0.001, -0.04)] + [(-0.0005, 0.0)] * 7,
    "fade": [(0.0, 0.0)] * 10 + [(-0.0015, 0.0)] * 12,
    "squeeze": [(0.001, 0.03)] + [(0.0004, 0.0)] * 7,
}
_OPENING = ("stop", "take_profit", "gap")


class SyntheticMarket:
    """Endless minutes for several symbols, a function of the seed alone."""

    kind = "synthetic"
    waits_for_listener = False

    def __init__(self, instruments: dict[str, Instrument], start_ms: int, seed: int, history: int = 1500) -> None:
        self.symbols = tuple(instruments)
        self.start_ms = start_ms // MINUTE_MS * MINUTE_MS
        self._instruments = instruments
        self._seed = seed
        self._history = history
        self._states: dict[str, _State] = {}

    def history(self, symbol: str) -> list[Candle]:
        """A quiet past that ends in a slow fall at the start price, so that the first rise is a signal."""
        instrument = self._instruments[symbol]
        rng = Random(f"{self._seed}/{symbol}/history")
        closes = [float(instrument.ticks(instrument.start_price))]
        for index in range(self._history - 1):
            swing = 0.0004 * math.sin(index / 37.0) + rng.gauss(0.0, 0.0004)
            closes.append(closes[-1] / (1.0 + (-0.0006 if index < 30 else swing)))
        closes.reverse()
        first_ms = self.start_ms - self._history * MINUTE_MS
        out: list[Candle] = []
        previous = closes[0]
        for index, close in enumerate(closes):
            wick = close * abs(rng.gauss(0.0, 0.0002))
            volume = self._volume(instrument, rng)
            top, bottom = max(previous, close) + wick, min(previous, close) - wick
            out.append(
                Candle(
                    first_ms + index * MINUTE_MS, round(previous), round(top), round(bottom), round(close), volume, 400
                )
            )
            previous = close
        self._states[symbol] = _State(0, self._cycle(symbol, 0, Decimal(out[-1].close)))
        return out

    def next_minute(self, symbol: str, previous: Candle, previous_mark: int) -> Minute | None:
        """The next leg of the cycle as a path with noise."""
        state, instrument = self._states[symbol], self._instruments[symbol]
        if not state.legs:
            state.cycle += 1
            state.legs = self._cycle(symbol, state.cycle, Decimal(previous.close))
        drift, gap = state.legs.pop(0)
        open_ms = previous.open_ms + MINUTE_MS
        rng = Random(f"{self._seed}/{symbol}/{open_ms}")
        if instrument.base in ("DOGE", "XRP") and not gap and rng.random() < 0.004:
            quiet = [previous.close] * STEPS
            return Minute(open_ms, quiet, mark_path(quiet, previous_mark), 0.0, 0)
        price = previous.close * (1.0 + gap)
        slope = drift / (STEPS - 1)
        path = [max(1, round(price))]
        for _ in range(STEPS - 1):
            price *= 1.0 + slope + rng.gauss(0.0, _STEP_NOISE)
            path.append(max(1, round(price)))
        return Minute(
            open_ms, path, mark_path(path, previous_mark), self._volume(instrument, rng), rng.randrange(100, 2000)
        )

    def state(self, symbol: str) -> str:
        """Cycle number and remaining legs."""
        return msgspec.json.encode(self._states[symbol]).decode()

    def restore(self, symbol: str, state: str) -> None:
        """Take up the cycle again."""
        self._states[symbol] = msgspec.json.decode(state, type=_State)

    def _cycle(self, symbol: str, number: int, price_ticks: Decimal) -> list[Leg]:
        """Legs of one cycle; prices far from their start are led back."""
        shift = self.symbols.index(symbol)
        if number < len(_OPENING):
            ending = _OPENING[(number + shift) % len(_OPENING)]
            reset = [] if number == 0 else _fall()
            return [*reset, *_rise(_RISES.get(ending, 14)), *_ENDINGS[ending]]
        rng = Random(f"{self._seed}/{symbol}/cycle/{number}")
        instrument = self._instruments[symbol]
        ratio = float(price_ticks * instrument.price_unit / instrument.start_price)
        if ratio > 1.12:
            ending = rng.choice(("stop", "gap"))
        elif ratio < 0.9:
            ending = rng.choice(("take_profit", "squeeze"))
        else:
            ending = rng.choice(tuple(_ENDINGS))
        return [*_fall(rng.randrange(18, 30)), *_rise(_RISES.get(ending, rng.randrange(12, 18))), *_ENDINGS[ending]]

    @staticmethod
    def _volume(instrument: Instrument, rng: Random) -> float:
        base = _MINUTE_NOTIONAL_USDT / float(instrument.start_price)
        return round(base * math.exp(rng.gauss(0.0, 0.6)), instrument.quantity_digits)
