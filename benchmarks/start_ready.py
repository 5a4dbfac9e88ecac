"""From the start of the process to READY, beside importing ccxt.pro and loading the markets, in turn."""

import argparse
import signal
import subprocess
import sys
import time

from benchmarks.latency.sides import Run, Side, command, serving
from benchmarks.world import BenchmarkFailed, percentile

LIMIT_TIMES = 1.5
SETTLED_S = 1.2
"""More than a minute of the venue's time at speed 60: a start costs request weight, which is counted by the minute."""
DAEMON = Side("daemon", "idle")
BARE = """
import asyncio, sys
import ccxt.pro
from tradingd.venues.transport import replace_endpoint

async def load():
    client = ccxt.pro.binanceusdm({"options": {"fetchMargins": False, "fetchMarkets": {"types": ["linear"]}}})
    client.urls = replace_endpoint(client.urls, sys.argv[1])
    client.has["fetchCurrencies"] = False
    await client.load_markets()
    print("loaded", flush=True)
    await client.close()

asyncio.run(load())
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--count", type=int, default=5, metavar="N", help="starts of each")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the synthetic market")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 past what is claimed."""
    print(f"start_ready: {args.count} starts each, in turn, on a journal that is there already; venue on loopback, one "
          f"instrument, market seed {args.seed}", flush=True)
    of = Run(60, args.seed)
    daemon: list[float] = []
    bare: list[float] = []
    with serving(of) as venue:
        start = command(DAEMON, of, venue)
        _until_s(start, "daemon_ready", SETTLED_S)  # makes the journal, as the very first start does
        for _ in range(args.count):
            daemon.append(_until_s(start, "daemon_ready", SETTLED_S))
            bare.append(_until_s([sys.executable, "-c", BARE, venue.endpoint], "loaded"))
    for name, times in (("daemon, start to READY", daemon), ("import ccxt.pro and load_markets", bare)):
        print(f"  {name}: median {percentile(times, 0.5):.2f} s, {min(times):.2f} to {max(times):.2f} s, "
              f"n = {len(times)}")
    times_as_long = percentile(daemon, 0.5) / percentile(bare, 0.5)
    print(f"  {times_as_long:.2f} times (claimed: {LIMIT_TIMES})")
    return 0 if times_as_long <= LIMIT_TIMES else 1


def _until_s(start: list[str], word: str, settled_s: float = 0.0) -> float:
    """Seconds until a process that is started says `word`; it is ended so long after that."""
    began = time.monotonic()
    process = subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said: list[str] = []
    took_s = None
    for line in process.stdout:
        said.append(line)
        if took_s is None and word in line:
            took_s = time.monotonic() - began
            time.sleep(settled_s)
            process.send_signal(signal.SIGINT)
    process.wait(20)
    if took_s is None:
        raise BenchmarkFailed("".join(said[-20:]))
    return took_s
