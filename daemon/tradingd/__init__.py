"""A daemon that trades USDT-margined perpetuals and can prove what it did."""

__version__ = "0.1.0"
