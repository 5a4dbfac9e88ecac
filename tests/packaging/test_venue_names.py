"""Only the adapters know a venue by its name: what the second venue taught is a capability or a limit of the port."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tradingd.emulator.venues import VENUES
from tradingd.venues.known import DIALECTS

PACKAGE = Path(__file__).resolve().parents[2] / "daemon" / "tradingd"
ADAPTERS = ("venues", "emulator")
TABLES = {
    "config/settings.py": "which venues have a name and a default",
    "cli/venue_command.py": "which built-in venues can be started",
    "cli/strategies_command.py": "the instrument of a strategy that is tried without a venue",
    "simulation/dialects.py": "how the oracle reads each venue's wire",
    "simulation/world.py": "the venue of a world that names none",
    "simulation/evidence.py": "the same, in what an older world wrote",
    "simulation/crashes.py": "the same",
    "simulation/run.py": "the same",
    "simulation/command.py": "the same",
}
"""Where a name stands beside the adapters, as an entry of a table or a default."""


def names(tree: ast.AST) -> Iterator[ast.Constant]:
    """Texts of code, no docstrings, that are a venue's name or written for one."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            words = node.value.lower().replace("@", " ").replace(".", " ").split()
            if any(venue in words for venue in VENUES):
                yield node


def decides(tree: ast.AST) -> list[int]:
    """Lines where what is done depends on a venue's name."""
    places: list[ast.AST] = [node for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.MatchValue)]
    return [found.lineno for place in places for found in names(place)]


def modules() -> dict[str, ast.Module]:
    """The modules beside the adapters, by their path."""
    paths = {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.py")}
    return {name: ast.parse(path.read_text()) for name, path in paths.items() if name.split("/")[0] not in ADAPTERS}


def test_nothing_beside_the_adapters_asks_which_venue_it_is() -> None:
    assert {name: lines for name, tree in modules().items() if (lines := decides(tree))} == {}


def test_a_venues_name_stands_in_tables_and_messages_of_the_form_alone() -> None:
    found = {name for name, tree in modules().items() if any(True for _ in names(tree))}
    form = {"domain/instruments.py"}  # the message that shows how an instrument is written
    assert found - form == set(TABLES)
    assert set(DIALECTS) == set(VENUES)


@pytest.mark.parametrize(
    "offence",
    [
        'if venue == "bybit":\n    pass\n',
        'x = 1 if instrument.venue in ("binance", "other") else 2\n',
        'match venue:\n    case "bybit":\n        pass\n',
        'x = VenueId("bybit") != venue\n',
    ],
)
def test_an_offence_is_found(offence: str) -> None:
    assert decides(ast.parse(offence))
