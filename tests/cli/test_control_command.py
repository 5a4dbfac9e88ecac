"""Asking a running daemon: real processes on one side, a real control socket on the other."""

import json
import socket
from pathlib import Path

import pytest

from tests.cli.conftest import tradingd
from tradingd.cli import status_text
from tradingd.gateway.commands import Status

STATUS = Status(
    name="tradingd",
    mode="sim",
    version="0.1.0",
    pid=4711,
    uptime_s=7_512.3,
    now_ms=1_795_370_591_123,
    speed=60.0,
    paused="lunch",
    halted=None,
    stopping=False,
    journal_writable=True,
    journal_reason=None,
    journal_unwritable_s=None,
    entries_allowed=False,
    equity_usdt="10012.5",
    venues=[
        {
            "venue": "binance",
            "state": "degraded",
            "reason": "stream stale",
            "equity_usdt": "10012.5",
            "available_usdt": "9",
            "exits_only": {},
        }
    ],
    stream_ages_s={"binance/account": 99.0, "binance/candles/BTC/USDT:USDT/1m": 1.2},
    positions=[
        {
            "instrument": "BTC/USDT:USDT@binance",
            "strategy": "trend",
            "quantity": "0.05",
            "entry_price": "64000.33333333333333333333333",
            "unrealized_pnl_usdt": "12.5",
            "stop_loss": "62720",
            "take_profit": None,
            "covered": True,
        },
        {
            "instrument": "ETH/USDT:USDT@binance",
            "strategy": None,
            "quantity": "-1",
            "entry_price": "3000",
            "unrealized_pnl_usdt": None,
            "stop_loss": "3100",
            "take_profit": "2900",
            "covered": False,
        },
    ],
    unknown_orders=[
        {"client_order_id": "td-abc-7e", "instrument": "BTC/USDT:USDT@binance", "status": "IN_DOUBT", "age_s": 4.2}
    ],
    strategies=[
        {"strategy": "trend", "plugin": "sma_cross", "state": "running", "reason": ""},
        {"strategy": "wild", "plugin": "wild", "state": "quarantined", "reason": "took 2 s\x1b[2J"},
    ],
    denied_last={
        "time_ms": 1_795_370_591_123,
        "strategy": "trend",
        "instrument": "BTC/USDT:USDT@binance",
        "reason": "hold_period",
        "detail": "2 candles to go",
    },
    incidents_open=2,
)


def test_status_tells_people_what_runs_what_is_held_and_what_is_wrong(daemon) -> None:
    daemon.answers["status"] = STATUS
    done = tradingd("status", "--socket", str(daemon.path))
    assert done.returncode == 0 and done.stderr == ""
    for piece in (
        "tradingd  mode sim, version 0.1.0, pid 4711, up 2 h 5 min, 60 times as fast",
        "entries         denied: paused (lunch), see `tradingd resume`",
        "venues          binance   degraded (stream stale), equity 10012.5 USDT, available 9 USDT",
        "strategies      trend     running (sma_cross)",
        "wild      quarantined: took 2 s\\x1b[2J",
        "positions       BTC/USDT:USDT@binance  0.05 at 64000.33333333, unrealised 12.5 USDT, stop 62720, by trend",
        "ETH/USDT:USDT@binance  -1 at 3000, unrealised - USDT, NOT PROTECTED, stop wanted at 3100, by -",
        "unknown orders  td-abc-7e  BTC/USDT:USDT@binance  IN_DOUBT for 4.2 s",
        "last heard 1 min 39 s ago",
        "equity          10012.5 USDT",
        "denied last     hold_period: trend on BTC/USDT:USDT@binance at 2026-11-22T18:03:11Z, 2 candles to go",
        "incidents       2 open",
    ):
        assert piece in done.stdout, f"{piece!r} is not in\n{done.stdout}"


def test_status_of_a_venue_that_is_gone_says_so_in_four_words(daemon) -> None:
    reason = "recovering: binance fapiPublicGetTime: 127.0.0.1:18080 does not answer"
    venue = {"venue": "binance", "state": "down", "reason": reason}
    daemon.answers["status"] = {"name": "tradingd", "venues": [venue]}
    told = tradingd("status", "--socket", str(daemon.path)).stdout
    assert "binance   down (127.0.0.1:18080 does not answer), equity" in told


@pytest.mark.parametrize(
    ("states", "line"),
    [
        (("ready", "ready"), "allowed"),
        (("ready", "banned"), "allowed on binance; denied on bybit (banned)"),
        (("degraded", "ready"), "allowed on bybit; denied on binance (degraded)"),
        (("down", "degraded"), "denied: no venue is ready"),
    ],
)
def test_status_says_on_which_venue_entries_are_allowed(daemon, states: tuple[str, str], line: str) -> None:
    venues = [{"venue": venue, "state": state} for venue, state in zip(("binance", "bybit"), states, strict=True)]
    daemon.answers["status"] = {"name": "tradingd", "entries_allowed": "ready" in states, "venues": venues}
    told = tradingd("status", "--socket", str(daemon.path)).stdout.splitlines()
    assert [row for row in told if row.startswith("entries ")] == [f"{'entries':<16}{line}"]


def test_status_as_json_is_one_array_with_everything(daemon) -> None:
    daemon.answers["status"] = STATUS
    done = tradingd("status", "--json", "--socket", str(daemon.path))
    assert json.loads(done.stdout) == [dict(STATUS)]


def test_a_status_of_another_version_is_shown_as_far_as_it_goes(daemon) -> None:
    daemon.answers["status"] = {"name": "tradingd", "venues": None, "positions": [{}], "equity_usdt": None}
    done = tradingd("status", "--socket", str(daemon.path))
    assert done.returncode == 0 and "equity          - USDT" in done.stdout


INCIDENT = {
    "incident_id": "i7",
    "kind": "unprotected",
    "severity": "critical",
    "detail": "no stop for 6 s\nat all",
    "venue": "binance",
    "instrument": "BTC/USDT:USDT@binance",
    "strategy": "trend",
    "raised_ms": 1_795_370_591_123,
    "acknowledged_ms": None,
}


def test_incidents_are_listed_one_per_line(daemon) -> None:
    daemon.answers["incidents"] = {"incidents": [INCIDENT]}
    done = tradingd("incidents", "--socket", str(daemon.path))
    first, hint = done.stdout.splitlines()
    assert first == ("i7  2026-11-22T18:03:11Z  critical  unprotected  BTC/USDT:USDT@binance  no stop for 6 s\\nat all")
    assert "incidents ack ID" in hint
    assert json.loads(tradingd("incidents", "--json", "--socket", str(daemon.path)).stdout) == [INCIDENT]
    daemon.answers["incidents"] = {"incidents": []}
    assert tradingd("incidents", "--socket", str(daemon.path)).stdout == "no incidents\n"
    assert tradingd("incidents", "--json", "--socket", str(daemon.path)).stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "command", "arguments"),
    [
        (["pause"], "pause", {}),
        (["pause", "--reason", "lunch"], "pause", {"reason": "lunch"}),
        (["resume"], "resume", {}),
        (["flatten"], "flatten", {}),
        (["flatten", "--venue", "binance", "--symbol", "BTC/USDT:USDT"], "flatten",
         {"venue": "binance", "symbol": "BTC/USDT:USDT"}),
        (["incidents", "ack", "i7"], "incidents_ack", {"id": "i7"}),
        (["strategies", "lift", "trend"], "strategies_lift", {"id": "trend"}),
        (["stop"], "stop", {}),
    ],
)  # fmt: skip
def test_each_command_reaches_the_daemon_as_it_was_meant(daemon, words, command, arguments) -> None:
    done = tradingd(*words, "--socket", str(daemon.path))
    assert done.returncode == 0 and done.stdout and done.stderr == ""
    (record,) = daemon.records
    assert record.command == command and json.loads(record.arguments_json) == arguments


def test_what_the_daemon_refuses_is_a_failure_with_its_words(daemon) -> None:
    daemon.answers["flatten"] = "venue 'kraken' is not enabled; allowed: binance"
    done = tradingd("flatten", "--venue", "kraken", "--socket", str(daemon.path))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "tradingd flatten: venue 'kraken' is not enabled; allowed: binance\n"


def test_a_flatten_says_whether_it_is_flat(daemon) -> None:
    daemon.answers["flatten"] = {"flat": True}
    assert tradingd("flatten", "--socket", str(daemon.path)).stdout.startswith("flat; entries stay paused")
    daemon.answers["flatten"] = {"flat": False}
    assert tradingd("flatten", "--socket", str(daemon.path)).stdout.startswith("not flat yet")


def test_a_resume_tells_of_a_halt_only_if_there_was_one(daemon) -> None:
    allowed = "resumed: entries are allowed again\n"
    daemon.answers["resume"] = {"paused": None, "halted": None, "was_halted": None}
    assert tradingd("resume", "--socket", str(daemon.path)).stdout == allowed
    daemon.answers["resume"] = {"paused": None, "halted": None, "was_halted": "the journal is full"}
    assert tradingd("resume", "--socket", str(daemon.path)).stdout == f"{allowed}  was halted: the journal is full\n"


def test_a_resume_does_not_promise_entries_that_something_else_denies(daemon) -> None:
    daemon.answers["resume"] = {"paused": None, "was_halted": None, "entries_denied": "the journal cannot be written"}
    said = tradingd("resume", "--socket", str(daemon.path)).stdout
    assert said == "resumed, and entries are denied still: the journal cannot be written\n"


def test_a_flatten_says_which_venue_it_waits_for_and_what_was_never_read(daemon) -> None:
    daemon.answers["flatten"] = {
        "flat": False, "instruments": {"BTC/USDT:USDT@binance": "0", "ETH/USDT:USDT@bybit": "not read yet"},
        "waits_for": {"bybit": "degraded"},
    }  # fmt: skip
    lines = tradingd("flatten", "--socket", str(daemon.path)).stdout.splitlines()
    assert lines[1:] == [
        "  instruments: BTC/USDT:USDT@binance 0, ETH/USDT:USDT@bybit not read yet",
        "  waits for: bybit degraded",
    ]


def test_a_config_with_a_mistake_does_not_hide_a_daemon_that_runs(daemon, tmp_path: Path) -> None:
    """Whoever must flatten at night while somebody edits the config is told how."""
    (tmp_path / "config.toml").write_text("[daemon\n")
    done = tradingd("flatten", cwd=tmp_path)
    assert done.returncode == 78 and "config.toml:1:" in done.stderr and "--socket STATE_DIR/MODE.sock" in done.stderr
    assert tradingd("flatten", "--socket", str(daemon.path), cwd=tmp_path).returncode == 0


def test_a_daemon_that_stands_still_is_not_one_to_start(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "sim.sock"))
        silent.listen()
        done = tradingd("status", "--socket", str(tmp_path / "sim.sock"), "--timeout", "0.5")
    assert done.returncode == 69 and "did not answer within 0.5 s" in done.stderr
    assert "stands still or is busy" in done.stderr and "tradingd run" not in done.stderr


@pytest.mark.parametrize(
    ("exact", "text"),
    [("10000.00000000", "10000"), ("0.000", "0"), ("65809.30000", "65809.3"), ("1E-7", "0.0000001"),
     ("65905.11428571428571", "65905.11428571"), ("1E+13", "10000000000000"), (None, "-"), ("NaN", "NaN")],
)  # fmt: skip
def test_numbers_are_shown_plain(exact: str | None, text: str) -> None:
    assert status_text.number(exact) == text


def test_an_ack_of_nothing_is_wrong_usage(daemon) -> None:
    done = tradingd("incidents", "ack", "--socket", str(daemon.path))
    assert done.returncode == 2 and "which one?" in done.stderr and not daemon.records


@pytest.mark.parametrize("words", [["status"], ["pause"], ["incidents", "ack", "1"], ["stop"]])
def test_without_a_daemon_it_says_how_to_start_one(words: list[str], tmp_path: Path) -> None:
    done = tradingd(*words, env={"TRADINGD__DAEMON__STATE_DIR": str(tmp_path)})
    assert done.returncode == 69 and done.stdout == ""
    assert f"{tmp_path}/sim.sock does not exist" in done.stderr and "tradingd run" in done.stderr


def test_the_daemon_is_found_by_its_config(daemon, tmp_path: Path) -> None:
    env = {"TRADINGD__DAEMON__STATE_DIR": str(tmp_path / "var")}
    assert tradingd("pause", env=env).returncode == 0
    assert tradingd("pause", env=env, cwd=tmp_path).returncode == 0, "and with the shipped config elsewhere"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (1.25, "1.2 s"), (59.9, "59 s"), (200, "3 min 20 s"), (7_512, "2 h 5 min"), (270_000, "3 d 3 h"),
     (None, "-")],
)  # fmt: skip
def test_durations_are_said_as_people_say_them(seconds, text: str) -> None:
    assert status_text.duration(seconds) == text
