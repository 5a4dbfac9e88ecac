"""How long facts take to be seen: seeded delays between what is true at the venue and what it answers or pushes."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")
FOREVER_MS = 1 << 62
_EVER_MS = -FOREVER_MS
_CHANGES_KEPT = 32
"""Of one value; those that are not visible yet are far fewer."""


class Lags:
    """Delays in venue milliseconds; `scale` keeps them constant in real time when venue time runs faster."""

    def __init__(self, rng: Random, scale: float = 1.0, enabled: bool = True) -> None:
        self.scale = scale
        self._rng = rng
        self._enabled = enabled

    @classmethod
    def none(cls) -> Lags:
        """No delay at all."""
        return cls(Random(0), enabled=False)

    def _draw(self, least_ms: float, mean_ms: float, most_ms: float) -> int:
        if not self._enabled:
            return 0
        return int(min(most_ms, least_ms + self._rng.expovariate(1.0 / mean_ms)) * self.scale)

    def stream(self) -> int:
        """Until an event of the user stream leaves."""
        return self._draw(3.0, 8.0, 80.0)

    def order(self) -> int:
        """Until a look-up or list shows an order's new state."""
        return self._draw(0.0, 20.0, 200.0)

    def fill(self) -> int:
        """Until the list of fills shows it."""
        return self._draw(5.0, 40.0, 300.0)

    def engine(self) -> int:
        """Until an acknowledged request reaches the engine, where acknowledging and checking are two things."""
        return self._draw(2.0, 8.0, 120.0)

    def history(self) -> int:
        """Until an archive of orders shows one that ended."""
        return self._draw(20.0, 150.0, 1500.0)

    def balance(self) -> int:
        """Until balances show it."""
        return self._draw(5.0, 60.0, 300.0)

    def position(self) -> int:
        """Until positions show it."""
        return self._draw(5.0, 50.0, 300.0)


class Lagged(Generic[T]):
    """A value that changes now and is seen to change later, never out of order; who asks for the past gets the past."""

    __slots__ = ("_changes",)

    def __init__(self, value: T) -> None:
        self._changes: deque[tuple[int, T]] = deque([(_EVER_MS, value)], maxlen=_CHANGES_KEPT)

    def put(self, visible_ms: int, value: T) -> None:
        """`value` becomes visible at that time, or with the change before it if that is later."""
        self._changes.append((max(visible_ms, self._changes[-1][0]), value))

    def at(self, now_ms: int) -> T:
        """What is visible; of a past beyond what is kept, the oldest that is."""
        for visible_ms, value in reversed(self._changes):
            if visible_ms <= now_ms:
                return value
        return self._changes[0][1]
