"""A read that a stop may wait for, when the venue's answers are lost, spoiled or late (P5)."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.venues.bench import Bench, request, send
from tests.venues.doubles import BTC
from tests.venues.faulty_proxy import Exchange, Fault, answer, cut_body, executed_then_mute
from tradingd.domain.errors import VenueError, VenueUnreachable
from tradingd.domain.numbers import ZERO
from tradingd.ports import Priority

POSITIONS = "GET /fapi/v3/positionRisk"
ORDERS = "GET /fapi/v1/openAlgoOrders"
ORDER = "GET /fapi/v1/order"
RULES = "GET /fapi/v1/exchangeInfo"
TIMEOUT = answer(503, '{"code":-1007,"msg":"Timeout waiting for response from backend server."}')


def first(count: int, fault: Fault) -> Fault:
    """Spoil the first answers only."""
    left = count

    async def spoil(exchange: Exchange) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            await fault(exchange)
        else:
            exchange.writer.write(await exchange.forward())

    return spoil


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    """How long it takes."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await work()
    return loop.time() - began


async def test_a_read_whose_answer_is_lost_costs_less_than_a_second(bench: Bench) -> None:
    venue = await bench.open()
    bench.proxy.faults[POSITIONS] = first(1, executed_then_mute)
    bench.proxy.faults[ORDERS] = first(1, executed_then_mute)
    assert await seconds(lambda: venue.account(Priority.RECONCILE)) < 1
    assert await seconds(lambda: venue.open_orders(BTC, Priority.PROTECT)) < 1
    assert bench.proxy.names().count(POSITIONS) == 2
    assert bench.budget.acquired.count(("GET fapi/v3/positionRisk", Priority.RECONCILE)) == 2


@pytest.mark.parametrize("fault", [cut_body, TIMEOUT, answer(502, "<html>Bad Gateway</html>", kind="text/html")])
async def test_a_read_whose_answer_is_spoiled_is_sent_again(bench: Bench, fault: Fault) -> None:
    venue = await bench.open()
    bench.proxy.faults[POSITIONS] = first(2, fault)
    assert (await venue.account(Priority.RECONCILE)).position(BTC).quantity == ZERO
    assert bench.proxy.names().count(POSITIONS) == 3


async def test_an_order_is_looked_up_again_and_a_refusal_is_an_answer(bench: Bench) -> None:
    venue = await bench.open()
    lost = request(client_order_id="td-x-1e")
    bench.proxy.faults[ORDER] = first(1, cut_body)
    assert await venue.find_order(lost, Priority.RECONCILE) is None
    assert bench.proxy.names().count(ORDER) == 2
    bench.proxy.faults[ORDER] = answer(401, '{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}')
    with pytest.raises(VenueError):
        await venue.find_order(lost, Priority.RECONCILE)
    assert bench.proxy.names().count(ORDER) == 3


@pytest.mark.fault(24)
async def test_a_venue_that_answers_no_read_is_given_up_within_seconds(bench: Bench) -> None:
    venue = await bench.open()
    bench.proxy.faults[ORDERS] = executed_then_mute
    with pytest.raises(VenueUnreachable):
        await asyncio.wait_for(venue.open_orders(BTC, Priority.PROTECT), 6)
    assert bench.proxy.names().count(ORDERS) == 3


async def test_an_answer_that_comes_after_its_second_copy_left_counts_all_the_same(bench: Bench) -> None:
    async def slow(exchange: Exchange) -> None:
        whole = await exchange.forward()
        await asyncio.sleep(1.2)
        exchange.writer.write(whole)

    venue = await bench.open()
    bench.proxy.faults[ORDERS] = slow
    assert await seconds(lambda: venue.open_orders(BTC, Priority.PROTECT)) < 1.6


async def test_a_create_is_never_sent_twice_however_late_its_answer(bench: Bench) -> None:
    venue = await bench.open(request_timeout_s=1.5)
    bench.proxy.faults["POST /fapi/v1/order"] = executed_then_mute
    await send(bench, venue, request())
    assert bench.proxy.names().count("POST /fapi/v1/order") == 1


async def test_the_rules_at_a_start_are_asked_for_again_as_soon_as_any_read(bench: Bench) -> None:
    await (await bench.open()).close()  # what takes the first one long is importing ccxt
    bench.proxy.faults[RULES] = first(2, executed_then_mute)
    venue = bench.build()
    assert await seconds(lambda: venue.open(bench.sink)) < 5
    assert bench.proxy.names().count(RULES) == 3


async def test_rules_that_arrive_slowly_are_waited_for_without_a_second_copy(bench: Bench) -> None:
    async def dribble(exchange: Exchange) -> None:
        whole = await exchange.forward()
        third = len(whole) // 3
        for part in (whole[:third], whole[third : 2 * third], whole[2 * third :]):
            exchange.writer.write(part)
            await exchange.writer.drain()
            await asyncio.sleep(1.6)

    bench.proxy.faults[RULES] = dribble
    venue = bench.build()
    await venue.open(bench.sink)
    assert bench.proxy.names().count(RULES) == 1
    assert BTC in venue.instruments
