"""`make check` really forbids what it claims to forbid: a planted offence is found, the same text elsewhere is not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OFFENCES = [
    "import time\n\nNOW = time.time()\n",
    "from time import monotonic\n\nNOW = monotonic()\n",
    "from datetime import UTC, datetime\n\nNOW = datetime.now(UTC)\n",
    "import random\n\nX = random.random()\n",
    "import uuid\n\nX = uuid.uuid4()\n",
    "import os\n\nX = os.urandom(8)\n",
    "import secrets\n\nX = secrets.token_hex()\n",
    "from secrets import token_hex\n\nX = token_hex()\n",
]


def _ruff(text: str, file: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--stdin-filename",
        str(ROOT / file),
        "--output-format",
        "concise",
        "-",
    ]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT)


@pytest.mark.parametrize("text", OFFENCES)
def test_clock_and_randomness_are_forbidden_everywhere_but_in_one_file(text):
    for file in (
        "daemon/tradingd/execution/x.py",
        "daemon/tradingd/app/x.py",
        "strategies/x.py",
        "daemon/tradingd/cli/x.py",
    ):
        done = _ruff(text, file)
        assert done.returncode == 1 and "TID251" in done.stdout, (file, done.stdout, done.stderr)
    assert _ruff(text, "daemon/tradingd/app/machine.py").returncode == 0


def test_a_swallowed_exception_is_forbidden():
    done = _ruff("try:\n    X = 1\nexcept Exception:\n    pass\n", "daemon/tradingd/bus.py")
    assert done.returncode == 1 and "S110" in done.stdout


def _lint(folder: Path, planted: dict[str, str]) -> str:
    """What lint-imports says of a copy of the package with modules planted in it."""
    shutil.copytree(ROOT / "daemon" / "tradingd", folder / "tradingd", ignore=shutil.ignore_patterns("__pycache__"))
    for module, text in planted.items():
        (folder / "tradingd" / module).write_text(text)
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    environ = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder, env=environ)
    return f"status {done.returncode}\n{done.stdout}{done.stderr}"


def test_an_import_upwards_and_a_library_outside_its_package_are_found(tmp_path):
    said = _lint(
        tmp_path,
        {
            "domain/planted.py": "import os\n\nfrom tradingd import bus\n",
            "execution/planted.py": "import ccxt\nimport sqlalchemy\n",
            "cli/planted.py": "import aiomqtt\n",
        },
    )
    assert "status 1" in said
    for offence in ("domain.planted -> tradingd.bus", "domain.planted -> os", "cli.planted -> aiomqtt"):
        assert f"tradingd.{offence}" in said
    assert "tradingd.execution.planted -> ccxt" in said
    assert "tradingd.execution.planted -> sqlalchemy" in said


def test_a_module_outside_all_layers_is_found(tmp_path):
    said = _lint(tmp_path, {"planted.py": '"""Nowhere."""\n'})
    assert "status 1" in said
    assert "not listed as layers" in said and "- tradingd.planted" in said
