"""`tradingd` itself, with closing candle frames marked: `... MARKS ARGUMENTS`."""

import sys
from pathlib import Path

from benchmarks.latency.marks import Marks, mark_closing_frames
from tradingd.cli.main import main

if __name__ == "__main__":
    mark_closing_frames(Marks(Path(sys.argv[1])))
    sys.argv = ["tradingd", *sys.argv[2:]]
    sys.exit(main())
