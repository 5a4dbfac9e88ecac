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


def _imports(*folders: str) -> dict[str, Path]:
    """Top-level packages imported by the sources in the folders, each with one file that does."""
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0]: path for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found[node.module.partition(".")[0]] = path
    return found


def test_each_runtime_dependency_is_imported_and_each_import_is_declared():
    declared = {_name(requirement) for requirement in PROJECT["dependencies"]}
    imported = set(_imports("daemon", "migrations")) - set(sys.stdlib_module_names) - {"tradingd"}
    # pydantic_core is part of pydantic, which pins it.
    assert {name.replace("_", "-") for name in imported} - {"pydantic-core"} == declared


def test_shipped_strategies_import_only_the_plugin_api_and_the_standard_library():
    assert sorted(path.name for path in (ROOT / "strategies").glob("*.py"))
    foreign = {}
    for path in (ROOT / "strategies").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if name.partition(".")[0] not in sys.stdlib_module_names and name != "tradingd.strategy":
                    foreign[path.name] = name
    assert foreign == {}


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
    runtime, dev = ({tuple(map(str.strip, entry)) for entry in _entries(lock)} for lock in LOCKS)
    assert runtime < dev


def test_the_runtime_lock_holds_every_declared_dependency_and_what_sqlalchemy_needs_for_asyncio():
    locked = {_name(entry[0]) for entry in _entries("requirements.lock")}
    assert {_name(requirement) for requirement in PROJECT["dependencies"]} <= locked
    assert "greenlet" in locked and "hatchling" in locked
