"""Whatever a plugin or a library hands over becomes JSON that a strict parser reads."""

import dataclasses
import enum
import json
import pathlib
import uuid
from collections import deque
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import orjson
import pandas as pd  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.feeds.candle_world import BTC, candle
from tradingd.domain.jsonsafe import MAX_NODES, dumps


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: float
    y: object


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Iterating:
    def __len__(self) -> int:
        return 3

    def __iter__(self):
        raise ValueError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (-float("inf"), "-Infinity"),
        (Decimal("0.1000"), "0.1000"),
        (Decimal("NaN"), "NaN"),
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(seconds=1.5), 1.5),
        (b"abc", "abc"),
        (b"\xff\x00", "0xff00"),
        (Colour.RED, "red"),
        (Point(1.0, {2}), {"x": 1.0, "y": [2]}),
        (deque([1, 2]), [1, 2]),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "null": "b", "[1,2]": "c"}),
        ({3, 1, 2}, [1, 2, 3]),
        (ValueError("bad"), "ValueError: bad"),
        (pathlib.PurePosixPath("/a"), "/a"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("\ud800x", "?x"),
        (object(), "<object>"),
        (Hostile(), "<Hostile: unreadable, RuntimeError>"),
        (Iterating(), "<Iterating: unreadable, ValueError>"),
        (np.float64("nan"), "NaN"),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([[1.0, np.nan]]), [[1.0, "NaN"]]),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (np.zeros(MAX_NODES + 1), f"<ndarray of shape ({MAX_NODES + 1},)>"),
        (np.longdouble(1), "1.0"),
        (pd.Timestamp("2026-01-02"), "2026-01-02T00:00:00"),
        (pd.NaT, "NaT"),
        (pd.NA, "<NA>"),
        (pd.Series([1.5, float("nan")]), {"0": 1.5, "1": "NaN"}),
        (pd.DataFrame({"a": [1]}), {"a": {"0": 1}}),
    ],
)
def test_a_value_becomes_what_can_be_read(value, expected):
    text = dumps(value)
    assert json.loads(text) == expected
    assert orjson.loads(text) == json.loads(text)


def test_a_domain_record_is_written_by_its_fields():
    written = json.loads(dumps({"candle": candle(0)}))["candle"]
    assert written["instrument"] == {"venue": "binance", "symbol": BTC.symbol}
    assert written["close"] == "100"


def test_cycles_depth_and_size_are_bounded():
    cycle: list[object] = [1]
    cycle.append(cycle)
    assert json.loads(dumps(cycle)) == [1, "<cycle>"]
    deep: object = "end"
    wide: object = "end"
    for _ in range(100):
        deep = [deep]
        wide = [wide, wide, wide]
    assert len(dumps(deep)) < 200
    assert len(dumps(wide)) < 1_000_000
    assert len(dumps("x" * 10**6)) < 20_000
    assert len(dumps(range(10**9))) < 100_000
    assert dumps(10**10_000).startswith('"<int of')


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text() | st.binary() | st.datetimes()
    | st.dates() | st.timedeltas() | st.complex_numbers() | st.uuids() | st.builds(object) | st.builds(Hostile)
    | st.floats(width=32).map(np.float32) | st.integers(-9, 9).map(np.int8),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.builds(Point, st.floats(), inner)
    | st.dictionaries(st.text() | st.integers() | st.floats() | st.tuples(st.integers()), inner, max_size=4),
    max_leaves=30,
)  # fmt: skip


@settings(deadline=None)
@given(plain)
def test_plain_json_comes_back_as_it_went(value):
    assert json.loads(dumps(value)) == value


@settings(deadline=None)
@given(anything)
def test_anything_at_all_is_strict_json(value):
    text = dumps(value)
    assert orjson.loads(text) == json.loads(text)
