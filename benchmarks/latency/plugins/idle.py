"""Asks for candles and does nothing."""

from tradingd.strategy import Strategy


class Idle(Strategy):
    pass
