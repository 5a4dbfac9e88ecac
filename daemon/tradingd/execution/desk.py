"""What every part of execution works with; handed around as one."""

import msgspec

from tradingd.bus import Bus
from tradingd.execution.exchange_router import ExchangeRouter
from tradingd.execution.limits import Limits
from tradingd.execution.recorder import Recorder
from tradingd.execution.retry_policy import RetryPolicy
from tradingd.execution.state import TradingState
from tradingd.ports import Clock


class Desk(msgspec.Struct, frozen=True):
    """What is believed, who writes facts down, who reaches the venues, when to try again, and by which limits."""

    state: TradingState
    recorder: Recorder
    router: ExchangeRouter
    retry: RetryPolicy
    bus: Bus
    clock: Clock
    limits: Limits
