"""Bybit V5 linear perpetuals: its quirks, its codes, its rows and frames, its calls."""

from tradingd.venues.bybit.calls import BybitDialect
from tradingd.venues.bybit.quirks import BYBIT

__all__ = ["BYBIT", "BybitDialect"]
