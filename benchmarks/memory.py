"""How much memory the daemon holds with few symbols and with many."""

import argparse
import time
from pathlib import Path

from benchmarks.latency.sides import Run, Side, running
from benchmarks.world import BenchmarkFailed

SYMBOLS = (5, 50)
DAEMON = Side("daemon", "in_and_out")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--seconds", type=float, default=60.0, metavar="N", help="of trading before it is read")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the synthetic market")


def run(args: argparse.Namespace) -> int:
    """Measure and print; nothing is claimed."""
    print(f"memory: resident set after {args.seconds:g} s of one-minute candles at speed 60, each symbol traded, "
          f"market seed {args.seed}, n = 1", flush=True)
    for symbols in SYMBOLS:
        with running(DAEMON, Run(60, args.seed, symbols)) as daemon:
            daemon.wait(lambda: any(mark.kind == "closing" for mark in daemon.marks()), 120)
            time.sleep(args.seconds)
            if daemon.process.poll() is not None:
                raise BenchmarkFailed(f"the daemon ended: {daemon.log.read_text()[-2000:]}")
            orders = sum(mark.kind == "order" for mark in daemon.marks())
            now_mb, peak_mb = resident_mb(daemon.process.pid)
        print(f"  {symbols} symbols: {now_mb:.0f} MB, at most {peak_mb:.0f} MB, {orders} orders")
    return 0


def resident_mb(pid: int) -> tuple[float, float]:
    """The resident set of a process, now and at its largest."""
    status = Path(f"/proc/{pid}/status").read_text()
    now_kb, peak_kb = (int(status.partition(f"{name}:")[2].split()[0]) for name in ("VmRSS", "VmHWM"))
    return now_kb / 1024, peak_kb / 1024
