"""Unified calls of an unmodified ccxt client that a user's program makes beside those of the daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import ccxt.pro
import pytest
import pytest_asyncio

from tests.emulator.helpers import START_MS, ccxt_client, serving
from tradingd.emulator.binance.model import BinanceVenue
from tradingd.emulator.venues import VenueOptions, open_venue

SYMBOL = "BTC/USDT:USDT"
TRIGGER = {"trigger": True}


@pytest_asyncio.fixture
async def port_and_venue() -> AsyncIterator[tuple[int, BinanceVenue]]:
    venue = open_venue(VenueOptions(symbols=("BTCUSDT", "ETHUSDT"), with_lags=False), START_MS)
    async with serving(venue, speed=30) as server:
        yield server.port, venue


@pytest_asyncio.fixture
async def client(port_and_venue: tuple[int, BinanceVenue]) -> AsyncIterator[Any]:
    client = ccxt_client(port_and_venue[0])
    await client.load_markets()
    await client.load_time_difference()
    yield client
    await client.close()


async def test_orders_are_edited_and_cancelled_in_batches(client: Any) -> None:
    placed = await client.create_orders(
        [{"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.01, "price": 63000 + step} for step in range(3)]
    )
    first = await client.edit_order(placed[0]["id"], SYMBOL, "limit", "buy", 0.02, 62900)
    assert (first["amount"], first["price"], first["id"]) == (0.02, 62900, placed[0]["id"])
    with pytest.raises(ccxt.pro.BaseError, match="-5027"):
        await client.edit_order(placed[0]["id"], SYMBOL, "limit", "buy", 0.02, 62900)
    await client.cancel_orders([order["id"] for order in placed[:2]], SYMBOL)
    assert [order["id"] for order in await client.fetch_open_orders(SYMBOL)] == [placed[2]["id"]]
    own = await client.create_order(SYMBOL, "limit", "buy", 0.01, 63000, {"clientOrderId": "td-1"})
    await client.cancel_orders([], SYMBOL, {"clientOrderIds": ["td-1"]})
    assert (await client.fetch_order(own["id"], SYMBOL))["status"] == "canceled"
    await client.cancel_all_orders(SYMBOL)
    assert await client.fetch_open_orders(SYMBOL) == []
    assert {order["status"] for order in await client.fetch_orders(SYMBOL)} == {"canceled"}


async def test_post_only_good_till_date_and_trailing_go_through_the_unified_call(client: Any) -> None:
    with pytest.raises(ccxt.pro.BaseError, match="-5022"):
        await client.create_order(SYMBOL, "limit", "buy", 0.01, 66000, {"postOnly": True})
    till = await client.fetch_time() + 3_600_000
    order = await client.create_order(SYMBOL, "limit", "buy", 0.01, 63000, {"timeInForce": "GTD", "goodTillDate": till})
    assert order["info"]["goodTillDate"] == till // 1000 * 1000
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    trail = await client.create_order(
        SYMBOL,
        "market",
        "sell",
        0.01,
        None,
        {"trailingPercent": 1.5, "reduceOnly": True, "trailingTriggerPrice": 70000},
    )
    (waiting,) = await client.fetch_open_orders(SYMBOL, params=TRIGGER)
    assert waiting["id"] == trail["id"] and waiting["info"]["callbackRate"] == "1.5"
    assert waiting["info"]["activatePrice"] == "70000.0"


async def test_settings_and_margin_are_set_through_unified_calls(client: Any) -> None:
    await client.set_leverage(10, SYMBOL)
    await client.set_margin_mode("isolated", SYMBOL)
    with pytest.raises(ccxt.pro.BaseError, match="-4046"):
        await client.set_margin_mode("isolated", SYMBOL)
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    (before,) = await client.fetch_positions([SYMBOL])
    assert before["marginMode"] == "isolated" and 0 < before["liquidationPrice"] < before["entryPrice"]
    await client.add_margin(SYMBOL, 20)
    (after,) = await client.fetch_positions([SYMBOL], {"useV2": True})
    assert after["leverage"] == 10 and after["liquidationPrice"] < before["liquidationPrice"]
    assert after["collateral"] == pytest.approx(before["collateral"] + 20, abs=1)
    with pytest.raises(ccxt.pro.BaseError, match="-4161"):
        await client.set_leverage(5, SYMBOL)
    fee = await client.fetch_trading_fee(SYMBOL)
    assert (fee["maker"], fee["taker"]) == (0.0002, 0.0005)


async def test_a_second_close_position_order_and_a_second_open_id_are_refused(client: Any) -> None:
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    stop = {"closePosition": True, "stopLossPrice": 60000, "clientOrderId": "td-1"}
    await client.create_order(SYMBOL, "market", "sell", None, None, stop)
    with pytest.raises(ccxt.pro.BaseError, match="-4130"):
        await client.create_order(SYMBOL, "market", "sell", None, None, {**stop, "clientOrderId": "td-2"})
    with pytest.raises(ccxt.pro.BaseError, match="-4116"):
        await client.create_order(SYMBOL, "limit", "buy", 0.01, 63000, {"clientOrderId": "td-1"})
    for _ in range(2):
        order = await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "td-3"})
        assert order["status"] == "closed", "the id of a filled order is free again"


async def test_gte_gtc_goes_with_the_position(client: Any) -> None:
    stop = {"closePosition": True, "stopLossPrice": 60000, "timeInForce": "GTE_GTC"}
    with pytest.raises(ccxt.pro.BaseError, match="-4509"):
        await client.create_order(SYMBOL, "market", "sell", None, None, stop)
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    order = await client.create_order(SYMBOL, "market", "sell", None, None, stop)
    await client.create_order(SYMBOL, "market", "sell", 0.01, None, {"reduceOnly": True})
    assert await client.fetch_open_orders(SYMBOL, params=TRIGGER) == []
    ended = await client.fetch_order(order["id"], SYMBOL, TRIGGER)
    assert ended["info"]["algoStatus"] == "EXPIRED"


async def test_funding_and_liquidations_are_read_through_unified_calls(
    client: Any, port_and_venue: tuple[int, BinanceVenue]
) -> None:
    rate = await client.fetch_funding_rate(SYMBOL)
    assert rate["fundingRate"] == float(port_and_venue[1]._desk.exchange.funding.rate("BTCUSDT"))
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    async with aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{port_and_venue[0]}/_venue/act"
        for values, status in (
            ({"do": "charge_funding", "symbol": "BTCUSDT", "rate_fraction": "0.001"}, 200),
            ({"do": "liquidate", "symbol": "BTCUSDT"}, 200),
            ({"do": "nothing"}, 400),
            ({"do": "human", "act": "open", "symbol": "BTCUSDT"}, 400),
            ({"do": "set_filters", "symbol": "BTCUSDT", "tick_size": "x"}, 400),
            ({}, 400),
        ):
            answer = await session.post(base, json=values)
            assert (answer.status, "done" in await answer.json()) == (status, status == 200)
    assert [row["amount"] < 0 for row in await client.fetch_funding_history(SYMBOL)] == [True]
    (own,) = await client.fetch_my_liquidations(SYMBOL)
    assert own["info"]["clientOrderId"].startswith("autoclose-")


async def test_a_reload_of_the_markets_brings_new_filters_and_the_state_of_the_symbol(
    client: Any, port_and_venue: tuple[int, BinanceVenue]
) -> None:
    port_and_venue[1].act("set_filters", {"symbol": "BTCUSDT", "tick_size": "0.5", "min_notional_usdt": "200"})
    port_and_venue[1].act("set_filters", {"symbol": "ETHUSDT", "status": "SETTLING"})
    assert client.market(SYMBOL)["precision"]["price"] == 0.1
    await client.load_markets(True)
    market = client.market(SYMBOL)
    assert (market["precision"]["price"], market["limits"]["cost"]["min"]) == (0.5, 200)
    assert (market["active"], client.market("ETH/USDT:USDT")["active"]) == (True, False)


async def test_reducing_orders_need_no_minimum_and_entries_do(client: Any) -> None:
    await client.create_order("ETH/USDT:USDT", "market", "buy", 0.01)
    with pytest.raises(ccxt.pro.BaseError, match="-4164"):
        await client.create_order("ETH/USDT:USDT", "market", "buy", 0.005)
    stop = {"stopLossPrice": 3000, "reduceOnly": True}
    await client.create_order("ETH/USDT:USDT", "market", "sell", 0.002, None, stop)
    order = await client.create_order("ETH/USDT:USDT", "market", "sell", 0.001, None, {"reduceOnly": True})
    assert order["status"] == "closed"
