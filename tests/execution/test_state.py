"""What is believed in memory: expected positions, and which orders are remembered."""

from decimal import Decimal

import msgspec
import pytest

from tests.execution.fakes import BTC, ETH, Silence
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.ids import ClientOrderId, Purpose, TradeId, VenueOrderId
from tradingd.domain.intents import Side
from tradingd.domain.orders import FINAL, Fill, Order, OrderKind, OrderRequest, OrderStatus
from tradingd.execution import state as state_module
from tradingd.execution.state import REMEMBERED_ORDERS, TradingState


def order(number: int, status: OrderStatus = OrderStatus.ACCEPTED, filled: str = "0", booked: str = "0") -> Order:
    request = OrderRequest(
        ClientOrderId(f"td-lmnopqrsabc-{number}e"), BTC, Purpose.ENTRY, Side.BUY, OrderKind.MARKET, Decimal("0.1")
    )
    return Order(
        request,
        None,
        None,
        status,
        venue_order_id=VenueOrderId(f"v{number}"),
        filled_quantity=Decimal(filled),
        booked_quantity=Decimal(booked),
    )


def test_what_the_venue_reported_and_no_fill_told_yet_is_expected_to_be_held():
    state = TradingState()
    state.put_order(order(1, OrderStatus.PARTIALLY_FILLED, filled="0.04"))
    state.put_order(order(2, OrderStatus.FILLED, filled="0.1", booked="0.1"))
    assert state.expected_quantity(BTC) == Decimal("0.04")


@pytest.mark.parametrize("status", [OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED])
def test_an_order_that_came_back_from_its_end_is_counted_once(status):
    state = TradingState()
    state.put_order(order(1))
    state.put_order(order(1, OrderStatus.REJECTED))
    state.put_order(order(1, OrderStatus.PARTIALLY_FILLED, filled="0.03"))
    state.put_order(order(1, status, filled="0.04"))
    assert state.expected_quantity(BTC) == Decimal("0.04")


def test_old_final_orders_are_forgotten_with_their_ids_and_open_ones_never(monkeypatch):
    monkeypatch.setattr(state_module, "REMEMBERED_ORDERS", 10)
    state = TradingState()
    state.put_order(order(0))
    for number in range(1, 30):
        state.put_order(order(number))
        state.put_order(order(number, OrderStatus.CANCELED))
    assert len(state.orders) == 11
    assert state.order_by_any_id(BTC, None, VenueOrderId("v1")) is None
    assert state.order_by_any_id(BTC, None, VenueOrderId("v29")) is not None
    assert [each.client_order_id for each in state.open_orders()] == [order(0).client_order_id]


@pytest.mark.parametrize("status", list(OrderStatus))
def test_only_orders_that_are_not_final_are_open_and_only_those_without_an_answer_unknown(status):
    state = TradingState()
    state.put_order(order(1, status))
    assert bool(list(state.open_orders(BTC))) == (status not in FINAL)
    assert bool(list(state.entries(BTC))) == (status not in FINAL)
    assert bool(state.unknown_orders(BTC)) == (status in (OrderStatus.SUBMITTED, OrderStatus.IN_DOUBT))


def test_an_order_is_found_by_either_id_ours_first():
    state = TradingState()
    state.put_order(order(1))
    state.put_order(order(2))
    found = state.order_by_any_id(BTC, order(1).client_order_id, VenueOrderId("v2"))
    assert found == order(1)
    assert state.order_by_any_id(BTC, "web_1", VenueOrderId("v2")) == order(2)
    assert state.order_by_any_id(BTC, "web_1", VenueOrderId("v9")) is None


def test_a_price_is_fresh_for_as_long_as_asked():
    state = TradingState()
    state.note_price(BTC, Decimal(5), 100.0)
    assert state.fresh_price(BTC, 105.0, 5.0) == 5
    assert state.fresh_price(BTC, 105.1, 5.0) is None
    assert state.last_price(BTC) == 5


@in_virtual_time
async def test_a_fill_of_an_order_that_was_given_up_is_expected_once_until_it_is_booked(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].append(Silence())
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY) and world.last(Purpose.ENTRY).status is OrderStatus.REJECTED)
    world.venue.sink = None
    shown = world.venue.take(world.sent(Purpose.ENTRY)[0])
    world.execution.recorder.apply_shown(
        msgspec.structs.replace(shown, status=OrderStatus.PARTIALLY_FILLED, filled_quantity=Decimal("0.04")), "stream"
    )
    assert world.held() == Decimal("0.04")
    fill = Fill(
        BTC,
        TradeId("t1"),
        VenueOrderId("x"),
        shown.client_order_id,
        Side.BUY,
        Decimal(50_000),
        Decimal("0.04"),
        Decimal(0),
        "USDT",
        None,
        False,
        world.clock.now_ms(),
    )
    assert world.execution.recorder.apply_fill(fill, "stream")
    assert not world.execution.recorder.apply_fill(fill, "lookup")
    assert world.held() == Decimal("0.04")


def test_what_the_venue_reported_and_nobody_booked_counts_until_it_is_booked_or_forgotten():
    state = TradingState()
    lacking = order(1, OrderStatus.FILLED, filled="0.3", booked="0.1")
    state.put_order(lacking)
    assert state.unbooked_quantity(BTC) == Decimal("0.2")
    assert state.unbooked_quantity(ETH) == 0
    state.put_order(msgspec.structs.replace(lacking, booked_quantity=Decimal("0.3")))
    assert state.unbooked_quantity(BTC) == 0
    state.put_order(lacking)
    for number in range(2, REMEMBERED_ORDERS + 2):
        state.put_order(order(number, OrderStatus.CANCELED))
    assert state.unbooked_quantity(BTC) == 0


def test_asking_what_is_not_booked_looks_at_no_order(monkeypatch):
    state = TradingState()
    for number in range(100):
        state.put_order(order(number, OrderStatus.CANCELED))
    monkeypatch.setattr(state, "orders", None)
    assert state.unbooked_quantity(BTC) == 0


def test_the_same_number_in_two_order_books_names_two_orders():
    state = TradingState()
    state.order_books[BTC.venue] = ("plain", "algo")
    entry = msgspec.structs.replace(order(1), venue_order_id=VenueOrderId("7"))
    stop = order(2)
    request = msgspec.structs.replace(stop.request, kind=OrderKind.STOP_MARKET, trigger_price=Decimal(1))
    stop = msgspec.structs.replace(
        stop, request=request, venue_order_id=VenueOrderId("7"), child_venue_order_id=VenueOrderId("8")
    )
    state.put_order(entry)
    state.put_order(stop)
    assert state.order_by_any_id(BTC, None, VenueOrderId("7"), "plain") == entry
    assert state.order_by_any_id(BTC, None, VenueOrderId("7")) == entry  # fills are of the plain book
    assert state.order_by_any_id(BTC, None, VenueOrderId("7"), "algo") == stop
    assert state.order_by_any_id(BTC, None, VenueOrderId("8"), "plain") == stop
    assert state.order_by_any_id(BTC, None, VenueOrderId("8"), "algo") is None
