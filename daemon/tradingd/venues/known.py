"""The venues that are built, by id: how each speaks, and what is special about it."""

from collections.abc import Callable

from tradingd.config.credentials import Credentials
from tradingd.domain.ids import VenueId
from tradingd.venues.binance import BINANCE, BinanceDialect
from tradingd.venues.bybit import BYBIT, BybitDialect
from tradingd.venues.dialect import Dialect
from tradingd.venues.quirks import Quirks
from tradingd.venues.translate import Book

DIALECTS: dict[str, Callable[[VenueId, Book, Credentials], Dialect]] = {
    "binance": BinanceDialect,
    "bybit": BybitDialect,
}
QUIRKS: dict[str, Quirks] = {"binance": BINANCE, "bybit": BYBIT}
