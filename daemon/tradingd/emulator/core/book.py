"""The order book around a price: thin at the top, deeper below, different in every step, the same for the same seed."""

from __future__ import annotations

import math
from random import Random

from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.records import BUY

LEVELS = 20
_HALF_SPREAD = 0.00002
_SPACING = 0.00005
_TOP_MIN_USDT = 120.0
_TOP_MAX_USDT = 20_000.0
_THIN_SHARE = 0.4

Level = tuple[int, int]
"""Price in ticks and quantity in lots."""


class Book:
    """Levels of both sides for one step; what is taken stays taken until the next step."""

    def __init__(self, instrument: Instrument, seed: int) -> None:
        self._instrument = instrument
        self._seed = seed
        self._key = (-1, -1)
        self._sides: dict[int, list[Level]] = {}

    def levels(self, side: int, step_ms: int, price_ticks: int) -> list[Level]:
        """What a taker of `side` meets, best first; +1 buys from the asks."""
        if self._key != (step_ms, price_ticks):
            self._key = (step_ms, price_ticks)
            self._sides = {}
        if side not in self._sides:
            self._sides[side] = self._draw(side, step_ms, price_ticks)
        return self._sides[side]

    def take(self, side: int, lots: int, limit_ticks: int | None) -> list[Level]:
        """Take up to `lots` from the levels last looked at, none of them worse than the limit."""
        taken: list[Level] = []
        levels = self._sides[side]
        while lots > 0 and levels:
            price, size = levels[0]
            if limit_ticks is not None and (price - limit_ticks) * side > 0:
                break
            part = min(size, lots)
            taken.append((price, part))
            lots -= part
            if part == size:
                levels.pop(0)
            else:
                levels[0] = (price, size - part)
        return taken

    def _draw(self, side: int, step_ms: int, price_ticks: int) -> list[Level]:
        rng = Random(f"{self._seed}/{self._instrument.symbol}/{step_ms}/{side}")
        tick, lot = float(self._instrument.price_unit), float(self._instrument.lot_unit)
        spread = math.log(_TOP_MAX_USDT / _TOP_MIN_USDT)
        thin = rng.random() < _THIN_SHARE
        out: list[Level] = []
        last = price_ticks if side == BUY else price_ticks + 1
        for index in range(LEVELS):
            away = price_ticks * (1.0 + side * (_HALF_SPREAD + _SPACING * index))
            ticks = max(round(away), last + 1) if side == BUY else max(1, min(round(away), last - 1))
            usdt = _TOP_MIN_USDT * math.exp(rng.random() * spread) * (1 + index)
            if thin and index == 0:
                usdt = _TOP_MIN_USDT * (1.0 + 2.0 * rng.random())
            out.append((ticks, max(1, int(usdt / (ticks * tick * lot)))))
            last = ticks
        return out
