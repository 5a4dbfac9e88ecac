"""`tradingd quirks`: each departure of a venue, with its reason, its source and the test that fails without it."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import tradingd
from tradingd.venues.known import QUIRKS
from tradingd.venues.quirks import Quirk

VENUE_TESTS = Path(__file__).parents[1] / "venues"


def test_every_quirk_of_every_venue_is_told_with_why_whence_and_its_test() -> None:
    done = tradingd("quirks", "--json")
    rows = json.loads(done.stdout)
    assert done.returncode == 0 and done.stderr == ""
    for venue, quirks in QUIRKS.items():
        names = [name for name in quirks.__struct_fields__ if isinstance(getattr(quirks, name), Quirk)]
        assert [row["quirk"] for row in rows if row["venue"] == venue] == names
    for row in rows:
        assert row["why"] and row["source"] and row["test"].startswith("test_") and "value" in row


@pytest.mark.parametrize("venue", sorted(QUIRKS))
def test_one_venue_is_told_for_people(venue: str) -> None:
    done = tradingd("quirks", venue)
    first, *lines = done.stdout.splitlines()
    quirks = QUIRKS[venue]
    assert first.startswith(f"{venue}: ") and done.returncode == 0
    assert max(map(len, lines)) <= 120
    for name in ("ack_is_acceptance", "protection_by_state"):
        entry = getattr(quirks, name)
        at = lines.index(name)
        told = " ".join(line.strip() for line in lines[at + 1 : at + 9])
        assert f"value     {json.dumps(entry.value)}" in told
        assert " ".join(entry.why.split()) in " ".join(told.split()) and entry.test in told


def test_an_unknown_venue_is_answered_with_those_that_exist() -> None:
    done = tradingd("quirks", "nix")
    assert done.returncode == 2 and "binance" in done.stderr and "bybit" in done.stderr


@pytest.mark.parametrize("venue", sorted(QUIRKS))
def test_the_tests_that_quirks_name_exist(venue: str) -> None:
    where = VENUE_TESTS.glob("**/*.py") if venue == "binance" else (VENUE_TESTS / venue).glob("*.py")
    text = "".join(path.read_text() for path in where)
    for name in QUIRKS[venue].__struct_fields__:
        quirk = getattr(QUIRKS[venue], name)
        if isinstance(quirk, Quirk):
            assert f"def {quirk.test}(" in text, f"{venue} {name}: no test is called {quirk.test}"
