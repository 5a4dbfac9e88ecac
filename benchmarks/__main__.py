"""`python -m benchmarks [FIGURE]`: measure one figure, or, without a name, all of them."""

import argparse
import sys

from benchmarks import (
    bus_events,
    first_fill,
    journal_rows,
    kill,
    loop_stall,
    memory,
    order_latency,
    recovery,
    replay_candles,
    second_order,
    start_ready,
    two_venues,
)
from benchmarks.world import BenchmarkFailed

FIGURES = {
    "first_fill": first_fill,
    "replay_candles": replay_candles,
    "kill": kill,
    "order_latency": order_latency,
    "second_order": second_order,
    "loop_stall": loop_stall,
    "start_ready": start_ready,
    "memory": memory,
    "two_venues": two_venues,
    "journal_rows": journal_rows,
    "bus_events": bus_events,
    "recovery": recovery,
}


def main() -> int:
    """Exit status 1 when a figure misses what is claimed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures what the README claims.")
    figures = parser.add_subparsers(dest="figure", metavar="FIGURE")
    for name, module in FIGURES.items():
        doc = (module.__doc__ or "").strip()
        module.add_arguments(figures.add_parser(name, help=doc, description=doc))
    args = parser.parse_args()
    try:
        if args.figure is not None:
            return int(FIGURES[args.figure].run(args))
        return max(int(module.run(parser.parse_args([name]))) for name, module in FIGURES.items())
    except BenchmarkFailed as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
