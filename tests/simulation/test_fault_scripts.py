"""Whole worlds whose venue plays a shipped fault script: every promise is kept, and the same seed is the same bytes."""

from pathlib import Path

import pytest

from tradingd.emulator.faults.reading import read_script
from tradingd.emulator.venues import VENUES
from tradingd.simulation.command import main
from tradingd.simulation.run import Outcome, run_seed


def run(name: str, directory: Path, seed: int = 1, candles: int = 7, venue: str = "binance") -> Outcome:
    directory.mkdir()
    return run_seed(seed, candles, directory, with_faults=False, script=read_script(Path(name)), venue=venue)


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("name", ["ban", "bad_day", "lagging_account", "lost_replies", "muted_streams"])
def test_a_shipped_script_breaks_no_promise(tmp_path: Path, name: str, venue: str) -> None:
    outcome = run(name, tmp_path / "world", venue=venue)
    assert [str(violation) for violation in outcome.violations] == []
    assert outcome.counts["entries"] >= 2
    assert sum(count for fault, count in outcome.faults.items() if fault.startswith("venue: ")) >= 2


def test_the_same_script_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (run("bad_day", tmp_path / name, candles=3) for name in ("a", "b"))
    assert first.digest == second.digest
    assert run("bad_day", tmp_path / "c", seed=2, candles=3).digest != first.digest


def test_the_command_refuses_a_script_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "1", "--faults", "bad_dya"]) == 78
    assert "nearest: bad_day" in capsys.readouterr().err
