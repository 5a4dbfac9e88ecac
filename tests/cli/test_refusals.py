"""`tradingd run` that cannot begin: one clear line, what to do, exit status 78. Real processes, real sockets."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import tradingd
from tradingd.domain.errors import plain_failure


@pytest.fixture
def venue() -> Iterator[str]:
    """The endpoint of a built-in venue that runs by itself."""
    words = ["venue", "binance", "--port", "0"]
    process = subprocess.Popen([sys.executable, "-m", "tradingd", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().removeprefix("listening on ").strip()
    process.terminate()
    process.wait(10)
    process.stdout.close()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_that_is_taken_names_the_key_to_set(tmp_path: Path, taken: int) -> None:
    env = {
        "TRADINGD__DAEMON__STATE_DIR": str(tmp_path),
        "TRADINGD__VENUES__BYBIT__ENABLED": "false",
        "TRADINGD__VENUES__BINANCE__PORT": str(taken),
    }
    done = tradingd("run", env=env)
    assert done.returncode == 78 and done.stderr == (
        f"tradingd: the built-in binance could not start: cannot listen on 127.0.0.1:{taken}: address already in use; "
        "set venues.binance.port to another, 0 takes any that is free\n"
    )


def test_an_endpoint_where_nothing_answers_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    env = {
        "TRADINGD__DAEMON__STATE_DIR": str(tmp_path),
        "TRADINGD__VENUES__BYBIT__ENABLED": "false",
        "TRADINGD__VENUES__BINANCE__ENDPOINT": f"http://127.0.0.1:{port}",
    }
    done = tradingd("run", env=env)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 78 and "Traceback" not in done.stderr and "ssl:default" not in done.stderr
    assert f"no built-in binance at http://127.0.0.1:{port}: 127.0.0.1:{port} does not answer. Start it there" in last


def test_what_the_venue_refuses_at_the_start_is_told_once(tmp_path: Path, venue: str) -> None:
    env = {
        "TRADINGD__DAEMON__STATE_DIR": str(tmp_path),
        "TRADINGD__DAEMON__MODE": "live",
        "TRADINGD__DAEMON__SPEED": "1",
        "TRADINGD__VENUES__BYBIT__ENABLED": "false",
        "TRADINGD__VENUES__BINANCE__ENDPOINT": venue,
        "TRADINGD_BINANCE_API_KEY": "not-the-key",
        "TRADINGD_BINANCE_API_SECRET": "sim-secret",
    }
    done = tradingd("run", env=env)
    *lines, last = done.stderr.splitlines()
    assert done.returncode == 78 and last.startswith("tradingd: binance refuses: "), done.stderr
    assert "Check the key, its permissions and its IP rule at the venue. The key is taken from " in last
    assert last.endswith("venues.binance.credentials_file, or TRADINGD_BINANCE_API_KEY and _API_SECRET.")
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["credentials_from_environment", "daemon_stopped"]
    assert events[-1]["reason"] == "refused" and events[-1]["open_positions"] == 0
    assert "refuses" not in "".join(lines)


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("Cannot connect to host 127.0.0.1:80 ssl:default [Connect call failed ('127.0.0.1', 80)]",
         "127.0.0.1:80 does not answer"),
        ("Cannot connect to host localhost:80 ssl:default [Multiple exceptions: [Errno 111] Connect call failed "
         "('::1', 80, 0, 0), [Errno 111] Connect call failed ('127.0.0.1', 80)]", "localhost:80 does not answer"),
        ("Cannot connect to host fapi.example:443 ssl:default [Name or service not known]",
         "fapi.example:443 cannot be reached: Name or service not known"),
        ("HTTP 502 bad gateway", "HTTP 502 bad gateway"),
    ],
)  # fmt: skip
def test_a_connection_that_fails_is_told_in_plain_words(said: str, plain: str) -> None:
    assert plain_failure(said) == plain


def test_a_gap_in_a_candle_file_is_told_with_what_run_can_do_about_it(tmp_path: Path) -> None:
    rows = [f"{1_700_000_040_000 + 60_000 * minute},100,100,100,100,1" for minute in range(400) if minute != 7]
    file = tmp_path / "gap.csv"
    file.write_text("\n".join(["timestamp_ms,open,high,low,close,volume", *rows]) + "\n")
    env = {"TRADINGD__DAEMON__STATE_DIR": str(tmp_path), "TRADINGD__VENUES__BYBIT__ENABLED": "false"}
    done = tradingd("run", "--candles", str(file), env=env)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 78 and f"{file}:9: 1 candles are missing" in last, done.stderr
    assert "--allow-gaps accepts them" not in last
    assert last.endswith(
        "the file must have one line per minute. Fill the gap, or serve the file with "
        f"`tradingd venue binance --port N --candles {file} --allow-gaps` and set venues.binance.endpoint to it"
    )
