"""`python -m tradingd.simulation --seeds N --seed S --candles N`, or `--crashes STRIDE`."""

from tradingd.simulation.command import main

if __name__ == "__main__":
    raise SystemExit(main())
