"""`python -m tradingd` is the command `tradingd`."""

import sys

from tradingd.cli import main

sys.exit(main())
