"""What README says of going live, as far as it can be shown without a venue on the internet."""

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
    settings = _settings(
        DAEMON__MODE="testnet", DAEMON__SPEED="1", VENUES__BINANCE__ENDPOINT="http://127.0.0.1:8080"
    )
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
