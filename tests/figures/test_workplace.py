"""What a run leaves behind: nothing after a clean one, everything after one that somebody must look into."""

from pathlib import Path

import pytest

from benchmarks.world import BenchmarkFailed, Workplace


def test_a_clean_run_leaves_nothing_and_what_was_asked_for_stays(tmp_path: Path) -> None:
    with Workplace("tradingd-test-", None) as place:
        (place.path / "daemon.log").write_text("fine")
        place.is_clean = True
    assert not place.path.exists()
    with Workplace("tradingd-test-", tmp_path) as wanted:
        wanted.is_clean = True
    assert wanted.path == tmp_path
    assert tmp_path.exists()


def test_the_log_that_a_failed_run_names_is_still_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(BenchmarkFailed), Workplace("tradingd-test-", None) as place:
        (place.path / "daemon.log").write_text("no quiet")
        raise BenchmarkFailed(f"see {place.path}/daemon.log")
    assert (place.path / "daemon.log").read_text() == "no quiet"
    assert str(place.path) in capsys.readouterr().out
