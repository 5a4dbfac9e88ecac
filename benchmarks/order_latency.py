"""From the closing candle's frame to the signed order request at the venue, beside bare ccxt.pro without a journal; and
what the pipeline alone adds to a bare `create_order`, where nothing is committed."""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.latency.marks import WANTED, Mark
from benchmarks.latency.sides import Run, Side, trade
from benchmarks.world import percentile

LIMIT_TIMES = 2.0
AIM_TIMES = 1.25
DAEMON = Side("daemon, FULL commit before each request", "in_and_out")
UNCOMMITTED = Side("daemon whose journal costs nothing", "in_and_out", ("--no-commit",))
BARE = Side("bare ccxt.pro")
CALLS = {UNCOMMITTED: "the intent in the pipeline", BARE: "the call of create_order"}


class Latencies(NamedTuple):
    """Milliseconds of one side."""

    p50_ms: float
    p99_ms: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--count", type=int, default=120, metavar="N", help="orders on each side")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="the sides run so often, in turn")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the synthetic market")
    parser.add_argument("--speed", type=int, default=60, metavar="N", help="of the venue's time: a candle takes 60/N s")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 past what is claimed."""
    print(f"order_latency: {args.count} orders a side in {args.rounds} rounds, one-minute candles at speed "
          f"{args.speed}, market seed {args.seed}", flush=True)
    found: dict[Side, list[float]] = {DAEMON: [], UNCOMMITTED: [], BARE: []}
    wanted: dict[Side, list[float]] = {UNCOMMITTED: [], BARE: []}
    part = -(-args.count // args.rounds)
    for number in range(args.rounds):
        for side, times in found.items():
            marks = trade(side, Run(args.speed, args.seed + number), lambda marks: len(latencies(marks)) >= part,
                          60 + part * 60 / args.speed * 4)
            times += latencies(marks)[:part]
            if side in wanted:
                wanted[side] += latencies(marks, WANTED)[:part]
    summaries = {side: _summary(side.name, times) for side, times in found.items()}
    calls = {side: _summary(f"of it from {CALLS[side]} on", times) for side, times in wanted.items()}
    _tell_disk()
    met = _ratio("with its FULL commit", summaries[DAEMON], summaries[BARE], LIMIT_TIMES, f"; aim: {AIM_TIMES}")
    _ratio("without commit", summaries[UNCOMMITTED], summaries[BARE])
    added = _ratio("the pipeline without commit, beside create_order", calls[UNCOMMITTED], calls[BARE], AIM_TIMES)
    return 0 if met and added else 1


def _summary(name: str, times: list[float]) -> Latencies:
    found = Latencies(percentile(times, 0.5), percentile(times, 0.99))
    print(f"  {name}: p50 {found.p50_ms:.2f} ms, p99 {found.p99_ms:.2f} ms, least {min(times):.2f} ms, "
          f"n = {len(times)}")
    return found


def _ratio(what: str, daemon: Latencies, bare: Latencies, limit: float | None = None, more: str = "") -> bool:
    """Print the ratios; whether both are within the limit, where there is one."""
    p50, p99 = daemon.p50_ms / bare.p50_ms, daemon.p99_ms / bare.p99_ms
    claimed = "nothing claimed" if limit is None else f"claimed: {limit}{more}"
    print(f"  {what}: p50 {p50:.2f} times, p99 {p99:.2f} times ({claimed})")
    return limit is None or max(p50, p99) <= limit


def _tell_disk(count: int = 200) -> None:
    """How long the disk itself takes for one durable write, the least that a commit can cost."""
    times = []
    with tempfile.TemporaryDirectory(prefix="tradingd-latency-") as directory:
        file = os.open(Path(directory) / "disk", os.O_RDWR | os.O_CREAT)
        for _ in range(count):
            os.write(file, bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file)
            times.append((time.perf_counter() - began) * 1000)
        os.close(file)
    print(f"  the disk's own fdatasync after 4 KiB: p50 {percentile(times, 0.5):.2f} ms, "
          f"p99 {percentile(times, 0.99):.2f} ms, n = {count}")


def latencies(found: list[Mark], since: str = "closing") -> list[float]:
    """Milliseconds from each mark of the kind `since` (closing frames) to the first order after it, where one came
    before the next such mark."""
    times, since_ns = [], None
    for mark in found:
        if mark.kind == since:
            since_ns = mark.at_ns
        elif mark.kind == "order" and since_ns is not None:
            times.append((mark.at_ns - since_ns) / 1e6)
            since_ns = None
    return times
