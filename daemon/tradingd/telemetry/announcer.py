"""What machines are told of the daemon: the bus's events and how things stand, as JSON for a Publisher.

docs/mqtt.md documents each topic and field. Money and quantities are text, exact; times are ms UTC.
"""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import structlog

from tradingd.bus import Bus
from tradingd.domain.events import (
    Filled,
    Heartbeat,
    IncidentRaised,
    IntentDenied,
    JournalChanged,
    OrderChanged,
    PositionChanged,
    ProtectionChanged,
    StrategyQuarantined,
    VenueStateChanged,
)
from tradingd.domain.numbers import plain_text
from tradingd.ports import Clock, Publisher

log = structlog.get_logger(__name__)

STATE = "state"
HEARTBEAT = "heartbeat"
ORDER, FILL, DENIAL, INCIDENT = "event/order", "event/fill", "event/denial", "event/incident"
_TOTAL = (
    "mode", "version", "paused", "halted", "stopping", "journal_writable", "entries_allowed", "equity_usdt",
    "incidents_open", "strategies",
)  # fmt: skip
_VENUE = ("state", "reason", "equity_usdt", "available_usdt")


def venue_topic(venue: str) -> str:
    """Where a venue's state is published."""
    return f"venue/{venue}/state"


class Announcer:
    """Subscribes to the bus. Events are published as they come; state after each `flush` that finds a change.

    `status` answers at once with what `tradingd status --json` shows; `scrub` takes secrets out of the whole payload;
    `dropped` says how many events never left. A fault in here is told and changes nothing else (P15).
    """

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        publisher: Publisher,
        status: Callable[[], Mapping[str, Any]],
        scrub: Callable[[str], str],
        dropped: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._publisher = publisher
        self._status = status
        self._scrub = scrub
        self._dropped = dropped
        self._changed = True
        bus.subscribe(OrderChanged, self._on_order)
        bus.subscribe(Filled, self._on_fill)
        bus.subscribe(IntentDenied, self._on_denied)
        bus.subscribe(IncidentRaised, self._on_incident)
        bus.subscribe(Heartbeat, self._on_heartbeat)
        for kind in (PositionChanged, ProtectionChanged, VenueStateChanged, StrategyQuarantined, JournalChanged):
            bus.subscribe(kind, self._note_change)

    # --- how things stand -----------------------------------------------------------------------------------------

    def _note_change(self, _event: object) -> None:
        self._changed = True

    async def flush(self) -> None:
        """Publish how things stand, if anything has changed since the last time."""
        if not self._changed:
            return
        self._changed = False
        try:
            self.publish_state()
        except Exception as error:
            log.error("state_not_published", error=repr(error), exc_info=error)

    def publish_state(self) -> None:
        """Publish how things stand, in total and at each venue."""
        status = self._status()
        held = [{**each, "venue": each["instrument"].rpartition("@")[2]} for each in status["positions"]]
        self._publisher.retain(
            STATE,
            self._text(
                {name: status[name] for name in _TOTAL}
                | {
                    "open_positions": len(held),
                    "unprotected": sum(not each["covered"] for each in held),
                    "unknown_orders": len(status["unknown_orders"]),
                    "venues": {each["venue"]: each["state"] for each in status["venues"]},
                    "events_dropped": self._dropped(),
                }
            ),
        )
        for venue in status["venues"]:
            positions = [each for each in held if each["venue"] == venue["venue"]]
            self._publisher.retain(
                venue_topic(venue["venue"]),
                self._text(
                    {name: venue[name] for name in _VENUE}
                    | {"positions": positions, "unprotected": sum(not each["covered"] for each in positions)}
                ),
            )

    # --- what happens ---------------------------------------------------------------------------------------------

    def _on_order(self, event: OrderChanged) -> None:
        order, request = event.order, event.order.request
        self._publish(
            ORDER,
            {
                "venue_time_ms": event.time_ms,
                "event": event.event.value,
                "status": order.status.value,
                "client_order_id": order.client_order_id,
                "venue_order_id": order.venue_order_id,
                "instrument": str(order.instrument),
                "strategy": order.strategy,
                "purpose": request.purpose.name.lower(),
                "side": request.side.value,
                "kind": request.kind.value,
                "quantity": request.quantity,
                "close_position": request.close_position,
                "limit_price": request.limit_price,
                "trigger_price": request.trigger_price,
                "filled_quantity": order.filled_quantity,
                "average_price": order.average_price,
                "code": order.reject_code,
                "reason": event.why,
            },
        )

    def _on_fill(self, event: Filled) -> None:
        fill = event.fill
        self._changed = True
        self._publish(
            FILL,
            {
                "venue_time_ms": fill.time_ms,
                "trade_id": fill.trade_id,
                "client_order_id": fill.client_order_id,
                "instrument": str(fill.instrument),
                "strategy": event.strategy,
                "side": fill.side.value,
                "quantity": fill.quantity,
                "price": fill.price,
                "fee": fill.fee,
                "fee_currency": fill.fee_currency,
                "realized_pnl": fill.realized_pnl,
                "position": event.position.quantity,
                "foreign": event.order is None,
            },
        )

    def _on_denied(self, event: IntentDenied) -> None:
        self._publish(
            DENIAL,
            {
                "intent_id": event.intent_id,
                "instrument": str(event.intent.instrument),
                "strategy": event.strategy,
                "intent": type(event.intent).__name__.lower(),
                "reason": event.denial.reason.value,
                "detail": event.denial.detail,
            },
        )

    def _on_incident(self, event: IncidentRaised) -> None:
        self._changed = True
        self._publish(
            INCIDENT,
            {
                "kind": event.kind,
                "severity": event.severity.value,
                "detail": event.detail,
                "venue": event.venue,
                "instrument": None if event.instrument is None else str(event.instrument),
                "strategy": event.strategy,
            },
        )

    def _on_heartbeat(self, event: Heartbeat) -> None:
        self._changed = True
        self._publish(
            HEARTBEAT,
            {
                "delta_s": round(event.delta_s, 3),
                "stream_ages_s": {stream: round(age_s, 1) for stream, age_s in event.stream_ages_s.items()},
                "equity_usdt": event.equity_usdt,
                "open_positions": event.open_positions,
                "unknown_orders": event.unknown_orders,
                "entries_allowed": not event.entries_denied,
            },
        )

    def _publish(self, topic: str, fields: dict[str, Any]) -> None:
        self._publisher.publish(topic, self._text(fields))

    def _text(self, fields: dict[str, Any]) -> str:
        text = json.dumps(
            {"time_ms": self._clock.wall_ms()} | fields, default=_plain, ensure_ascii=False, separators=(",", ":")
        )
        return self._scrub(text)


def _plain(value: object) -> str:
    return plain_text(value) if isinstance(value, Decimal) else str(value)
