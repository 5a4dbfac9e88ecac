"""Decimals at the edges: what a venue or a plugin hands over becomes an exact Decimal, or a clear error."""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_EVEN, Decimal, InvalidOperation

from tradingd.domain.errors import BadNumber

ZERO = Decimal(0)
MAX_ABSOLUTE = Decimal("1e15")
"""Beyond this no price, quantity or amount of USDT is believed; a REAL column is exact up to 15 digits."""


def exact(value: object, what: str) -> Decimal:
    """`value` as a finite Decimal. Accepts Decimal, int, str and float (by its shortest form); raises BadNumber."""
    if isinstance(value, bool):
        raise BadNumber(f"{what} is {value!r}; allowed: a number, not a truth value")
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except (InvalidOperation, ValueError, TypeError):
        raise BadNumber(f"{what} is {value!r}; allowed: a finite number") from None
    if not number.is_finite():
        raise BadNumber(f"{what} is {value!r}; allowed: a finite number")
    if abs(number) > MAX_ABSOLUTE:
        raise BadNumber(f"{what} is {value!r}; allowed: at most {MAX_ABSOLUTE:f} in size")
    return number


def positive(value: object, what: str) -> Decimal:
    """`value` as a Decimal above zero; raises BadNumber."""
    number = exact(value, what)
    if number <= 0:
        raise BadNumber(f"{what} is {value!r}; allowed: more than 0")
    return number


def round_down(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not further from zero than `value`."""
    return (value / step).to_integral_value(ROUND_DOWN) * step


def round_up(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is not below `value`."""
    return (value / step).to_integral_value(ROUND_CEILING) * step


def round_nearest(value: Decimal, step: Decimal) -> Decimal:
    """The multiple of `step` nearest to `value`."""
    return (value / step).to_integral_value(ROUND_HALF_EVEN) * step


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether `value` is a whole number of `step`."""
    return value % step == 0
