"""The command `tradingd`. Each subcommand is imported only when it is asked for."""

from tradingd.cli.main import main

__all__ = ["main"]
