"""Every fault of a plugin is told at start: what, where, what is allowed; and nothing else is imported."""

import hashlib
import os
import textwrap
from decimal import Decimal
from pathlib import Path

import pytest

from tradingd.config import load_settings
from tradingd.strategy.loader import PluginMissing, PluginsRefused, load_plugin, load_strategies
from tradingd.strategy.parameters import ParameterError, bind
from tradingd.strategy.timer import NoTimer

HEAD = "from tradingd.strategy import *\n"
GOOD = "class Good(Strategy):\n    '''Does nothing, well.'''\n    fast: int = 3\n"


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    directory = tmp_path / "strategies"
    directory.mkdir(mode=0o755)
    return directory


def write(directory: Path, name: str, source: str) -> Path:
    path = directory / f"{name}.py"
    path.write_text(HEAD + textwrap.dedent(source))
    path.chmod(0o644)
    return path


def refusal(plugins: Path, source: str, name: str = "mine") -> str:
    write(plugins, name, source)
    with pytest.raises(PluginsRefused) as caught:
        load_plugin(name, plugins)
    assert str(plugins / f"{name}.py") in str(caught.value)
    return str(caught.value)


def test_a_good_plugin_is_loaded_with_the_hash_of_its_text(plugins):
    path = write(plugins, "good", GOOD)
    plugin = load_plugin("good", plugins)
    assert plugin.strategy_class.__name__ == "Good"
    assert plugin.summary == "Does nothing, well."
    assert plugin.code_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(plugin.parameters) == ["fast"]
    assert not (plugins / "__pycache__").exists()


def test_only_the_named_plugin_is_run(plugins, tmp_path):
    write(plugins, "good", GOOD)
    write(plugins, "other", f"open({str(tmp_path / 'touched')!r}, 'w')\n")
    load_plugin("good", plugins)
    assert not (tmp_path / "touched").exists()


def test_a_missing_plugin_is_told_with_the_nearest_name(plugins):
    write(plugins, "sma_cross", GOOD)
    with pytest.raises(PluginMissing) as caught:
        load_plugin("sma_cros", plugins)
    assert "nearest: sma_cross" in str(caught.value)
    assert "tradingd strategies new sma_cros" in str(caught.value)


@pytest.mark.parametrize("name", ["../good", "a.b", "", "a/b"])
def test_a_name_that_is_a_path_finds_nothing(plugins, name):
    write(plugins.parent, "good", GOOD)
    with pytest.raises(PluginMissing):
        load_plugin(name, plugins)


def test_a_missing_directory_says_which_key_to_correct(tmp_path):
    with pytest.raises(PluginsRefused, match="strategies_dir"):
        load_plugin("any", tmp_path / "nowhere")


def test_a_world_writable_file_is_refused_with_the_command_that_corrects_it(plugins):
    path = write(plugins, "mine", GOOD)
    path.chmod(0o646)
    with pytest.raises(PluginsRefused, match=f"chmod o-w {path}"):
        load_plugin("mine", plugins)


def test_a_world_writable_directory_is_refused(plugins):
    write(plugins, "mine", GOOD)
    plugins.chmod(0o777)
    with pytest.raises(PluginsRefused, match=f"chmod o-w {plugins}"):
        load_plugin("mine", plugins)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to another group")
def test_a_file_writable_by_a_shared_group_is_refused_and_by_the_owners_own_is_not(plugins):
    path = write(plugins, "mine", GOOD)
    path.chmod(0o664)
    load_plugin("mine", plugins)
    os.chown(path, 0, 100)
    with pytest.raises(PluginsRefused, match=f"chmod g-w {path}"):
        load_plugin("mine", plugins)


def test_a_syntax_error_is_told_with_its_line(plugins):
    assert "mine.py:3: syntax error" in refusal(plugins, "x = 1\nif x\n")


def test_bytes_that_are_no_text_are_refused(plugins):
    (plugins / "mine.py").write_bytes(b"\x00\xff\xfe")
    with pytest.raises(PluginsRefused, match=r"mine\.py"):
        load_plugin("mine", plugins)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = 1\n", "classes derived from Strategy: none"),
        ("class A(Strategy): pass\nclass B(Strategy): pass\n", "classes derived from Strategy: A, B"),
        ("import not_a_module_at_all\n", "mine.py:2: ModuleNotFoundError"),
        ("1 / 0\n", "mine.py:2: ZeroDivisionError"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("import tradingd.execution\n" + GOOD, "mine.py:2: imports tradingd.execution"),
        ("from tradingd.venues.binance import x\n" + GOOD, "mine.py:2: imports tradingd.venues.binance"),
        ("from tradingd import app\n" + GOOD, "mine.py:2: imports tradingd.app"),
        ("from tradingd.strategy.host import x\n" + GOOD, "mine.py:2: imports tradingd.strategy.host"),
        ("from . import other\n" + GOOD, "mine.py:2: a relative import"),
        ("def f():\n    try: pass\n    except: pass\n" + GOOD, "mine.py:4: this except also catches"),
        ("try: pass\nexcept (KeyError, BaseException): pass\n" + GOOD, "mine.py:3: this except also catches"),
        ("class A(Strategy):\n    def __init__(self): pass\n", "A has an __init__"),
        ("class A(Strategy):\n    def on_candel(self, c, ctx): pass\n", "nearest: on_candle"),
        ("class A(Strategy):\n    async def on_candle(self, c, ctx): pass\n", "mine.py:3: on_candle is async"),
        ("class A(Strategy):\n    on_candle = 3\n", "A.on_candle is not a function"),
        ("class A(Strategy):\n    fast: list[int] = [1]\n", "parameter fast has a type that config cannot give"),
        ("class A(Strategy):\n    fast: int = 'x'\n", "the default of fast is 'x'"),
        ("class A(Strategy):\n    warmup: int = 3\n", "warmup is a key of the daemon itself"),
        ("class A(Strategy):\n    fast: 'Nothing' = 3\n", "annotations of A cannot be read"),
    ],
)  # fmt: skip
def test_a_faulty_plugin_is_refused_with_the_reason(plugins, source, told):
    assert told in refusal(plugins, source)


def test_a_plugin_that_never_ends_to_load_is_refused(plugins):
    import tradingd.strategy.loader as loader
    from tradingd.strategy.timer import SignalTimer

    write(plugins, "mine", "while True: pass\n")
    before = loader.IMPORT_BUDGET_MS
    loader.IMPORT_BUDGET_MS = 50
    try:
        with pytest.raises(PluginsRefused, match="running the file took more than"):
            load_plugin("mine", plugins, SignalTimer())
    finally:
        loader.IMPORT_BUDGET_MS = before


PARAMETERS = """
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

class Many(Strategy):
    whole: Annotated[int, Range(1, 10)] = 3
    real: float = 0.5
    exact: Annotated[Decimal, Range(low=0)] = Decimal("0.1")
    text: str = "a"
    flag: bool = False
    kind: Literal["slow", "fast"] = "slow"
    needed: int
    LIMIT: ClassVar[int] = 7
    _own: int = 1
    cache: dict[str, int]
"""


def test_parameters_take_their_types_exactly(plugins):
    write(plugins, "many", PARAMETERS)
    many = load_plugin("many", plugins).strategy_class
    values = bind(many, {"needed": 1, "exact": 1, "real": 2, "kind": "fast", "whole": 10})
    assert values == {
        "whole": 10, "real": 2.0, "exact": Decimal(1), "text": "a", "flag": False, "kind": "fast", "needed": 1,
    }  # fmt: skip
    assert [type(values[name]) for name in ("real", "exact")] == [float, Decimal]
    assert bind(many, {"needed": 1, "exact": 0.1})["exact"] == Decimal("0.1")
    assert many(needed=5).needed == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("whole", 11, "a whole number from 1 to 10"),
        ("whole", 1.0, "a whole number"),
        ("whole", True, "a whole number"),
        ("whole", "3", "a whole number"),
        ("real", "1", "a number"),
        ("real", float("nan"), "a number"),
        ("exact", -1, "a number at least 0"),
        ("exact", Decimal("1e30"), "a number"),
        ("text", 1, "a text"),
        ("flag", 1, "true or false"),
        ("flag", "true", "true or false"),
        ("kind", "medium", "one of 'slow', 'fast'"),
        ("needed", None, "a whole number"),
    ],
)
def test_a_parameter_of_the_wrong_type_or_range_is_told_with_what_is_allowed(plugins, name, value, allowed):
    write(plugins, "many", PARAMETERS)
    many = load_plugin("many", plugins).strategy_class
    with pytest.raises(ParameterError) as caught:
        bind(many, {"needed": 1, name: value})
    (problem,) = caught.value.problems
    assert problem.name == name
    assert allowed in str(problem)


CONFIG = """
[daemon]
strategies_dir = "strategies"

[venues.binance]
enabled = true

[strategies.trend]
plugin = "good"
instruments = ["BTC/USDT:USDT@binance"]
fats = 3

[strategies.gone]
plugin = "goood"
instruments = ["ETH/USDT:USDT@binance"]

[strategies.broken]
instruments = ["SOL/USDT:USDT@binance"]

[strategies.typed]
plugin = "good"
instruments = ["XRP/USDT:USDT@binance"]
fast = "quick"
"""


def test_all_faults_of_all_strategies_are_told_at_once_with_their_lines(plugins, tmp_path):
    write(plugins, "good", GOOD)
    write(plugins, "broken", "def f(:\n")
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    with pytest.raises(PluginsRefused) as caught:
        load_strategies(load_settings(config, {}), NoTimer())
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert f"{config}:11:1: fats is not a parameter of Good" in text
    assert "nearest: fast" in text
    assert f"{config}:14:10: there is no plugin file" in text
    assert "nearest: good" in text
    assert "broken.py:2: syntax error" in text
    assert f"{config}:23:8: fast is quick" in text
    assert caught.value.exit_status == 78


def test_two_strategies_of_one_file_share_no_globals(plugins, tmp_path):
    write(plugins, "good", "seen = []\n" + GOOD + "    def on_start(self, ctx): seen.append(1); self.seen = seen\n")
    config = tmp_path / "config.toml"
    config.write_text(
        CONFIG.split("[strategies.trend]", maxsplit=1)[0]
        + '[strategies.one]\nplugin = "good"\ninstruments = ["BTC/USDT:USDT@binance"]\n'
        + '[strategies.two]\nplugin = "good"\ninstruments = ["ETH/USDT:USDT@binance"]\nfast = 9\n'
    )
    one, two = (loaded.create() for loaded in load_strategies(load_settings(config, {}), NoTimer()))
    assert (one.fast, two.fast) == (3, 9)  # type: ignore[attr-defined]
    for strategy in (one, two):
        strategy.on_start(None)  # type: ignore[arg-type]
    assert one.seen == two.seen == [1]  # type: ignore[attr-defined]
