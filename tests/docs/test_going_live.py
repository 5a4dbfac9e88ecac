"""What README says of going live, as far as it can be shown without a venue on the internet."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tradingd.config import ConfigError, load_settings
from tradingd.config.credentials import load_credentials
from tradingd.config.resources import default_config_path


def _settings(**environ: str):
    return load_settings(default_config_path(), {f"TRADINGD__{name}": value for name, value in environ.items()})


def test_a_testnet_without_an_endpoint_is_refused_since_its_orders_would_be_real() -> None:
    with pytest.raises(ConfigError, match="without an endpoint its orders would be real") as caught:
        _settings(DAEMON__MODE="testnet", DAEMON__SPEED="1")
    assert caught.value.exit_status == 78


def test_a_testnet_with_an_endpoint_is_taken() -> None:
    there = {"VENUES__BINANCE__ENDPOINT": "http://127.0.0.1:8080", "VENUES__BYBIT__ENABLED": "false"}
    settings = _settings(DAEMON__MODE="testnet", DAEMON__SPEED="1", **there)
    assert settings.mode == "testnet"


@pytest.mark.parametrize("mode", ["paper", "replay"])
def test_a_mode_that_is_not_built_is_refused_in_one_sentence(mode: str) -> None:
    with pytest.raises(ConfigError, match=f"mode {mode} is not built yet"):
        _settings(DAEMON__MODE=mode, DAEMON__SPEED="1")


def test_live_refuses_a_fast_clock_and_missing_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only sim time can run faster"):
        _settings(DAEMON__MODE="live")
    settings = _settings(DAEMON__MODE="live", DAEMON__SPEED="1")
    with pytest.raises(ConfigError, match="there are no credentials for binance"):
        load_credentials("binance", settings, {})
    (tmp_path / "binance_api_key").write_text("abcdefgh\n")
    (tmp_path / "binance_api_secret").write_text("ijklmnop\n")
    found = load_credentials("binance", settings, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert found.api_key.reveal() == "abcdefgh"


def test_mode_live_starts_on_an_endpoint_with_keys_pins_its_account_and_stops_in_order(tmp_path: Path) -> None:
    """The whole live start, against the built-in venue as the page says."""
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "binance_api_key").write_text("sim-key\n")
    (keys / "binance_api_secret").write_text("sim-secret\n")
    tradingd = str(Path(sys.executable).parent / "tradingd")
    venue = subprocess.Popen([tradingd, "venue", "binance", "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert venue.stdout is not None
    endpoint = venue.stdout.readline().removeprefix("listening on ").strip()
    environ = {
        **os.environ,
        "CREDENTIALS_DIRECTORY": str(keys),
        "TRADINGD__DAEMON__MODE": "live",
        "TRADINGD__DAEMON__SPEED": "1",
        "TRADINGD__VENUES__BINANCE__ENDPOINT": endpoint,
        "TRADINGD__VENUES__BYBIT__ENABLED": "false",
    }

    def say(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([tradingd, *words], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30)

    daemon = subprocess.Popen([tradingd, "run"], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 40
        ready = False
        while not ready and time.monotonic() < deadline and daemon.poll() is None:
            status = say("status", "--json")
            ready = status.returncode == 0 and json.loads(status.stdout)[0]["entries_allowed"]
            time.sleep(0.2)
        assert ready
        assert say("stop").returncode == 0
        said, _ = daemon.communicate(timeout=15)
        assert daemon.returncode == 0
    finally:
        for process in (daemon, venue):
            if process.poll() is None:
                process.kill()
            process.wait()
        venue.stdout.close()
    assert "sim-secret" not in said and "sim-key" not in said
    connection = sqlite3.connect(f"file:{tmp_path}/var/live.db?mode=ro", uri=True)
    pins = dict(connection.execute("SELECT name, value FROM meta WHERE name LIKE 'pin.%'").fetchall())
    connection.close()
    assert pins["pin.mode"] == "live" and pins["pin.endpoint.binance"] == endpoint and pins["pin.account.binance"]
