"""Instruments: one typed id, one set of rules. A spot form or a venue's own symbol never enters the domain."""

import re
from decimal import Decimal

import msgspec

from tradingd.domain.errors import BadInstrument
from tradingd.domain.ids import VenueId
from tradingd.domain.numbers import ZERO, round_down, round_nearest, round_up

_FORM = re.compile(r"([A-Z0-9]{1,20})/([A-Z0-9]{1,10}):([A-Z0-9]{1,10})@([a-z]{2,12})")

_NEAR = re.compile(r"([A-Za-z0-9]{1,20}?)[/_-]?(?:USDT|usdt)@([a-z]{2,12})")
"""A spot form, or a venue's own name of a perpetual: what was meant can be told."""


class InstrumentId(msgspec.Struct, frozen=True, order=True):
    """One perpetual on one venue, written `BTC/USDT:USDT@binance`."""

    venue: VenueId
    symbol: str

    def __str__(self) -> str:
        return f"{self.symbol}@{self.venue}"

    @staticmethod
    def parse(text: str) -> "InstrumentId":
        """The id in `text`; raises BadInstrument saying which form is allowed."""
        match = _FORM.fullmatch(text)
        if match is None:
            near = _NEAR.fullmatch(text)
            meant = f"; {near[1].upper()}/USDT:USDT@{near[2]} is meant?" if near else ""
            raise BadInstrument(
                f"instrument {text!r} is not in the form BASE/QUOTE:SETTLE@venue, e.g. BTC/USDT:USDT@binance{meant}"
            )
        if match[2] != match[3]:
            raise BadInstrument(
                f"instrument {text!r} does not settle in its quote currency; allowed: BASE/USDT:USDT@venue"
            )
        if match[3] != "USDT":
            raise BadInstrument(
                f"instrument {text!r} settles in {match[3]}; allowed: USDT perpetuals, BASE/USDT:USDT@venue"
            )
        return InstrumentId(VenueId(match[4]), f"{match[1]}/{match[2]}:{match[3]}")

    @property
    def base(self) -> str:
        """The base currency, e.g. BTC."""
        return self.symbol.partition("/")[0]


class Instrument(msgspec.Struct, frozen=True):
    """The venue's rules for one instrument, from its live filters, never constants: a minimum notional written
    down once was out of date soon.

    Prices are in quote currency, quantities in contracts, `min_notional` in quote currency for entries only:
    Binance's own text of -4164 exempts reduce-only orders. The limit price of a buy is at most
    `highest_buy_fraction` × mark price, that of a sell at least `lowest_sell_fraction` × mark price. `notional_caps`
    are pairs: up to this leverage, a position of at most so much.
    """

    id: InstrumentId
    market_id: str
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    max_market_quantity: Decimal
    min_notional: Decimal
    contract_size: Decimal = Decimal(1)
    max_leverage: Decimal | None = None
    taker_fee_fraction: Decimal = Decimal("0.0005")
    maker_fee_fraction: Decimal = Decimal("0.0002")
    trading: bool = True
    min_price: Decimal = ZERO
    max_price: Decimal | None = None
    highest_buy_fraction: Decimal | None = None
    lowest_sell_fraction: Decimal | None = None
    notional_caps: tuple[tuple[int, Decimal], ...] = ()

    def max_notional(self, leverage: int) -> Decimal | None:
        """What a position may be worth at `leverage`; None where the venue has not told."""
        return max((cap for most, cap in self.notional_caps if most >= leverage), default=None)

    def floor_quantity(self, quantity: Decimal) -> Decimal:
        """`quantity` cut to the lot size: never more than was asked for."""
        return round_down(quantity, self.lot_size)

    def ceil_quantity(self, quantity: Decimal) -> Decimal:
        """`quantity` raised to the lot size."""
        return round_up(quantity, self.lot_size)

    def round_price(self, price: Decimal) -> Decimal:
        """`price` on the nearest tick."""
        return round_nearest(price, self.tick_size)

    def notional(self, price: Decimal, quantity: Decimal) -> Decimal:
        """Price × quantity × contract size, in quote currency."""
        return price * abs(quantity) * self.contract_size
