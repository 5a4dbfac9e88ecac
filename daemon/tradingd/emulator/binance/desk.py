"""What the handlers of this dialect work on: the exchange, what clients may see of it, streams and limits."""

from __future__ import annotations

from random import Random

import msgspec

from tradingd.emulator.binance.errors import VenueError
from tradingd.emulator.binance.limits import Limits
from tradingd.emulator.binance.params import Params
from tradingd.emulator.binance.streams import Streams
from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.lags import Lags
from tradingd.emulator.core.ledger import Ledger
from tradingd.emulator.core.views import Views


class Desk(msgspec.Struct):
    """The parts of one venue process."""

    exchange: Exchange
    ledger: Ledger
    views: Views
    streams: Streams
    limits: Limits
    lags: Lags
    rng: Random
    account_id: str
    skew_ms: int = 0
    engine_delay_ms: int = 0
    is_read_only: bool = False

    @property
    def now_ms(self) -> int:
        """Venue time."""
        return self.exchange.now_ms

    @property
    def clock_ms(self) -> int:
        """What the venue's own clock shows, and measures receive windows with."""
        return self.now_ms + self.skew_ms

    def instrument(self, params: Params) -> Instrument:
        """The instrument that `symbol` names; -1121 if it is none of ours."""
        return self.named(params.need("symbol"))

    def named(self, symbol: str) -> Instrument:
        """The instrument of that name; -1121 if it is none of ours."""
        if symbol not in self.exchange.feeds:
            raise VenueError(-1121)
        return self.exchange.instruments[symbol]

    def symbol_filter(self, params: Params) -> str | None:
        """An optional symbol, checked."""
        symbol = params.text("symbol")
        return None if symbol is None else self.named(symbol).symbol

    def human_client_id(self) -> str:
        """What an order by hand carries."""
        return f"web_{self.new_client_id()}"

    def new_client_id(self) -> str:
        """What the venue makes up when the client gives no id."""
        return "".join(
            self.rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") for _ in range(22)
        )
