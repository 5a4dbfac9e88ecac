"""How long the daemon's loop was kept from everything else, while candle frames come and orders go."""

import argparse
import time
from pathlib import Path

from benchmarks.latency import stalls
from benchmarks.latency.sides import Run, Side, running
from benchmarks.world import BenchmarkFailed

LIMIT_MS = 20.0
SETTLED_S = 3.0
"""After the first closed candle: the start and its imports are not what is measured."""
DAEMON = Side("daemon", "in_and_out", ("--stalls",))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--minutes", type=float, default=5.0, metavar="N", help="how long frames are listened to")
    parser.add_argument("--symbols", type=int, default=5, metavar="N", help="instruments that are traded")
    parser.add_argument("--speed", type=int, default=60, metavar="N", help="of the venue's time")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the synthetic market")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 past what is claimed."""
    print(f"loop_stall: {args.minutes:g} minutes, {args.symbols} symbols, an order on each closed one-minute candle at "
          f"speed {args.speed}, market seed {args.seed}", flush=True)
    found, frames, orders = listen(args.minutes * 60, Run(args.speed, args.seed, args.symbols))
    found.sort(key=lambda stall: stall.took_ms, reverse=True)
    longest_ms = found[0].took_ms if found else stalls.LEAST_MS
    print(f"  longest {longest_ms:.1f} ms (claimed: {LIMIT_MS:.0f} ms); {len(found)} calls took {stalls.LEAST_MS:g} ms "
          f"or more; {frames} closed candles, {orders} orders")
    for stall in found[:5]:
        print(f"    {stall.took_ms:6.1f} ms, of which computing {stall.cpu_ms:.1f} ms: {stall.what}")
    return 0 if longest_ms <= LIMIT_MS else 1


def listen(seconds: float, of: Run) -> tuple[list[stalls.Stall], int, int]:
    """What kept the loop of a daemon that trades for so long; how many candles it was given, how many orders left."""
    with running(DAEMON, of) as daemon:
        daemon.wait(lambda: any(mark.kind == "closing" for mark in daemon.marks()), 60)
        time.sleep(SETTLED_S)
        since_ns = time.perf_counter_ns()
        time.sleep(seconds)
        if daemon.process.poll() is not None:
            raise BenchmarkFailed(f"the daemon ended: {daemon.log.read_text()[-2000:]}")
        marks = [mark.kind for mark in daemon.marks() if mark.at_ns >= since_ns]
        found = [stall for stall in stalls.read(Path(f"{daemon.stamps}.stalls")) if stall.at_ns >= since_ns]
    return found, marks.count("closing"), marks.count("order")
