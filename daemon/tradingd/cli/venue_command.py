"""`tradingd venue NAME`: a built-in venue by itself, for any client that can be given an endpoint."""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tradingd import __version__
from tradingd.cli import exit_codes

if TYPE_CHECKING:
    from tradingd.emulator.faults.script import Played

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

VENUES = ("binance", "bybit")


def add_parser(subparsers: "Subparsers") -> None:
    """Add `venue`."""
    parser = subparsers.add_parser(
        "venue",
        help="run a built-in venue by itself",
        description="Run a built-in venue on 127.0.0.1 until Ctrl-C or SIGTERM; its ledger is kept.",
        allow_abbrev=False,
    )
    parser.add_argument("venue", choices=VENUES)
    parser.add_argument("--port", metavar="N", type=_port, required=True, help="0 takes one that is free and prints it")
    parser.add_argument(
        "--candles",
        metavar="[SYMBOL=]FILE",
        action="append",
        default=[],
        help="one-minute candles from a CSV file, for BTCUSDT unless said otherwise; default: a synthetic market",
    )
    parser.add_argument("--allow-gaps", action="store_true", help="accept missing minutes in the file")
    parser.add_argument("--speed", metavar="N", type=_speed, default=1.0, help="venue time N times faster, 1 to 600")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="another seed is another synthetic market")
    parser.add_argument(
        "--faults",
        metavar="FILE",
        type=Path,
        help="a script of what goes wrong (docs/faults.md), or the name of a shipped one, e.g. bad_day",
    )
    parser.add_argument("--state", metavar="DIR", type=Path, help="where the ledger is kept; default: in memory only")


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; returns the exit status."""
    from tradingd.app.machine import MachineClock
    from tradingd.config.problems import ConfigError
    from tradingd.emulator.faults.reading import read_script
    from tradingd.emulator.process import run_venue
    from tradingd.emulator.venues import VenueOptions, parse_candles

    try:
        options = VenueOptions(
            venue=args.venue,
            candles=dict(parse_candles(text) for text in args.candles),
            state_dir=args.state,
            seed=args.seed,
            allow_gaps=args.allow_gaps,
        )
        faults = None if args.faults is None else read_script(args.faults)
        # A new synthetic market begins now.
        now_ms = MachineClock().wall_ms()
        run_venue(options, args.port, args.speed, now_ms, _announce, __version__, faults, _tell)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return exit_codes.CONFIG
    except ValueError as error:
        print(f"tradingd venue: {error}", file=sys.stderr)
        return exit_codes.CONFIG
    except OSError as error:
        if error.filename is not None:
            print(f"tradingd venue: {error.filename}: {error.strerror}", file=sys.stderr)
            return exit_codes.IO_ERROR
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        text = f"cannot listen on 127.0.0.1:{args.port}: {why}; set --port to another, 0 takes any that is free"
        print(f"tradingd venue: {text}", file=sys.stderr)
        return exit_codes.UNREACHABLE
    return exit_codes.OK


def _announce(port: int) -> None:
    """Says where the venue listens, once it does; --port 0 is of no use without."""
    print(f"listening on http://127.0.0.1:{port}", flush=True)


def _tell(played: "Played") -> None:
    """One line for each fault that was played, with the venue's time."""
    moment = datetime.fromtimestamp(played.at_ms / 1000, tz=UTC).isoformat(timespec="milliseconds")
    rule = f"rule {played.rule}" + (f", {played.name}" if played.name else "")
    print(f"{moment.replace('+00:00', 'Z')} fault: {played.text} ({rule})", flush=True)


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; allowed: 0 to 65535")
    return port


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 1 <= speed <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a speed; allowed: 1 to 600")
    return speed
