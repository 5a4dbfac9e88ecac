"""What a person reads: lines that fit a screen, without what only a search needs."""

from decimal import Decimal
from typing import Any

import pytest
import structlog

from tests.telemetry.test_narrator import BTC, TREND, Source, bus, changed
from tradingd.bus import Bus
from tradingd.domain.candles import Candle
from tradingd.domain.events import CandleClosed, IntentDenied, ProtectionChanged, VenueState, VenueStateChanged
from tradingd.domain.ids import ClientOrderId, IntentId, Purpose, VenueId, VenueOrderId
from tradingd.domain.intents import Denial, DenyReason, Enter, Side
from tradingd.domain.numbers import plain_text
from tradingd.domain.orders import OrderEvent, OrderKind, OrderRequest, OrderStatus
from tradingd.telemetry.heartbeat import HeartbeatDriver
from tradingd.telemetry.narrator import Narrator

WIDTH = 160
CAUSE = IntentId("trend|candle|BTC/USDT:USDT@binance|1m|1795374600000#1")

__all__ = ["bus"]


@pytest.fixture
def shown(set_up, sink, bus: Bus, clock):
    set_up(format="console", is_terminal=False)
    Narrator(bus, clock)

    def shown() -> list[str]:
        lines = [line for line in sink.text.splitlines() if "times in UTC" not in line]
        sink.data = b""
        told = [line for line in lines if " info " in line]
        assert max(map(len, told), default=0) <= WIDTH, max(told, key=len)
        return [line.partition(" ")[2] for line in lines]

    return shown


def stop_order(event: OrderEvent, status: OrderStatus, **changes: Any) -> Any:
    request = OrderRequest(
        ClientOrderId("td-mws7dcds44e-2s"), BTC, Purpose.STOP, Side.SELL, OrderKind.STOP_MARKET, None,
        trigger_price=Decimal("64536.0"), close_position=True,
    )  # fmt: skip
    fixed = {"request": request, "intent_id": CAUSE, "venue_order_id": VenueOrderId("2148700000")}
    return changed(OrderStatus.SUBMITTED, event, status, **fixed, **changes)


def test_what_is_about_no_instrument_names_its_venue_in_the_same_column(shown, bus) -> None:
    for venue in (VenueId("binance"), VenueId("bybit")):
        bus.publish(VenueStateChanged(venue, VenueState.STARTING, VenueState.READY, "reconciled"))
    bus.publish(stop_order(OrderEvent.ACCEPT, OrderStatus.ACCEPTED))
    lines = shown()
    assert [line.split()[2] for line in lines] == ["binance", "bybit", "BTC/USDT:USDT@binance"]
    assert {line.index(line.split()[2]) for line in lines} == {29}


def test_an_order_is_told_in_words_with_its_id_at_the_end(shown, bus) -> None:
    filled = {"filled_quantity": Decimal("0.0070"), "average_price": Decimal("64528.10")}
    bus.publish(stop_order(OrderEvent.ACCEPT, OrderStatus.ACCEPTED))
    bus.publish(stop_order(OrderEvent.FILL_ALL, OrderStatus.FILLED, **filled))
    assert shown() == [
        "info  order_accepted         BTC/USDT:USDT@binance "
        "trend stop sell whole position trigger=64536 order=td-mws7dcds44e-2s",
        "info  order_filled           BTC/USDT:USDT@binance "
        "trend stop sell trigger=64536 filled=0.007 average=64528.1 order=td-mws7dcds44e-2s",
    ]


def test_what_is_wrong_is_told_with_the_venues_id_too(shown, bus) -> None:
    bus.publish(stop_order(OrderEvent.REJECT, OrderStatus.REJECTED, reject_code="-2021"))
    (line,) = shown()
    assert line.endswith("venue_order_id=2148700000 code=-2021 order=td-mws7dcds44e-2s")
    assert "cause" not in line, "the order's id leads to it"


def test_a_cause_is_shown_where_nothing_else_leads_to_it(shown, bus) -> None:
    intent = Enter(BTC, Side.BUY, quantity=1)
    bus.publish(IntentDenied(CAUSE, TREND, intent, Denial(DenyReason.HOLD_PERIOD, "144 s left")))
    bus.publish(IntentDenied(CAUSE, TREND, intent, Denial(DenyReason.STOP_MISSING)))
    everyday, odd = shown()
    assert everyday.endswith('trend Enter reason=hold_period detail="144 s left"')
    assert odd.endswith(f"reason=stop_missing cause={CAUSE}")


def test_an_order_that_was_found_by_looking_says_so(shown) -> None:
    structlog.get_logger().info("order_accepted", client_order_id="td-1", source="lookup")
    structlog.get_logger().info("order_accepted", client_order_id="td-1", source="reply")
    assert shown() == [
        "info  order_accepted         source=lookup order=td-1",
        "info  order_accepted         order=td-1",
    ]


def test_a_candle_and_a_heartbeat_fit_a_screen(shown, bus, clock) -> None:
    o, h, low, c, volume = (Decimal(text) for text in ("65271.80", "65375.1", "65271.8", "65346.40", "1075.1470"))
    for _ in range(4):
        bus.publish(CandleClosed(Candle(BTC, "1m", 1_795_370_580_000, o, h, low, c, volume)))
        clock.now_s += 1
    HeartbeatDriver(clock, Source(), bus.publish).tick()
    HeartbeatDriver(clock, Source(binance=VenueState.DOWN), bus.publish).tick()
    candle = (
        "info  candle_closed          BTC/USDT:USDT@binance 1m 11-22T18:03Z "
        "open=65271.8 high=65375.1 low=65271.8 close=65346.4 volume=1075.147"
    )
    assert [line for line in shown() if not line.startswith("debug")] == [
        candle,
        f"{candle} not_shown=1",
        "info  heartbeat              equity_usdt=10000.5 open_positions=2 unknown_orders=1 entries_allowed=yes "
        "oldest_stream_s=1.3",
        "WARN  heartbeat              equity_usdt=10000.5 open_positions=2 unknown_orders=1 "
        'entries_allowed=yes oldest_stream_s=1.3 not_ready="binance down"',
    ]


def test_protection_is_told_with_its_strategy(shown, bus) -> None:
    bus.publish(stop_order(OrderEvent.ACCEPT, OrderStatus.ACCEPTED))
    bus.publish(ProtectionChanged(BTC, True, Decimal("64536.0"), Decimal("68487.20"), 0.0061))
    assert shown()[1].endswith("trend stop_loss=64536 take_profit=68487.2 unprotected_s=0.006")


def test_the_date_stands_once_and_again_when_it_changes(set_up, sink, clock) -> None:
    set_up(format="console", is_terminal=False)
    log = structlog.get_logger()
    log.info("first")
    log.info("second")
    clock.wall += 86_400_000
    log.info("third")
    assert [line.split()[-1] if "UTC" not in line else line for line in sink.text.splitlines()] == [
        "2026-11-22, times in UTC",
        "first",
        "second",
        "2026-11-23, times in UTC",
        "third",
    ]


def test_a_place_that_is_longer_widens_the_column(shown) -> None:
    log = structlog.get_logger()
    for name in ("BTC", "1000PEPE", "BTC"):
        log.info("position_opened", instrument=f"{name}/USDT:USDT@binance", quantity=Decimal("1.0"))
    starts = [line.index("quantity=1") for line in shown()]
    assert starts[0] < starts[1] == starts[2]


def test_json_has_every_field_under_its_full_name(set_up, sink, bus, clock) -> None:
    set_up()
    Narrator(bus, clock)
    bus.publish(stop_order(OrderEvent.ACCEPT, OrderStatus.ACCEPTED, average_price=Decimal("1.0")))
    (event,) = sink.events
    told = {"client_order_id", "cause", "purpose", "side", "kind", "quantity", "trigger_price", "average_price"}
    assert told | {"time", "venue", "instrument", "strategy", "venue_order_id", "source"} <= set(event)
    assert event["trigger_price"] == "64536" and event["average_price"] == "1"


@pytest.mark.parametrize(
    ("value", "text"),
    [("10000.00000000", "10000"), ("1.000E+4", "10000"), ("0.000", "0"), ("-0.00", "0"), ("0E-8", "0"),
     ("65809.30000", "65809.3"), ("1E-8", "0.00000001"), ("-0.50", "-0.5"), ("100", "100")],
)  # fmt: skip
def test_a_number_has_no_exponent_and_no_zeros_at_its_end(value: str, text: str) -> None:
    assert plain_text(Decimal(value)) == text
