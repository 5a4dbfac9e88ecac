"""Raw values of the venues → domain values: Decimals from strings, and an error for what is missing."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from tradingd.domain.account import VenueBalance, VenueOrder, VenuePosition
from tradingd.domain.candles import Candle
from tradingd.domain.errors import BadInstrument
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.numbers import ZERO, exact
from tradingd.domain.orders import Fill

Row = Mapping[str, Any]


class KeyExpired(msgspec.Struct, frozen=True):
    """The venue ended the key of the account stream: a new one is needed."""


Push = Candle | VenueOrder | Fill | VenuePosition | VenueBalance | KeyExpired
"""What one frame can tell."""


def number(row: Row, name: str) -> Decimal:
    """A number that must be there; raises KeyError or BadNumber."""
    return exact(row[name], name)


def number_or_zero(row: Row, name: str) -> Decimal:
    """A number, zero where the venue leaves it out."""
    value = row.get(name)
    return ZERO if value is None or value == "" else exact(value, name)


def number_or_none(row: Row, name: str) -> Decimal | None:
    """A number; None where the venue leaves it out or writes zero for "none"."""
    return number_or_zero(row, name) or None


def text_or_none(row: Row, *names: str) -> str | None:
    """The first of the names that holds a text or a number other than zero; None when none does."""
    for name in names:
        value = row.get(name)
        if value not in (None, "", 0, "0"):
            return str(value)
    return None


class Book:
    """The instruments of a venue, by the venue's own symbol and by ours."""

    def __init__(self) -> None:
        self.instruments: dict[InstrumentId, Instrument] = {}
        self._by_market: dict[str, InstrumentId] = {}

    def replace(self, instruments: dict[InstrumentId, Instrument]) -> None:
        """Take over the rules as just read."""
        self.instruments = instruments
        self._by_market = {rules.market_id: name for name, rules in instruments.items()}

    def find(self, market_id: str) -> InstrumentId | None:
        """The instrument behind the venue's symbol; None for what the daemon does not trade (other settlement)."""
        return self._by_market.get(market_id)

    def rules(self, instrument: InstrumentId) -> Instrument:
        """The rules of an instrument; raises BadInstrument when the venue does not list it."""
        rules = self.instruments.get(instrument)
        if rules is None:
            raise BadInstrument(f"{instrument} is not listed on {instrument.venue}")
        return rules
