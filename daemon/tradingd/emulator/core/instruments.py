"""The perpetuals that the built-in venues list, with filters as the real venue published them in autumn 2026."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import msgspec

STATUSES = (
    "PENDING_TRADING",
    "TRADING",
    "PRE_DELIVERING",
    "DELIVERING",
    "DELIVERED",
    "PRE_SETTLE",
    "SETTLING",
    "CLOSE",
)


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
    `tick_size` and `lot_size` are the filters of the day; `price_unit` and `lot_unit` count the market model's prices
    and sizes and never change.
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
    price_unit: Decimal
    lot_unit: Decimal
    quote: str = "USDT"
    status: str = "TRADING"
    reduce_only_code: int = 0

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
        return self.price_unit * ticks

    def ticks(self, price: Decimal) -> int:
        """The nearest whole tick."""
        return int((price / self.price_unit).to_integral_value())

    def limit_ticks(self, price: Decimal, side: int) -> int:
        """The worst whole tick that an order of that side and limit may pay."""
        return int((price / self.price_unit).to_integral_value(ROUND_FLOOR if side > 0 else ROUND_CEILING))

    def lots(self, quantity: Decimal) -> int:
        """How many whole lots a quantity has."""
        return int(quantity / self.lot_unit)

    def bracket(self, notional_usdt: Decimal) -> Bracket:
        """The bracket in which a position of that notional stands."""
        for bracket in self.brackets:
            if notional_usdt <= bracket.cap_usdt:
                return bracket
        return self.brackets[-1]

    def cap_usdt(self, leverage: int) -> int:
        """The largest position at that leverage: the cap of the highest bracket that still grants it."""
        return max(
            (bracket.cap_usdt for bracket in self.brackets if bracket.leverage >= leverage),
            default=self.brackets[-1].cap_usdt,
        )


class Filters(msgspec.Struct, frozen=True):
    """What may change about an instrument while it is listed; None leaves it as it is."""

    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    max_quantity: Decimal | None = None
    max_market_quantity: Decimal | None = None
    min_notional_usdt: Decimal | None = None
    price_band_fraction: Decimal | None = None
    status: str | None = None
    reduce_only_code: int | None = None

    def on(self, instrument: Instrument) -> Instrument:
        """The instrument with these changes. Raises ValueError for steps that its prices and sizes do not have."""
        changes = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        for name, unit in (("tick_size", instrument.price_unit), ("lot_size", instrument.lot_unit)):
            if name in changes and (changes[name] <= 0 or changes[name] % unit):
                raise ValueError(f"{name} {changes[name]} of {instrument.symbol} is no multiple of {unit}")
        if changes.get("status", "TRADING") not in STATUSES:
            raise ValueError(f"no status {changes['status']!r}; there are: {', '.join(STATUSES)}")
        return msgspec.structs.replace(instrument, **changes)

    @classmethod
    def of(cls, instrument: Instrument) -> Filters:
        """Everything that may change, as it is now."""
        return cls(**{name: getattr(instrument, name) for name in cls.__struct_fields__})


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


def perpetual(
    base: str,
    tick: str,
    precision: int,
    lot: str,
    limits: tuple[int, int],
    min_notional: int,
    start: str,
    max_leverage: int,
    first_cap_usdt: int,
    band: str,
) -> Instrument:
    """A listed perpetual; `limits` are the largest limit and the largest market order, `start` is its first price."""
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
        price_unit=tick_size,
        lot_unit=lot_size,
    )


def _digits(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


INSTRUMENTS: dict[str, Instrument] = {
    instrument.symbol: instrument
    for instrument in (
        perpetual("BTC", "0.1", 2, "0.001", (1000, 120), 50, "65000", 125, 300_000, "0.05"),
        perpetual("ETH", "0.01", 2, "0.001", (10_000, 2_000), 20, "3400", 100, 300_000, "0.05"),
        perpetual("SOL", "0.01", 4, "0.01", (1_000_000, 5_000), 5, "160", 75, 50_000, "0.05"),
        perpetual("DOGE", "0.00001", 6, "1", (50_000_000, 30_000_000), 5, "0.18", 75, 50_000, "0.05"),
        perpetual("XRP", "0.0001", 4, "0.1", (10_000_000, 2_000_000), 5, "2.2", 75, 50_000, "0.05"),
    )
}
