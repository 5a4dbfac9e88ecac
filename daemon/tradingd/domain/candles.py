"""Candles: identified by instrument, timeframe and open time; only closed ones reach a strategy."""

import re
from decimal import Decimal

import msgspec

from tradingd.domain.instruments import InstrumentId

_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
TIMEFRAMES = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
"""The timeframes that all three venues stream."""


def timeframe_ms(timeframe: str) -> int:
    """The length of a timeframe in ms; raises ValueError naming those allowed."""
    match = re.fullmatch(r"([0-9]+)([mhd])", timeframe)
    if match is None or timeframe not in TIMEFRAMES:
        raise ValueError(f"timeframe {timeframe!r} is not known; allowed: {', '.join(TIMEFRAMES)}")
    return int(match[1]) * _UNITS_MS[match[2]]


class Candle(msgspec.Struct, frozen=True):
    """One candle. Prices in quote currency, volume in contracts, `open_time_ms` UTC.

    `late`: delivered more than `max_candle_age_s` after its close; `gap_before`: candles before it are missing
    on the venue too.
    """

    instrument: InstrumentId
    timeframe: str
    open_time_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    closed: bool = True
    late: bool = False
    gap_before: bool = False

    @property
    def close_time_ms(self) -> int:
        """The first ms after the candle: its open time plus its timeframe."""
        return self.open_time_ms + timeframe_ms(self.timeframe)
