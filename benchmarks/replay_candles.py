"""Real candles through venue and daemon to the last one, then the comparison of ledger, journal and file."""

import argparse
import signal
import time
from pathlib import Path

from benchmarks import candle_files, compare
from benchmarks.world import Usage, Workplace, World, usage

VENUES = ("binance", "bybit")
STOP_LIMIT_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--count", type=int, default=5000, metavar="N", dest="length", help="candles to trade")
    add_run_arguments(parser)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every run over candles."""
    parser.add_argument("--venue", choices=VENUES, default=VENUES[0], help="the built-in venue to trade on")
    parser.add_argument("--candles", type=Path, metavar="FILE", help="one-minute candles; default: a synthetic walk")
    parser.add_argument("--speed", type=int, default=600, metavar="N", help="venue time per real time")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                        help="another setting than the shipped one, e.g. strategies.trend.stop=0.004")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work here and leave everything for inspection")


def overrides(settings: list[str]) -> dict[str, str]:
    """`section.key=value` as the daemon's environment variables."""
    out = {}
    for text in settings:
        key, mark, value = text.partition("=")
        if not mark:
            raise SystemExit(f"--set {text}: it must be KEY=VALUE")
        out["TRADINGD__" + key.upper().replace(".", "__")] = value
    return out


def make_world(args: argparse.Namespace, directory: Path) -> tuple[World, Path, str]:
    """An empty directory with its candle file; the file, and what it holds."""
    directory.mkdir(parents=True, exist_ok=True)
    candles = directory / "candles.csv"
    what = candle_files.prepare(args.candles, args.length, args.seed, candles)
    changed = {**alone_on(args.venue), f"TRADINGD__VENUES__{args.venue.upper()}__MARKET_SEED": str(args.seed),
               **overrides(args.settings)}
    arguments = ["--speed", str(args.speed), "--candles", str(candles)]
    return World(directory, changed, arguments, args.venue), candles, f"{what}, on {args.venue}"


def alone_on(venue: str) -> dict[str, str]:
    """The daemon's environment when the shipped strategy trades on that venue and no other is used."""
    return {"TRADINGD__STRATEGIES__TREND__INSTRUMENTS": f'["BTC/USDT:USDT@{venue}"]',
            **{f"TRADINGD__VENUES__{each.upper()}__ENABLED": str(each == venue).lower() for each in VENUES}}


def time_limit_s(args: argparse.Namespace) -> float:
    """Twice the time that the candles need at that speed, and a minute."""
    return float(args.length * 60 / args.speed * 2 + 60)


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 when the comparison finds a difference."""
    with Workplace("tradingd-replay-", args.keep) as place:
        world, candles, what = make_world(args, place.path)
        print(f"replay_candles: {what}, speed {args.speed}, seed {args.seed}, n = 1 run"
              + "".join(f", {text}" for text in args.settings), flush=True)
        try:
            began = time.monotonic()
            daemon = world.start(fresh=True)
            world.wait_ready()
            world.wait_finished(time_limit_s(args))
            world.wait_quiet()
            took_s = time.monotonic() - began
            used, venue_used = daemon.usage(), usage(world.venue_note()["pid"])
            stop_s = daemon.end(signal.SIGINT, STOP_LIMIT_S)
        finally:
            world.close()
        print_usage(took_s, used, venue_used)
        print(f"  start to READY {daemon.ready_after_s or 0:.2f} s, Ctrl-C to end {stop_s:.2f} s, exit status "
              f"{daemon.process.returncode}")
        findings = compare.compare(world.ledger, world.journal, candles, speed=args.speed)
        place.is_clean = compare.report(findings) and daemon.process.returncode == 0
        print("  no difference" if place.is_clean else "  DIFFERENT")
        return 0 if place.is_clean else 1


def print_usage(took_s: float, daemon: Usage, venue: Usage) -> None:
    """One line on what the run cost."""
    print(f"  took {took_s:.1f} s; CPU daemon {daemon.cpu_s:.1f} s ({daemon.cpu_s / took_s:.0%}), venue "
          f"{venue.cpu_s:.1f} s; peak memory daemon {daemon.peak_mb:.0f} MB, venue {venue.peak_mb:.0f} MB")
