"""A round trip as an operator reads it, over the real bus."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tradingd.bus import Bus
from tradingd.domain.candles import Candle
from tradingd.domain.errors import Severity
from tradingd.domain.events import (
    CandleClosed,
    Event,
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
from tradingd.domain.ids import ClientOrderId, IntentId, Purpose, StrategyId, TradeId, VenueId, VenueOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Denial, DenyReason, Enter, Side
from tradingd.domain.orders import Fill, Order, OrderEvent, OrderKind, OrderRequest, OrderStatus
from tradingd.domain.positions import Position, apply_fill
from tradingd.telemetry.heartbeat import HeartbeatDriver
from tradingd.telemetry.narrator import Narrator

BTC = InstrumentId.parse("BTC/USDT:USDT@binance")
BINANCE = VenueId("binance")
TREND = StrategyId("trend")
PART = OrderStatus.PARTIALLY_FILLED


class FaultyHandler(Exception):
    pass


@pytest.fixture
def bus() -> Bus:
    def on_fault(event: Event, error: BaseException) -> None:
        raise FaultyHandler(f"{event}") from error

    return Bus(on_fault)


@pytest.fixture
def told(set_up, sink, bus, clock):
    set_up()
    Narrator(bus, clock)

    def told() -> list[dict[str, Any]]:
        events = sink.events if sink.data else []
        sink.data = b""
        return events

    return told


def order(status: OrderStatus = OrderStatus.SUBMITTED, **changes: Any) -> Order:
    request = OrderRequest(
        ClientOrderId("td-mfx8k2abcd-12e"), BTC, Purpose.ENTRY, Side.BUY, OrderKind.MARKET, Decimal("0.05")
    )
    return msgspec.structs.replace(Order(request, TREND, IntentId("i-1"), status), **changes)


def changed(before: OrderStatus, event: OrderEvent, status: OrderStatus, **changes: Any) -> OrderChanged:
    return OrderChanged(order(status, **changes), before, event, "stream", 1)


def fill(trade: str, side: Side, price: str, quantity: str, fee: str) -> Fill:
    return Fill(
        BTC, TradeId(trade), VenueOrderId("9"), ClientOrderId("td-mfx8k2abcd-12e"), side, Decimal(price),
        Decimal(quantity), Decimal(fee), "USDT", None, False, 1,
    )  # fmt: skip


def book(bus: Bus, position: Position, new: Fill) -> Position:
    change = apply_fill(position, new, strategy=TREND)
    bus.publish(Filled(new, order(OrderStatus.FILLED), TREND, change.position))
    bus.publish(PositionChanged(change.position, change.realized_pnl, change.closed, new.trade_id))
    return change.position


def test_a_round_trip_is_told_with_its_profit_after_fees(bus, told) -> None:
    position = Position(BTC)
    position = book(bus, position, fill("1", Side.BUY, "100", "2", "0.1"))
    position = book(bus, position, fill("2", Side.BUY, "110", "1", "0.1"))
    position = book(bus, position, fill("3", Side.SELL, "120", "1", "0.1"))
    position = book(bus, position, fill("4", Side.SELL, "130", "2", "0.2"))
    assert position.is_flat
    events = told()
    assert [event["event"] for event in events] == [
        "fill_booked",
        "position_opened",
        "fill_booked",
        "position_increased",
        "fill_booked",
        "position_reduced",
        "fill_booked",
        "position_closed",
    ]
    closed = events[-1]
    assert closed["strategy"] == "trend" and closed["cause"] == "4" and closed["instrument"] == str(BTC)
    bought, sold = 2 * 100 + 110, 120 + 2 * 130
    assert float(closed["before_fees_usdt"]) == pytest.approx(sold - bought)
    assert float(closed["fees_usdt"]) == pytest.approx(0.5)
    assert float(closed["pnl_usdt"]) == pytest.approx(sold - bought - 0.5)
    book(bus, position, fill("5", Side.BUY, "100", "1", "0.3"))
    book(bus, Position(BTC, Decimal(1), Decimal(100)), fill("6", Side.SELL, "100", "1", "0.3"))
    assert float(told()[-1]["pnl_usdt"]) == pytest.approx(-0.6), "the next trip starts from nothing"


def test_a_trip_that_a_restart_cut_is_told_whole(set_up, sink, bus, clock) -> None:
    opening = msgspec.structs.replace(fill("2", Side.BUY, "100", "2", "0.1"), time_ms=5)
    partial = msgspec.structs.replace(fill("3", Side.SELL, "110", "1", "0.2"), time_ms=6, realized_pnl=Decimal(10))
    earlier = msgspec.structs.replace(fill("1", Side.SELL, "90", "1", "7"), time_ms=4, realized_pnl=Decimal(-50))
    held = Position(BTC, Decimal(1), Decimal(100), opened_ms=5, updated_ms=6, strategy=TREND)
    set_up()
    Narrator(bus, clock, positions=(held,), fills=(earlier, opening, partial))
    book(bus, held, fill("4", Side.SELL, "120", "1", "0.3"))
    closed = sink.events[-1]
    assert closed["event"] == "position_closed" and closed["strategy"] == "trend"
    assert (closed["before_fees_usdt"], closed["fees_usdt"], closed["pnl_usdt"]) == ("30", "0.6", "29.4")


def test_a_trip_whose_first_fills_are_not_known_is_told_without_a_figure(set_up, sink, bus, clock) -> None:
    held = Position(BTC, Decimal(1), Decimal(100), opened_ms=5, updated_ms=6, strategy=TREND)
    set_up()
    Narrator(bus, clock, positions=(held,), fills=())
    flat = book(bus, held, fill("4", Side.SELL, "120", "1", "0.3"))
    book(bus, book(bus, flat, fill("5", Side.BUY, "100", "1", "0.1")), fill("6", Side.SELL, "101", "1", "0.1"))
    first, second = [event for event in sink.events if event["event"] == "position_closed"]
    assert "pnl_usdt" not in first and "tradingd journal trades" in first["detail"]
    assert second["pnl_usdt"] == "0.8" and "detail" not in second


def test_a_sign_change_is_an_error(bus, told) -> None:
    position = book(bus, Position(BTC), fill("1", Side.BUY, "100", "1", "0"))
    book(bus, position, fill("2", Side.SELL, "100", "2", "0"))
    assert told()[-1]["event"] == "position_flipped"


@pytest.mark.parametrize(
    ("event", "before", "after", "name", "level"),
    [
        (OrderEvent.SUBMIT, OrderStatus.INITIALIZED, OrderStatus.SUBMITTED, "order_submitted", "info"),
        (OrderEvent.ACCEPT, OrderStatus.SUBMITTED, OrderStatus.ACCEPTED, "order_accepted", "info"),
        (OrderEvent.TIME_OUT, OrderStatus.SUBMITTED, OrderStatus.IN_DOUBT, "order_in_doubt", "warning"),
        (OrderEvent.REJECT, OrderStatus.SUBMITTED, OrderStatus.REJECTED, "order_rejected", "warning"),
        (OrderEvent.FILL_ALL, OrderStatus.ACCEPTED, OrderStatus.FILLED, "order_filled", "info"),
        (OrderEvent.FILL_ALL, OrderStatus.CANCELED, OrderStatus.FILLED, "order_filled", "warning"),
        (OrderEvent.FILL_PART, OrderStatus.FILLED, OrderStatus.FILLED, "order_partially_filled", "debug"),
    ],
)
def test_each_step_of_an_order_is_told_with_whom_it_concerns(bus, told, event, before, after, name, level) -> None:
    bus.publish(changed(before, event, after, reject_code="-2019", filled_quantity=Decimal("0.05")))
    (line,) = told()
    assert (line["event"], line["level"]) == (name, level)
    assert line["client_order_id"] == "td-mfx8k2abcd-12e" and line["strategy"] == "trend" and line["cause"] == "i-1"
    assert line["venue"] == "binance" and line["purpose"] == "entry" and line["quantity"] == "0.05"


def test_every_order_event_has_its_words(bus, told) -> None:
    for event in OrderEvent:
        bus.publish(changed(OrderStatus.SUBMITTED, event, OrderStatus.ACCEPTED))
    assert len({line["event"] for line in told()}) == len(OrderEvent)


def test_a_part_that_was_filled_is_told_once_and_the_next_part_again(bus, told) -> None:
    for filled, before in (("0.02", OrderStatus.TRIGGERED), ("0.02", PART), ("0.03", PART), ("0.02", PART)):
        bus.publish(changed(before, OrderEvent.FILL_PART, PART, filled_quantity=Decimal(filled)))
    assert [(line["filled"], line["level"]) for line in told()] == [
        ("0.02", "info"),
        ("0.02", "debug"),
        ("0.03", "info"),
        ("0.02", "debug"),
    ]


def test_on_a_screen_own_fills_are_debug_lines_and_those_of_nobody_are_warnings(set_up, sink, bus, clock) -> None:
    set_up()
    Narrator(bus, clock, own_fills=False)
    book(bus, Position(BTC), fill("1", Side.BUY, "100", "1", "0.10"))
    other = fill("2", Side.BUY, "100", "1", "0.1")
    bus.publish(Filled(other, None, None, Position(BTC, Decimal(2), Decimal(100))))
    lost = msgspec.structs.replace(other, client_order_id="td-abcdefgh-1x")
    bus.publish(Filled(lost, None, None, Position(BTC, Decimal(1), Decimal(100)), is_unknown=True))
    levels = {line["event"]: line["level"] for line in sink.events}
    assert levels == {
        "fill_booked": "debug",
        "position_opened": "info",
        "foreign_fill_booked": "warning",
        "fill_of_unknown_order_booked": "warning",
    }
    assert sink.events[-1]["client_order_id"] == "td-abcdefgh-1x"
    assert sink.events[0]["fee"] == "0.1 USDT"


def test_a_level_of_the_position_that_fired_is_told_as_an_own_fill_even_on_a_screen(set_up, sink, bus, clock) -> None:
    """Every take profit on such a venue was told as somebody else's fill, as a warning."""
    set_up()
    Narrator(bus, clock, own_fills=False)
    fired = msgspec.structs.replace(fill("1", Side.SELL, "110", "1", "0.1"), client_order_id=None, reason="take_profit")
    bus.publish(Filled(fired, None, TREND, Position(BTC)))
    (line,) = sink.events
    assert (line["event"], line["level"], line["strategy"]) == ("fill_booked", "info", "trend")
    assert line["reason"] == "take_profit"


def test_a_stop_that_stood_before_the_start_is_found_and_not_placed(bus, told) -> None:
    bus.publish(ProtectionChanged(BTC, True, Decimal("64500.0"), None, 0.0))
    (line,) = told()
    assert (line["event"], line["stop_loss"]) == ("protection_found", "64500") and "unprotected_s" not in line


def test_a_stop_that_was_moved_is_told_as_replaced(bus, told) -> None:
    bus.publish(ProtectionChanged(BTC, True, Decimal("65500.0"), None, 0.0, replaced=True))
    (line,) = told()
    assert (line["event"], line["level"], line["stop_loss"]) == ("protection_replaced", "info", "65500")


def test_a_denial_is_told_with_its_reason_and_repeats_are_thinned(bus, told, clock) -> None:
    intent = Enter(BTC, Side.BUY, quantity=1)
    for number in range(5):
        denial = Denial(DenyReason.HOLD_PERIOD, "2 candles to go")
        bus.publish(IntentDenied(IntentId(f"i-{number}"), TREND, intent, denial))
    first, *rest = told()
    assert first["level"] == "info" and first["reason"] == "hold_period" and first["detail"] == "2 candles to go"
    assert {line["level"] for line in rest} == {"debug"} and len(rest) == 4
    clock.now_s += 11
    bus.publish(IntentDenied(IntentId("i-6"), TREND, intent, Denial(DenyReason.HOLD_PERIOD)))
    bus.publish(IntentDenied(IntentId("i-7"), TREND, intent, Denial(DenyReason.STOP_MISSING, "no stop")))
    later, other = told()
    assert later["denials_not_shown"] == 4 and other["level"] == "warning"


def test_candles_are_seen_passing_without_drowning_the_rest(bus, told, clock) -> None:
    candle = Candle(BTC, "1m", 0, Decimal(1), Decimal(3), Decimal(1), Decimal(2), Decimal(7))
    for _ in range(10):
        bus.publish(CandleClosed(candle))
        clock.now_s += 0.5
    lines = told()
    assert [line["level"] for line in lines] == (["info"] + ["debug"] * 3) * 2 + ["info", "debug"]
    assert "candles_not_shown" not in lines[0] and lines[4]["candles_not_shown"] == 3
    assert lines[0]["close"] == "2" and lines[0]["open_time"] == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(("severity", "level"), [("info", "info"), ("warning", "warning"), ("critical", "critical")])
def test_an_incident_is_as_loud_as_it_is_severe(bus, told, severity: str, level: str) -> None:
    bus.publish(IncidentRaised("unprotected", Severity(severity), "no stop for 6 s", instrument=BTC, strategy=TREND))
    (line,) = told()
    assert (line["event"], line["level"], line["kind"]) == ("incident_raised", level, "unprotected")
    assert line["instrument"] == str(BTC) and line["venue"] == "binance" and line["detail"] == "no stop for 6 s"


def test_protection_venues_streams_and_quarantine_are_told(bus, told) -> None:
    bus.publish(ProtectionChanged(BTC, True, Decimal(90), None, 0.1234))
    book(bus, Position(BTC), fill("1", Side.BUY, "100", "1", "0"))
    bus.publish(ProtectionChanged(BTC, False, Decimal(90), None, 1.5))
    bus.publish(VenueStateChanged(BINANCE, VenueState.STARTING, VenueState.READY, "reconciled"))
    bus.publish(VenueStateChanged(BINANCE, VenueState.READY, VenueState.DOWN, "no answer"))
    bus.publish(StreamChanged(BINANCE, "account", False, "closed by peer"))
    bus.publish(StreamChanged(BINANCE, "account", True, ""))
    bus.publish(StrategyQuarantined(TREND, "raised ValueError"))
    told_of = [(line["event"], line["level"]) for line in told()]
    assert told_of == [
        ("protection_placed", "info"),
        ("fill_booked", "info"),
        ("position_opened", "info"),
        ("protection_missing", "warning"),
        ("venue_state_changed", "info"),
        ("venue_state_changed", "warning"),
        ("stream_lost", "warning"),
        ("stream_connected", "info"),
        ("strategy_quarantined", "error"),
    ]


def test_a_foreign_order_is_told_once_a_minute(bus, told) -> None:
    from tradingd.domain.account import VenueOrder

    seen = VenueOrder(BTC, "algo", VenueOrderId("7"), None, OrderStatus.ACCEPTED, Side.SELL, None, None)
    bus.publish(ForeignOrderSeen(seen))
    bus.publish(ForeignOrderSeen(seen))
    (line,) = told()
    assert line["venue_order_id"] == "7" and line["book"] == "algo"


class Source:
    def __init__(self, denied: str = "", **not_ready: VenueState) -> None:
        self.denied = denied
        self.not_ready = {VenueId(name): state for name, state in not_ready.items()}

    def stream_ages_s(self) -> dict[str, float]:
        return {"binance/candles": 1.26, "binance/account": 0.5}

    def equity_usdt(self) -> Decimal | None:
        return Decimal("10000.50")

    def open_positions(self) -> int:
        return 2

    def unknown_orders(self) -> int:
        return 1

    def entries_denied(self) -> str:
        return self.denied

    def venues_not_ready(self) -> dict[VenueId, VenueState]:
        return self.not_ready


def test_a_heartbeat_says_what_is_and_how_long_ago_the_last_one_was(bus, told, clock) -> None:
    driver = HeartbeatDriver(clock, Source(), bus.publish)
    clock.now_s += 10.0
    assert isinstance(driver.tick(), Heartbeat)
    clock.now_s += 25.0
    clock.wall += 25_000
    driver.tick()
    first, late = told()
    assert first["level"] == "info" and first["delta_s"] == 10.0 and first["time"] == "2026-11-22T18:03:11.123Z"
    assert first["equity_usdt"] == "10000.5" and first["open_positions"] == 2 and first["unknown_orders"] == 1
    assert first["stream_ages_s"] == {"binance/account": 0.5, "binance/candles": 1.3} and first["entries_allowed"]
    assert late["level"] == "warning" and late["delta_s"] == 25.0 and late["late"]


def test_a_heartbeat_is_a_warning_that_names_each_venue_in_trouble(bus, told, clock) -> None:
    HeartbeatDriver(clock, Source(binance=VenueState.STARTING), bus.publish).tick()
    HeartbeatDriver(clock, Source(binance=VenueState.DOWN), bus.publish).tick()
    HeartbeatDriver(clock, Source(), bus.publish).tick()
    starting, down, ready = told()
    assert starting["level"] == "info" and starting["venues_not_ready"] == {"binance": "starting"}
    assert down["level"] == "warning" and down["venues_not_ready"] == {"binance": "down"}
    assert ready["level"] == "info" and "venues_not_ready" not in ready


def test_a_heartbeat_says_why_no_entry_could_pass(bus, told, clock) -> None:
    HeartbeatDriver(clock, Source(), bus.publish).tick()
    HeartbeatDriver(clock, Source("paused: news at two"), bus.publish).tick()
    allowed, denied = told()
    assert allowed["entries_allowed"] is True and "entries_denied" not in allowed
    assert denied["entries_allowed"] is False and denied["entries_denied"] == "paused: news at two"


def test_a_journal_that_is_whole_again_is_told_with_how_long_it_was_not(told, bus, clock):
    bus.publish(JournalChanged(False, "disk full", 1))
    clock.now_s += 2.5
    bus.publish(JournalChanged(False, "the file is gone", 3))
    clock.now_s += 2.5
    bus.publish(JournalChanged(True, held=7))
    (line,) = told()
    assert (line["event"], line["level"]) == ("journal_writable_again", "info")
    assert (line["unwritable_s"], line["written_late"]) == (5.0, 7)
