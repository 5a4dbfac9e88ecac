"""Binance USDT-M futures: its quirks, its codes, its rows and frames, its calls."""

from tradingd.venues.binance.calls import BinanceDialect
from tradingd.venues.binance.quirks import BINANCE

__all__ = ["BINANCE", "BinanceDialect"]
