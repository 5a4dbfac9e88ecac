"""`tradingd run` with a typo in the endpoint: what it says, and that the journal does not keep it. Real processes."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.conftest import ENVIRON, tradingd
from tests.cli.rubbish import answering

LIMIT_S = 30.0


def live(tmp_path: Path, endpoint: str) -> dict[str, str]:
    return {
        "TRADINGD__DAEMON__STATE_DIR": str(tmp_path),
        "TRADINGD__DAEMON__MODE": "live",
        "TRADINGD__DAEMON__SPEED": "1",
        "TRADINGD__LOG__FORMAT": "json",
        "TRADINGD__VENUES__BINANCE__ENDPOINT": endpoint,
        "TRADINGD__VENUES__BYBIT__ENABLED": "false",
        "TRADINGD_BINANCE_API_KEY": "sim-key",
        "TRADINGD_BINANCE_API_SECRET": "sim-secret",
    }


@contextmanager
def running(*words: str, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A `tradingd` whose stdout and stderr are read as one; stopped in order at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tradingd", *words],
        env=ENVIRON | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT_S)


def line_with(process: subprocess.Popen[str], word: str) -> str:
    """The first line that has `word`."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if word in line:
            return line
    raise AssertionError(f"no {word!r} in\n{''.join(seen)}")


def pins(path: Path) -> dict[str, str]:
    connection = sqlite3.connect(path)
    try:
        return dict(connection.execute("SELECT name, value FROM meta WHERE name GLOB 'pin.*'").fetchall())
    finally:
        connection.close()


def test_a_typo_in_the_endpoint_is_told_and_not_pinned(tmp_path: Path) -> None:
    with answering(b"<html>soon " + b"x" * 200) as wrong:
        with running("run", env=live(tmp_path, wrong)) as process:
            told = line_with(process, "venue_not_reached")
        assert "answered what is no list of instruments: '<html>soon xxx" in told
        assert "tried again; check venues.binance.endpoint" in told
        assert pins(tmp_path / "live.db") == {"pin.mode": "live"}
    with running("venue", "binance", "--port", "0", env={}) as venue:
        right = line_with(venue, "listening on ").split()[-1]
        with running("run", env=live(tmp_path, right)) as process:
            line_with(process, "daemon_ready")
            (status,) = json.loads(tradingd("status", "--json", env=live(tmp_path, right)).stdout)
            assert 0 < status["uptime_s"] == round(status["uptime_s"], 3)
            unknown = tradingd("strategies", "lift", "none", env=live(tmp_path, right))
            assert unknown.returncode == 1 and unknown.stderr.startswith("tradingd strategies lift: ")
            unknown = tradingd("incidents", "ack", "none", env=live(tmp_path, right))
            assert unknown.returncode == 1 and unknown.stderr.startswith("tradingd incidents ack: ")
        assert pins(tmp_path / "live.db")["pin.endpoint.binance"] == right
    other = tradingd("run", env=live(tmp_path, wrong))
    assert other.returncode == 78
    assert f"belongs to endpoint of binance '{right}', but this run has '{wrong}'" in other.stderr


def test_a_built_in_venue_at_a_wrong_endpoint_is_not_pinned_either(tmp_path: Path) -> None:
    where = {"TRADINGD__DAEMON__STATE_DIR": str(tmp_path)}
    with answering(b"<html>") as wrong:
        refused = tradingd("run", env=where | {"TRADINGD__VENUES__BINANCE__ENDPOINT": wrong})
    assert refused.returncode == 78 and pins(tmp_path / "sim.db") == {"pin.mode": "sim"}
