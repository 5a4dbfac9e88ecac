"""Rounding never invents size, and no number that a price cannot be gets past the edge."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingd.domain.errors import BadNumber
from tradingd.domain.numbers import (
    MAX_ABSOLUTE,
    exact,
    is_multiple,
    positive,
    round_down,
    round_nearest,
    round_up,
)

STEPS = st.sampled_from([Decimal(text) for text in ("0.00000001", "0.001", "0.1", "1", "10", "0.5", "0.25", "5", "3")])
VALUES = st.decimals(min_value=0, max_value=Decimal("1e12"), allow_nan=False, allow_infinity=False)
# what a plugin may hand over: more digits than the context of Decimal keeps
LONG = st.builds(
    lambda whole, digits: Decimal(f"{whole}.{digits}"),
    st.integers(0, 10**9),
    st.text("0123456789", min_size=1, max_size=60) | st.integers(1, 60).map(lambda count: "9" * count),
)


def _multiple(value: Decimal, step: Decimal) -> bool:
    return (Fraction(value) / Fraction(step)).denominator == 1


@given(VALUES | LONG, STEPS)
def test_a_size_rounded_down_is_a_multiple_of_the_step_and_never_more_than_asked_for(value, step):
    rounded = round_down(value, step)
    assert _multiple(rounded, step)
    assert Fraction(0) <= Fraction(value) - Fraction(rounded) < Fraction(step)


@given(VALUES | LONG, STEPS)
def test_a_size_rounded_up_is_a_multiple_of_the_step_and_never_less_than_asked_for(value, step):
    rounded = round_up(value, step)
    assert _multiple(rounded, step)
    assert Fraction(0) <= Fraction(rounded) - Fraction(value) < Fraction(step)


@pytest.mark.fault(95)
@given(VALUES | LONG, STEPS)
def test_a_price_rounded_to_the_tick_is_a_tick_and_at_most_half_a_tick_away(value, step):
    rounded = round_nearest(value, step)
    assert _multiple(rounded, step)
    # a price of 28 digits is rounded by the division first, far below anything a venue knows
    assert abs(Fraction(rounded) - Fraction(value)) <= Fraction(step) / 2 + Fraction(1, 10**15)


@given(st.decimals(min_value=Decimal("1e-12"), max_value=Decimal("0.00099"), allow_nan=False, allow_infinity=False))
def test_less_than_one_step_becomes_nothing_and_not_one_step(value):
    assert round_down(value, Decimal("0.001")) == 0


@pytest.mark.fault(95)
@given(VALUES, STEPS)
def test_a_multiple_is_recognised_exactly(value, step):
    assert is_multiple(round_down(value, step), step)
    assert is_multiple(value, step) == _multiple(value, step)


class _Shouts:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@pytest.mark.fault(62)
@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        "",
        "ten",
        "1,5",
        "NaN",
        "Infinity",
        float("nan"),
        float("inf"),
        -float("inf"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
        10**400,
        10**5000,
        1e300,
        Decimal("1e999999"),
        MAX_ABSOLUTE + 1,
        -(MAX_ABSOLUTE + 1),
        np.float64("nan"),
        np.bool_(True),
        np.array([1.0, 2.0]),
        [1],
        {},
        object(),
        1j,
        b"1",
        _Shouts(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_no_price_can_be_is_a_bad_number_that_names_the_field(value):
    with pytest.raises(BadNumber, match="limit_price"):
        exact(value, "limit_price")


@pytest.mark.fault(95)
@pytest.mark.parametrize(
    ("value", "number"),
    [
        (Decimal("0.1"), "0.1"),
        (0.1, "0.1"),
        (7, "7"),
        ("0.00000001", "0.00000001"),
        (np.float64(0.1), "0.1"),
        (np.int64(3), "3"),
        (-5, "-5"),
        (MAX_ABSOLUTE, "1e15"),
    ],
)
def test_numbers_of_any_kind_become_the_decimal_that_is_written(value, number):
    assert exact(value, "price") == Decimal(number)


@pytest.mark.parametrize("value", [0, "0", -1, Decimal("-0.00001"), 0.0, -0.0])
def test_a_price_or_size_must_be_above_zero(value):
    with pytest.raises(BadNumber, match="more than 0"):
        positive(value, "quantity")
