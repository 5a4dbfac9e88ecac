"""What is declared, what is locked and what is imported are one list."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return found[0].lower().replace("_", "-")


def _entries(lock: str) -> list[list[str]]:
    """Each requirement of a lock with its hashes."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    return [line.split(" --hash=") for line in text.splitlines()]


def _imported(path: Path) -> set[str]:
    """The modules that one source imports, by statement or by `import_module("…")`, which import-linter cannot see."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {str(ast.literal_eval(name)) for name in node.args[:1] if isinstance(name, ast.Constant)}
    return found


def _importers(*folders: str) -> dict[str, set[str]]:
    """Top-level packages imported below the folders, each with the files that do."""
    found: dict[str, set[str]] = {}
    for path in (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))):
        for name in _imported(path):
            found.setdefault(name.partition(".")[0], set()).add(str(path.relative_to(ROOT)))
    return found


def test_each_runtime_dependency_is_imported_and_each_import_is_declared():
    declared = {_name(requirement) for requirement in PROJECT["dependencies"]}
    imported = set(_importers("daemon", "migrations")) - set(sys.stdlib_module_names) - {"tradingd"}
    # pydantic_core is part of pydantic, which pins it.
    assert {name.replace("_", "-") for name in imported} - {"pydantic-core"} == declared


def test_no_dynamic_import_goes_round_the_layers():
    importers = _importers("daemon")
    homes = {"ccxt": "venues", "sqlalchemy": "journal", "alembic": "journal", "aiosqlite": "journal"}
    for library, home in homes.items():
        assert {file for file in importers[library] if not file.startswith(f"daemon/tradingd/{home}/")} == set()
    assert importers["aiomqtt"] == {"daemon/tradingd/telemetry/mqtt.py"}
    assert importers["apscheduler"] == {"daemon/tradingd/timers.py"}


def test_shipped_strategies_import_only_the_plugin_api_and_the_standard_library():
    plugins = sorted((ROOT / "strategies").rglob("*.py"))
    assert plugins
    for path in plugins:
        foreign = {name for name in _imported(path) if name.partition(".")[0] not in sys.stdlib_module_names}
        assert foreign == {"tradingd.strategy"}, path


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_line_with_hashes_and_names_no_index_and_no_path(lock):
    entries = _entries(lock)
    assert len(entries) > 30
    for requirement, *hashes in entries:
        assert re.match(r"[a-z0-9-]+==[^ ]+( ; .+)?$", requirement.strip()), requirement
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", value.strip()) for value in hashes)
    text = (ROOT / lock).read_text()
    assert not re.search(r"https?:|file:|--index|--extra|--find|--trusted|(^|[ =])/", text)


def test_the_dev_lock_only_adds_to_the_runtime_lock():
    """The same files; a package that the runtime needs on some systems only may be needed everywhere here."""
    runtime, dev = (
        {(entry[0].partition(" ;")[0].strip(), *map(str.strip, entry[1:])) for entry in _entries(lock)}
        for lock in LOCKS
    )
    assert runtime < dev


def test_the_runtime_lock_holds_every_declared_dependency_and_what_sqlalchemy_needs_for_asyncio():
    locked = {_name(entry[0]) for entry in _entries("requirements.lock")}
    assert {_name(requirement) for requirement in PROJECT["dependencies"]} <= locked
    assert "greenlet" in locked and "hatchling" in locked
