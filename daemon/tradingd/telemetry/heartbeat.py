"""The regular sign of life: how old the streams are, what is held, what is unknown."""

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

from tradingd.domain.events import Heartbeat, VenueState
from tradingd.domain.ids import VenueId
from tradingd.ports import Clock


class StatusSource(Protocol):
    """What a heartbeat asks of the daemon; each answer comes from memory, at once."""

    def stream_ages_s(self) -> dict[str, float]:
        """Real seconds since the last sign of life, by stream (`binance/candles`)."""
        ...

    def equity_usdt(self) -> Decimal | None:
        """Equity of all venues; None while one of them has not been read."""
        ...

    def open_positions(self) -> int:
        """Instruments that are not flat."""
        ...

    def unknown_orders(self) -> int:
        """Orders that the venue may or may not have."""
        ...

    def entries_denied(self) -> str:
        """Why no entry could pass now, as far as daemon and venues are concerned; empty when one could."""
        ...

    def venues_not_ready(self) -> dict[VenueId, VenueState]:
        """The state of each venue that is not READY."""
        ...


class HeartbeatDriver:
    """Publishes one Heartbeat per `tick`; who calls it, and how often, is not its business.

    The time is the wall clock's, since people read it; the delta is monotonic, so a late beat shows a stalled loop.
    """

    def __init__(self, clock: Clock, source: StatusSource, publish: Callable[[Heartbeat], None]) -> None:
        self._clock = clock
        self._source = source
        self._publish = publish
        self._last_s = clock.monotonic()

    def tick(self) -> Heartbeat:
        """Make the heartbeat of this moment and publish it."""
        now_s = self._clock.monotonic()
        beat = Heartbeat(
            time_ms=self._clock.wall_ms(),
            delta_s=now_s - self._last_s,
            stream_ages_s=self._source.stream_ages_s(),
            equity_usdt=self._source.equity_usdt(),
            open_positions=self._source.open_positions(),
            unknown_orders=self._source.unknown_orders(),
            entries_denied=self._source.entries_denied(),
            venues_not_ready=self._source.venues_not_ready(),
        )
        self._last_s = now_s
        self._publish(beat)
        return beat
