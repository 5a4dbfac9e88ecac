"""Pushes: they reach the sink, and a stream that has ended or gone silent is told of, never filled in."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.bench import Bench, fault
from tests.conformance.cases import case, each
from tradingd.domain.errors import VenueError
from tradingd.domain.orders import OrderStatus
from tradingd.ports import Priority

LONGEST_SILENCE_S = 120.0


@case
async def test_order_fill_position_and_balance_are_pushed(bench: Bench) -> None:
    await bench.listen()
    request = await bench.bought()
    await bench.pushed("order", lambda order: order.client_order_id == request.client_order_id)
    fill = await bench.pushed("fill", lambda fill: True)
    assert (fill.client_order_id, fill.instrument) == (request.client_order_id, bench.btc)
    position = await bench.pushed("position", lambda position: position.quantity == request.quantity)
    assert position.instrument == bench.btc
    balance = await bench.pushed("balance", lambda balance: balance.wallet < 10_000)
    assert (balance.currency, balance.venue) == ("USDT", bench.btc.venue)
    assert bench.sink.all("alive")
    assert not bench.sink.all("bad_frame")


@case
async def test_a_flat_position_is_pushed_as_flat(bench: Bench) -> None:
    await bench.listen()
    await bench.bought()
    bench.act("human", act="close", symbol=bench.symbol())
    await bench.pushed("position", lambda position: position.quantity == 0)


@pytest.mark.fault(15)
@each(value=["account", "candles"])
async def test_a_stream_that_is_cut_is_told_of_and_can_be_watched_again(bench: Bench, kind: str) -> None:
    stream = bench.account_stream if kind == "account" else bench.candle_stream()
    await bench.venue.watch(stream)
    bench.begin(fault("cut_streams", stream=kind))
    await bench.pushed("disconnect", lambda told: told[0] == kind)
    await bench.venue.watch(stream)
    bench.sink.events.clear()
    await bench.bought()
    await bench.pushed("fill" if kind == "account" else "candle", lambda pushed: True)


@pytest.mark.fault(17)
@each(value=["account", "candles"])
async def test_a_stream_that_is_half_open_is_told_of(bench: Bench, kind: str) -> None:
    stream = bench.account_stream if kind == "account" else bench.candle_stream()
    await bench.venue.watch(stream)
    bench.begin(fault("half_open", stream=kind))
    await bench.pushed("disconnect", lambda told: told[0] == kind, LONGEST_SILENCE_S)
    bench.begin()
    await bench.venue.watch(stream)


@pytest.mark.fault(16)
@each(value=["account", "candles"])
async def test_a_mute_stream_shows_no_life_and_is_dialled_anew(bench: Bench, kind: str) -> None:
    stream = bench.account_stream if kind == "account" else bench.candle_stream()
    await bench.venue.watch(stream)
    bench.begin(fault("mute", stream=kind, for_s=30))
    await asyncio.sleep(1)
    bench.sink.events.clear()
    await bench.bought()
    await asyncio.sleep(3)
    name = "fill" if kind == "account" else "candle"
    assert not bench.sink.all(name)
    assert kind not in bench.sink.all("alive")
    await bench.venue.reset_stream(kind, "mute")
    await bench.pushed("disconnect", lambda told: told[0] == kind)
    await bench.venue.watch(stream)
    await bench.bought()
    await bench.pushed(name, lambda pushed: True)


@pytest.mark.fault(18)
@case
async def test_candles_that_are_lost_are_no_life_although_pings_are_answered(bench: Bench) -> None:
    await bench.venue.watch(bench.candle_stream())
    bench.begin(fault("lose_push", push="candle", times=None))
    await asyncio.sleep(1)
    bench.sink.events.clear()
    await asyncio.sleep(25)  # two pings and more
    assert not bench.sink.all("candle") and not bench.sink.all("disconnect")
    assert "candles" not in bench.sink.all("alive")


@pytest.mark.fault(23)
@case
async def test_a_stream_that_is_refused_is_an_error(bench: Bench) -> None:
    bench.begin(fault("refuse_streams", for_s=20))
    await asyncio.sleep(0.1)
    with pytest.raises(VenueError):
        await bench.listen()
    await asyncio.sleep(40)
    await bench.listen()


@pytest.mark.fault(19)
@case
async def test_a_push_that_comes_twice_is_the_same_fact_twice(bench: Bench) -> None:
    await bench.listen()
    bench.begin(fault("repeat_push", push="any", times=None))
    await bench.bought("0.500")
    await asyncio.sleep(2)
    fills = bench.sink.all("fill")
    assert len(fills) > len({fill.trade_id for fill in fills}), "nothing was repeated"
    orders = bench.sink.all("order")
    assert len(orders) > len(set(orders)), "no order was repeated"
    assert set(fills) == set(await bench.fills())


@pytest.mark.fault(20)
@case
async def test_pushes_that_overtake_each_other_all_arrive(bench: Bench) -> None:
    await bench.listen()
    bench.begin(fault("delay_push", push="order", times=None, delay_ms=800))
    requests = [await bench.bought() for _ in range(5)]
    await asyncio.sleep(3)
    assert {fill.trade_id for fill in bench.sink.all("fill")} == {fill.trade_id for fill in await bench.fills()}
    filled = {order.client_order_id for order in bench.sink.all("order") if order.status is OrderStatus.FILLED}
    assert filled == {request.client_order_id for request in requests}


@each(value=["lose_push", "repeat_push", "delay_push"])
async def test_no_candle_is_invented(bench: Bench, kind: str) -> None:
    await bench.venue.watch(bench.candle_stream())
    begun_ms = bench.clock.now_ms()
    what: dict[str, Any] = {"delay_ms": 3_000} if kind == "delay_push" else {}
    bench.begin(fault(kind, push="candle", times=None, **what))
    await asyncio.sleep(190)
    archive = await bench.venue.candles(bench.btc, "1m", begun_ms // 60_000 * 60_000, 10)
    closed = [candle for candle in bench.sink.all("candle") if candle.closed]
    assert set(closed) <= {candle for candle in archive if candle.closed}
    assert bool(closed) is (kind != "lose_push")
    frames = bench.sink.all("candle")
    assert (len(frames) > len(set(frames))) is (kind == "repeat_push"), "the fault was not played"


@pytest.mark.fault(20)
@case
async def test_a_candle_that_later_ones_have_overtaken_still_says_what_it_is(bench: Bench) -> None:
    await bench.venue.watch(bench.candle_stream())
    begun_ms = bench.clock.now_ms()
    bench.begin(fault("delay_push", push="candle", delay_ms=45_000, times=8))
    await asyncio.sleep(190)
    frames = bench.sink.all("candle")
    shown = [(candle.open_time_ms, candle.closed) for candle in frames]
    assert shown != sorted(shown), "nothing was overtaken"
    archive = await bench.venue.candles(bench.btc, "1m", begun_ms // 60_000 * 60_000, 10)
    closed = {candle for candle in frames if candle.closed}
    assert closed == {candle for candle in archive if candle.closed}


@pytest.mark.fault(20)
@case
async def test_an_order_push_that_was_overtaken_is_dated_before_its_successor(bench: Bench) -> None:
    await bench.listen()
    bench.begin(fault("delay_push", push="order", delay_ms=4_000, times=1))
    request = await bench.resting()
    order = await bench.placed(request)
    await asyncio.sleep(1)
    await bench.venue.cancel(order, Priority.CANCEL)
    await asyncio.sleep(6)
    pushed = [each for each in bench.sink.all("order") if each.client_order_id == request.client_order_id]
    assert [each.status for each in pushed] == [OrderStatus.CANCELED, OrderStatus.ACCEPTED], "nothing was overtaken"
    assert pushed[0].updated_ms > pushed[1].updated_ms
    assert (await bench.shown(request)).status is OrderStatus.CANCELED


@pytest.mark.fault(18)
@case
async def test_what_is_lost_in_the_stream_is_found_by_reading(bench: Bench) -> None:
    await bench.listen()
    bench.begin(fault("lose_push", push="any", times=None))
    request = await bench.bought()
    await asyncio.sleep(1)
    assert not bench.sink.all("fill")
    await bench.position("0.010")
    assert sum(fill.quantity for fill in await bench.fills()) == request.quantity


@pytest.mark.fault(66)
@case
async def test_a_human_who_closes_is_heard(bench: Bench) -> None:
    await bench.listen()
    await bench.bought()
    bench.act("human", act="close", symbol=bench.symbol())
    await bench.pushed("position", lambda position: position.quantity == 0)
    await asyncio.sleep(1)
    closing = [fill for fill in bench.sink.all("fill") if fill.signed_quantity < 0]
    assert sum(fill.quantity for fill in closing) == Decimal("0.010")
