"""A fill that comes before anybody knows whose it is: booked once, on the order that it turns out to belong to."""

import asyncio
from decimal import Decimal

import msgspec

from tests.execution.fakes import BINANCE, BTC
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.events import OrderChanged
from tradingd.domain.ids import ClientOrderId, Purpose, TradeId, VenueOrderId
from tradingd.domain.intents import Side
from tradingd.domain.numbers import ZERO
from tradingd.domain.orders import Fill, OrderStatus
from tradingd.execution.unowned_fills import OWNERLESS_FILLS, UnownedFills

S = OrderStatus


@in_virtual_time
async def test_a_childs_fill_before_its_link_is_booked_on_the_stop_once_the_link_is_known(make_world):
    world = await make_world().boot()
    await world.open_position()
    stop = world.last(Purpose.STOP)
    shown = world.venue.orders[stop.client_order_id]
    expected = []
    on_fact = world.execution.recorder._on_fact

    def watched(instrument):
        expected.append(world.held())
        on_fact(instrument)

    world.execution.recorder._on_fact = watched
    fill = world.venue.execute(BTC, Side.SELL, Decimal("0.1"))
    child = msgspec.structs.replace(
        shown, status=S.FILLED, child_venue_order_id=fill.venue_order_id, filled_quantity=Decimal("0.1")
    )
    world.venue.orders[stop.client_order_id] = child
    await asyncio.sleep(0.05)
    world.venue.sink.on_order(msgspec.structs.replace(child, status=S.TRIGGERED, filled_quantity=ZERO))
    world.venue.sink.on_order(child)
    await asyncio.sleep(0.5)
    assert set(expected) == {ZERO}  # never a position that is not there
    order = world.order(stop.client_order_id)
    assert (order.status, order.booked_quantity, order.average_price) == (S.FILLED, Decimal("0.1"), fill.price)
    assert world.rows("SELECT client_order_id FROM fills WHERE trade_id = ?", fill.trade_id) == [
        (stop.client_order_id,)
    ]
    assert world.rows("SELECT cause, strategy FROM last_closes") == [("stop", "trend")]
    assert world.rows("SELECT quantity FROM positions WHERE symbol = ?", BTC.symbol) == [(0.0,)]
    assert "position_flipped" not in world.incidents()
    await world.execution.reconciler.reconcile(BINANCE)


@in_virtual_time
async def test_a_known_trade_that_comes_again_with_its_owner_is_booked_on_it_once(make_world):
    world = await make_world().boot()
    await world.open_position()
    stop = world.last(Purpose.STOP)
    fill = world.venue.execute(BTC, Side.SELL, Decimal("0.1"))
    await asyncio.sleep(0.05)
    owned = msgspec.structs.replace(fill, client_order_id=stop.client_order_id)
    recorder = world.execution.recorder
    assert not recorder.apply_fill(owned, "lookup")
    assert not recorder.apply_fill(owned, "lookup")
    assert world.order(stop.client_order_id).booked_quantity == Decimal("0.1")
    assert world.held() == 0
    await asyncio.sleep(0.05)
    assert world.rows("SELECT client_order_id FROM fills WHERE trade_id = ?", fill.trade_id) == [
        (stop.client_order_id,)
    ]
    events = [event for event in world.events if isinstance(event, OrderChanged)]
    assert [event.order.status for event in events if event.order.client_order_id == stop.client_order_id][
        -1
    ] is S.FILLED


@in_virtual_time
async def test_a_fill_without_an_owner_finds_it_after_a_restart_too(make_world):
    world = await make_world().boot()
    await world.open_position()
    stop = world.last(Purpose.STOP)
    world.venue.unreachable = {"open_orders"}  # no sweep learns anything of the stop
    fill = world.venue.execute(BTC, Side.SELL, Decimal("0.1"))
    await asyncio.sleep(0.05)
    world.venue.unreachable = set()
    shown = world.venue.orders[stop.client_order_id]
    world.venue.orders[stop.client_order_id] = msgspec.structs.replace(
        shown, status=S.FILLED, child_venue_order_id=fill.venue_order_id, filled_quantity=Decimal("0.1")
    )
    await world.restart()
    assert world.order(stop.client_order_id).booked_quantity == Decimal("0.1")
    assert world.held() == 0
    assert world.rows("SELECT cause FROM last_closes") == [("stop",)]


def test_fills_that_wait_to_be_looked_up_are_bounded_and_those_beyond_are_nobodys():
    def fill(number: int) -> Fill:
        name = ClientOrderId(f"td-mjuohs00001-{number}e")
        parts = (TradeId(str(number)), VenueOrderId(str(number)), name, Side.BUY, Decimal(1), Decimal(1), Decimal(0))
        return Fill(BTC, *parts, "USDT", None, False, number)

    unowned = UnownedFills("td")
    waits = [unowned.remember(fill(number), is_new=True) for number in range(1, OWNERLESS_FILLS + 11)]
    assert waits == [True] * OWNERLESS_FILLS + [False] * 10
    assert len(unowned.ownerless) == OWNERLESS_FILLS
    assert unowned.known(fill(OWNERLESS_FILLS + 10)) is not None
