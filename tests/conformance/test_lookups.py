"""Orders that are looked for, cancelled and listed, in every book and beyond one page."""

import asyncio
from decimal import Decimal

import pytest

from tests.conformance.bench import Bench
from tests.conformance.cases import case
from tradingd.domain.account import CancelVerdict, VenueOrder
from tradingd.domain.ids import VenueOrderId
from tradingd.domain.orders import OrderKind, OrderRequest, OrderStatus
from tradingd.ports import Priority

MANY = 120
"""More than two of the longest pages of open orders of any venue here."""


async def cancel(bench: Bench, order: VenueOrder) -> CancelVerdict:
    return (await bench.venue.cancel(order, Priority.CANCEL)).verdict


@case
async def test_what_never_existed_is_not_found(bench: Bench) -> None:
    assert await bench.find(bench.order()) is None
    assert await bench.find(await bench.stop()) is None


@case
async def test_an_open_order_is_cancelled_once(bench: Bench) -> None:
    await bench.listen()
    order = await bench.placed(await bench.resting())
    assert await cancel(bench, order) is CancelVerdict.CANCELED
    request = bench_request(bench, order)
    await bench.shown(request, OrderStatus.CANCELED)
    await bench.pushed("order", lambda pushed: pushed.status is OrderStatus.CANCELED)
    assert await cancel(bench, order) is CancelVerdict.GONE
    assert await bench.open_ids() == set()


def bench_request(bench: Bench, order: VenueOrder) -> OrderRequest:
    assert order.client_order_id is not None
    return bench.order(client_order_id=order.client_order_id)


@case
async def test_a_waiting_stop_is_cancelled_once(bench: Bench) -> None:
    await bench.bought()
    request = await bench.stop()
    order = await bench.placed(request)
    assert await cancel(bench, order) is CancelVerdict.CANCELED
    await bench.shown(request, OrderStatus.CANCELED)
    assert await cancel(bench, order) is CancelVerdict.GONE


@case
async def test_what_has_filled_cannot_be_cancelled(bench: Bench) -> None:
    request = await bench.bought()
    order = await bench.shown(request)
    assert await cancel(bench, order) is CancelVerdict.GONE
    assert (await bench.shown(request)).status is OrderStatus.FILLED


@case
async def test_what_never_existed_cannot_be_cancelled(bench: Bench) -> None:
    order = await bench.placed(await bench.resting())
    ghost = VenueOrder(
        order.instrument, order.book, VenueOrderId("77"), bench.order().client_order_id, OrderStatus.ACCEPTED,
        order.side, order.kind, order.quantity,
    )  # fmt: skip
    assert await cancel(bench, ghost) is CancelVerdict.GONE
    assert len(await bench.open_ids()) == 1


@pytest.mark.fault(67)
@case
async def test_what_somebody_else_cancelled_is_found_cancelled(bench: Bench) -> None:
    request = await bench.resting()
    order = await bench.placed(request)
    bench.act("human", act="cancel_orders", symbol=bench.symbol())
    await bench.shown(request, OrderStatus.CANCELED)
    assert await cancel(bench, order) is CancelVerdict.GONE


@case
async def test_a_stop_is_found_in_each_of_its_states(bench: Bench) -> None:
    await bench.bought()
    cancelled, fired = await bench.stop("0.97"), await bench.stop("0.98")
    waiting = await bench.placed(cancelled)
    await bench.placed(fired)
    await cancel(bench, waiting)
    await bench.move("-0.025")
    await bench.position("0")
    await bench.shown(cancelled, OrderStatus.CANCELED)
    await bench.shown(fired, OrderStatus.TRIGGERED, OrderStatus.FILLED)


@case
async def test_orders_of_a_second_client_are_seen_and_told_apart(bench: Bench) -> None:
    other = await bench.second()
    ours, theirs = await bench.resting(), await bench.resting("0.96")
    await bench.placed(ours)
    await bench.placed(theirs, other)

    async def both() -> bool:
        return await bench.open_ids() == {ours.client_order_id, theirs.client_order_id}

    await bench.until(both)


@case
async def test_open_orders_are_whole_beyond_one_page(bench: Bench) -> None:
    await bench.bought()
    wanted = set()
    limit, trigger = await bench.price("0.97"), await bench.price("0.96")
    for number in range(MANY):
        request = bench.order(kind=OrderKind.LIMIT, limit_price=limit)
        if number % 15 == 0:
            request = await bench.stop(trigger_price=trigger)
        await bench.send(request)
        wanted.add(request.client_order_id)

    async def whole() -> bool:
        return await bench.open_ids() == wanted

    await bench.until(whole)
    everywhere = await bench.venue.open_orders(None, Priority.RECONCILE)
    assert {order.client_order_id for order in everywhere} == wanted
    assert {order.book for order in everywhere} == set(bench.venue.limits.order_books)


@case
async def test_open_orders_of_one_instrument_are_no_others(bench: Bench) -> None:
    request = await bench.resting()
    await bench.placed(request)
    assert await bench.venue.open_orders(bench.eth, Priority.RECONCILE) == []


@pytest.mark.fault(59)
@case
async def test_fills_are_whole_and_ascending_beyond_one_page(bench: Bench) -> None:
    since_ms = bench.clock.now_ms()
    for number in range(115):
        side = "open" if number % 2 == 0 else "close"
        bench.act("human", act=side, symbol=bench.symbol(), side="buy", quantity=Decimal("0.010"))
        await asyncio.sleep(0.01)
    truth = sorted((fill.time_ms, fill.price, fill.quantity) for fill in bench.exchange.fills)
    assert len(truth) > 100

    async def whole() -> bool:
        return len(await bench.fills(since_ms - 1000)) == len(truth)

    await bench.until(whole)
    fills = await bench.fills(since_ms - 1000)
    assert sorted((fill.time_ms, fill.price, fill.quantity) for fill in fills) == truth
    assert len({fill.trade_id for fill in fills}) == len(truth)
    assert [fill.time_ms for fill in fills] == sorted(fill.time_ms for fill in fills)
    assert sum(fill.signed_quantity for fill in fills) == bench.held()


@case
async def test_more_than_a_thousand_fills_are_whole(bench: Bench) -> None:
    """No venue gives more than a thousand at a time; some of these are of the same millisecond."""
    since_ms = bench.clock.now_ms()
    bench.act("transfer", usdt=200_000)  # for the fees
    for number in range(1_600):
        side = "open" if number % 2 == 0 else "close"
        bench.act("human", act=side, symbol=bench.symbol(), side="buy", quantity=Decimal("0.200"))
        if number % 25 == 0:
            await asyncio.sleep(1)
    truth = sorted((fill.time_ms, fill.price, fill.quantity) for fill in bench.exchange.fills)
    assert len(truth) > 2_000, f"only {len(truth)}"
    assert len({time_ms for time_ms, _, _ in truth}) < len(truth)

    async def whole() -> bool:
        return len(await bench.fills(since_ms - 1000)) == len(truth)

    await bench.until(whole, 20.0)
    fills = await bench.fills(since_ms - 1000)
    assert sorted((fill.time_ms, fill.price, fill.quantity) for fill in fills) == truth
    assert len({fill.trade_id for fill in fills}) == len(truth)
    assert [fill.time_ms for fill in fills] == sorted(fill.time_ms for fill in fills)


@case
async def test_fills_begin_where_they_are_asked_from(bench: Bench) -> None:
    await bench.bought()
    await asyncio.sleep(10)
    middle_ms = bench.clock.now_ms()
    second = await bench.bought("0.020")

    async def shown() -> bool:
        return bool(await bench.fills(middle_ms))

    await bench.until(shown)
    assert {fill.client_order_id for fill in await bench.fills(middle_ms)} == {second.client_order_id}


@case
async def test_what_a_human_did_carries_no_id_of_ours(bench: Bench) -> None:
    await bench.listen()
    bench.act("human", act="open", symbol=bench.symbol(), side="buy", quantity=Decimal("0.010"))
    fill = await bench.pushed("fill", lambda pushed: True)
    order = await bench.pushed("order", lambda pushed: True)
    for each in (fill.client_order_id, order.client_order_id):
        assert each is None or (each and not each.startswith("td-"))
    await bench.position("0.010")
