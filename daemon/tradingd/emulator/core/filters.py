"""Checks of one order against its instrument's filters, in the order in which the venue names the first breach."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.records import BUY, ZERO
from tradingd.emulator.core.refusal import Reason, Refused


class Draft(msgspec.Struct, frozen=True):
    """A plain order as asked for."""

    symbol: str
    side: int
    kind: str
    quantity: Decimal
    price: Decimal = ZERO
    time_in_force: str = "GTC"
    reduce_only: bool = False
    client_order_id: str = ""
    good_till_ms: int = 0


class ConditionalDraft(msgspec.Struct, frozen=True):
    """A conditional order as asked for."""

    symbol: str
    side: int
    kind: str
    is_take_profit: bool
    trigger_price: Decimal
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    close_position: bool = False
    reduce_only: bool = False
    working_type: str = "CONTRACT_PRICE"
    time_in_force: str = "GTC"
    price_protect: bool = False
    client_order_id: str = ""
    callback_fraction: Decimal = ZERO
    activation_price: Decimal = ZERO


def digits(value: Decimal) -> int:
    """Decimal places that are really used."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def check_quantity(instrument: Instrument, quantity: Decimal, is_market: bool) -> None:
    """Sign, precision, minimum and maximum."""
    if quantity <= 0:
        raise Refused(Reason.QUANTITY_NOT_POSITIVE)
    if digits(quantity) > instrument.quantity_digits:
        raise Refused(Reason.QUANTITY_PRECISION)
    if quantity % instrument.lot_size:
        raise Refused(Reason.QUANTITY_STEP)
    if quantity < instrument.min_quantity:
        raise Refused(Reason.QUANTITY_TOO_SMALL)
    if quantity > (instrument.max_market_quantity if is_market else instrument.max_quantity):
        raise Refused(Reason.QUANTITY_TOO_LARGE)


def check_tick(instrument: Instrument, price: Decimal, zero: Reason = Reason.PRICE_NOT_POSITIVE) -> None:
    """Sign, precision and tick of a price or trigger."""
    if price <= 0:
        raise Refused(zero)
    if digits(price) > instrument.price_precision:
        raise Refused(Reason.PRICE_PRECISION)
    if price % instrument.tick_size:
        raise Refused(Reason.PRICE_TICK)


def check_band(instrument: Instrument, side: int, price: Decimal, mark: Decimal) -> None:
    """A buy may not be far above the mark, a sell not far below."""
    top = mark * (1 + instrument.price_band_fraction)
    bottom = mark * (1 - instrument.price_band_fraction)
    if side == BUY and price > top:
        raise Refused(Reason.PRICE_TOO_HIGH, f"{top:.{instrument.price_digits}f}")
    if side != BUY and price < bottom:
        raise Refused(Reason.PRICE_TOO_LOW, f"{bottom:.{instrument.price_digits}f}")


def check_notional(instrument: Instrument, quantity: Decimal, price: Decimal) -> None:
    """The minimum notional; never asked of an order that can only reduce."""
    if quantity * price < instrument.min_notional_usdt:
        raise Refused(Reason.NOTIONAL_TOO_SMALL, str(instrument.min_notional_usdt))
