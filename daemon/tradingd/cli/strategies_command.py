"""`tradingd strategies list | new NAME | check [NAME]`. Exit status 0; 1: a trial failed; 78: a faulty plugin."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingd.app.machine import MachineClock
from tradingd.cli import exit_codes
from tradingd.config import Settings, load_settings
from tradingd.domain.ids import StrategyId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.jsonsafe import plain
from tradingd.strategy.loader import (
    LoadedStrategy,
    Plugin,
    PluginsRefused,
    available_plugins,
    check_parameters,
    load_plugin,
    load_strategies,
)
from tradingd.strategy.parameters import ParameterError
from tradingd.strategy.template import TEMPLATE, class_name, is_plugin_name
from tradingd.strategy.timer import SignalTimer
from tradingd.strategy.trial import Trial, try_out

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: "Subparsers") -> None:
    """Add `strategies` with its actions."""
    parser = subparsers.add_parser("strategies", help="list, write and check plugins", allow_abbrev=False)
    actions = parser.add_subparsers(
        dest="strategies_action", required=True, metavar="list | new NAME | check [NAME] | lift ID"
    )
    listing = actions.add_parser("list", help="the plugins, their parameters, and what uses them")
    listing.add_argument("--json", action="store_true", help="one JSON array with one object per plugin")
    new = actions.add_parser("new", help="write a commented plugin that runs, to start from")
    new.add_argument("name", metavar="NAME", help="the file's name without .py")
    check = actions.add_parser("check", help="load as the daemon would, then run over synthetic candles")
    check.add_argument("name", metavar="NAME", nargs="?", help="a strategy or a plugin; default: all that config names")
    check.add_argument("--candles", type=_positive, default=2_000, metavar="N", help="per instrument; default: 2000")
    check.add_argument("--seed", type=int, default=1, metavar="N", help="another number is another market; default: 1")
    check.add_argument("--json", action="store_true", help="one JSON array with one object per strategy")
    # its words are taken by main, since it talks to the running daemon; it stands here to be found
    actions.add_parser("lift", help="let a quarantined strategy of the running daemon run again")
    for action in (listing, new, check):
        action.add_argument("--config", metavar="FILE", help="default: ./config.toml, else the shipped one")


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not allowed; allowed: 1 to 1000000")
    return number


def run(args: argparse.Namespace) -> int:
    """Do the parsed action; returns the exit status."""
    settings = load_settings(args.config, os.environ)
    if args.strategies_action == "list":
        return _list(settings, as_json=args.json)
    if args.strategies_action == "new":
        return _new(settings.daemon.strategies_dir, args.name)
    return _check(settings, args)


# --- list -----------------------------------------------------------------------------------------------------------


def _list(settings: Settings, *, as_json: bool) -> int:
    directory = settings.daemon.strategies_dir
    rows = [_row(settings, name) for name in available_plugins(directory)]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return exit_codes.OK
    if not rows:
        print(f"no plugins in {directory}; `tradingd strategies new NAME` writes one")
    for row in rows:
        print(f"{row['plugin']}  {row['summary']}")
        print(f"    file        {row['file']}")
        if row["error"]:
            print(f"    error       {row['error']}")
            continue
        print(f"    sha256      {row['sha256']}")
        print(f"    configured  {', '.join(row['strategies']) or 'nowhere'}")
        for one in row["parameters"]:
            default = "no default" if one["required"] else f"default {one['default']}"
            print(f"    {one['name']:<11} {one['allowed']}; {default}")
    return exit_codes.OK


def _row(settings: Settings, name: str) -> dict[str, Any]:
    """One plugin; a faulty one is listed with its error, since the others are of use all the same."""
    directory = settings.daemon.strategies_dir
    row: dict[str, Any] = {
        "plugin": name,
        "file": str(directory / f"{name}.py"),
        "summary": "",
        "sha256": None,
        "strategies": [key for key, section in settings.strategies.items() if section.plugin == name],
        "parameters": [],
        "error": None,
    }
    try:
        plugin = load_plugin(name, directory, SignalTimer())
    except PluginsRefused as refused:
        return row | {"error": str(refused)}
    parameters = [
        {"name": one.name, "allowed": one.allowed, "required": one.required, "default": plain(one.default)}
        for one in plugin.parameters.values()
    ]
    return row | {"summary": plugin.summary, "sha256": plugin.code_sha256, "parameters": parameters}


# --- new ------------------------------------------------------------------------------------------------------------


def _new(directory: Path, name: str) -> int:
    if not is_plugin_name(name):
        allowed = "lower-case letters, digits and _, a letter first, at most 60"
        print(f"tradingd strategies new: {name!r} cannot be a plugin's name; allowed: {allowed}", file=sys.stderr)
        return exit_codes.USAGE
    path = directory / f"{name}.py"
    directory.mkdir(mode=0o755, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        print(f"tradingd strategies new: {path} exists already; choose another name", file=sys.stderr)
        return exit_codes.FAILED
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(TEMPLATE.replace("ClassName", class_name(name)))
    print(f"{path} is written. Next: `tradingd strategies check {name}`, then name it in config.toml:")
    print(f'\n[strategies.{name}]\ninstruments = ["BTC/USDT:USDT@binance"]\ntimeframe = "1m"\nwarmup = 30')
    return exit_codes.OK


# --- check ----------------------------------------------------------------------------------------------------------


def _check(settings: Settings, args: argparse.Namespace) -> int:
    timer = SignalTimer()
    chosen = _chosen(settings, args.name, timer)
    limit_ms = settings.execution.handler_limit_ms
    rows = []
    for loaded in chosen:
        trial = try_out(
            loaded,
            count=args.candles,
            seed=args.seed,
            timer=timer,
            limit_ms=limit_ms,
            monotonic=MachineClock().monotonic,
        )
        rows.append(_trial_row(loaded, trial, args.seed))
    if args.json:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        for row in rows:
            _print_trial(row, settings)
        if not rows:
            print("the config names no strategy")
    return exit_codes.FAILED if any(row["error"] for row in rows) else exit_codes.OK


def _chosen(settings: Settings, name: str | None, timer: SignalTimer) -> list[LoadedStrategy]:
    """What the daemon would load, or of it what `name` means; a plugin that config does not name runs on defaults."""
    named = [key for key, section in settings.strategies.items() if name in (None, key, section.plugin)]
    if named or name is None:
        return [loaded for loaded in load_strategies(settings, timer) if loaded.id in named]
    plugin: Plugin = load_plugin(name, settings.daemon.strategies_dir, timer)
    try:
        parameters = check_parameters(plugin, {}, timer)
    except ParameterError as error:
        print(f"tradingd strategies check: {error}; name the plugin in config.toml and give it there", file=sys.stderr)
        raise SystemExit(exit_codes.CONFIG) from None
    instrument = InstrumentId(VenueId("binance"), "BTC/USDT:USDT")
    return [LoadedStrategy(StrategyId(name), plugin, (instrument,), "1m", 100, parameters)]


def _trial_row(loaded: LoadedStrategy, trial: Trial, seed: int) -> dict[str, Any]:
    return {
        "strategy": loaded.id,
        "plugin": loaded.plugin.name,
        "file": str(loaded.plugin.path),
        "sha256": loaded.code_sha256,
        "instruments": [str(instrument) for instrument in loaded.instruments],
        "timeframe": loaded.timeframe,
        "candles": trial.candles,
        "seed": seed,
        "yields": dict(sorted(trial.yields.items())),
        "invalid_entries": trial.invalid,
        "first_invalid": trial.first_invalid,
        "entries_without_stop": trial.without_stop,
        "longest_ms": round(trial.longest_ms, 3),
        "longest_handler": trial.longest_handler,
        "error": trial.error,
    }


def _print_trial(row: dict[str, Any], settings: Settings) -> None:
    execution = settings.execution
    print(f"{row['strategy']}: {row['plugin']} ({row['file']})")
    print(f"    candles  {row['candles']} of {', '.join(row['instruments'])} {row['timeframe']}, seed {row['seed']}")
    yields = ", ".join(f"{count} {name}" for name, count in row["yields"].items())
    print(f"    yields   {yields or 'nothing'}")
    if row["invalid_entries"]:
        print(f"    denied   {row['invalid_entries']} entries would be, the first: {row['first_invalid']}")
    if row["entries_without_stop"] and settings.risk.require_stop:
        print(
            f"    denied   {row['entries_without_stop']} entries would be: no stop_loss, and risk.require_stop is true"
        )
    budget = f"budget {execution.handler_budget_ms} ms, limit {execution.handler_limit_ms} ms"
    print(f"    longest  {row['longest_ms']} ms in {row['longest_handler'] or 'no handler'} ({budget})")
    print(f"    error    {row['error']}" if row["error"] else "    good")
