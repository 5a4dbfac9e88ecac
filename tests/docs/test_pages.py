"""README and docs/ name only what exists: files, tests, commands, config keys; and the example strategy works."""

import contextlib
import io
import re
import tomllib
from pathlib import Path

import pytest

from tradingd.cli.main import main
from tradingd.config import load_settings
from tradingd.config.resources import default_config_path
from tradingd.domain.instruments import InstrumentId
from tradingd.strategy import Enter, Exit
from tradingd.strategy.loader import load_plugin
from tradingd.strategy.testing import Bench, make_candles

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
README = PAGES["README.md"]
PROSE = {name: re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL) for name, text in PAGES.items()}
PAGE = pytest.mark.parametrize("page", PAGES)


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return str(text)


@pytest.fixture
def breakout(tmp_path: Path) -> Path:
    """A config of the page's section, beside a strategies directory with the page's plugin."""
    (tmp_path / "strategies").mkdir(mode=0o755)
    plugin = tmp_path / "strategies" / "breakout.py"
    plugin.write_text(block("python"))
    plugin.chmod(0o644)
    config = tmp_path / "config.toml"
    config.write_text(f"[venues.binance]\n{block('toml')}")
    return config


def test_the_example_strategy_loads_enters_with_a_stop_and_exits(breakout: Path) -> None:
    instrument = InstrumentId.parse("ETH/USDT:USDT@binance")
    loaded = load_plugin("breakout", breakout.parent / "strategies").strategy_class
    bench = Bench(loaded(length=3), [instrument], history=make_candles(instrument, [100, 100, 100, 100]))
    bench.start()
    (candle,) = make_candles(instrument, [120])
    (enter,) = bench.candle(candle)
    assert isinstance(enter, Enter) and enter.stop_loss == candle.close * 98 / 100


def test_the_example_passes_its_own_trial(breakout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies", "check", "breakout", "--config", str(breakout)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"yields +\d+ Enter, \d+ Exit", said) and "good" in said, said


def test_the_example_closes_what_falls_below_the_average(breakout: Path) -> None:
    from decimal import Decimal

    from tradingd.domain.positions import Position

    instrument = InstrumentId.parse("ETH/USDT:USDT@binance")
    loaded = load_plugin("breakout", breakout.parent / "strategies").strategy_class
    bench = Bench(loaded(length=3), [instrument], history=make_candles(instrument, [100, 100, 100, 100]))
    bench.start()
    bench.account.positions[instrument] = Position(instrument, Decimal(1), Decimal(100))
    (candle,) = make_candles(instrument, [90])
    assert bench.candle(candle) == [Exit(instrument, reason="below the average")]


@PAGE
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", PAGES[page]):
        assert "://" not in target, "the pages need no internet"
        assert (ROOT / page).parent.joinpath(target).exists(), target


@PAGE
def test_links_into_a_page_meet_a_heading(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)#([^)]*)\)", PAGES[page]):
        text = (ROOT / page).parent.joinpath(target).read_text() if target else PAGES[page]
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, anchor


def test_each_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)", README))
    assert {page for page in PAGES if page != "README.md"} <= linked


MADE_LATER = ("./var", "var/", "strategies/breakout", "tradingd/_share", "wheels/")
"""By a run, by the reader, by an installation."""
TOPICS = ("tradingd/", "event/", "venue/")


@PAGE
def test_files_and_directories_that_are_named_exist(page: str) -> None:
    named = re.findall(r"`((?:[\w.*-]+/)+[\w.*-]*)`", PROSE[page])
    for path in named:
        if path.startswith(MADE_LATER) or (page == "docs/mqtt.md" and path.startswith(TOPICS)):
            continue
        places = [ROOT, ROOT / "daemon" / "tradingd"]
        assert any(list(place.glob(path.rstrip("/"))) for place in places), path


def test_each_promise_names_tests_that_exist() -> None:
    table = README.split("## What is promised")[1].split("## ")[0]
    named = re.findall(r"\[([^\]]+)\]\((tests/[^)]+)\)", table)
    assert len(named) >= 12
    for sentence, path in named:
        name = f"test_{sentence.replace(' ', '_')}("
        assert name in (ROOT / path).read_text(), f"{path}: {name}"


SHIPPED = [
    path
    for folder in ("daemon", "strategies", "migrations", "systemd", "benchmarks", "tests", "docs")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".md", ".toml", ".service", ".mako"} and path != Path(__file__).resolve()
] + [ROOT / name for name in ("README.md", "config.toml", "pyproject.toml", "Makefile")]
DANGLING = re.compile(
    r"\b[Bb]ugs? \d|\b[Ff]aults? \d|\bDESIGN\b|§ ?\d|\b(?:binance|bybit|bitget|seed|peers|transport-facts)\.md\b"
    r"|\btransport facts\b"
)


def test_nothing_refers_to_a_page_or_a_list_that_is_not_here() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SHIPPED
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if DANGLING.search(line)
    ]
    assert found == []


def test_each_promise_that_is_named_by_number_is_defined() -> None:
    section = PAGES["docs/architecture.md"].split("\n## Promises")[1].split("\n## ")[0]
    defined = re.findall(r"^\| (P\d+) \| \S.{40,} \|$", section, re.MULTILINE)
    assert defined == [f"P{number}" for number in range(1, 18)]
    named = {name for path in SHIPPED for name in re.findall(r"(?<![\w-])P\d{1,2}\b", path.read_text())}
    assert "P17" in named and named <= set(defined)


def test_the_commands_of_the_figures_are_those_of_the_benchmarks() -> None:
    import argparse

    from benchmarks.__main__ import FIGURES

    shown = re.findall(r"^python -m benchmarks (\w+) (.*)$", README, re.MULTILINE)
    assert [name for name, _ in shown] == list(FIGURES)
    for name, words in shown:
        parser = argparse.ArgumentParser(exit_on_error=False)
        FIGURES[name].add_arguments(parser)
        assert parser.parse_args(words.split())


@PAGE
def test_tests_that_are_named_exist(page: str) -> None:
    every = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", PAGES[page]):
        assert f"def {name}(" in every, name


KEYED = ("daemon", "journal", "risk", "log", "mqtt")


@PAGE
def test_config_keys_that_are_named_exist(page: str) -> None:
    shipped = tomllib.loads(default_config_path().read_text())
    settings = load_settings(default_config_path(), {})
    sections = {name: set(getattr(settings, name).model_fields_set) for name in KEYED}
    sections["execution"] = set(type(settings.execution).model_fields)
    sections["venues.binance"] = set(type(settings.venues["binance"]).model_fields)
    assert set(sections) - {"venues.binance"} <= set(shipped)
    for section, key in re.findall(rf"`({'|'.join(KEYED)}|execution|venues\.binance)\.(?!py\b)(\w+)", PROSE[page]):
        if (ROOT / "daemon" / "tradingd" / section / f"{key}.py").exists():
            continue
        assert key in sections[section], f"{section}.{key}"


@PAGE
def test_commands_that_are_named_exist(page: str) -> None:
    # the service and its user are called tradingd as well
    text = re.sub(r"^.*\b(?:systemctl|journalctl|usermod|useradd|sysusers)\b.*$", "", PAGES[page], flags=re.MULTILINE)
    text = re.sub(r"\s+", " ", text)
    named = set(re.findall(r"tradingd ((?:journal|strategies|config) [a-z]+|[a-z]+)", " ".join(_code(text))))
    for words in sorted(named):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            status = main([*words.split(), "--help"])
        assert status == 0, f"tradingd {words}: {said.getvalue()}"


def _code(text: str) -> list[str]:
    """Everything in backticks: that is where the pages name commands."""
    return re.findall(r"```.*?```|`[^`]+`", text)


def test_each_package_is_on_the_map() -> None:
    text = PAGES["docs/architecture.md"]
    for path in sorted((ROOT / "daemon" / "tradingd").iterdir()):
        if (path / "__init__.py").exists():
            assert f"| `{path.name}/` |" in text, path.name


NOT_ON_THE_MAP = {"simulation/plugins/"}
"""Strategies of the simulation."""


def test_the_map_names_each_module_and_none_besides() -> None:
    text = PAGES["docs/architecture.md"]
    package = ROOT / "daemon" / "tradingd"
    rows = re.findall(r"^\| `((?:\w+/)+)` \| (.+) \|$", text.split("| package | modules |")[1], re.MULTILINE)
    told = {folder: re.sub(r"\([^)]*\)", "", words) for folder, words in rows}
    told["execution/"] = " ".join(
        re.findall(r"^\| ([\w, ]+) \|", text.split("| file in `execution/` |")[1].split("\n### ")[0], re.MULTILINE)
    )
    for folder in sorted({path.parent for path in package.rglob("*.py") if path.parent != package}):
        name = f"{folder.relative_to(package)}/"
        modules = {path.stem for path in folder.glob("[a-z]*.py")}
        if name not in NOT_ON_THE_MAP:
            named = re.findall(r"\w+", told.pop(name).replace(" and ", " "))
            assert len(named) == len(set(named)) and set(named) == modules, name
    assert not told


@pytest.mark.parametrize("title", ["Life of a candle", "Life of an order"])
def test_each_life_fits_on_one_screen(title: str) -> None:
    section = PAGES["docs/architecture.md"].split(f"\n## {title}\n")[1].split("\n## ")[0]
    assert section.count("\n") <= 45
    assert max(map(len, section.splitlines())) <= 120


def test_the_transition_diagram_is_the_table() -> None:
    from tradingd.domain.orders import TRANSITIONS

    (diagram,) = re.findall(r"^```transitions\n(.*?)^```", PAGES["docs/architecture.md"], re.MULTILINE | re.DOTALL)
    drawn = set()
    for line in diagram.splitlines():
        before, _, rest = line.partition(":")
        for arrow in rest.split(","):
            event, _, after = arrow.strip().partition(" → ")
            drawn.add((before.strip(), event, after))
    table = {(before.value, event.value, after.value) for (before, event), after in TRANSITIONS.items()}
    assert drawn == table
