"""`tradingd config check | show | schema`. Exit status 0, or 78 with every problem on stderr."""

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from tradingd.config import EXIT_STATUS, ConfigError, Settings, load_settings
from tradingd.config.schema import json_schema
from tradingd.config.show import as_toml, rows

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: "Subparsers") -> None:
    """Adds `config` with its three actions; `run` takes what they parse."""
    parser = subparsers.add_parser("config", help="check, show or describe the settings")
    actions = parser.add_subparsers(dest="config_action", required=True, metavar="check | show | schema")
    check = actions.add_parser("check", help="tell everything that is wrong with the settings")
    show = actions.add_parser("show", help="print the settings in force, and where each comes from")
    for action in (check, show):
        # SUPPRESS: where the main parser has the same option, what was given there stands.
        action.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="default: ./config.toml")
    show.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="one JSON array")
    actions.add_parser("schema", help="print the JSON schema of config.toml")


def run(args: argparse.Namespace) -> int:
    """Runs the parsed action and returns the exit status."""
    if args.config_action == "schema":
        print(json.dumps(json_schema(), indent=2))
        return 0
    try:
        settings = load_settings(getattr(args, "config", None), os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        count = len(error.problems)
        print(f"\n{count} problem{'s' if count > 1 else ''}; nothing was started", file=sys.stderr)
        return EXIT_STATUS
    if args.config_action == "check":
        print(_summary(settings))
    elif getattr(args, "json", False):
        print(json.dumps([_row(*row) for row in rows(settings)], ensure_ascii=False))
    else:
        print(as_toml(settings))
    return 0


def _row(path: tuple[str | int, ...], value: object, origin: str) -> dict[str, object]:
    return {"key": ".".join(str(part) for part in path), "value": value, "origin": origin}


def _summary(settings: Settings) -> str:
    venues = ", ".join(settings.enabled_venues)
    strategies = ", ".join(settings.strategies) or "none"
    return f"{settings.config_file}: good (mode {settings.mode}; venues: {venues}; strategies: {strategies})"
