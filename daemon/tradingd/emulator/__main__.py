"""`python -m tradingd.emulator binance --port N`: a built-in venue for any client."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tradingd.emulator.process import run_venue
from tradingd.emulator.venues import DEFAULT_KEY, DEFAULT_SECRET, VenueOptions, parse_candles


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tradingd.emulator", description="Run a built-in venue on loopback.")
    parser.add_argument("venue", choices=["binance"])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--candles", metavar="[SYMBOL=]FILE", action="append", default=[],
                        help="one-minute candles, CSV")
    parser.add_argument("--allow-gaps", action="store_true", help="accept missing minutes in the file")
    parser.add_argument("--history", type=int, help="candles before the start (default 1500, from a file 300)")
    parser.add_argument("--symbols", default="", help="comma separated, default all")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state-dir", type=Path, help="where the ledger lives; without it, in memory")
    parser.add_argument("--api-key", default=DEFAULT_KEY)
    parser.add_argument("--api-secret", default=DEFAULT_SECRET)
    return parser


def main() -> int:
    """Run until told to stop; 78 for unusable input, 69 for a port that is taken."""
    arguments = _parser().parse_args()
    try:
        options = VenueOptions(
            venue=arguments.venue, candles=dict(parse_candles(text) for text in arguments.candles),
            symbols=tuple(filter(None, arguments.symbols.split(","))), state_dir=arguments.state_dir,
            seed=arguments.seed, history=arguments.history, api_key=arguments.api_key,
            api_secret=arguments.api_secret, allow_gaps=arguments.allow_gaps)
        run_venue(options, arguments.port, arguments.speed, time.time_ns() // 1_000_000,  # noqa: TID251
                  lambda port: print(f"{arguments.venue} on http://127.0.0.1:{port}", flush=True))
    except ValueError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 78
    except OSError as fault:
        print(f"error: cannot listen on 127.0.0.1:{arguments.port}: {fault.strerror}; is another venue running there?",
              file=sys.stderr)
        return 69
    return 0


if __name__ == "__main__":
    sys.exit(main())
