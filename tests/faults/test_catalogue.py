"""Each fault of the catalogue has a test that plays it, or one reason why none does."""

from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS, NO_TEST, NOT_YET
from tests.faults.table import TESTS, VENUES, lines, marked, played, venues_of


@pytest.mark.parametrize("venue", VENUES)
def test_each_fault_has_a_test_or_a_reason_on_each_venue_and_never_both(venue: str) -> None:
    tests, reasons = played(venue), {*NO_TEST[venue], *NOT_YET[venue]}
    assert sorted(FAULTS) == list(range(1, 97))
    assert sorted(tests | reasons) == sorted(FAULTS)
    assert not tests & reasons
    assert not set(NO_TEST[venue]) & set(NOT_YET[venue])


def test_the_path_of_a_test_tells_where_it_plays() -> None:
    expected = {
        "venues/test_orders.py": ("binance",),
        "venues/bybit/test_calls.py": ("bybit",),
        "emulator/bybit/test_facts.py": ("bybit",),
        "venues/test_transport.py": ("binance", "bybit"),
        "conformance/test_outcomes.py": ("binance", "bybit"),
        "execution/test_exits.py": ("binance", "bybit"),
    }
    assert {name: venues_of(TESTS / name) for name in expected} == expected
    assert all((TESTS / name).is_file() for name in expected)


def test_the_table_names_each_fault_once() -> None:
    table = list(lines())
    for number, what in FAULTS.items():
        assert table.count(f"{number:3}  {what}") == 1


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("@pytest.mark.fault(1, 2)\ndef test_x(): ...", [1, 2]),
        ("@other\n@pytest.mark.fault(3)\nasync def test_x(): ...", [3]),
        ("@pytest.mark.parametrize('a', [pytest.param(1, marks=pytest.mark.fault(4))])\ndef test_x(a): ...", [4]),
        ("@pytest.mark.timeout(5)\ndef test_x(): ...", []),
    ],
)
def test_a_mark_is_found_wherever_it_may_stand(text: str, numbers: list[int], tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_some.py").write_text(text)
    assert marked(tmp_path / "tests") == {number: {"tests/test_some.py::test_x": VENUES} for number in numbers}
