"""`tradingd run`: settings first, so that a mistake in them costs no import of ccxt; then the daemon."""

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tradingd.cli import exit_codes

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: "Subparsers") -> None:
    """Add `run`."""
    parser = subparsers.add_parser("run", help="trade: start the daemon", allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="default: ./config.toml, else the one that is shipped")
    parser.add_argument("--fresh", action="store_true", help="sim: discard the venue's ledger and the journal first")
    parser.add_argument("--speed", metavar="N", type=int, help="sim: venue time runs N times faster, 1 to 600")
    parser.add_argument("--candles", metavar="FILE", type=Path, help="sim: candles from a CSV file, on each venue")


def run(args: argparse.Namespace) -> int:
    """Start the daemon and stay until it stopped; returns its exit status. Raises ConfigError."""
    if args.candles is not None and not args.candles.is_file():
        print(f"tradingd run: --candles {args.candles}: there is no such file", file=sys.stderr)
        return exit_codes.CONFIG

    from tradingd.config import find_config, load_settings

    environ = dict(os.environ)
    # What is given here goes the way of the environment, so that it is checked like everything else.
    if args.speed is not None:
        environ["TRADINGD__DAEMON__SPEED"] = str(args.speed)
    if args.candles is not None:
        for venue in _venue_names(find_config(args.config)):
            environ[f"TRADINGD__VENUES__{venue.upper()}__CANDLES"] = str(args.candles.absolute())
    settings = load_settings(args.config, environ)
    if settings.mode != "sim":
        for option in ("fresh", "speed", "candles"):
            if getattr(args, option) not in (None, False):
                print(f"tradingd run: --{option} is for mode sim; the mode is {settings.mode}", file=sys.stderr)
                return exit_codes.USAGE

    gc.disable()  # the modules that come now stay for good; the daemon enables it again a moment after its start

    from tradingd.app.main import run as run_daemon

    return run_daemon(settings, fresh=args.fresh)


def _venue_names(config: Path) -> list[str]:
    """The venues that the file names; a file with mistakes names none here, and is told of by the loader."""
    import tomllib

    try:
        venues = tomllib.loads(config.read_text("utf-8")).get("venues")
    except (OSError, ValueError):
        return []
    return list(venues) if isinstance(venues, dict) else []
