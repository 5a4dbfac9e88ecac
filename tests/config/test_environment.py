"""Overrides from the environment, and where each effective value comes from."""

from pathlib import Path

import pytest

from tests.config.conftest import GOOD
from tradingd.config import ConfigError, Position


def test_a_variable_goes_before_the_file_at_any_depth(load):
    loaded = load(
        TRADINGD__VENUES__BINANCE__LEVERAGE="7",
        TRADINGD__LOG__LEVEL="debug",
        TRADINGD__RISK__REQUIRE_STOP="false",
        TRADINGD__STRATEGIES__TREND__INSTRUMENTS='["ETH/USDT:USDT@binance"]',
        TRADINGD__STRATEGIES__TREND__FAST="12",
        TRADINGD_BINANCE_API_KEY="not a setting",
    )
    assert loaded.venues["binance"].leverage == 7
    assert loaded.log.level == "debug"
    assert loaded.risk.require_stop is False
    assert str(loaded.strategies["trend"].instruments[0]) == "ETH/USDT:USDT@binance"
    assert loaded.strategies["trend"].parameters["fast"] == 12


def test_a_text_that_reads_as_a_number_stays_a_text_where_a_text_is_wanted(load):
    assert load(TRADINGD__DAEMON__ORDER_PREFIX="12").daemon.order_prefix == "12"
    assert load(TRADINGD__JOURNAL__PATH="2022-01-01").journal_path == Path("2022-01-01")


def test_a_variable_finds_a_key_that_differs_only_in_case(load):
    assert (
        load(GOOD + "maxAge = 1\n", TRADINGD__STRATEGIES__TREND__MAXAGE="2").strategies["trend"].parameters["maxAge"]
        == 2
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TRADINGD__DAEMON__SPEED", "fast", "daemon.speed is 'fast'"),
        ("TRADINGD__DAEMON__SPED", "1", "unknown key 'sped' in [daemon]"),
        ("TRADINGD__RSK__X", "1", "unknown section 'rsk'"),
        ("TRADINGD__DAEMON", "1", "it names no setting"),
        ("TRADINGD__DAEMON____SPEED", "1", "it names no setting"),
        ("TRADINGD__DAEMON__MODE__X", "1", "daemon.mode is a value, nothing can be set inside it"),
        ("TRADINGD__STRATEGIES__TREND__INSTRUMENTS", '["X"]', "instrument 'X' is not in the form"),
    ],
)
def test_an_error_names_the_variable(refused, name, value, said):
    text = refused(GOOD + '[daemon]\nmode = "sim"\n', **{name: value})
    assert text.startswith(f"environment variable {name}: ")
    assert said in text


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("TRADINGD_RISK__MAX_LEVERGE", "TRADINGD__RISK__MAX_LEVERAGE"),
        ("TRADINGD_RISK_MAX__LEVERAGE", "TRADINGD__RISK__MAX_LEVERAGE"),
        ("TRADINGD_RISK_MAX_LEVERAGE", "TRADINGD__RISK__MAX_LEVERAGE"),
        ("TRADINGD_RISK_MAX_DAILY_LOSS_FRACTION", "TRADINGD__RISK__MAX_DAILY_LOSS_FRACTION"),
        ("TRADINGD_STRATEGIES_TREND_STAKE", "TRADINGD__STRATEGIES__TREND__STAKE"),
        ("TRADINGD_BINANCE__API_SECRET", "TRADINGD_BINANCE_API_SECRET"),
        ("TRADINGD_BINANCE_API_KEYS", "TRADINGD_BINANCE_API_KEY"),
        ("TRADINGD_BINACE_API_KEY", "TRADINGD_BINANCE_API_KEY"),
        ("TRADINGD_VENUES__BINANCE__LEVERAGE", "TRADINGD__VENUES__BINANCE__LEVERAGE"),
        ("TRADINGD_X", None),
    ],
)
def test_a_variable_with_an_underscore_too_few_is_not_passed_over(refused, name, nearest):
    text = refused(**{name: "7f3a"})
    assert text.startswith(f"environment variable {name}: it sets nothing")
    assert "allowed: TRADINGD__SECTION__KEY, e.g. TRADINGD__DAEMON__SPEED; TRADINGD_<VENUE>_API_KEY" in text
    assert "7f3a" not in text
    assert (text.split("nearest: ")[1:] or [None])[0] == nearest


def test_credentials_and_variables_of_others_are_left_alone(load):
    load(TRADINGD_BINANCE_API_KEY="k", TRADINGD_ARGS="--fresh", MY_TRADINGD__X="1", TRADINGD="x")


def test_every_value_knows_its_origin(load, tmp_path):
    loaded = load(TRADINGD__LOG__LEVEL="debug")
    assert loaded.origin(("venues", "binance", "leverage")) == f"{tmp_path}/tradingd.toml line 2"
    assert loaded.origin(("log", "level")) == "environment variable TRADINGD__LOG__LEVEL"
    assert loaded.origin(("risk", "max_leverage")) == "default"
    assert loaded.origin(("venues", "binance", "margin_mode")) == "default"


def test_others_can_add_problems_with_the_place_of_a_parameter(load):
    loaded = load(TRADINGD__STRATEGIES__TREND__FAST="12")
    place = loaded.locate(("strategies", "trend", "stake"))
    assert isinstance(place, Position) and (place.line, place.column) == (5, 9)
    problems = loaded.problems()
    problems.raise_if_any()
    problems.unknown(("strategies", "trend", "stake"), "parameter", ["stakes", "fast"])
    problems.at(("strategies", "trend", "fast"), "fast must be less than slow", allowed="an integer")
    with pytest.raises(ConfigError) as caught:
        problems.raise_if_any()
    first, second = (str(problem).splitlines() for problem in caught.value.problems)
    assert first[0].endswith("tradingd.toml:5:1: unknown parameter 'stake' in [strategies.trend]")
    assert first[2:] == ["      | ^^^^^", "      allowed: fast, stakes", "      nearest: stakes"]
    assert second[0] == "environment variable TRADINGD__STRATEGIES__TREND__FAST: fast must be less than slow"


def test_relative_paths_are_relative_to_the_file_and_in_variables_to_the_working_directory(load, tmp_path):
    text = GOOD.replace("leverage = 3", 'candles = "c.csv"')
    assert load(text).venues["binance"].candles == tmp_path / "c.csv"
    assert load(text, TRADINGD__VENUES__BINANCE__CANDLES="c.csv").venues["binance"].candles == Path.cwd() / "c.csv"
    assert load(text, TRADINGD__DAEMON__STATE_DIR="/s").journal_path == Path("/s/sim.db")


def test_a_fault_script_is_found_beside_the_config_and_only_the_built_in_venue_takes_one(load, refused, tmp_path):
    text = GOOD.replace("leverage = 3", 'faults = "bad.toml"')
    assert load(text).venues["binance"].faults == tmp_path / "bad.toml"
    live = refused(text + '[daemon]\nmode = "live"\n')
    assert "faults are for the built-in venue that mode sim starts, and the mode is live" in live
    elsewhere = refused(text, TRADINGD__VENUES__BINANCE__ENDPOINT="http://127.0.0.1:8080")
    assert "faults are for the built-in venue that mode sim starts, and an endpoint is set" in elsewhere
