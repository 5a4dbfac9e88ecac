"""Decimals at the edges: what a venue or a plugin hands over becomes an exact Decimal, or a clear error."""

from decimal import ROUND_HALF_EVEN, Decimal

from tradingd.domain.errors import BadNumber

ZERO = Decimal(0)
MAX_ABSOLUTE = Decimal("1e15")
"""Beyond this no price, quantity or amount of USDT is believed; a REAL column is exact up to 15 digits."""
SHOWN_CHARACTERS = 60


def exact(value: object, what: str) -> Decimal:
    """`value` as a finite Decimal. Accepts Decimal, int, str and float (by its shortest form); raises BadNumber."""
    if isinstance(value, bool):
        raise BadNumber(f"{what} is {value!r}; allowed: a number, not a truth value")
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except Exception:  # a plugin's value: its own __str__ may raise whatever it likes
        raise BadNumber(f"{what} is {shown(value)}; allowed: a finite number") from None
    if not number.is_finite():
        raise BadNumber(f"{what} is {shown(value)}; allowed: a finite number")
    if abs(number) > MAX_ABSOLUTE:
        raise BadNumber(f"{what} is {shown(value)}; allowed: at most {MAX_ABSOLUTE:f} in size")
    return number


def shown(value: object) -> str:
    """`value` as a message may show it: short, whatever it is, and never an error of its own."""
    try:
        text = repr(value)
    except Exception:  # a foreign __repr__, or an integer of more digits than Python writes
        text = f"<{type(value).__name__}>"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def plain_text(value: Decimal) -> str:
    """A finite `value` in full, without exponent and without zeros at its end: 10000 for 1.000E+4, 0 for -0.000."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def positive(value: object, what: str) -> Decimal:
    """`value` as a Decimal above zero; raises BadNumber."""
    number = exact(value, what)
    if number <= 0:
        raise BadNumber(f"{what} is {shown(value)}; allowed: more than 0")
    return number


def round_down(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not further from zero than `value`."""
    # integer division is exact; a quotient would first be rounded to 28 digits, and 2.99…9 could become 3
    return value // step * step


def round_up(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is not below `value`."""
    whole = value // step
    return (whole + 1 if value % step > 0 else whole) * step


def round_nearest(value: Decimal, step: Decimal) -> Decimal:
    """The multiple of `step` nearest to `value`."""
    return (value / step).to_integral_value(ROUND_HALF_EVEN) * step


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether `value` is a whole number of `step`."""
    return value % step == 0
