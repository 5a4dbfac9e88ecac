"""Settings from a file and the environment: what is right is read exactly, what is wrong is all told at once."""

import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.config.conftest import GOOD
from tradingd.config import ConfigError, load_settings
from tradingd.config.resources import default_config_path
from tradingd.config.schema import json_schema
from tradingd.domain.instruments import InstrumentId


def test_the_shipped_config_is_good_and_states_the_defaults_of_the_code():
    loaded = load_settings(default_config_path(), {})
    assert loaded.mode == "sim"
    assert loaded.daemon.speed == 60
    assert loaded.strategies["trend"].instruments == (InstrumentId.parse("BTC/USDT:USDT@binance"),)
    for section in ("journal", "risk", "execution", "log"):
        table = getattr(loaded, section)
        assert table == type(table)(), f"[{section}] of config.toml differs from the defaults in the code"
    assert loaded.venues["binance"] == type(loaded.venues["binance"])()


def test_the_shipped_config_shows_every_key_with_a_comment():
    lines = [line.lstrip("# ") for line in default_config_path().read_text().splitlines()]
    for definition in json_schema()["$defs"].values():
        for key in definition["properties"]:
            documented = [line for line in lines if line.startswith(f"{key} = ") and " # " in line]
            assert documented, f"{key} is not documented in config.toml"


def test_a_small_file_takes_defaults_for_the_rest(load, tmp_path):
    loaded = load()
    strategy = loaded.strategies["trend"]
    assert loaded.venues["binance"].leverage == 3
    assert loaded.risk.require_stop
    assert (strategy.plugin, strategy.timeframe) == ("trend", "1m")
    assert loaded.daemon.strategies_dir == tmp_path / "strategies"
    assert loaded.journal_path == Path("var/sim.db")
    assert list(loaded.enabled_venues) == ["binance"]


def test_parameters_of_a_plugin_pass_through_as_exact_decimals(load):
    strategy = load(GOOD + 'levels = [0.1, 7]\nwhere = { deep = "x" }\n').strategies["trend"]
    assert dict(strategy.parameters) == {
        "stake": Decimal("0.1"),
        "levels": [Decimal("0.1"), 7],
        "where": {"deep": "x"},
    }


def test_settings_cannot_be_changed(load):
    loaded = load()
    with pytest.raises(ValidationError, match="frozen"):
        loaded.risk.require_stop = False
    with pytest.raises(ValidationError, match="frozen"):
        loaded.strategies["trend"].warmup = 1
    with pytest.raises(TypeError):
        loaded.venues["bybit"] = loaded.venues["binance"]


@pytest.mark.fault(73)
def test_a_misspelt_key_is_told_with_line_column_caret_and_the_nearest_key(refused):
    assert refused(GOOD + "[risk]\n  max_position_notionl_usdt = 500\n") == (
        "tradingd.toml:7:3: unknown key 'max_position_notionl_usdt' in [risk]\n"
        "    7 |   max_position_notionl_usdt = 500\n"
        "      |   ^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "      allowed: max_candle_age_s, max_daily_loss_fraction, max_drawdown_fraction, max_leverage, "
        "max_open_positions, max_position_notional_usdt, price_band_fraction, require_stop\n"
        "      nearest: max_position_notional_usdt"
    )


def test_a_caret_stands_under_its_value_behind_tabs_too(refused):
    text = refused(GOOD + "[log]\n\tlevel\t= 3 # no\n")
    assert "    7 | \tlevel\t= 3 # no\n      | \t     \t  ^\n      allowed: debug, info, warning, error" in text


@pytest.mark.fault(73)
def test_all_problems_are_told_at_once_in_the_order_of_the_file(refused):
    text = refused(
        """\
[daemon]
mode = "siml"
speed = 1.5
[venues.binance]
leverage = 500
[exection]
[strategies.a]
instrments = ["BTC/USDT:USDT@binance"]
[strategies.b]
instruments = ["BTC/USDT@binance", "ETH/USDT:USDT@bybit"]
timeframe = "1min"
huge = nan
[risk]
require_stop = 1
max_daily_loss_fraction = 1.01
max_open_positions = inf
""",
        TRADINGD__LOG__LEVL="x",
    )
    heads = [line for line in text.splitlines() if not line.startswith(" ")]
    assert [head.split(": ", 1)[0] for head in heads] == [
        *(f"tradingd.toml:{place}" for place in ("2:8", "3:9", "5:12", "6:2", "7:13", "10:16", "10:36", "11:13")),
        *(f"tradingd.toml:{place}" for place in ("12:8", "14:16", "15:27", "16:22")),
        "environment variable TRADINGD__LOG__LEVL",
    ]
    assert "the key 'instruments' is missing in [strategies.a]" in heads[4]
    assert "nearest: instrments, which is there now" in text
    assert "nearest: sim\n" in text
    assert "nearest: execution\n" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[daemon]\nmode = "paper"\n', "mode paper is not built yet"),
        ('[daemon]\nmode = "replay"\n', "mode replay is not built yet"),
        ('[daemon]\nmode = "live"\nspeed = 2\n', "only sim time can run faster, and the mode is live"),
        ("[daemon]\nspeed = 601\n", "daemon.speed is 601"),
        ("[daemon]\nspeed = true\n", "daemon.speed is true"),
        ('[daemon]\norder_prefix = "toolong"\n', "daemon.order_prefix is 'toolong'"),
        ("daemon = 3\n", "daemon is 3"),
        ("[venues.bitget]\n", "venue bitget is not built yet"),
        ("[venues.binanse]\nenabled = false\n", "unknown venue 'binanse' in [venues]"),
        ('[execution]\nforeign_position = "adopt"\n', "the policy adopt is not built yet"),
        ("[execution]\nhandler_budget_ms = 2000\n", "handler_budget_ms (2000) is more than handler_limit_ms (1000)"),
        ("[risk]\nmax_leverage = 2\n", "leverage 3 is more than risk.max_leverage, which is 2"),
        ("[risk]\nmax_position_notional_usdt = -5\n", "risk.max_position_notional_usdt is -5"),
        ("[risk]\nmax_position_notional_usdt = 0\n", "allowed: a number above 0 to 1000000000"),
        ("[execution]\nunprotected_limit_s = 0\n", "allowed: a number from 0.5 to 60"),
        ("[execution]\nsubmit_timeout_s = 2000\n", "allowed: a number from 0.1 to 30"),
        ("[risk]\nmax_candle_age_s = 0\n", "allowed: a number above 0 to 86400"),
        ('[daemon]\nstate_dir = ""\n', "daemon.state_dir is ''"),
        ('[journal]\npath = "{home}/x.db"\n', "journal.path is '{home}/x.db'"),
        ('[strategies."a b"]\ninstruments = ["ETH/USDT:USDT@binance"]\n', "the name 'a b' cannot be used"),
        ("[strategies.c]\ninstruments = []\n", "strategies.c.instruments is an empty array"),
        ('[strategies.c]\ninstruments = ["ETH/USDT:USDT@bybit"]\n', "which is not enabled in [venues]"),
        ('[strategies.c]\ninstruments = ["BTC/USDT:USDT@binance"]\n', "is named by strategy trend already"),
        ('[strategies.c]\ninstruments = ["ETHUSDT"]\n', "allowed: BASE/QUOTE:SETTLE@venue, e.g. BTC/USDT:USDT@binance"),
        ('[strategies.c]\ninstruments = ["ETH/USDT@binance"]\n', "allowed: BASE/QUOTE:SETTLE@venue"),
        ('[strategies.c]\ninstruments = ["ETHUSDT@bybit"]\n', "allowed: BASE/QUOTE:SETTLE@venue"),
        ("[strategies.c]\ninstruments = [5]\n", "an instrument is a string"),
        ('[strategies.c]\nplugin = "../x"\ninstruments = ["ETH/USDT:USDT@binance"]\n', "strategies.c.plugin is '../x'"),
    ],
)
def test_bad_values_are_refused_with_what_is_wrong(refused, text, said):
    top = text if text.startswith("daemon = ") else ""
    assert said in refused(top + GOOD + ("" if top else text))


@pytest.mark.parametrize(
    "endpoint", ["ftp://x:1", "http://", "127.0.0.1:80", "http://x:1/path", "http://u:p@x", "http://x:y", "http://[1"]
)
def test_an_endpoint_is_scheme_host_and_port_only(refused, load, endpoint):
    assert "allowed: http://host:port" in refused(TRADINGD__VENUES__BINANCE__ENDPOINT=endpoint)
    loaded = load(TRADINGD__VENUES__BINANCE__ENDPOINT="http://127.0.0.1:8080/")
    assert loaded.venues["binance"].endpoint == "http://127.0.0.1:8080"


def test_a_misspelt_venue_is_not_offered_where_a_venue_is_needed(refused):
    said = refused('[venues.bibit]\n[strategies.swing]\ninstruments = ["ETH/USDT:USDT@bybit"]\n' + GOOD)
    assert "unknown venue 'bibit'" in said and "nearest: bybit" in said
    assert "allowed: binance\n" in said + "\n" and "nearest: bibit" not in said


def test_no_enabled_venue_is_refused(refused):
    assert "no venue is enabled" in refused("[venues.binance]\nenabled = false\n")


@pytest.mark.parametrize(
    ("text", "place", "caret_line"),
    [
        ("[daemon]\nmode = sim\n", "tradingd.toml:2:8", "      |        ^"),
        ("[daemon\n", "tradingd.toml:1:8", "      |        ^"),
        ("[a]\nb = 1\nb = 2\n", "tradingd.toml:3:6", "      |      ^"),
        ('x = """never closed', "tradingd.toml:1:20", "      |                    ^"),
    ],
)
def test_a_syntax_error_shows_its_line_and_a_caret(refused, text, place, caret_line):
    said = refused(text).splitlines()
    assert said[0].startswith(f"{place}: not valid TOML: ")
    assert said[2] == caret_line


def test_what_is_no_text_or_no_file_is_told_in_words(load, tmp_path):
    for path, said in ((tmp_path / "none.toml", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(ConfigError, match=said):
            load_settings(path, {})
    (tmp_path / "latin.toml").write_bytes(b"# ok\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin.toml: line 2 is not UTF-8"):
        load_settings(tmp_path / "latin.toml", {})
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_settings(tmp_path / "deep.toml", {})


def test_windows_line_ends_and_a_byte_order_mark_do_not_shift_lines(refused):
    assert refused("\ufeff" + GOOD.replace("\n", "\r\n") + "[risk]\r\nx = 1\r\n").startswith(
        "tradingd.toml:7:1: unknown key"
    )


_default = default_config_path().read_text()


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, len(_default)),
    st.integers(0, 40),
    st.one_of(
        st.text("[]{}=.,#'\"\n\\ a1-", max_size=6),
        st.sampled_from(["nan", "-inf", "1e999999999", "9" * 400, "[[a]]\n"]),
    ),
)
def test_whatever_is_done_to_the_file_it_loads_or_is_a_config_error(start: int, length: int, text: str):
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as stream:
        stream.write(_default[:start] + text + _default[start + length :])
        stream.flush()
        try:
            loaded = load_settings(stream.name, {})
        except ConfigError as error:
            assert error.problems and all(problem.message for problem in error.problems)
        else:
            assert loaded.enabled_venues


@pytest.mark.parametrize(
    ("elements", "count"),
    [('["BTC"]', 1), ('["BTC", 7]', 2), ('["BTC/USDT:USDT@binance", "x"]', 1), ("[]", 1), ("[[]]", 1)],
)
def test_a_bad_element_is_told_without_its_array(refused, elements, count):
    told = refused(GOOD.replace('["BTC/USDT:USDT@binance"]', elements))
    assert told.count("allowed:") == count, told
    assert ("is an empty array" in told) == (elements == "[]")


def test_a_bad_name_of_a_section_is_told_beside_what_is_wrong_inside(refused):
    told = refused('[venues.binance]\n[strategies.Trend]\nplugin = "trend"\ninstruments = ["x"]\n')
    assert "the name 'Trend' cannot be used" in told and "instrument 'x' is not in the form" in told


def test_a_strategy_rests_with_its_venue_and_one_that_lost_only_some_is_a_mistake() -> None:
    settings = load_settings(default_config_path(), {"TRADINGD__VENUES__BYBIT__ENABLED": "false"})
    assert set(settings.enabled_venues) == {"binance"} and set(settings.strategies) == {"trend"}
    both = '["BTC/USDT:USDT@binance", "ETH/USDT:USDT@bybit"]'
    some = {"TRADINGD__VENUES__BYBIT__ENABLED": "false", "TRADINGD__STRATEGIES__TREND__INSTRUMENTS": both}
    with pytest.raises(ConfigError, match="ETH/USDT:USDT@bybit needs the venue bybit, which is not enabled"):
        load_settings(default_config_path(), some)
