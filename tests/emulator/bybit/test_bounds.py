"""How much and how far back the venue shows, how often it may be asked, and what a client makes of that: numbers as on
the venue's page. What has no test here or beside: dial backoff and default options of ccxt (facts 4 and 14, section 6),
which are the client's own and never used, since our streams are dialled and our markets chosen by ourselves; batches,
other categories and attached levels with a limit, which the daemon never sends and the built-in venue does not have.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any

import ccxt.pro
import pytest

from tests.emulator.bybit.bench import SYMBOL, Bench, refused, watching
from tests.emulator.helpers import START_MS, until
from tradingd.emulator.bybit.errors import VenueError
from tradingd.emulator.bybit.history_api import history
from tradingd.emulator.bybit.limits import Limits
from tradingd.emulator.bybit.params import Params
from tradingd.emulator.core.filters import Draft
from tradingd.emulator.venues import VenueOptions, open_bybit

DAY_MS = 86_400_000
LINEAR = {"category": "linear", "symbol": "BTCUSDT"}


def resting(venue: Any, count: int) -> list[Any]:
    """So many limit orders, put to the engine itself."""
    exchange = venue._desk.exchange
    price = (exchange.mark_price("BTCUSDT") * Decimal("0.97")).quantize(Decimal("0.1"))
    drafts = [
        Draft("BTCUSDT", 1, "LIMIT", Decimal("0.001"), price=price, client_order_id=f"td-{number}")
        for number in range(count)
    ]
    return [exchange.submit(draft) for draft in drafts]


async def test_fact_6_a_cancel_of_all_orders_blocks_the_clients_throttle_for_a_second(today: Bench) -> None:
    client = await today.client(enableRateLimit=True)
    await client.cancel_all_orders(SYMBOL)
    began = time.monotonic()
    await client.cancel_all_orders(SYMBOL)
    assert time.monotonic() - began > 0.8


async def test_fact_12_executions_come_fifty_on_a_page_and_a_hundred_at_most(bench: Bench) -> None:
    exchange = bench.venue._desk.exchange
    for number in range(120):
        side = 1 if number % 2 == 0 else -1
        exchange.submit(Draft("BTCUSDT", side, "MARKET", Decimal("0.001"), client_order_id=f"td-{number}"))
    client = await bench.client()

    async def shown() -> bool:
        return len(await client.fetch_my_trades(SYMBOL, None, 1_000)) == 100

    await until(shown)
    assert len(await client.fetch_my_trades(SYMBOL)) == 50


async def test_fact_15_an_order_over_the_websocket_without_an_answer_waits_for_ever(
    today: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await today.client(timeout=200)
    streams, heard = today.venue._desk.streams, asyncio.Event()
    answer = streams.on_frame

    def on_frame(number: int, text: str) -> Any:
        if "order.create" not in text:
            return answer(number, text)
        heard.set()
        return [], None

    monkeypatch.setattr(streams, "on_frame", on_frame)
    asked = asyncio.create_task(client.create_order_ws(SYMBOL, "market", "buy", 0.01))
    await asyncio.wait_for(heard.wait(), 5)
    done, _ = await asyncio.wait({asked}, timeout=1.0)
    assert not done, "the client's timeout is for REST alone"
    asked.cancel()


async def test_section_1_an_amendment_that_changes_nothing_is_refused(bench: Bench) -> None:
    client = await bench.client()
    (order,) = resting(bench.venue, 1)

    async def listed() -> Any:
        return await client.fetch_open_orders(SYMBOL)

    [row] = await until(listed)
    assert await refused(client.edit_order(row["id"], SYMBOL, "limit", "buy", 0.001, float(order.price))) == 10001


async def test_section_1_a_client_that_is_closed_cancels_whoever_watches(bench: Bench) -> None:
    client = await bench.client()
    [task] = await watching(bench, client, "watch_orders")
    await client.close()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def test_section_2_of_two_ids_the_venue_reads_its_own(bench: Bench) -> None:
    client = await bench.client()
    first, second = resting(bench.venue, 2)

    async def both() -> Any:
        listed = await client.fetch_open_orders(SYMBOL)
        return listed if len(listed) == 2 else []

    ids = {row["clientOrderId"]: row["id"] for row in await until(both)}
    await client.cancel_order(ids[first.client_order_id], SYMBOL, {"orderLinkId": second.client_order_id})

    async def left() -> list[str]:
        return [row["clientOrderId"] for row in await client.fetch_open_orders(SYMBOL)]

    async def one() -> bool:
        return len(await left()) == 1

    await until(one)
    assert await left() == [second.client_order_id]


def test_section_4_an_address_is_shut_out_for_ten_minutes_and_asking_begins_them_anew() -> None:
    limits = Limits()
    for _ in range(600):
        limits.charge_address(0)
    with pytest.raises(VenueError, match="403"):
        limits.charge_address(0)
    with pytest.raises(VenueError):
        limits.charge_address(599_999)
    with pytest.raises(VenueError):
        limits.charge_address(1_199_998)
    limits.charge_address(1_799_998)


def test_section_4_five_hundred_websockets_in_five_minutes_and_no_more() -> None:
    limits = Limits()
    assert all(limits.may_dial(0) for _ in range(500))
    assert not limits.may_dial(299_999)
    assert limits.may_dial(300_000)


async def test_section_4_five_hundred_active_orders_of_a_symbol_and_no_more(bench: Bench) -> None:
    resting(bench.venue, 500)
    client = await bench.client()
    with pytest.raises(ccxt.pro.InvalidOrder, match="110020"):
        await client.create_order(SYMBOL, "limit", "buy", 0.001, round(bench.price() * 0.97, 1))


async def test_section_5_a_quantity_between_two_lots_is_cut_and_one_below_a_lot_is_refused(bench: Bench) -> None:
    client = await bench.client()
    order = {**LINEAR, "side": "Buy", "orderType": "Market"}
    await client.private_post_v5_order_create({**order, "qty": "0.0019"})
    await bench.until_held("0.001")
    assert await refused(client.private_post_v5_order_create({**order, "qty": "0.0009"})) == 10001


async def test_section_6_a_history_shows_seven_days_from_the_start_that_is_asked_for(bench: Bench) -> None:
    client = await bench.client()
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    await bench.until_held("0.01")
    now_ms = bench.venue._desk.now_ms
    for ask in (client.private_get_v5_execution_list, client.private_get_v5_order_history):

        async def count(ask: Any = ask, **span: int) -> int:
            return len((await ask({**LINEAR, **span}))["result"]["list"])

        async def shown(count: Any = count) -> bool:
            return bool(await count())

        await until(shown)
        assert await count(startTime=now_ms - 8 * DAY_MS) == 0
        assert await count(startTime=now_ms - 6 * DAY_MS) > 0
        assert await refused(count(startTime=now_ms - 8 * DAY_MS, endTime=now_ms)) == 10001


def test_what_ended_without_a_fill_is_in_the_history_for_a_day() -> None:
    venue = open_bybit(VenueOptions(venue="bybit", symbols=("BTCUSDT",), with_lags=False), START_MS)
    venue.advance(START_MS + 1_000)
    (order,) = resting(venue, 1)
    venue._desk.exchange.cancel(order)
    for hours, count in ((23, 1), (25, 0)):
        venue.advance(START_MS + hours * 3_600_000)
        venue._desk.views.now_ms = venue._desk.now_ms
        found = history(venue._desk, Params(dict(LINEAR)))
        assert len(found["list"]) == count, hours

