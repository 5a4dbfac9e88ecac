"""`python -m tests.faults.table`: each fault with the tests that play it on each venue, or why none does."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.faults.catalogue import FAULTS, NO_TEST, NOT_YET

TESTS = Path(__file__).parents[1]
VENUES = tuple(NO_TEST)
OF_A_VENUE = ("venues", "emulator")
"""Directories whose tests play on one venue: on the one that their path names, else on the first. All others, the
conformance suite and the simulation among them, play on every venue, or before code that knows of none."""
SHARED = ("test_transport.py", "test_no_connection.py")
"""There, too: how bytes come and go is one code for all venues."""


def venues_of(path: Path, tests: Path = TESTS) -> tuple[str, ...]:
    """On which venues the tests of a file play."""
    parts = path.relative_to(tests).parts
    named = tuple(venue for venue in VENUES if venue in parts)
    if named or parts[0] not in OF_A_VENUE or parts[-1] in SHARED:
        return named or VENUES
    return VENUES[:1]


def marked(tests: Path = TESTS) -> dict[int, dict[str, tuple[str, ...]]]:
    """Of each number the tests, as pytest names them, in the order of their files, and the venues of each."""
    found: dict[int, dict[str, tuple[str, ...]]] = {}
    for path in sorted(tests.rglob("test_*.py")):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{path.relative_to(tests.parent)}::{function.name}"
                for number in _numbers(function):
                    found.setdefault(number, {})[name] = venues_of(path, tests)
    return found


def _numbers(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[int]:
    """What its decorators say, those of single parameters among them."""
    for decorator in function.decorator_list:
        for call in ast.walk(decorator):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault":
                yield from (int(ast.literal_eval(argument)) for argument in call.args)


def played(venue: str) -> set[int]:
    """The faults that some test plays on a venue."""
    return {number for number, tests in marked().items() if any(venue in venues for venues in tests.values())}


def lines() -> Iterator[str]:
    """The table."""
    found = marked()
    for number, what in FAULTS.items():
        yield f"{number:3}  {what}"
        for name, venues in found.get(number, {}).items():
            yield f"       {'all' if venues == VENUES else ', '.join(venues):<8} {name}"
        for venue in VENUES:
            if number in NO_TEST[venue]:
                yield f"       {venue:<8} none: {NO_TEST[venue][number]}"
            if number in NOT_YET[venue]:
                yield f"       {venue:<8} NOT YET: {NOT_YET[venue][number]}"
    for venue in VENUES:
        why, open_ends = len(NO_TEST[venue]), len(NOT_YET[venue])
        of = f"{len(played(venue))} played, {why} with a reason why not, {open_ends} not yet"
        yield f"{len(FAULTS)} faults on {venue}: {of}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines()) + "\n")
