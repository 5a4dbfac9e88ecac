"""`tradingd version`."""

import argparse
import json
import platform
import sqlite3
from importlib import metadata
from typing import TYPE_CHECKING

from tradingd import __version__

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_LIBRARIES = ("ccxt", "sqlalchemy", "aiosqlite", "aiohttp", "structlog", "msgspec", "pydantic")


def add_parser(subparsers: "Subparsers") -> None:
    """Add `version`."""
    parser = subparsers.add_parser("version", help="print the versions of tradingd and of what it stands on")
    parser.add_argument("--json", action="store_true", help="one JSON array with one object per component")


def run(args: argparse.Namespace) -> int:
    """Print the versions; from package metadata, so that nothing is imported for it."""
    versions = {"tradingd": __version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    if args.json:
        print(json.dumps([{"component": name, "version": version} for name, version in versions.items()]))
    else:
        for name, version in versions.items():
            print(f"{name:<12}{version}")
    return 0
