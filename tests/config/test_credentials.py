"""Secrets: refused in the file, read from three places in order, and shown nowhere."""

import copy
import json
import pickle
import traceback

import pytest

from tests.config.conftest import GOOD
from tradingd.config import ConfigError
from tradingd.config.credentials import SIM_CREDENTIALS, Secret, load_credentials

LIVE = GOOD.replace("leverage = 3", 'credentials_file = "binance.toml"') + '[daemon]\nmode = "live"\n'
KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"


@pytest.fixture
def live(load):
    """Settings in mode live whose credentials_file is binance.toml beside them."""
    return load(LIVE)


@pytest.fixture
def keyfile(tmp_path):
    """Writes binance.toml with a mode."""

    def _write(text: str = f'api_key = "{KEY}"\napi_secret = "s3"\n', mode: int = 0o600):
        path = tmp_path / "binance.toml"
        path.write_text(text)
        path.chmod(mode)
        return path

    return _write


@pytest.mark.parametrize(
    "line",
    [
        f'api_key = "{KEY}"',
        'apiKey = "hunter2hunter2"',
        'api_secret = "hunter2hunter2"',
        'secret = "hunter2hunter2"',
        'password = "hunter2hunter2"',
        'bot_token = "hunter2hunter2"',
        f'note = "{KEY}"',
        f'endpoint = "http://{KEY}:1"',
    ],
)
def test_a_secret_in_the_file_is_refused_by_its_line_and_never_shown(refused, line):
    text = refused(GOOD.replace("leverage = 3", line))
    assert text.startswith("tradingd.toml:2:1: venues.binance.")
    assert "secrets are never in the config file" in text
    assert "\n    2 | " in text
    assert KEY not in text and "hunter2" not in text


def test_a_secret_in_a_settings_variable_is_refused_too(refused):
    text = refused(TRADINGD__VENUES__BINANCE__API_KEY=KEY)
    assert text.startswith("environment variable TRADINGD__VENUES__BINANCE__API_KEY: ")
    assert KEY not in text


def test_no_error_on_a_line_with_a_secret_shows_it_in_any_form(load):
    for text in (
        f"api_secret = {KEY}\n",
        f"x = 1 y = '{KEY}'\n",
        "password = hunter2hunter2\n",
        f'[log]\nlevel = "{KEY}"\n',
    ):
        with pytest.raises(ConfigError) as caught:
            load(text)
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.problems)
        assert KEY not in shown and "hunter2" not in shown


def test_a_secret_shows_itself_to_reveal_alone():
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r:>40}", f"{secret:>40}", format(secret, ">40")]
    shown += [repr([secret]), repr(SIM_CREDENTIALS)]
    assert all(KEY not in text and "sim-secret" not in text for text in shown)
    assert secret == Secret(KEY) and secret != Secret("x") and secret != KEY
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps, hash, vars):
        with pytest.raises(TypeError):
            attempt(secret)


def test_in_sim_no_key_is_read_at_all(load, keyfile):
    keyfile(mode=0o666)
    settings = load(LIVE.replace('"live"', '"sim"'))
    assert load_credentials("binance", settings, {"TRADINGD_BINANCE_API_KEY": KEY}) is SIM_CREDENTIALS


def test_the_credentials_directory_goes_before_file_and_environment(live, keyfile, tmp_path):
    keyfile()
    directory = tmp_path / "credentials"
    directory.mkdir()
    for part, value in (("api_key", "k1\n"), ("api_secret", "s1\n"), ("api_password", "p1\n")):
        (directory / f"binance_{part}").write_text(value)
    environ = {"CREDENTIALS_DIRECTORY": str(directory), "TRADINGD_BINANCE_API_KEY": "k3"}
    found = load_credentials("binance", live, environ)
    assert found.secrets() == ("k1", "s1", "p1")
    assert found.origin == str(directory / "binance_api_key")
    assert found.warnings == ()


def test_the_file_goes_before_the_environment(live, keyfile, tmp_path):
    path = keyfile()
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "TRADINGD_BINANCE_API_KEY": "k3"}
    found = load_credentials("binance", live, environ)
    assert found.secrets() == (KEY, "s3")
    assert (found.api_password, found.origin, found.warnings) == (None, str(path), ())


def test_the_environment_is_taken_with_a_warning(load):
    settings = load(LIVE.replace('credentials_file = "binance.toml"', ""))
    environ = {"TRADINGD_BINANCE_API_KEY": "k3", "TRADINGD_BINANCE_API_SECRET": "s3"}
    found = load_credentials("binance", settings, environ)
    assert found.secrets() == ("k3", "s3")
    assert len(found.warnings) == 1 and "environment variables" in found.warnings[0]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_file_that_others_may_use_is_refused_with_the_remedy(live, keyfile, mode):
    path = keyfile(mode=mode)
    with pytest.raises(ConfigError, match=f"its mode is {mode:04o}.*\n.*chmod 600 {path}"):
        load_credentials("binance", live, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'api_key = "{KEY}"\n', "api_secret of binance is missing"),
        (f"api_key = {KEY}\n", "line 1 is not valid TOML"),
        (f'api_key = "{KEY}"\napi_secrt = "hunter2"\n', "something else than credentials"),
        ("api_key = 5\n", "something else than credentials"),
        ('api_key = "hunter2 hunter2"\napi_secret = "x"\n', "api_key is empty, or holds blanks"),
        ('api_key = ""\n', "api_key is empty, or holds blanks"),
        ("", "there are no credentials for binance"),
    ],
)
def test_a_bad_credentials_file_is_refused_without_showing_it(live, keyfile, text, said):
    keyfile(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_credentials("binance", live, {})
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.problems)
    assert KEY not in shown and "hunter2" not in shown


def test_a_named_file_that_is_missing_is_refused(live):
    with pytest.raises(ConfigError, match=r"binance.toml: it cannot be read: no such file"):
        load_credentials("binance", live, {"TRADINGD_BINANCE_API_KEY": "k", "TRADINGD_BINANCE_API_SECRET": "s"})


def test_no_credentials_at_all_names_the_three_places(load):
    with pytest.raises(ConfigError) as caught:
        load_credentials("binance", load(LIVE.replace('credentials_file = "binance.toml"', "")), {})
    for place in ("$CREDENTIALS_DIRECTORY/binance_api_key", "credentials_file", "TRADINGD_BINANCE_API_KEY"):
        assert place in str(caught.value)
