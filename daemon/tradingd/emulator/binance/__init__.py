"""Binance USDT-M futures: the wire dialect over the common core."""
