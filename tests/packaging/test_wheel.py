"""The wheel: what a checkout keeps beside the package is inside, and the installed code finds it there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tradingd.config import resources

ROOT = Path(__file__).resolve().parents[2]
FINDERS = ("default_config_path", "strategies_path", "migrations_path", "systemd_path", "faults_path")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built once from the checkout."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("tradingd-*.whl")
    return path


def test_the_wheel_holds_package_plugins_migrations_units_and_config(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        [
            "git",
            "-C",
            str(ROOT),
            "ls-files",
            "config.toml",
            "strategies",
            "migrations",
            "systemd",
            "faults",
            "daemon/tradingd",
        ],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    ).stdout.split()
    assert len(tracked) > 20
    for path in tracked:
        inside = path.removeprefix("daemon/") if path.startswith("daemon/") else f"tradingd/_share/{path}"
        assert inside in names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "daemon/"))]
    assert {name.split("/")[0] for name in names if not name.startswith("tradingd/")} == {
        wheel.name.rsplit("-", 3)[0] + ".dist-info"
    }


def test_installed_code_finds_its_files_in_the_wheel(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "from tradingd.config import find_config, load_settings, resources;"
        f"print(*[getattr(resources, name)() for name in {FINDERS}], sep='\\n');"
        "settings = load_settings(find_config(None), {});"
        "print(settings.config_file, settings.daemon.strategies_dir, settings.journal_path, sep='\\n')"
    )
    environ = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path, env=environ
    )
    share = tmp_path / "site" / "tradingd" / "_share"
    places = [
        share / name
        for name in ("config.toml", "strategies", "migrations", "systemd", "faults", "config.toml", "strategies")
    ]
    assert [Path(line) for line in done.stdout.splitlines()] == [*places, Path("var/sim.db")]
    assert all(place.exists() for place in places)


def test_a_checkout_finds_its_own_files():
    assert resources.checkout_root() == ROOT
    found = [getattr(resources, name)() for name in FINDERS]
    assert found == [ROOT / name for name in ("config.toml", "strategies", "migrations", "systemd", "faults")]
