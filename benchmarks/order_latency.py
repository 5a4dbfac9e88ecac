"""From the closing candle's frame to the signed order request at the venue, beside bare ccxt.pro without a journal."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.latency import marks
from benchmarks.latency.marks import Mark
from benchmarks.world import BenchmarkFailed, percentile

LIMIT_TIMES = 2.0
AIM_TIMES = 1.25
SPEED = 60
PLUGINS = Path(__file__).parent / "latency" / "plugins"


class Latencies(NamedTuple):
    """Milliseconds of one side."""

    p50_ms: float
    p99_ms: float
    count: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--count", type=int, default=120, metavar="N", help="orders on each side")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="each side runs so often, in turn")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the synthetic market")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 past what is claimed."""
    print(f"order_latency: {args.count} orders a side in {args.rounds} rounds, one-minute candles at speed {SPEED}, "
          f"market seed {args.seed}", flush=True)
    found: dict[str, list[float]] = {"daemon": [], "bare ccxt.pro": []}
    for number in range(args.rounds):
        for side, times in found.items():
            with tempfile.TemporaryDirectory(prefix="tradingd-latency-") as directory:
                times += _one(side, Path(directory), -(-args.count // args.rounds), args.seed + number)
    daemon, bare = _summary("daemon", found["daemon"]), _summary("bare ccxt.pro", found["bare ccxt.pro"])
    p50, p99 = daemon.p50_ms / bare.p50_ms, daemon.p99_ms / bare.p99_ms
    print(f"  p50 {p50:.2f} times, p99 {p99:.2f} times (claimed: {LIMIT_TIMES}; aim: {AIM_TIMES})")
    return 0 if max(p50, p99) <= LIMIT_TIMES else 1


def _summary(side: str, times: list[float]) -> Latencies:
    found = Latencies(percentile(times, 0.5), percentile(times, 0.99), len(times))
    print(f"  {side}: p50 {found.p50_ms:.2f} ms, p99 {found.p99_ms:.2f} ms, n = {found.count}")
    return found


def _one(side: str, directory: Path, count: int, seed: int) -> list[float]:
    """Latencies of one side against a venue of its own."""
    stamps = directory / "marks"
    with _venue(directory, stamps, seed) as endpoint:
        command, env = _command(side, directory, stamps, endpoint, count)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", *command], env={**os.environ, **env}, stdout=log,
                                       stderr=subprocess.STDOUT)
        try:
            _wait(lambda: len(latencies(marks.read(stamps))) >= count or process.poll() is not None,
                  60 + count * 60 / SPEED * 4, directory / "log")
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(20)
        times = latencies(marks.read(stamps))
        if len(times) < count:
            raise BenchmarkFailed(f"{len(times)} orders of {count}; the log is {shutil.copy(directory / 'log', '/tmp')}")
        return times[:count]


def latencies(found: list[Mark]) -> list[float]:
    """Milliseconds from each closing frame to the first order after it, where one came before the next frame."""
    times, closing_ns = [], None
    for mark in found:
        if mark.kind == "closing":
            closing_ns = mark.at_ns
        elif closing_ns is not None:
            times.append((mark.at_ns - closing_ns) / 1e6)
            closing_ns = None
    return times


def _command(side: str, directory: Path, stamps: Path, endpoint: str, count: int) -> tuple[list[str], dict[str, str]]:
    if side != "daemon":
        _set_speed(endpoint)
        return ["benchmarks.latency.bare_client", endpoint, str(stamps), str(count), str(SPEED)], {}
    config = directory / "config.toml"
    config.write_text(
        f'[daemon]\nmode = "sim"\nstate_dir = "{directory / "var"}"\nstrategies_dir = "{PLUGINS}"\nspeed = {SPEED}\n'
        f'[venues.binance]\nendpoint = "{endpoint}"\n'
        '[strategies.latency]\nplugin = "in_and_out"\ninstruments = ["BTC/USDT:USDT@binance"]\ntimeframe = "1m"\n'
        'hold_candles = 0\n')
    return ["benchmarks.latency.daemon", str(stamps), "run", "--config", str(config)], {}


def _set_speed(endpoint: str) -> None:
    body = json.dumps({"speed": SPEED}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/_venue/clock", body), timeout=5).close()


@contextmanager
def _venue(directory: Path, stamps: Path, seed: int) -> Iterator[str]:
    """A venue process that marks what arrives; its endpoint."""
    port_file = directory / "port"
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.latency.venue", str(port_file), str(stamps),
                                "BTCUSDT", str(seed)])
    try:
        _wait(lambda: port_file.exists() and bool(port_file.read_text()), 20, directory)
        yield f"http://127.0.0.1:{port_file.read_text()}"
    finally:
        process.terminate()
        process.wait(10)


def _wait(done: Callable[[], bool], limit_s: float, where: Path) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"nothing within {limit_s:.0f} s; see {where}")
        time.sleep(0.2)
