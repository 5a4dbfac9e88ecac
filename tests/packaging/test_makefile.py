"""Every target of the Makefile makes its own environment; a fresh clone needs no other command first."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = {"help", "clean"}
"""Targets that need no environment."""
TARGETS = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()  # type: ignore[index]


def would_run(target: str, directory: Path) -> str:
    """What make would do for a target in a clone that has no .venv."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, directory)
    done = subprocess.run(["make", "-n", target], cwd=directory, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout


@pytest.mark.parametrize("target", sorted(set(TARGETS) - WITHOUT))
def test_each_target_makes_its_environment_before_it_uses_it(target: str, tmp_path: Path) -> None:
    steps = would_run(target, tmp_path)
    made = steps.index("-m venv .venv")
    installed = steps.index("--require-hashes -r requirements.lock")
    itself = steps.index("install --quiet --no-compile --no-build-isolation --no-deps -e .")
    assert made < installed < itself
    assert ".venv/bin/" not in steps[:made]
    if target != "run":
        assert itself < steps.index("--require-hashes -r requirements-dev.lock")


@pytest.mark.parametrize("target", sorted(WITHOUT))
def test_help_and_clean_install_nothing(target: str, tmp_path: Path) -> None:
    assert "pip" not in would_run(target, tmp_path)
