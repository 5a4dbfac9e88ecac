"""Where config.toml and the directories that are shipped lie: at the root of a checkout, or packed into the wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def checkout_root() -> Path | None:
    """The root of the checkout that this code runs from, or None when it was installed from a wheel."""
    root = _PACKAGE.parents[1]
    return root if (root / "pyproject.toml").is_file() and (root / "daemon" / "tradingd") == _PACKAGE else None


def default_config_path() -> Path:
    """The config.toml that is default and documentation."""
    return _shared("config.toml")


def strategies_path() -> Path:
    """The directory of the shipped strategies."""
    return _shared("strategies")


def migrations_path() -> Path:
    """The directory of alembic's env.py and versions."""
    return _shared("migrations")


def systemd_path() -> Path:
    """The directory of the systemd units."""
    return _shared("systemd")


def faults_path() -> Path:
    """The directory of the shipped fault scripts."""
    return _shared("faults")


def fault_scripts() -> dict[str, Path]:
    """The fault scripts that come with tradingd, by name."""
    return {path.stem: path for path in sorted(faults_path().glob("*.toml"))}


def find_fault_script(given: Path) -> Path | None:
    """The file that was meant: the one of that path, or the shipped one of that name; None where there is neither."""
    if given.exists():
        return given
    return None if given.suffix else fault_scripts().get(given.name)


def _shared(name: str) -> Path:
    path = (checkout_root() or _PACKAGE / "_share") / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: the installation is incomplete, install tradingd again")
    return path
