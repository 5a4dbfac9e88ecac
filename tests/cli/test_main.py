"""The command line itself: usage, exit statuses, streams, and how little it imports."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import tradingd
from tradingd.cli.main import COMMANDS

HEAVY = ("ccxt", "sqlalchemy", "alembic", "pydantic", "aiohttp", "structlog")


def test_help_lists_every_command_and_every_exit_status() -> None:
    done = tradingd("--help")
    assert done.returncode == 0 and done.stderr == ""
    for name in COMMANDS:
        assert re.search(rf"^    {name} ", done.stdout, re.M), name
    for status in (0, 1, 2, 69, 74, 78):
        assert re.search(rf"^  {status} ", done.stdout, re.M), status


def test_nothing_at_all_is_wrong_usage() -> None:
    done = tradingd()
    assert done.returncode == 2 and "COMMAND" in done.stderr


def test_an_unknown_command_is_answered_with_those_that_exist() -> None:
    done = tradingd("strat")
    assert done.returncode == 2 and "did you mean `tradingd strategies`?" in done.stderr


@pytest.mark.parametrize(("word", "near"), [("stauts", "status"), ("flaten", "flatten"), ("jounral", "journal")])
def test_a_misspelt_command_is_answered_with_the_nearest(word: str, near: str) -> None:
    done = tradingd(word, "--json")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"tradingd: no command {word!r}; did you mean `tradingd {near}`? There are run, ")
    assert "did you mean" not in tradingd("xyzzy").stderr


def test_an_unknown_option_is_wrong_usage() -> None:
    assert tradingd("version", "--nonsense").returncode == 2
    assert tradingd("run", "--fre").returncode == 2, "options are not guessed from their first letters"


def test_version_says_on_what_it_stands() -> None:
    done = tradingd("version", "--json")
    versions = {row["component"]: row["version"] for row in json.loads(done.stdout)}
    assert versions["tradingd"] == "0.1.0" and versions["ccxt"] and "missing" not in versions.values()
    assert tradingd("--version").stdout == "tradingd 0.1.0\n"


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["version"], ()),
        (["--help"], ()),
        (["status", "--socket", "/does/not/exist"], ()),
        (["run", "--help"], ()),
        (["venue", "--help"], ()),
        (["config", "schema"], ("pydantic",)),
        (["status"], ("pydantic",)),
    ],
)
def test_commands_import_only_what_they_need(words: list[str], allowed: tuple[str, ...]) -> None:
    program = (
        "import sys; from tradingd.cli import main; main(sys.argv[1:]);"
        f"print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=30)
    assert set(done.stderr.splitlines()[-1].split()) <= set(allowed)


def test_a_reader_that_has_enough_is_no_failure() -> None:
    command = f'"{sys.executable}" -m tradingd config schema; echo "status $?" >&2'
    done = subprocess.run(["sh", "-c", f"({command}) | head -n 1"], capture_output=True, text=True, timeout=30)
    assert done.stdout == "{\n"
    assert done.stderr == "status 0\n"


def test_a_full_disk_behind_stdout_is_an_io_error() -> None:
    with open("/dev/full", "w") as full:
        done = tradingd("version", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 74 and done.stderr == "tradingd: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_survived(closed: str) -> None:
    command = f'"{sys.executable}" -m tradingd version {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stderr == ""


def test_no_file_ever_gets_the_number_of_a_closed_standard_stream(tmp_path: Path) -> None:
    program = (
        "from tradingd.cli.streams import open_standard_streams; open_standard_streams();"
        "import os; print(os.open('/dev/zero', os.O_RDONLY), [os.readlink(f'/proc/self/fd/{n}') for n in (0, 2)])"
    )
    done = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -c "{program}" <&- 2>&-'], capture_output=True, text=True, timeout=30
    )
    number, _, streams = done.stdout.partition(" ")
    assert int(number) > 2 and streams.strip() == "['/dev/null', '/dev/null']"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "--config", "/does/not/exist.toml"], "/does/not/exist.toml"),
        (["run", "--speed", "0"], "1"),
        (["run", "--candles", "/does/not/exist.csv"], "/does/not/exist.csv"),
        (["status", "--config", "/does/not/exist.toml"], "/does/not/exist.toml"),
    ],
)
def test_a_config_that_cannot_be_used_is_78_and_says_where(words: list[str], told: str, tmp_path: Path) -> None:
    env = {"TRADINGD__DAEMON__STATE_DIR": str(tmp_path)}
    done = tradingd(*words, env=env)
    assert done.returncode == 78, done.stderr
    assert told in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("option", [["--fresh"], ["--speed", "1"], ["--candles", __file__]])
def test_what_is_for_the_built_in_venue_is_refused_elsewhere(option: list[str], tmp_path: Path) -> None:
    env = {"TRADINGD__DAEMON__STATE_DIR": str(tmp_path), "TRADINGD__DAEMON__MODE": "live"}
    done = tradingd("run", *option, env=env | {"TRADINGD__DAEMON__SPEED": "1"})
    assert done.returncode in (2, 78), done.stderr
    assert "sim" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir()), "nothing was started, nothing was discarded"


def test_a_built_in_venue_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    import urllib.request

    words = ["venue", "binance", "--port", "0", "--state", str(tmp_path), "--speed", "60"]
    process = subprocess.Popen([sys.executable, "-m", "tradingd", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().removeprefix("listening on ").strip()
        with urllib.request.urlopen(f"{url}/fapi/v1/exchangeInfo", timeout=10) as answer:
            assert {row["symbol"] for row in json.load(answer)["symbols"]} >= {"BTCUSDT", "ETHUSDT"}
        port = url.rpartition(":")[2]
        taken = tradingd("venue", "binance", "--port", port)
        told = f"cannot listen on 127.0.0.1:{port}: address already in use; set --port to another, 0 takes any"
        assert taken.returncode == 69 and told in taken.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        process.stdout.close()


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["binance"], 2, "--port"),
        (["kraken", "--port", "0"], 2, "binance"),
        (["binance", "--port", "70000"], 2, "0 to 65535"),
        (["binance", "--port", "0", "--speed", "900"], 2, "1 to 600"),
        (["binance", "--port", "0", "--candles", "PEPEUSDT=x.csv"], 78, "PEPEUSDT"),
    ],
)
def test_a_venue_that_cannot_be_started_says_why(words: list[str], status: int, told: str) -> None:
    done = tradingd("venue", *words)
    assert done.returncode == status and told in done.stderr and "Traceback" not in done.stderr


def test_ctrl_c_ends_a_command_without_a_traceback(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf.sock"))
        deaf.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", "tradingd", "status", "--socket", str(tmp_path / "deaf.sock")],
            stderr=subprocess.PIPE,
            text=True,
            # A suite that a shell put into the background ignores SIGINT, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        caller, _ = deaf.accept()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr is not None and process.stderr.read() == ""
        process.stderr.close()
        caller.close()


def run_on_a_terminal(words: list[str], env: dict[str, str]) -> str:
    master, slave = pty.openpty()
    environ = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")} | env
    done = subprocess.run(
        [sys.executable, "-m", "tradingd", *words], stdin=slave, stdout=slave, stderr=slave, env=environ, timeout=30
    )
    os.close(slave)
    output = b""
    while True:
        try:
            piece = os.read(master, 65_536)
        except OSError:
            break
        if not piece:
            break
        output += piece
    os.close(master)
    assert done.returncode == 0, output
    return output.decode()


def test_colour_is_for_terminals_that_want_it(daemon) -> None:
    daemon.answers["status"] = {"name": "tradingd", "mode": "sim"}
    words = ["status", "--socket", str(daemon.path)]
    assert "\x1b[" in run_on_a_terminal(words, {"TERM": "xterm"})
    assert "\x1b[" not in run_on_a_terminal(words, {"TERM": "xterm", "NO_COLOR": "1"})
    assert "\x1b[" not in run_on_a_terminal(words, {"TERM": "dumb"})
    assert "\x1b[" not in tradingd(*words).stdout
