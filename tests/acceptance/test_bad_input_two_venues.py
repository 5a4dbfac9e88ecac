"""What one venue cannot take, seen from the terminal, while the other trades on: real processes over loopback."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.manager import holds
from tests.acceptance.test_two_venues import Daemon
from tests.cli.conftest import tradingd

pytestmark = pytest.mark.timeout(120)
KEY_REFUSED = '''
[[rule]]
do = "answer"
reply = "bad_key"
on = ["balance", "positions", "open_orders", "history", "create", "create_conditional", "cancel", "settings", "other"]
'''
ONLY_LOOKS = """
[[rule]]
do = "answer"
reply = "bad_key"
symbol = "BTCUSDT"
on = ["settings", "create", "create_conditional", "cancel"]
"""
READ_ONLY = '[[rule]]\ndo = "answer"\nstatus = 200\ncode = 10005\ntext = "Permission denied"\non = "any"\n'
CLOCK_OFF = '[[rule]]\ndo = "shift_clock"\noffset_ms = 12000\n'
EMPTY_AT_START = '[[rule]]\ndo = "empty_body"\non = "any"\nbefore_s = 8\n'
EMPTY = '[[rule]]\ndo = "empty_body"\non = "any"\n'


def faults(directory: Path, script: str) -> str:
    (directory / "bad.toml").write_text(script)
    return 'faults = "bad.toml"'


def endpoint(daemon: Daemon, venue: str) -> str:
    note = json.loads((daemon.directory / f"var/venues/{venue}/venue.json").read_text())
    return str(note["endpoint"])


def post(daemon: Daemon, venue: str, what: str, body: str) -> None:
    request = urllib.request.Request(f"{endpoint(daemon, venue)}/_venue/{what}", body.encode(), method="POST")
    urllib.request.urlopen(request, timeout=5).close()


def refusal(daemon: Daemon, venue: str) -> str:
    """The one CRITICAL line of a venue that refuses us, as the user reads it."""
    lines = [line for line in daemon.events("incident_raised", venue) if line.get("kind") == "venue_refused"]
    assert len(lines) == 1 and lines[0]["level"] == "critical", lines
    return str(lines[0]["detail"])


@pytest.fixture
def running() -> Iterator[list[Daemon]]:
    daemons: list[Daemon] = []
    yield daemons
    for each in daemons:
        each.stop()


def begin(running: list[Daemon], directory: Path, **config: str) -> Daemon:
    daemon = Daemon(directory, **config)
    running.append(daemon)
    daemon.ready()
    return daemon


@pytest.mark.parametrize(
    ("bad", "good", "script", "told"),
    [
        ("binance", "bybit", KEY_REFUSED, ("-2015", "Enable Futures", "venues.binance.credentials_file")),
        ("bybit", "binance", KEY_REFUSED, ("10003", "does not know the API key", "venues.bybit.credentials_file")),
        ("binance", "bybit", ONLY_LOOKS, ("-2015", "of BTC/USDT:USDT", "Enable Futures", "credentials_file")),
        ("bybit", "binance", READ_ONLY.replace('"any"', '"other"'), ("10005", "Read-Write", "API Management on Bybit")),
    ],
    ids=["a wrong key on Binance", "a wrong key on Bybit", "one that may only look on Binance", "on Bybit"],
)
def test_a_refused_key_is_told_with_what_to_do_and_the_other_venue_trades(
    tmp_path: Path, running: list[Daemon], bad: str, good: str, script: str, told: tuple[str, ...]
) -> None:
    daemon = begin(running, tmp_path, **{bad: faults(tmp_path, script)})
    assert daemon.trades_on(good)
    said = refusal(daemon, bad)
    assert all(each in said for each in told) and f"{good} goes on" in said, said
    assert daemon.fills(bad) == 0
    assert daemon.stop() == 0


def test_clocks_twelve_seconds_off_hold_up_neither_venue_and_a_normal_start_warns_of_nothing(
    tmp_path: Path, running: list[Daemon]
) -> None:
    off = faults(tmp_path, CLOCK_OFF)
    daemon = begin(running, tmp_path, bybit=off, binance=off)
    assert daemon.trades_on("binance") and daemon.trades_on("bybit")
    for venue in ("binance", "bybit"):
        states = [line["state"] for line in daemon.events("venue_state_changed", venue)]
        assert states[0] == "ready", states
    assert daemon.stop() == 0


def test_answers_without_a_body_are_waited_out_at_the_start_and_while_running(
    tmp_path: Path, running: list[Daemon]
) -> None:
    daemon = begin(running, tmp_path, bybit=faults(tmp_path, EMPTY_AT_START))
    assert daemon.trades_on("binance") and daemon.trades_on("bybit", limit_s=60)
    assert any("empty" in str(line["reason"]) for line in daemon.events("venue_not_reached", "bybit"))
    post(daemon, "bybit", "faults", EMPTY)
    assert holds(lambda: daemon.events("venue_state_changed", "bybit")[-1]["state"] != "ready", 15)
    assert "an empty answer" in str(daemon.events("venue_state_changed", "bybit")[-1]["reason"])
    assert daemon.trades_on("binance")
    post(daemon, "bybit", "faults", "")
    assert daemon.trades_on("bybit", limit_s=60)
    assert daemon.stop() == 0


def test_spot_and_native_forms_of_a_symbol_end_the_start_with_the_form_to_write(tmp_path: Path) -> None:
    for wrong in ("ETH/USDT@bybit", "ETHUSDT@bybit"):
        config = tmp_path / "config.toml"
        config.write_text(
            '[venues.bybit]\nenabled = true\n[strategies.one]\nplugin = "sma_cross"\ntimeframe = "1m"\n'
            f'instruments = ["{wrong}"]\n'
        )
        done = tradingd("run", "--config", str(config), env={"TRADINGD__DAEMON__STATE_DIR": str(tmp_path)})
        assert done.returncode == 78 and "instruments" in done.stderr and "ETH/USDT:USDT@bybit" in done.stderr, (
            done.stderr
        )


def test_a_symbol_that_one_venue_lacks_is_told_with_the_nearest_and_the_other_venue_trades(
    tmp_path: Path, running: list[Daemon]
) -> None:
    more = '[strategies.three]\nplugin = "in_and_out"\ntimeframe = "1m"\ninstruments = ["ETHX/USDT:USDT@bybit"]'
    daemon = begin(running, tmp_path, bybit=more)
    assert daemon.trades_on("binance")
    said = refusal(daemon, "bybit")
    assert "does not list ETHX/USDT:USDT (nearest: ETH/USDT:USDT@bybit)" in said and "`instruments`" in said, said
    assert daemon.stop() == 0


@pytest.mark.parametrize(("bad", "good"), [("binance", "bybit"), ("bybit", "binance")])
def test_hedge_mode_is_told_by_the_name_of_the_venues_own_setting(
    tmp_path: Path, running: list[Daemon], bad: str, good: str
) -> None:
    first = begin(running, tmp_path)
    post(first, bad, "act", '{"do": "hedge_mode", "on": true}')
    assert first.stop() in (0, 1)
    daemon = begin(running, tmp_path)
    assert daemon.trades_on(good)
    said = refusal(daemon, bad)
    assert "hedge mode" in said and "Position Mode" in said and "One-Way Mode".lower() in said.lower(), said
    assert daemon.stop() == 0


def test_a_built_in_venue_that_cannot_start_is_told_and_joins_once_it_can(
    tmp_path: Path, running: list[Daemon]
) -> None:
    ledger = tmp_path / "var/venues/bybit/ledger.db"
    ledger.parent.mkdir(parents=True)
    ledger.write_text("no database")
    daemon = begin(running, tmp_path)
    assert daemon.trades_on("binance")
    (told,) = daemon.events("built_in_venue_not_started", "bybit")
    assert str(ledger.name) in str(told["reason"]) and "binance goes on" in str(told["reason"]), told
    ledger.unlink()
    assert daemon.trades_on("bybit", limit_s=60)
    assert daemon.stop() == 0
