"""Tells what happens: one log line per event on the bus, past tense, with whom it concerns as fields.

Lines that may come many times a second (candles at speed, the same denial at each candle) are thinned by real time:
the next line that passes says how many were left out. The journal has them all.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import structlog

from tradingd.bus import Bus
from tradingd.domain.errors import Severity
from tradingd.domain.events import (
    CandleClosed,
    Filled,
    ForeignOrderSeen,
    Heartbeat,
    IncidentRaised,
    IntentDenied,
    JournalChanged,
    OrderChanged,
    PositionChanged,
    ProtectionChanged,
    StrategyQuarantined,
    StreamChanged,
    VenueState,
    VenueStateChanged,
)
from tradingd.domain.ids import ClientOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import DenyReason
from tradingd.domain.numbers import ZERO, plain_text
from tradingd.domain.orders import LATE, STALE, Fill, OrderEvent
from tradingd.domain.positions import Position
from tradingd.ports import Clock
from tradingd.telemetry.fields import fields_of, place_of, result_of, said, short
from tradingd.telemetry.render import IsoTime
from tradingd.telemetry.thinner import MAX_KEYS, Thinner
from tradingd.telemetry.trips import Trips

EXPECTED_DENIALS = frozenset(
    {
        DenyReason.HOLD_PERIOD,
        DenyReason.ENTRY_PENDING,
        DenyReason.POSITION_OPEN,
        DenyReason.OPPOSITE_POSITION,
        DenyReason.NO_POSITION,
        DenyReason.PAUSED,
        DenyReason.STALE,
        DenyReason.RESTARTED,
        DenyReason.STOPPING,
    }
)
"""Denials of everyday trading; any other one is worth a look."""

_ORDER_EVENTS = {
    OrderEvent.SUBMIT: "order_submitted",
    OrderEvent.DENY: "order_denied",
    OrderEvent.ACCEPT: "order_accepted",
    OrderEvent.REJECT: "order_rejected",
    OrderEvent.TIME_OUT: "order_in_doubt",
    OrderEvent.NOT_FOUND: "order_not_found",
    OrderEvent.TRIGGER: "order_triggered",
    OrderEvent.FILL_PART: "order_partially_filled",
    OrderEvent.FILL_ALL: "order_filled",
    OrderEvent.CANCEL: "order_canceled",
    OrderEvent.EXPIRE: "order_expired",
}
_DENIAL_INTERVAL_S = 10.0


class Narrator:
    """Subscribes to the bus and writes lines. Expects `Filled` before the `PositionChanged` that it causes.

    `candle_interval_s`: at most one candle line per instrument in that real time at info, the rest at debug; None
    means all at debug. `own_fills`: a line per own fill at info; without, only at debug, since the lines of order and
    position tell of it too. `heartbeat_s`: a beat later than twice that is a warning. `positions` are those
    recovered, `fills` recent ones: a trip that began before this start is told whole.
    """

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        *,
        candle_interval_s: float | None = 2.0,
        own_fills: bool = True,
        heartbeat_s: float = 10.0,
        positions: Sequence[Position] = (),
        fills: Iterable[Fill] = (),
    ) -> None:
        self._log: Any = structlog.get_logger()
        self._iso = IsoTime()
        self._clock = clock
        self._candle_interval_s = candle_interval_s
        self._own_fills = own_fills
        self._heartbeat_s = heartbeat_s
        self._thin = Thinner(clock)
        self._unwritable_since: float | None = None
        self._trips = Trips(positions, fills)
        self._part_filled: OrderedDict[ClientOrderId, Decimal] = OrderedDict()
        self._strategies: dict[InstrumentId, str | None] = {held.instrument: held.strategy for held in positions}
        bus.subscribe(CandleClosed, self._candle_closed)
        bus.subscribe(OrderChanged, self._order_changed)
        bus.subscribe(Filled, self._filled)
        bus.subscribe(PositionChanged, self._position_changed)
        bus.subscribe(IntentDenied, self._intent_denied)
        bus.subscribe(ForeignOrderSeen, self._foreign_order_seen)
        bus.subscribe(ProtectionChanged, self._protection_changed)
        bus.subscribe(VenueStateChanged, self._venue_state_changed)
        bus.subscribe(StreamChanged, self._stream_changed)
        bus.subscribe(JournalChanged, self._journal_changed)
        bus.subscribe(IncidentRaised, self._incident_raised)
        bus.subscribe(StrategyQuarantined, self._strategy_quarantined)
        bus.subscribe(Heartbeat, self._heartbeat)

    def _candle_closed(self, event: CandleClosed) -> None:
        candle = event.candle
        key = ("candle", candle.instrument, candle.timeframe)
        skipped = None if self._candle_interval_s is None else self._thin.passes(key, self._candle_interval_s)
        write = self._log.debug if skipped is None else self._log.info
        write(
            "candle_closed",
            **place_of(candle.instrument),
            timeframe=candle.timeframe,
            open_time=self._iso(candle.open_time_ms),
            open=candle.open,
            high=candle.high,
            low=candle.low,
            close=candle.close,
            volume=candle.volume,
            **said(late=candle.late, gap_before=candle.gap_before, candles_not_shown=skipped),
        )

    def _order_changed(self, event: OrderChanged) -> None:
        order = event.order
        name = _ORDER_EVENTS[event.event]
        fields = {**fields_of(order), "source": event.source, **said(reason=event.why)}
        if order.strategy is not None:
            self._strategies[order.instrument] = order.strategy
        if (event.before, event.event) in STALE or self._part_is_known(event):
            self._log.debug(name, **fields, before=event.before)
        elif (event.before, event.event) in LATE:
            # A fill after the end is a fact that wins; it comes with an incident of its own.
            self._log.warning(name, **fields, before=event.before)
        elif event.event is OrderEvent.REJECT:
            self._log.warning(name, **fields, code=order.reject_code)
        elif event.event in (OrderEvent.TIME_OUT, OrderEvent.NOT_FOUND):
            self._log.warning(name, **fields)
        else:
            self._log.info(name, **fields)

    def _part_is_known(self, event: OrderChanged) -> bool:
        """Whether that part was told already: a conditional order's fill comes by its own report and by its child's."""
        key, filled = event.order.client_order_id, event.order.filled_quantity
        if event.event is not OrderEvent.FILL_PART:
            return False
        known = self._part_filled.pop(key, ZERO)
        self._part_filled[key] = max(known, filled)
        if len(self._part_filled) > MAX_KEYS:
            self._part_filled.popitem(last=False)
        return filled <= known

    def _filled(self, event: Filled) -> None:
        fill = event.fill
        self._trips.paid(fill)
        if event.strategy is not None:
            self._strategies[fill.instrument] = event.strategy
        # of a stop or take profit that the position carried no order tells: this is the only line
        is_of_ours = fill.is_of_position and event.strategy is not None
        if event.order is None and not is_of_ours:
            write = self._log.warning
        else:
            write = self._log.info if self._own_fills or is_of_ours else self._log.debug
        write(
            "fill_booked"
            if event.order is not None or is_of_ours
            else "fill_of_unknown_order_booked"
            if event.is_unknown
            else "foreign_fill_booked",
            **place_of(fill.instrument),
            strategy=event.strategy,
            client_order_id=fill.client_order_id,
            cause=fill.trade_id,
            side=fill.side,
            quantity=fill.quantity,
            price=fill.price,
            fee=f"{plain_text(fill.fee)} {fill.fee_currency}",
            position=event.position.quantity,
            **said(maker=fill.maker, reason=fill.reason),
        )

    def _position_changed(self, event: PositionChanged) -> None:
        position = event.position
        instrument = position.instrument
        before = self._trips.quantity(instrument)
        trip = self._trips.moved(instrument, position.quantity, event.realized_pnl)
        if position.strategy is not None:
            self._strategies[instrument] = position.strategy
        fields: dict[str, Any] = {
            **place_of(instrument),
            "strategy": self._strategies.get(instrument),
            "cause": event.cause,
            "quantity": position.quantity,
        }
        if position.is_flat or event.closed:
            self._trips.end(instrument, position.quantity)
            write = self._log.info if position.is_flat else self._log.error
            write("position_closed" if position.is_flat else "position_flipped", **fields, **result_of(trip))
        elif before == 0:
            self._log.info("position_opened", **fields, entry_price=short(position.entry_price))
        else:
            name = "position_increased" if abs(position.quantity) > abs(before) else "position_reduced"
            told = said(realized_usdt=short(event.realized_pnl))
            self._log.info(name, **fields, entry_price=short(position.entry_price), **told)

    def _intent_denied(self, event: IntentDenied) -> None:
        reason = event.denial.reason
        skipped = self._thin.passes(("denied", event.strategy, event.intent.instrument, reason), _DENIAL_INTERVAL_S)
        if skipped is None:
            write = self._log.debug
        else:
            write = self._log.info if reason in EXPECTED_DENIALS else self._log.warning
        write(
            "intent_denied",
            **place_of(event.intent.instrument),
            strategy=event.strategy,
            cause=event.intent_id,
            intent=type(event.intent).__name__,
            reason=reason,
            **said(detail=event.denial.detail, denials_not_shown=skipped),
        )

    def _foreign_order_seen(self, event: ForeignOrderSeen) -> None:
        order = event.order
        skipped = self._thin.passes(("foreign", order.venue_order_id), 60.0)
        if skipped is not None:
            self._log.warning(
                "foreign_order_seen",
                **place_of(order.instrument),
                client_order_id=order.client_order_id,
                venue_order_id=order.venue_order_id,
                book=order.book,
                side=order.side,
                status=order.status,
                type=order.raw_type,
            )

    def _protection_changed(self, event: ProtectionChanged) -> None:
        fields = {
            **place_of(event.instrument),
            "strategy": self._strategies.get(event.instrument),
            **said(stop_loss=event.stop_loss, take_profit=event.take_profit),
        }
        if event.replaced:
            self._log.info("protection_replaced", **fields)
        elif event.covered and event.unprotected_s == 0:
            # nothing was missing for a moment: it stood at the venue before this daemon looked
            self._log.info("protection_found", **fields)
        elif event.covered:
            self._log.info("protection_placed", **fields, unprotected_s=round(event.unprotected_s, 3))
        elif self._trips.quantity(event.instrument) == 0:
            self._log.info("protection_ended", **fields)
        else:
            self._log.warning("protection_missing", **fields, unprotected_s=round(event.unprotected_s, 3))

    def _venue_state_changed(self, event: VenueStateChanged) -> None:
        worse = event.state in (VenueState.DEGRADED, VenueState.BANNED, VenueState.DOWN)
        write = self._log.warning if worse else self._log.info
        write("venue_state_changed", venue=event.venue, state=event.state, before=event.before, reason=event.reason)

    def _stream_changed(self, event: StreamChanged) -> None:
        fields = {"venue": event.venue, "stream": event.stream, **said(reason=event.reason)}
        if event.connected:
            self._log.info("stream_connected", **fields)
        else:
            self._log.warning("stream_lost", **fields)

    def _journal_changed(self, event: JournalChanged) -> None:
        """That it cannot be written is told by the incident; here that it is over."""
        now = self._clock.monotonic()
        since = now if self._unwritable_since is None else self._unwritable_since
        self._unwritable_since = None if event.writable else since
        if event.writable:
            self._log.info("journal_writable_again", unwritable_s=round(now - since, 3), written_late=event.held)

    def _incident_raised(self, event: IncidentRaised) -> None:
        write = {
            Severity.INFO: self._log.info,
            Severity.WARNING: self._log.warning,
            Severity.CRITICAL: self._log.critical,
        }[event.severity]
        write(
            "incident_raised",
            venue=event.venue if event.instrument is None else event.instrument.venue,
            instrument=None if event.instrument is None else str(event.instrument),
            strategy=event.strategy,
            kind=event.kind,
            detail=event.detail,
        )

    def _strategy_quarantined(self, event: StrategyQuarantined) -> None:
        self._log.error(
            "strategy_quarantined",
            strategy=event.strategy,
            reason=event.reason,
            remedy=f"correct it, then: tradingd strategies lift {event.strategy}",
        )

    def _heartbeat(self, event: Heartbeat) -> None:
        late = event.delta_s > 2 * self._heartbeat_s
        trouble = any(state != VenueState.STARTING for state in event.venues_not_ready.values())
        write = self._log.warning if late or trouble else self._log.info
        write(
            "heartbeat",
            delta_s=round(event.delta_s, 3),
            equity_usdt=event.equity_usdt,
            open_positions=event.open_positions,
            unknown_orders=event.unknown_orders,
            entries_allowed=not event.entries_denied,
            **said(entries_denied=event.entries_denied),
            stream_ages_s={name: round(age_s, 1) for name, age_s in sorted(event.stream_ages_s.items())},
            **said(late=late, venues_not_ready=dict(event.venues_not_ready)),
            **({} if self._clock.speed == 1 else {"venue_time": self._iso(self._clock.now_ms())}),
        )
