"""Each case for each implementation, and at the end how many of them hold where."""

from collections import Counter
from typing import Any

import pytest

from tests.conformance.implementations import IMPLEMENTATIONS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "implementation" in metafunc.fixturenames:
        metafunc.parametrize("implementation", list(IMPLEMENTATIONS.values()), ids=list(IMPLEMENTATIONS))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Counts per implementation, and why a case has no meaning for one."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in IMPLEMENTATIONS}
    reasons: set[tuple[str, str]] = set()
    for outcome in ("passed", "failed", "skipped", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            name = next((name for name in IMPLEMENTATIONS if f"[{name}" in getattr(report, "nodeid", "")), None)
            if name is None or "conformance" not in report.nodeid:
                continue
            counts[name][outcome] += 1
            if outcome == "skipped":
                reasons.add((name, str(report.longrepr[2]).removeprefix("Skipped: ")))
    if not any(counts.values()):
        return
    terminalreporter.section("conformance of the implementations of the venue port")
    for name, count in counts.items():
        bad = count["failed"] + count["error"]
        terminalreporter.line(f"{name:16} {count['passed']:3} hold  {bad:3} fail  {count['skipped']:3} not applicable")
    for name, reason in sorted(reasons):
        terminalreporter.line(f"{name}: {reason}")
