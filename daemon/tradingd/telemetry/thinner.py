"""Lines that may come many times a second are let through now and then, with a count of those left out."""

from collections import OrderedDict
from collections.abc import Hashable

from tradingd.ports import Clock

MAX_KEYS = 512
"""Remembered at a time; the oldest is forgotten first."""


class Thinner:
    """Lets one line per key and interval pass, and counts those that it held back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def passes(self, key: Hashable, interval_s: float) -> int | None:
        """How many were held back since the last that passed, or None to hold this one back."""
        now_s = self._clock.monotonic()
        last_s, held_back = self._seen.get(key, (None, 0))
        if last_s is not None and now_s - last_s < interval_s:
            self._seen[key] = (last_s, held_back + 1)
            return None
        self._seen[key] = (now_s, 0)
        self._seen.move_to_end(key)
        if len(self._seen) > MAX_KEYS:
            self._seen.popitem(last=False)
        return held_back
