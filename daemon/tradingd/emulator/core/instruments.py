"""The perpetuals that the built-in venues list, with filters as the real venue published them in autumn 2026."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Bracket(msgspec.Struct, frozen=True):
    """One leverage step: up to `cap_usdt` of notional at most `leverage`."""

    leverage: int
    floor_usdt: int
    cap_usdt: int
    maintenance_fraction: Decimal
    cumulative_usdt: Decimal


class Instrument(msgspec.Struct, frozen=True):
    """A linear perpetual settled in USDT; prices in the market model are whole ticks.

    `price_precision` is how many digits a price may be written with, which on some symbols is more than a tick needs.
    """

    symbol: str
    base: str
    tick_size: Decimal
    price_digits: int
    price_precision: int
    lot_size: Decimal
    quantity_digits: int
    max_quantity: Decimal
    max_market_quantity: Decimal
    min_notional_usdt: Decimal
    price_band_fraction: Decimal
    start_price: Decimal
    brackets: tuple[Bracket, ...]
    quote: str = "USDT"

    @property
    def min_quantity(self) -> Decimal:
        """The smallest order."""
        return self.lot_size

    @property
    def max_leverage(self) -> int:
        """What the first bracket allows."""
        return self.brackets[0].leverage

    def price(self, ticks: int) -> Decimal:
        """Ticks as a price."""
        return self.tick_size * ticks

    def ticks(self, price: Decimal) -> int:
        """The nearest whole tick."""
        return int((price / self.tick_size).to_integral_value())

    def bracket(self, notional_usdt: Decimal) -> Bracket:
        """The bracket in which a position of that notional stands."""
        for bracket in self.brackets:
            if notional_usdt <= bracket.cap_usdt:
                return bracket
        return self.brackets[-1]


def _brackets(max_leverage: int, first_cap_usdt: int) -> tuple[Bracket, ...]:
    """Five steps with falling leverage; the cumulative term keeps maintenance margin continuous."""
    steps = ((max_leverage, 1), (max_leverage // 2, 5), (20, 20), (10, 100), (5, 300))
    out: list[Bracket] = []
    floor, cumulative, previous = 0, Decimal(0), Decimal(0)
    for leverage, factor in steps:
        fraction = (Decimal(1) / (2 * leverage)).quantize(Decimal("0.0001"))
        cumulative += Decimal(floor) * (fraction - previous)
        cap = first_cap_usdt * factor
        out.append(Bracket(leverage, floor, cap, fraction, cumulative))
        floor, previous = cap, fraction
    return tuple(out)


def _instrument(base: str, tick: str, precision: int, lot: str, limits: tuple[int, int], min_notional: int, start: str,
                max_leverage: int, first_cap_usdt: int, band: str) -> Instrument:
    tick_size, lot_size = Decimal(tick), Decimal(lot)
    return Instrument(
        symbol=f"{base}USDT",
        base=base,
        tick_size=tick_size,
        price_digits=_digits(tick_size),
        price_precision=precision,
        lot_size=lot_size,
        quantity_digits=_digits(lot_size),
        max_quantity=Decimal(limits[0]),
        max_market_quantity=Decimal(limits[1]),
        min_notional_usdt=Decimal(min_notional),
        price_band_fraction=Decimal(band),
        start_price=Decimal(start),
        brackets=_brackets(max_leverage, first_cap_usdt),
    )


def _digits(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


INSTRUMENTS: dict[str, Instrument] = {
    instrument.symbol: instrument
    for instrument in (
        _instrument("BTC", "0.1", 2, "0.001", (1000, 120), 50, "65000", 125, 300_000, "0.05"),
        _instrument("ETH", "0.01", 2, "0.001", (10_000, 2_000), 20, "3400", 100, 300_000, "0.05"),
        _instrument("SOL", "0.01", 4, "0.01", (1_000_000, 5_000), 5, "160", 75, 50_000, "0.05"),
        _instrument("DOGE", "0.00001", 6, "1", (50_000_000, 30_000_000), 5, "0.18", 75, 50_000, "0.05"),
        _instrument("XRP", "0.0001", 4, "0.1", (10_000_000, 2_000_000), 5, "2.2", 75, 50_000, "0.05"),
    )
}
