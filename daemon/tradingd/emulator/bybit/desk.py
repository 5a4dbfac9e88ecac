"""What the handlers of this dialect work on: the exchange, what clients may see of it, streams, limits, the engine."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from random import Random

import msgspec

from tradingd.emulator.bybit.engine import Engine
from tradingd.emulator.bybit.errors import VenueError
from tradingd.emulator.bybit.limits import Limits
from tradingd.emulator.bybit.params import Params
from tradingd.emulator.bybit.payloads import Json
from tradingd.emulator.bybit.streams import Streams
from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.lags import Lagged, Lags
from tradingd.emulator.core.ledger import Ledger
from tradingd.emulator.core.records import Conditional, Order
from tradingd.emulator.core.views import Views

RECENT_CLOSED = 500


class Attached(msgspec.Struct, frozen=True):
    """TP and SL that an order brings for the position it opens; prices as text, zero for none."""

    take_profit: Decimal
    stop_loss: Decimal
    take_profit_by: str
    stop_loss_by: str


class Desk(msgspec.Struct):
    """The parts of one venue process.

    `link_ids`: every orderLinkId ever acknowledged, with the number it belongs to. `archive`: orders that ended, as the
    history shows them. `recent`: the numbers that realtime still shows although they ended; a restart forgets them.
    `running` and `closed`: what is held after the last fill, and how much each fill closed.
    `pairs`: partial TP and SL that end each other. `oco_ended`: those that ended that way. `funding`: payments as
    executions. `log_lags`: when the log shows each booking that belongs to no execution.
    """

    exchange: Exchange
    ledger: Ledger
    views: Views
    streams: Streams
    limits: Limits
    lags: Lags
    rng: Random
    engine: Engine
    account_id: str
    skew_ms: int = 0
    link_ids: dict[str, int] = msgspec.field(default_factory=dict)
    archive: dict[int, Lagged[Order | Conditional | None]] = msgspec.field(default_factory=dict)
    recent: deque[int] = msgspec.field(default_factory=lambda: deque(maxlen=RECENT_CLOSED))
    fees: dict[int, Decimal] = msgspec.field(default_factory=dict)
    running: dict[str, Decimal] = msgspec.field(default_factory=dict)
    closed: dict[int, Decimal] = msgspec.field(default_factory=dict)
    pairs: dict[int, int] = msgspec.field(default_factory=dict)
    funding: list[Json] = msgspec.field(default_factory=list)
    oco_ended: set[int] = msgspec.field(default_factory=set)
    attached: dict[int, Attached] = msgspec.field(default_factory=dict)
    end_next_in_ms: int | None = None
    is_read_only: bool = False
    log_lags: dict[int, int] = msgspec.field(default_factory=dict)

    @property
    def now_ms(self) -> int:
        """Venue time."""
        return self.exchange.now_ms

    @property
    def clock_ms(self) -> int:
        """What the venue's own clock shows, and measures receive windows with."""
        return self.now_ms + self.skew_ms

    def instrument(self, params: Params) -> Instrument:
        """The instrument that `symbol` names."""
        params.check_category()
        return self.named(params.need("symbol"))

    def named(self, symbol: str) -> Instrument:
        """The instrument of that name, or 10001."""
        if symbol not in self.exchange.feeds:
            raise VenueError(10001, f"Not supported symbols: symbol invalid {symbol}")
        return self.exchange.instruments[symbol]

    def human_client_id(self) -> str:
        """What an order by hand carries: nothing."""
        return ""

    def keep_attached(self) -> None:
        """What orders bring for their positions outlives a restart."""
        self.ledger.set_meta("attached", msgspec.json.encode(self.attached).decode())
