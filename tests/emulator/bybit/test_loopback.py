"""An unmodified ccxt.pro bybit trades on the loopback face."""

from __future__ import annotations

import asyncio

import pytest

from tests.emulator.bybit.bench import ETH, SYMBOL, Bench, rows, watching
from tests.emulator.helpers import until


async def test_markets_load_with_the_venues_filters(bench: Bench) -> None:
    client = await bench.client()
    market = client.market(SYMBOL)
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 0.001)
    assert market["limits"]["cost"]["min"] == 5 and market["linear"] and set(client.markets) == {SYMBOL, ETH}


async def test_candles_come_over_rest_and_stream_with_confirm(bench: Bench) -> None:
    client = await bench.client()
    frames = bench.tap(client)
    history = await client.fetch_ohlcv(SYMBOL, "1m", None, 50)
    assert len(history) == 50 and history[-1][0] - history[0][0] == 49 * 60_000
    rows_ = await asyncio.wait_for(client.watch_ohlcv(SYMBOL, "1m"), 5)
    assert len(rows_[-1]) == 6

    async def closed() -> bool:
        return any(row["confirm"] for frame in frames if "kline" in frame.get("topic", "") for row in frame["data"])

    await until(closed)


async def test_an_order_is_acknowledged_then_told_filled_and_seen_everywhere(bench: Bench) -> None:
    client = await bench.client()
    frames = bench.tap(client)
    tasks = await watching(bench, client, "watch_orders", "watch_my_trades", "watch_balance")
    order = await client.create_order(SYMBOL, "market", "buy", 0.05, None, {"clientOrderId": "td-1"})
    assert (order["clientOrderId"], order["status"], order["filled"]) == ("td-1", None, None)
    orders, fills, _ = await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert orders[-1]["id"] == order["id"] and fills[0]["order"] == order["id"]
    last = rows(frames, "order")[-1]
    assert (last["orderStatus"], last["cumExecQty"], last["orderLinkId"]) == ("Filled", "0.05", "td-1")
    positions = await client.fetch_positions([SYMBOL])
    assert (positions[0]["contracts"], positions[0]["side"]) == (0.05, "long")
    trades = await client.fetch_my_trades(SYMBOL)
    assert sum(trade["amount"] for trade in trades) == pytest.approx(0.05)
    found = await client.fetch_open_orders(SYMBOL, params={"orderLinkId": "td-1"})
    assert (found[0]["id"], found[0]["status"]) == (order["id"], "closed")
    balance = await client.fetch_balance()
    assert 0 < balance["USDT"]["free"] < 10_000


async def test_a_resting_order_is_listed_amended_and_cancelled(bench: Bench) -> None:
    client = await bench.client()
    price = round(bench.price() * 0.97, 1)
    order = await client.create_order(SYMBOL, "limit", "buy", 0.05, price, {"clientOrderId": "td-2"})

    async def listed() -> list[object]:
        return [row["id"] for row in await client.fetch_open_orders(SYMBOL)]

    assert await until(listed) == [order["id"]]
    await client.edit_order(order["id"], SYMBOL, "limit", "buy", 0.04, price)
    await client.cancel_order(None, SYMBOL, {"orderLinkId": "td-2"})

    async def gone() -> bool:
        return not await client.fetch_open_orders(SYMBOL)

    await until(gone)
    ended = (await client.fetch_canceled_and_closed_orders(SYMBOL, params={"orderLinkId": "td-2"}))[0]
    assert (ended["status"], ended["amount"]) == ("canceled", 0.04)
