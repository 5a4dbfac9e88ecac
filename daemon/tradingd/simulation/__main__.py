"""`python -m tradingd.simulation --seeds N --seed S --candles N`."""

from tradingd.simulation.run import main

raise SystemExit(main())
