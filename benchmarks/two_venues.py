"""What two venues with many instruments cost the daemon, beside bare ccxt.pro with the same candles."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.latency import stalls
from benchmarks.latency.sides import PLUGINS, Run, Venue, serving, set_speed
from benchmarks.memory import resident_mb
from benchmarks.world import BenchmarkFailed

VENUES = ("binance", "bybit")
Command = Callable[[Run, dict[str, Venue]], list[str]]
"""What starts a side beside these venues."""
LIMIT_MS = 20.0
SETTLE_S = 15.0
"""The start, its imports and its history are not what is measured."""


class Cost(NamedTuple):
    """What a process took while candles came: memory, share of one CPU, and what kept its loop longest."""

    resident_mb: float
    cpu_share: float
    longest_ms: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--symbols", type=int, default=50, metavar="N", help="instruments on each venue")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="N", help="how long each side is watched")
    parser.add_argument("--speed", type=int, default=60, metavar="N", help="of the venues' time")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the synthetic markets")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 when the daemon's loop stalls for longer than is claimed."""
    print(f"two_venues: {args.symbols} symbols of one-minute candles on each of {', '.join(VENUES)} at speed "
          f"{args.speed}, {args.seconds:g} s a side after {SETTLE_S:g} s, market seed {args.seed}, n = 1", flush=True)
    of = Run(args.speed, args.seed, args.symbols)
    daemon = _cost("daemon, its account streams included", of, args.seconds, _daemon)
    bare = _cost("bare ccxt.pro, candles alone", of, args.seconds, _bare)
    print(f"  memory {daemon.resident_mb / bare.resident_mb:.2f} times, CPU {daemon.cpu_share / bare.cpu_share:.2f} "
          f"times, longest stall {daemon.longest_ms / bare.longest_ms:.2f} times (claimed: at most {LIMIT_MS:.0f} ms)")
    return 0 if daemon.longest_ms <= LIMIT_MS else 1


def _cost(name: str, of: Run, seconds: float, command: Command) -> Cost:
    with ExitStack() as stack:
        venues = {venue: stack.enter_context(serving(of, venue)) for venue in VENUES}
        directory = venues[VENUES[0]].directory
        log = directory / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command(of, venues), stdout=output, stderr=subprocess.STDOUT)
        stack.callback(_end, process)
        for venue in venues.values():
            set_speed(venue.endpoint, of.speed)
        time.sleep(SETTLE_S)
        since_ns, cpu_s = time.perf_counter_ns(), _cpu_s(process.pid, log)
        time.sleep(seconds)
        share = (_cpu_s(process.pid, log) - cpu_s) / seconds
        memory_mb, _ = resident_mb(process.pid)
        found = [each.took_ms for each in stalls.read(directory / "stalls.stalls") if each.at_ns >= since_ns]
    cost = Cost(memory_mb, share, max(found, default=stalls.LEAST_MS))
    print(f"  {name}: {cost.resident_mb:.0f} MB, {cost.cpu_share:.1%} of a CPU, longest stall {cost.longest_ms:.1f} ms",
          flush=True)
    return cost


def _daemon(of: Run, venues: dict[str, Venue]) -> list[str]:
    directory = venues[VENUES[0]].directory
    config = directory / "config.toml"
    text = (f'[daemon]\nmode = "sim"\nstate_dir = "{directory / "var"}"\nstrategies_dir = "{PLUGINS}"\n'
            f'speed = {of.speed}\n[log]\nformat = "json"\n')
    for name, venue in venues.items():
        instruments = json.dumps([f"{base}/USDT:USDT@{name}" for base in of.bases])
        text += (f'[venues.{name}]\nendpoint = "{venue.endpoint}"\n[strategies.{name}]\nplugin = "idle"\n'
                 f'instruments = {instruments}\ntimeframe = "1m"\nhold_candles = 0\n')
    config.write_text(text)
    return [sys.executable, "-m", "benchmarks.latency.daemon", str(directory / "stalls"), "--stalls", "run",
            "--config", str(config)]


def _bare(of: Run, venues: dict[str, Venue]) -> list[str]:
    directory = venues[VENUES[0]].directory
    symbols = ",".join(f"{base}/USDT:USDT" for base in of.bases)
    named = [f"{name}={venue.endpoint}" for name, venue in venues.items()]
    return [sys.executable, "-m", "benchmarks.latency.bare_watch", str(directory / "stalls.stalls"), symbols, *named]


def _cpu_s(pid: int, log: Path) -> float:
    """Seconds of CPU that a process took so far, user and system."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise BenchmarkFailed(f"a side ended too early: {log.read_text()[-2000:]}") from error
    if fields[0] == "Z":
        raise BenchmarkFailed(f"a side ended too early: {log.read_text()[-2000:]}")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
