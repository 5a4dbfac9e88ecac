"""`tradingd config check | show | schema`. Exit status 0, or 78 with every problem on stderr."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradingd.config import EXIT_STATUS, ConfigError, Position, Problem, Settings, load_settings
from tradingd.config.files import check_files
from tradingd.config.schema import json_schema
from tradingd.config.show import as_toml, rows
from tradingd.config.source import VARIABLE

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
    check.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="one JSON array of the problems")
    show.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="one JSON array of the settings")
    check.add_argument(
        "--without-credentials", action="store_true", help="for who may not read them: only the service can"
    )
    actions.add_parser("schema", help="print the JSON schema of config.toml")


def run(args: argparse.Namespace) -> int:
    """Runs the parsed action and returns the exit status."""
    if args.config_action == "schema":
        print(json.dumps(json_schema(), indent=2))
        return 0
    path, as_json = getattr(args, "config", None), getattr(args, "json", False)
    if args.config_action == "check":
        return _check(path, as_json=as_json, credentials=not args.without_credentials)
    try:
        settings = load_settings(path, os.environ)
    except ConfigError as error:
        return _refuse(error.problems)
    if as_json:
        print(json.dumps([_row(*row) for row in rows(settings)], ensure_ascii=False))
    else:
        print(as_toml(settings))
    return 0


def _check(path: str | None, *, as_json: bool, credentials: bool) -> int:
    """Everything that `run` would refuse, the plugins and their parameters and the credentials too."""
    # loading plugins needs more than the settings, and `config show` is to be quick
    from tradingd.strategy.loader import PluginsRefused, load_strategies
    from tradingd.strategy.timer import SignalTimer

    problems: list[Problem] = []
    told: list[str] = []
    try:
        settings = load_settings(path, os.environ)
        told = _check_credentials(settings, problems) if credentials else []
        problems += check_files(settings).found
        load_strategies(settings, SignalTimer())
    except (ConfigError, PluginsRefused) as error:
        problems += error.problems
    if as_json:
        print(json.dumps([_problem(problem) for problem in problems], ensure_ascii=False))
        return EXIT_STATUS if problems else 0
    if problems:
        return _refuse(problems)
    print(_summary(settings), *told, sep="\n")
    return 0


def _check_credentials(settings: Settings, problems: list[Problem]) -> list[str]:
    """Where those of each venue are, and what is to be warned of; never what they are. In mode sim nothing is read."""
    from tradingd.config.credentials import load_credentials, load_mqtt_password

    told: list[str] = []
    for venue in settings.enabled_venues if settings.mode != "sim" else ():
        try:
            found = load_credentials(venue, settings, os.environ)
        except ConfigError as error:
            problems += error.problems
        else:
            told += [f"credentials of {venue}: {found.origin}", *(f"warning: {each}" for each in found.warnings)]
    try:
        password = load_mqtt_password(settings, os.environ)
    except ConfigError as error:
        problems += error.problems
    else:
        told += [f"warning: {each}" for each in password.warnings] if password else []
    return told


def _refuse(problems: Sequence[Problem]) -> int:
    print(*problems, sep="\n", file=sys.stderr)
    count = len(problems)
    print(f"\n{count} problem{'s' if count > 1 else ''}; nothing was started", file=sys.stderr)
    return EXIT_STATUS


def _problem(problem: Problem) -> dict[str, object]:
    """One problem as a program reads it; `file`, `line` and `column` are null where `place` is no place in a file."""
    at = problem.place
    file = at.file if isinstance(at, Position) else None if at.startswith(VARIABLE) else at
    return {
        "place": str(at),
        "file": file,
        "line": at.line if isinstance(at, Position) else None,
        "column": at.column if isinstance(at, Position) else None,
        "message": problem.message,
        "allowed": problem.allowed,
        "nearest": problem.nearest,
    }


def _row(path: tuple[str | int, ...], value: object, origin: str) -> dict[str, object]:
    return {"key": ".".join(str(part) for part in path), "value": value, "origin": origin}


def _summary(settings: Settings) -> str:
    venues = ", ".join(settings.enabled_venues)
    strategies = ", ".join(settings.strategies) or "none"
    return f"{settings.config_file}: good (mode {settings.mode}; venues: {venues}; strategies: {strategies})"
