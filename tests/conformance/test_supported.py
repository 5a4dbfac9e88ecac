"""A venue is supported if and only if this suite runs over it."""

from tests.conformance.implementations import IMPLEMENTATIONS
from tradingd.venues.known import DIALECTS, QUIRKS


def test_the_venues_that_are_known_are_those_that_the_suite_runs_over() -> None:
    played = {name.removeprefix("ccxt-") for name in IMPLEMENTATIONS if name.startswith("ccxt-")}
    assert played == set(DIALECTS) == set(QUIRKS)
