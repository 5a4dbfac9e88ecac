"""Where a venue's pushes land: order facts go to the recorder at once, candles to their feed, the rest to the bus."""

from collections.abc import Callable, Mapping
from typing import Protocol

from tradingd.bus import Bus
from tradingd.domain.account import VenueBalance, VenueOrder, VenuePosition
from tradingd.domain.candles import Candle
from tradingd.domain.errors import Severity
from tradingd.domain.events import BalanceSeen, IncidentRaised, PositionSeen
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import Fill, Order


class OrderFacts(Protocol):
    """Who takes order facts in; execution's recorder."""

    def apply_shown(self, shown: VenueOrder, source: str) -> Order | None:
        """What the venue shows of an order."""
        ...

    def apply_fill(self, fill: Fill, source: str) -> bool:
        """One execution; False when it was known."""
        ...


class CandleSink(Protocol):
    """Who takes the candles of one instrument and timeframe."""

    def on_candle(self, candle: Candle) -> None:
        """A forming or closed candle."""
        ...


class StreamWatch(Protocol):
    """Who watches over the streams; the supervisor."""

    def on_alive(self, stream: str) -> None:
        """Any frame arrived."""
        ...

    def on_disconnect(self, stream: str, reason: str) -> None:
        """A connection ended."""
        ...

    def on_unreadable(self, stream: str, reason: str) -> None:
        """A frame came whose content is not known."""
        ...


class AccountFeed:
    """One venue's sink. Plain functions on the loop; order facts are never dropped and never wait for anything here."""

    def __init__(
        self,
        facts: OrderFacts,
        candles: Mapping[tuple[InstrumentId, str], CandleSink],
        watch: StreamWatch,
        bus: Bus,
        on_price: Callable[[Candle], None],
    ) -> None:
        self._facts = facts
        self._candles = candles
        self._watch = watch
        self._bus = bus
        self._on_price = on_price
        self.bad_frames = 0

    def on_candle(self, candle: Candle) -> None:
        """A forming or closed candle, by the venue's own flag."""
        self._on_price(candle)
        feed = self._candles.get((candle.instrument, candle.timeframe))
        if feed is not None:
            feed.on_candle(candle)

    def on_order(self, order: VenueOrder) -> None:
        """An order update."""
        self._facts.apply_shown(order, "stream")

    def on_fill(self, fill: Fill) -> None:
        """One execution."""
        self._facts.apply_fill(fill, "stream")

    def on_position(self, position: VenuePosition) -> None:
        """A pushed position."""
        self._bus.publish(PositionSeen(position))

    def on_balance(self, balance: VenueBalance) -> None:
        """A pushed balance."""
        self._bus.publish(BalanceSeen(balance))

    def on_alive(self, venue: VenueId, stream: str) -> None:
        """Any frame arrived."""
        self._watch.on_alive(stream)

    def on_disconnect(self, venue: VenueId, stream: str, reason: str) -> None:
        """A connection ended."""
        self._watch.on_disconnect(stream, reason)

    def on_bad_frame(self, venue: VenueId, stream: str, reason: str) -> None:
        """A frame that could not be understood: counted, told at 1, 10, 100 …, never fatal."""
        self._watch.on_unreadable(stream, reason)
        self.bad_frames += 1
        if str(self.bad_frames).strip("0") == "1":
            self._bus.publish(
                IncidentRaised("bad_frame", Severity.WARNING, f"{reason} (number {self.bad_frames})", venue=venue)
            )
