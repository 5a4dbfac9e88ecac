"""docs/logs.md names each event that can be logged, and none besides."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tradingd.telemetry.console import _SHORT
from tradingd.telemetry.narrator import _ORDER_EVENTS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "daemon" / "tradingd"
PAGE = (ROOT / "docs" / "logs.md").read_text()
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
OTHER_PROCESSES = ("emulator", "simulation")
"""The built-in venue logs to a file of its own."""
LINES = [[cell.strip() for cell in line[1:-1].split("|")] for line in PAGE.splitlines() if line.startswith("| `")]
ROWS = [cells for cells in LINES if len(cells) == 3]
DOCUMENTED = {name for row in ROWS for name in re.findall(r"`(\w+)`", row[0])}


def logged_in(path: Path) -> Iterator[str]:
    """The event of each call that logs in a module."""
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and call.args and (number := _event_argument(call.func)) is not None:
                yield from _texts(call.args[number], function)


def _event_argument(called: ast.expr) -> int | None:
    if isinstance(called, ast.Name):
        return 0 if called.id in ("write", "say") else None
    if isinstance(called, ast.Attribute):
        owner = ast.unparse(called.value)
        if called.attr in LEVELS and owner in ("log", "self._log"):
            return 0
        if called.attr in ("write", "_line") and owner in ("self", "logs", "self._logs"):
            return 1
    return None


def _texts(argument: ast.expr, function: ast.AST) -> Iterator[str]:
    """The texts that an argument can be: a constant, one of two, or those assigned to its name."""
    if isinstance(argument, ast.Name):
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and argument.id in [ast.unparse(target) for target in node.targets]:
                yield from _texts(node.value, function)
    elif isinstance(argument, ast.IfExp):
        yield from _texts(argument.body, function)
        yield from _texts(argument.orelse, function)
    elif isinstance(argument, ast.Constant):
        yield str(argument.value)


def test_each_event_that_is_logged_is_on_the_page_and_no_other() -> None:
    modules = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in OTHER_PROCESSES]
    logged = {name for path in modules for name in logged_in(path)} | set(_ORDER_EVENTS.values())
    assert {"fill_booked", "foreign_fill_booked", "position_flipped", "daemon_ready", "uncaught_exception"} <= logged
    assert logged - DOCUMENTED == set()
    assert DOCUMENTED - logged == set()


def test_each_event_says_when_and_names_fields_that_exist() -> None:
    source = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    for names, when, fields in ROWS:
        assert len(when) > 10, names
        for field in re.findall(r"`(\w+)`", fields):
            assert re.search(rf"\b{field}=|[\"']{field}[\"']:", source), f"{names}: {field}"


def test_the_short_names_of_the_screen_are_on_the_page() -> None:
    for field, short in _SHORT.items():
        assert f"`{field}`" in PAGE and f"`{short}`" in PAGE
