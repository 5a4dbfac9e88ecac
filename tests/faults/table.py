"""`python -m tests.faults.table`: each fault with the tests that play it, or why none does."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.faults.catalogue import FAULTS, NO_TEST, NOT_YET

TESTS = Path(__file__).parents[1]


def marked(tests: Path = TESTS) -> dict[int, list[str]]:
    """The tests of each number, as pytest names them, in the order of their files."""
    found: dict[int, list[str]] = {}
    for path in sorted(tests.rglob("test_*.py")):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{path.relative_to(tests.parent)}::{function.name}"
                for number in _numbers(function):
                    found.setdefault(number, []).append(name)
    return found


def _numbers(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[int]:
    """What its decorators say, those of single parameters among them."""
    for decorator in function.decorator_list:
        for call in ast.walk(decorator):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault":
                yield from (int(ast.literal_eval(argument)) for argument in call.args)


def lines() -> Iterator[str]:
    """The table."""
    tests = marked()
    for number, what in FAULTS.items():
        yield f"{number:3}  {what}"
        for name in tests.get(number, ()):
            yield f"       {name}"
        if number in NO_TEST:
            yield f"       none: {NO_TEST[number]}"
        if number in NOT_YET:
            yield f"       NOT YET: {NOT_YET[number]}"
    played = sum(number in tests for number in FAULTS)
    yield f"{len(FAULTS)} faults: {played} played, {len(NO_TEST)} with a reason why not, {len(NOT_YET)} not yet"


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines()) + "\n")
