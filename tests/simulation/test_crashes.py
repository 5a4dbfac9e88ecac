"""The daemon killed at boundaries of wire and journal; all of them: `python -m tradingd.simulation --crashes 1`."""

from pathlib import Path

import pytest

from tradingd.emulator.venues import VENUES
from tradingd.simulation.crashes import boundaries, killed_at

PARTS = 14
STEPS = {
    "binance": ("POST /fapi/v1/order", "POST /fapi/v1/algoOrder", "DELETE /fapi/v1/algoOrder"),
    "bybit": ("POST /v5/order/create", "POST /v5/position/trading-stop"),
}


@pytest.fixture(scope="module", params=VENUES)
def venue(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory, venue: str) -> list[str]:
    return boundaries(tmp_path_factory.mktemp("whole"), venue)


def test_the_canonical_scenario_has_every_kind_of_boundary(names: list[str], venue: str) -> None:
    kinds = {name.partition(" ")[0] for name in names}
    assert kinds == {"sending", "sent", "handled", "answered", "before", "after", "account"}
    for step in STEPS[venue]:
        assert [name for name in names if name.endswith(step)], step
    assert len(names) > 200


@pytest.mark.fault(75)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_daemon_killed_at_any_boundary_is_whole_again_after_its_restart(
    tmp_path: Path, names: list[str], venue: str, part: int
) -> None:
    number = 1 + part * len(names) // PARTS
    killed = killed_at(tmp_path, number, venue=venue)
    assert killed.at == (names[number - 1],)
    assert [str(violation) for violation in killed.violations] == []


@pytest.mark.fault(76)
@pytest.mark.parametrize("second", [5, 40, 90])
def test_a_daemon_killed_again_while_it_recovers_is_whole_in_the_end(
    tmp_path: Path, venue: str, second: int
) -> None:
    killed = killed_at(tmp_path, 60, second, venue=venue)
    assert len(killed.at) == 2
    assert [str(violation) for violation in killed.violations] == []
