"""The second of two orders that are wanted at once: how long after the first it arrives at the venue."""

import argparse

from benchmarks.latency.marks import Mark
from benchmarks.latency.sides import Run, Side, trade
from benchmarks.world import percentile

LIMIT_TIMES = 2.0
"""Of the gap of bare ccxt.pro with its throttle off; with it on, the gap is some hundred times as long."""
TOGETHER_MS = 450.0
"""Orders nearer than this are of one decision: a candle takes a second, and ccxt's own throttle 200 ms."""
DAEMON = Side("daemon", "both_at_once")
BARE = Side("bare ccxt.pro, enableRateLimit off")
THROTTLED = Side("bare ccxt.pro, enableRateLimit on", options=("--throttled",))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--count", type=int, default=40, metavar="N", help="pairs of orders on each side")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the synthetic market")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 past what is claimed."""
    print(f"second_order: {args.count} pairs of orders a side, two instruments opened and closed at once, one-minute "
          f"candles at speed 60, market seed {args.seed}", flush=True)
    p50: dict[Side, float] = {}
    for side in (DAEMON, BARE, THROTTLED):
        marks = trade(side, Run(60, args.seed, instruments=2), lambda marks: len(gaps(marks)) >= args.count,
                      60 + args.count * 4)
        found = gaps(marks)[: args.count]
        p50[side] = percentile(found, 0.5)
        print(f"  {side.name}: p50 {p50[side]:.2f} ms, p99 {percentile(found, 0.99):.2f} ms, n = {len(found)}")
    times = p50[DAEMON] / p50[BARE]
    print(f"  {times:.2f} times the unthrottled gap (claimed: {LIMIT_TIMES})")
    return 0 if times <= LIMIT_TIMES else 1


def gaps(found: list[Mark]) -> list[float]:
    """Milliseconds between the two orders of each pair."""
    times, first_ns = [], None
    for mark in found:
        if mark.kind != "order":
            continue
        if first_ns is not None and (gap_ms := (mark.at_ns - first_ns) / 1e6) < TOGETHER_MS:
            times.append(gap_ms)
            first_ns = None
        else:
            first_ns = mark.at_ns
    return times
