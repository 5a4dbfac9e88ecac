"""An unmodified ccxt.pro client on the loopback face."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.emulator.helpers import START_MS, ccxt_client, flat, serving, until, write_candles
from tradingd.emulator.server import VenueServer
from tradingd.emulator.venues import VenueOptions, open_venue

SYMBOL = "BTC/USDT:USDT"


@pytest_asyncio.fixture
async def server() -> AsyncIterator[VenueServer]:
    async with serving(open_venue(VenueOptions(), START_MS), speed=60) as server:
        yield server


@pytest_asyncio.fixture
async def client(server: VenueServer) -> AsyncIterator[Any]:
    client = ccxt_client(server.port)
    await client.load_markets()
    await client.load_time_difference()
    try:
        yield client
    finally:
        await client.close()


async def test_markets_load_with_the_venues_filters(client: Any) -> None:
    market = client.market(SYMBOL)
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 0.001)
    assert market["limits"]["cost"]["min"] == 50 and client.market("ETH/USDT:USDT")["limits"]["cost"]["min"] == 20
    assert set(client.markets) == {f"{base}/USDT:USDT" for base in ("BTC", "ETH", "SOL", "DOGE", "XRP")}
    tiers = await client.fetch_leverage_tiers([SYMBOL])
    assert tiers[SYMBOL][0]["maxLeverage"] == 125


async def test_candles_orders_fills_and_positions_arrive(client: Any) -> None:
    candles = await asyncio.wait_for(client.watch_ohlcv(SYMBOL, "1m"), 5)
    assert len(candles[-1]) == 6
    watching = asyncio.create_task(client.watch_my_trades(SYMBOL))
    await until(lambda: asyncio.sleep(0, any("private" in url for url in client.clients)))
    await asyncio.sleep(0.1)
    order = await client.create_order(SYMBOL, "market", "buy", 0.05, None, {"clientOrderId": "td-1"})
    assert (order["status"], order["clientOrderId"], order["filled"]) == ("closed", "td-1", 0.05)
    fills = await asyncio.wait_for(watching, 5)
    assert fills[0]["order"] == order["id"]
    positions = await until(lambda: client.fetch_positions([SYMBOL]))
    assert (positions[0]["contracts"], positions[0]["side"]) == (0.05, "long")
    trades = await client.fetch_my_trades(SYMBOL)
    assert sum(trade["amount"] for trade in trades) == pytest.approx(0.05)
    balance = await client.fetch_balance()
    assert 0 < balance["USDT"]["free"] < 10_000
    found = await client.fetch_order(None, SYMBOL, {"clientOrderId": "td-1"})
    assert found["id"] == order["id"]


async def test_protective_orders_live_in_the_algo_book(client: Any) -> None:
    await client.create_order(SYMBOL, "market", "buy", 0.05)
    price = (await client.fetch_ohlcv(SYMBOL, "1m", None, 1))[-1][4]
    stop = await client.create_order(
        SYMBOL,
        "market",
        "sell",
        None,
        None,
        {"closePosition": True, "stopLossPrice": price * 0.9, "workingType": "MARK_PRICE", "clientOrderId": "td-2"},
    )
    take = await client.create_order(
        SYMBOL,
        "market",
        "sell",
        None,
        None,
        {"closePosition": True, "takeProfitPrice": price * 1.2, "workingType": "MARK_PRICE", "clientOrderId": "td-3"},
    )
    assert (stop["info"]["orderType"], take["info"]["orderType"]) == ("STOP_MARKET", "TAKE_PROFIT_MARKET")

    async def both() -> bool:
        return len(await client.fetch_open_orders(SYMBOL, params={"trigger": True})) == 2

    await until(both)
    assert await client.fetch_open_orders(SYMBOL) == []
    with pytest.raises(Exception, match="-2011"):
        await client.cancel_order(stop["id"], SYMBOL)
    await client.cancel_order(None, SYMBOL, {"trigger": True, "clientOrderId": "td-2"})
    await client.cancel_order(take["id"], SYMBOL, {"trigger": True})


async def test_speed_and_stop_are_switched_from_outside_the_dialect(server: VenueServer) -> None:
    base = f"http://127.0.0.1:{server.port}/_venue"
    async with aiohttp.ClientSession() as session:
        health = await (await session.get(f"{base}/health")).json()
        assert health["market"] == "synthetic" and health["pid"] > 0
        clock = await (await session.get(f"{base}/clock")).json()
        assert (clock["speed"], clock["finished"], clock["stands_still"]) == (60, False, False)
        for bad in ('{"speed": 0.5}', '{"speed": 601}', '{"speed": "fast"}', "{}"):
            assert (await session.post(f"{base}/clock", data=bad)).status == 400
        fast = await (await session.post(f"{base}/clock", json={"speed": 600})).json()
        assert fast["speed"] == 600 and fast["now_ms"] >= clock["now_ms"]
        await asyncio.sleep(0.1)
        later = await (await session.get(f"{base}/clock")).json()
        assert later["now_ms"] - fast["now_ms"] > 30_000
        assert (await session.get(f"{base}/nothing")).status == 404
        await session.post(f"{base}/stop")
        assert server.stopped.is_set()


async def test_a_market_from_a_file_stands_still_until_somebody_listens(tmp_path: Path) -> None:
    path = write_candles(tmp_path / "market.csv", flat(65000, 40))
    venue = open_venue(VenueOptions(candles={"BTCUSDT": path}, history=10), START_MS)
    async with serving(venue, speed=120) as server:
        client = ccxt_client(server.port)
        try:
            await client.load_markets()
            await client.load_time_difference()
            before = await client.fetch_time()
            order = await client.create_order(SYMBOL, "market", "buy", 0.05)
            assert await client.fetch_my_trades(SYMBOL) and order["status"] == "closed"
            await asyncio.sleep(0.05)
            assert await client.fetch_time() == before == START_MS + 600_000
            rows = await client.fetch_ohlcv(SYMBOL, "1m")
            assert len(rows) == 11
            await asyncio.wait_for(client.watch_ohlcv(SYMBOL, "1m"), 5)
            await asyncio.sleep(0.1)
            moving = await client.fetch_time()
            assert moving > before
        finally:
            await client.close()

        async def still() -> bool:
            async with aiohttp.ClientSession() as session:
                answer = await session.get(f"http://127.0.0.1:{server.port}/_venue/clock")
                return bool((await answer.json())["stands_still"])

        await until(still)
