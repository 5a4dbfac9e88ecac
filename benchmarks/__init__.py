"""What the README claims, measured: `python -m benchmarks` lists the figures. Each prints sample size and seed."""
