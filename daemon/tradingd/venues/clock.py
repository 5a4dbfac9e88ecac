"""The clocks and random ids of ccxt, taken from the daemon's ports."""

from collections.abc import Callable

import msgspec

from tradingd.ports import Clock


class CcxtClock(msgspec.Struct, frozen=True):
    """ccxt's three clocks in real time, which no step of the host's clock can move.

    ccxt measures pings and backoff with them, in real seconds even where venue time runs faster; only the signed time
    (`nonce`) is venue time.
    """

    milliseconds: Callable[[], int]
    seconds: Callable[[], int]
    microseconds: Callable[[], int]


def ccxt_clock(clock: Clock) -> CcxtClock:
    """The wall time of now, advanced by the monotonic clock."""
    start_us = clock.wall_ms() * 1000
    start = clock.monotonic()

    def microseconds() -> int:
        return start_us + int((clock.monotonic() - start) * 1_000_000)

    return CcxtClock(lambda: microseconds() // 1000, lambda: microseconds() // 1_000_000, microseconds)
