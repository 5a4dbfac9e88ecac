"""Whatever a plugin puts into an intent: exact numbers, or a typed denial that says what is allowed. Never an error."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import (
    CheckedEnter,
    Denial,
    DenyReason,
    Enter,
    Protect,
    Side,
    TimeInForce,
    check_enter,
    check_protect,
)

BTC = InstrumentId(VenueId("binance"), "BTC/USDT:USDT")


class _Hostile:
    """A value whose every conversion raises, as a broken library's may."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__

    def __bool__(self) -> bool:
        raise RuntimeError("no")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]


JUNK = [
    float("nan"),
    float("inf"),
    -float("inf"),
    Decimal("NaN"),
    Decimal("sNaN"),
    True,
    False,
    "",
    "much",
    "NaN",
    0,
    -1,
    Decimal("-0.001"),
    1e300,
    10**100,
    np.float64("nan"),
    np.float64("inf"),
    np.bool_(True),
    np.array([1.0, 2.0]),
    [],
    {},
    object(),
    b"1",
    1j,
    _Hostile(),
]
FIELDS = ["quantity", "notional", "risk", "limit_price", "stop_loss", "take_profit"]


@pytest.mark.fault(92)
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", JUNK, ids=lambda value: type(value).__name__)
def test_junk_in_any_number_of_an_entry_is_denied_and_the_field_is_named(field, value):
    given = {"quantity": Decimal(1)} if field not in ("quantity", "notional", "risk") else {}
    outcome = check_enter(Enter(BTC, Side.BUY, **{**given, field: value}))
    assert isinstance(outcome, Denial)
    assert outcome.reason is DenyReason.INVALID_INTENT
    assert field in outcome.detail


@pytest.mark.parametrize("value", [True, 0, -1, 10_001, 1.5, "1", None, float("nan"), np.float64(1), [], _Hostile()])
def test_an_expiry_that_is_no_count_of_candles_is_denied(value):
    outcome = check_enter(Enter(BTC, Side.BUY, quantity=1, expire_candles=value))
    assert isinstance(outcome, Denial)
    assert outcome.reason is DenyReason.INVALID_INTENT


@pytest.mark.parametrize("side", [None, "", "long", "BUY", 1, True, [], float("nan"), _Hostile()])
def test_a_side_that_is_neither_buy_nor_sell_is_denied(side):
    outcome = check_enter(Enter(BTC, side, quantity=1))
    assert isinstance(outcome, Denial)
    assert outcome.reason is DenyReason.INVALID_INTENT


@pytest.mark.parametrize("time_in_force", [None, "", "gtc", "GTX", 0, [], _Hostile()])
def test_a_time_in_force_that_no_venue_knows_is_denied(time_in_force):
    outcome = check_enter(Enter(BTC, Side.BUY, quantity=1, limit_price=5, time_in_force=time_in_force))
    assert isinstance(outcome, Denial)


@pytest.mark.parametrize(
    "sizes",
    [{}, {"quantity": 1, "notional": 1}, {"quantity": 1, "risk": 0.01}, {"quantity": 1, "notional": 1, "risk": 0.01}],
)
def test_exactly_one_way_of_sizing_is_allowed(sizes):
    outcome = check_enter(Enter(BTC, Side.BUY, stop_loss=1, **sizes))
    assert isinstance(outcome, Denial)
    assert "exactly one of quantity, notional, risk" in outcome.detail


def test_risk_is_a_fraction_and_needs_a_stop_to_measure_the_loss_against():
    for risk in (1, 5, "1"):
        outcome = check_enter(Enter(BTC, Side.BUY, risk=risk, stop_loss=1))
        assert isinstance(outcome, Denial)
        assert "below 1" in outcome.detail
    outcome = check_enter(Enter(BTC, Side.BUY, risk="0.01"))
    assert isinstance(outcome, Denial)
    assert "stop_loss" in outcome.detail


def test_post_only_needs_a_price_to_rest_at():
    outcome = check_enter(Enter(BTC, Side.BUY, quantity=1, post_only=True))
    assert isinstance(outcome, Denial)
    assert "limit_price" in outcome.detail


@pytest.mark.parametrize("time_in_force", [TimeInForce.IOC, TimeInForce.FOK])
def test_post_only_and_at_once_exclude_each_other(time_in_force):
    intent = Enter(BTC, Side.BUY, quantity=1, limit_price=5, post_only=True, time_in_force=time_in_force)
    outcome = check_enter(intent)
    assert isinstance(outcome, Denial)
    assert "post_only" in outcome.detail


@pytest.mark.parametrize("post_only", [None, "no", 0, 1, "", [], _Hostile()])
def test_post_only_is_a_truth_value_and_nothing_like_one(post_only):
    outcome = check_enter(Enter(BTC, Side.BUY, quantity=1, limit_price=5, post_only=post_only))
    assert isinstance(outcome, Denial)
    assert "post_only" in outcome.detail


@given(
    st.decimals(min_value=Decimal("1e-8"), max_value=Decimal("1e12"), allow_nan=False, allow_infinity=False),
    st.sampled_from([str, float, lambda value: value]),
)
def test_a_good_number_of_any_kind_becomes_the_same_decimal(value, kind):
    handed = kind(value)
    checked = check_enter(Enter(BTC, Side.SELL, quantity=handed, stop_loss=handed))
    assert isinstance(checked, CheckedEnter)
    assert checked.quantity == checked.stop_loss == Decimal(str(handed))
    assert checked.side is Side.SELL


@given(st.text(max_size=400))
def test_any_tag_is_kept_short(tag):
    checked = check_enter(Enter(BTC, Side.BUY, quantity=1, tag=tag))
    assert isinstance(checked, CheckedEnter)
    assert checked.tag == tag[:100]


@pytest.mark.parametrize("tag", [None, 5, ("a", 1), float("nan"), _Hostile()])
def test_a_label_of_any_kind_never_stops_an_entry(tag):
    checked = check_enter(Enter(BTC, Side.BUY, quantity=1, tag=tag))
    assert isinstance(checked, CheckedEnter)
    assert isinstance(checked.tag, str)


@pytest.mark.parametrize("value", JUNK, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("field", ["stop_loss", "take_profit"])
def test_junk_in_a_protection_is_denied(field, value):
    outcome = check_protect(Protect(BTC, **{field: value}))
    assert isinstance(outcome, Denial)
    assert outcome.reason is DenyReason.INVALID_INTENT


def test_a_protection_wants_at_least_one_level():
    assert isinstance(check_protect(Protect(BTC)), Denial)
    assert check_protect(Protect(BTC, stop_loss="1.5")) == (Decimal("1.5"), None)
    assert check_protect(Protect(BTC, take_profit=2)) == (None, Decimal(2))
