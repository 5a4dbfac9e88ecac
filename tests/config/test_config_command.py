"""`tradingd config`: what it prints, and its exit status."""

import argparse
import json
import subprocess
import sys
import tomllib

import pytest

from tests.config.conftest import GOOD
from tradingd.cli import config_command
from tradingd.config import load_settings
from tradingd.config.resources import default_config_path

PLUGIN = "from tradingd.strategy import Strategy\n\n\nclass Trend(Strategy):\n    stake: float = 0.1\n"


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    """Runs `config` with arguments on a text and the plugin it names; gives (exit status, stdout, stderr)."""

    def _command(*arguments: str, text: str = GOOD, plugin: str | None = PLUGIN) -> tuple[int, str, str]:
        (tmp_path / "config.toml").write_text(text)
        (tmp_path / "strategies").mkdir(mode=0o755, exist_ok=True)
        (tmp_path / "strategies" / "trend.py").unlink(missing_ok=True)
        if plugin is not None:
            (tmp_path / "strategies" / "trend.py").write_text(plugin)
        monkeypatch.chdir(tmp_path)
        parser = argparse.ArgumentParser()
        config_command.add_parser(parser.add_subparsers())
        status = config_command.run(parser.parse_args(["config", *arguments]))
        out, err = capsys.readouterr()
        return status, out, err

    return _command


def test_check_says_good_or_every_problem_with_status_78(command):
    status, out, err = command("check")
    assert (status, err) == (0, "")
    assert out == "config.toml: good (mode sim; venues: binance; strategies: trend)\n"
    status, out, err = command("check", text=GOOD + "[log]\nlevle = 1\nlevel = 2\n")
    assert (status, out) == (78, "")
    assert "config.toml:7:1: unknown key 'levle'" in err and "config.toml:8:9: log.level is 2" in err
    assert err.endswith("2 problems; nothing was started\n")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("candles", "nope.csv", ("there is no file ", "nope.csv", "allowed: ")),
        ("faults", "bad_dya", ("there is no such fault script", "nearest: bad_day")),
        ("faults", "mine.toml", ("there is no such fault script", "allowed: ")),
    ],
)
def test_check_tells_of_a_file_that_the_built_in_venue_would_not_find(command, key, value, said):
    """It was found by the venue alone, so that the other venue traded on and this one was tried again for ever."""
    text = GOOD.replace("leverage = 3\n", f'leverage = 3\n{key} = "{value}"\n')
    status, out, err = command("check", text=text)
    assert (status, out) == (78, "")
    assert err.startswith("config.toml:3:") and all(each in err for each in said)
    elsewhere = text.replace("leverage = 3\n", "leverage = 3\nenabled = false\n") + "[venues.bybit]\n"
    assert command("check", text=elsewhere)[0] == 0, "a venue that is left alone needs no file"


@pytest.mark.parametrize("name", ["bad_day", "mine.toml"])
def test_check_takes_a_shipped_script_by_name_and_one_of_its_own_by_its_path(command, tmp_path, name):
    (tmp_path / "mine.toml").write_text("seed = 1\n")
    assert command("check", text=GOOD.replace("leverage = 3\n", f'leverage = 3\nfaults = "{name}"\n'))[0] == 0


def test_show_prints_toml_with_origins_that_loads_as_the_same_settings(command, monkeypatch, tmp_path):
    monkeypatch.setenv("TRADINGD__RISK__MAX_LEVERAGE", "20")
    status, out, _ = command("show", text=GOOD + 'where = { b = [1, "x"], c = 0.5 }\nlast = true\n')
    assert status == 0
    assert "leverage = 3 " in out and "# config.toml line 2\n" in out
    assert "# environment variable TRADINGD__RISK__MAX_LEVERAGE\n" in out
    assert "# endpoint is not set\n" in out
    again = tmp_path / "again.toml"
    again.write_text(out)
    assert tomllib.loads(out)["risk"]["max_leverage"] == 20
    monkeypatch.delenv("TRADINGD__RISK__MAX_LEVERAGE")
    first = load_settings(tmp_path / "config.toml", {"TRADINGD__RISK__MAX_LEVERAGE": "20"})
    assert load_settings(again, {}).model_dump(exclude={"venues", "strategies"}) == first.model_dump(
        exclude={"venues", "strategies"}
    )
    assert load_settings(again, {}).strategies == first.strategies


def test_show_json_is_one_array_and_holds_plain_values(command):
    status, out, _ = command("show", "--json", text=GOOD + 'where = { access_hint = "a", when = 2022-01-01 }\n')
    shown = {row["key"]: row for row in json.loads(out)}
    assert status == 0
    assert shown["venues.binance.leverage"] == {
        "key": "venues.binance.leverage",
        "value": 3,
        "origin": "config.toml line 2",
    }
    assert shown["risk.max_leverage"]["origin"] == "default"
    assert shown["strategies.trend.stake"]["value"] == 0.1
    assert shown["strategies.trend.where"]["value"] == {"access_hint": "a", "when": "2022-01-01"}


def test_schema_is_json_and_names_every_section(command):
    status, out, _ = command("schema")
    assert status == 0
    sections = json.loads(out)["properties"]
    assert list(sections) == ["daemon", "journal", "venues", "risk", "execution", "strategies", "log", "mqtt"]


def test_reading_the_settings_imports_neither_ccxt_nor_a_database():
    code = (
        "import sys; from tradingd.config import load_settings; import tradingd.cli.config_command;"
        f"load_settings({str(default_config_path())!r}, {{}});"
        "print([name for name in ('ccxt', 'sqlalchemy', 'alembic', 'aiohttp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "[]\n"


def test_check_loads_the_plugins_as_run_does(command, tmp_path):
    status, out, err = command("check", plugin=None)
    assert (status, out) == (78, "")
    assert "config.toml:3:1" in err and "trend" in err and err.endswith("1 problem; nothing was started\n")
    status, out, err = command("check", text=GOOD.replace("stake", "steak"))
    assert (status, out) == (78, "")
    assert "config.toml:5:1: steak is not a parameter of Trend" in err and "nearest: stake" in err
    status, out, err = command("check", plugin=PLUGIN + "    def\n")
    assert (status, out) == (78, "") and "trend.py:6" in err


def test_check_json_is_one_array_of_problems(command, monkeypatch):
    assert command("check", "--json") == (0, "[]\n", "")
    monkeypatch.setenv("TRADINGD__LOG__LEVEL", "loud")
    status, out, err = command("check", "--json", text=GOOD.replace("leverage", "leverge"))
    assert (status, err) == (78, "")
    first, second = json.loads(out)
    assert first.pop("allowed").startswith("candles, credentials_file, enabled")
    assert first == {
        "place": "config.toml:2:1",
        "file": "config.toml",
        "line": 2,
        "column": 1,
        "message": "unknown key 'leverge' in [venues.binance]",
        "nearest": "leverage",
    }
    assert second == {
        "place": "environment variable TRADINGD__LOG__LEVEL",
        "file": None,
        "line": None,
        "column": None,
        "message": "log.level is 'loud'",
        "allowed": "debug, info, warning, error",
        "nearest": None,
    }
    monkeypatch.delenv("TRADINGD__LOG__LEVEL")
    status, out, _ = command("check", "--json", plugin=None)
    (missing,) = json.loads(out)
    assert status == 78 and (missing["file"], missing["line"]) == ("config.toml", 3)
    status, out, _ = command("check", "--json", "--config", "none.toml")
    (missing,) = json.loads(out)
    assert status == 78 and (missing["file"], missing["line"]) == ("none.toml", None)


LIVE = '[daemon]\nmode = "live"\nspeed = 1\n' + GOOD.replace(
    "leverage = 3", 'leverage = 3\ncredentials_file = "keys.toml"'
)
KEY = "k3y0f4venue"


def test_check_in_live_finds_the_credentials_and_shows_none_of_them(command, tmp_path):
    keys = tmp_path / "keys.toml"
    keys.touch(mode=0o600)
    keys.write_text(f'api_key = "{KEY}"\napi_secret = "{KEY}"\n')
    status, out, err = command("check", text=LIVE)
    assert (status, err) == (0, "")
    assert out.endswith(f"\ncredentials of binance: {keys}\n")
    assert KEY not in out


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        (0o644, f'api_key = "{KEY}"\napi_secret = "{KEY}"\n', "its mode is 0644, so others may read it"),
        (0o600, f'api_key = "{KEY}"\napi_secret = ""\n', "api_secret is empty"),
        (0o600, f'api_key = "{KEY}"\n', "api_secret of binance is missing"),
        (0o600, f"api_key = {KEY}\n", "line 1 is not valid TOML"),
        (0o600, "", "there are no credentials for binance"),
        (None, "", "keys.toml: it cannot be read: no such file"),
    ],
)
def test_check_in_live_refuses_credentials_that_run_would_refuse(command, tmp_path, mode, text, said):
    if mode is not None:
        keys = tmp_path / "keys.toml"
        keys.write_text(text)
        keys.chmod(mode)
    status, out, err = command("check", text=LIVE)
    assert (status, out) == (78, "")
    assert said in err and KEY not in err
    assert err.endswith("1 problem; nothing was started\n")
    assert command("check", "--without-credentials", text=LIVE)[0] == 0


def test_check_warns_of_credentials_in_the_environment(command, monkeypatch):
    for part in ("API_KEY", "API_SECRET"):
        monkeypatch.setenv(f"TRADINGD_BINANCE_{part}", KEY)
    status, out, _ = command("check", text=LIVE.replace('credentials_file = "keys.toml"', ""))
    assert status == 0
    assert "credentials of binance: environment variable TRADINGD_BINANCE_API_KEY\nwarning: " in out
    assert KEY not in out
