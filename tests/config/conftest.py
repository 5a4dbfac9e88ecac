"""A small good configuration, and what loads or refuses variations of it."""

import pytest

from tradingd.config import ConfigError, load_settings

GOOD = """\
[venues.binance]
leverage = 3
[strategies.trend]
instruments = ["BTC/USDT:USDT@binance"]
stake = 0.1
"""


@pytest.fixture
def load(tmp_path):
    """Loads a text as tradingd.toml, with variables as keywords."""

    def _load(text: str = GOOD, **environ: str):
        path = tmp_path / "tradingd.toml"
        path.write_bytes(text.encode())
        return load_settings(path, environ)

    return _load


@pytest.fixture
def refused(load, tmp_path):
    """The text of the ConfigError that a configuration meets, its directory cut off."""

    def _refused(text: str = GOOD, **environ: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, **environ)
        assert caught.value.exit_status == 78
        return str(caught.value).replace(f"{tmp_path}/", "")

    return _refused
