"""The figure of kills, small: SIGKILL at seeded moments of a bad day, then journal and venue compared."""

import argparse
from pathlib import Path
from random import Random

import pytest

from benchmarks import kill
from benchmarks.replay_candles import VENUES
from tradingd.config.resources import faults_path

SPEED, CANDLES = 600, 190


@pytest.mark.fault(75)
@pytest.mark.parametrize("venue", VENUES)
def test_kills_on_a_bad_day_leave_nothing_doubled_lost_or_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], venue: str
) -> None:
    early = tmp_path / "bad_day.toml"
    early.write_text((faults_path() / "bad_day.toml").read_text().replace("after_s = 5", "after_s = 1"))
    parser = argparse.ArgumentParser()
    kill.add_arguments(parser)
    wanted = ["--count", "3", "--length", str(CANDLES), "--speed", str(SPEED), "--seed", "2", "--faults", str(early)]
    status = kill.run(parser.parse_args([*wanted, "--venue", venue, "--keep", str(tmp_path / "run")]))
    told = capsys.readouterr().out
    assert status == 0, told
    assert "faults played: none" not in told


def test_the_last_kill_leaves_the_time_that_it_takes_to_know_what_became_of_everything() -> None:
    for venue, healed_s in kill.HEALED_S.items():
        until = kill.latest(CANDLES, SPEED, venue, faults=True)
        moments = kill.plan(200, Random(1), until)
        assert max(each.progress for each in moments) <= until
        assert (1 - until) * CANDLES * 60 / SPEED >= healed_s - 0.001
        assert kill.latest(CANDLES, SPEED, venue, faults=False) == kill.LATEST_KILL
