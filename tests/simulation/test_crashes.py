"""The daemon killed at boundaries of wire and journal; all of them: `python -m tradingd.simulation --crashes 1`."""

from pathlib import Path

import pytest

from tradingd.simulation.crashes import boundaries, killed_at


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return boundaries(tmp_path_factory.mktemp("whole"))


def test_the_canonical_scenario_has_every_kind_of_boundary(names: list[str]) -> None:
    kinds = {name.partition(" ")[0] for name in names}
    assert kinds == {"sending", "sent", "handled", "answered", "before", "after", "account"}
    for step in ("POST /fapi/v1/order", "POST /fapi/v1/algoOrder", "DELETE /fapi/v1/algoOrder"):
        assert [name for name in names if name.endswith(step)], step
    assert len(names) > 200


@pytest.mark.fault(75)
@pytest.mark.parametrize("part", range(14))
def test_a_daemon_killed_at_any_boundary_is_whole_again_after_its_restart(
    tmp_path: Path, names: list[str], part: int
) -> None:
    number = 1 + part * len(names) // 14
    killed = killed_at(tmp_path, number)
    assert killed.at == (names[number - 1],)
    assert [str(violation) for violation in killed.violations] == []


@pytest.mark.fault(76)
@pytest.mark.parametrize("second", [5, 40, 90])
def test_a_daemon_killed_again_while_it_recovers_is_whole_in_the_end(tmp_path: Path, second: int) -> None:
    killed = killed_at(tmp_path, 60, second)
    assert len(killed.at) == 2
    assert [str(violation) for violation in killed.violations] == []
