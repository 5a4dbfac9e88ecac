"""What an unmodified ccxt.pro client makes of this venue: the numbered traps of its dialect, seen through the client.

The numbers are those of the list of traps that the adapter is built against; those that need a broken network are
tested with the fault scripts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import ccxt.pro
import pytest
import pytest_asyncio

from tests.emulator.helpers import START_MS, Bench, refused, serving, until
from tradingd.emulator.venues import VenueOptions, open_venue

SYMBOL = "BTC/USDT:USDT"
TRIGGER = {"trigger": True}


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    venue = open_venue(VenueOptions(symbols=("BTCUSDT", "ETHUSDT"), with_lags=False), START_MS)
    async with serving(venue, speed=30) as server:
        bench = Bench(venue, server.port)
        try:
            yield bench
        finally:
            await bench.close()


async def connected(client: Any, part: str) -> None:
    async def check() -> bool:
        return any(part in url and socket.connected.done() for url, socket in client.clients.items())

    await until(check)
    await asyncio.sleep(0.05)


async def test_trap_1_the_client_extends_its_listen_key_once_and_never_again(bench: Bench) -> None:
    client = await bench.client(options={"listenKeyRefreshRate": 100})
    watching = asyncio.create_task(client.watch_orders(SYMBOL))
    await connected(client, "private")
    await asyncio.sleep(0.6)
    methods = [row[0] for row in bench.requests("/fapi/v1/listenKey")]
    assert methods == ["POST", "PUT"]
    watching.cancel()


async def test_trap_2_an_expired_listen_key_leaves_a_watch_pending_for_ever(bench: Bench) -> None:
    client = await bench.client()
    watching = asyncio.create_task(client.watch_orders(SYMBOL))
    await connected(client, "private")
    assert bench.act("expire_listen_key") == "let 1 listen keys expire"
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    done, _ = await asyncio.wait({watching}, timeout=0.5)
    assert not done
    watching.cancel()


async def test_trap_4_the_test_flag_is_a_live_order(bench: Bench) -> None:
    client = await bench.client()
    order = await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"test": True})
    assert order["status"] == "closed" and (await client.fetch_positions([SYMBOL]))[0]["contracts"] == 0.01


async def test_trap_5_attached_stops_make_no_protective_order(bench: Bench) -> None:
    client = await bench.client()
    await client.create_order(
        SYMBOL,
        "market",
        "buy",
        0.01,
        None,
        {"stopLoss": {"triggerPrice": bench.price() * 0.9}, "takeProfit": {"triggerPrice": bench.price() * 1.1}},
    )
    assert await client.fetch_open_orders(SYMBOL, params=TRIGGER) == []
    assert "stopLoss" in bench.requests("/fapi/v1/order")[0][1]


async def test_trap_8_a_triggered_order_reads_closed_although_its_child_still_works(bench: Bench) -> None:
    client = await bench.client()
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    stop = await client.create_order(
        SYMBOL,
        "limit",
        "sell",
        0.01,
        bench.price() * 0.999,
        {"stopLossPrice": bench.price() * 0.99, "reduceOnly": True},
    )
    bench.act("move_price", symbol="BTCUSDT", by_fraction=-0.03)

    async def fired() -> Any:
        row = await client.fetch_order(stop["id"], SYMBOL, TRIGGER)
        return row if row["info"]["algoStatus"] == "TRIGGERED" else None

    row = await until(fired)
    child = await client.fetch_order(row["info"]["actualOrderId"], SYMBOL)
    assert (row["status"], row["filled"], child["status"], child["id"] != stop["id"]) == ("closed", 0, "open", True)


async def test_trap_9_one_stop_is_told_of_under_two_ids_and_one_client_id(bench: Bench) -> None:
    client = await bench.client(newUpdates=True)
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    seen: list[tuple[str, str]] = []

    async def listen() -> None:
        while True:
            for row in await client.watch_orders(SYMBOL):
                seen.append((row["id"], row["clientOrderId"]))

    listening = asyncio.create_task(listen())
    await connected(client, "private")
    stop = await client.create_order(
        SYMBOL,
        "market",
        "sell",
        None,
        None,
        {"closePosition": True, "stopLossPrice": bench.price() * 0.99, "clientOrderId": "td-stop"},
    )
    bench.act("move_price", symbol="BTCUSDT", by_fraction=-0.03)

    async def both() -> bool:
        return len({row[0] for row in seen}) == 2

    await until(both)
    assert {row[1] for row in seen} == {"td-stop"} and stop["id"] in {row[0] for row in seen}
    listening.cancel()


async def test_trap_10_candle_rows_change_under_whoever_holds_them(bench: Bench) -> None:
    client = await bench.client()
    first = (await client.watch_ohlcv(SYMBOL, "1m"))[-1]
    kept = list(first)

    async def changed() -> bool:
        await client.watch_ohlcv(SYMBOL, "1m")
        return bool(first != kept)

    assert await until(changed)


async def test_trap_11_what_came_between_two_watches_arrives_at_once_and_only_the_latest_state(bench: Bench) -> None:
    client = await bench.client(newUpdates=True)
    watching = asyncio.create_task(client.watch_orders(SYMBOL))
    await connected(client, "private")
    placed = [(await client.create_order(SYMBOL, "market", "buy", 0.01))["id"] for _ in range(3)]
    await asyncio.wait_for(watching, 5)
    await asyncio.sleep(0.3)
    watching = asyncio.create_task(client.watch_orders(SYMBOL))
    await asyncio.sleep(0.1)
    assert not watching.done()
    last = (await client.create_order(SYMBOL, "market", "sell", 0.01))["id"]
    rows = await asyncio.wait_for(watching, 5)
    seen = [row["id"] for row in rows]
    assert seen[-1] == last and {*placed[1:], last} <= set(seen) and len(seen) == len(set(seen))
    assert all(row["status"] == "closed" for row in rows[:-1])


async def test_trap_12_a_dropped_connection_raises_and_the_next_watch_dials_again(bench: Bench) -> None:
    client = await bench.client()
    await client.watch_ohlcv(SYMBOL, "1m")
    watching = asyncio.create_task(client.watch_my_trades(SYMBOL))
    await connected(client, "private")
    assert bench.act("end_connections") == "ended 2 connections as after 24 hours"
    with pytest.raises(ccxt.NetworkError):
        await asyncio.wait_for(watching, 5)
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    again = asyncio.create_task(client.watch_my_trades(SYMBOL))
    await asyncio.sleep(0.3)
    assert not again.done(), "what happened in between is not replayed"
    order = await client.create_order(SYMBOL, "market", "sell", 0.01)
    assert (await asyncio.wait_for(again, 5))[-1]["order"] == order["id"]


async def test_trap_13_many_single_subscriptions_end_the_connection_and_one_message_does_not(bench: Bench) -> None:
    client = await bench.client()
    frames = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
    results = await asyncio.gather(
        *(asyncio.wait_for(client.watch_ohlcv(SYMBOL, frame), 5) for frame in frames), return_exceptions=True
    )
    assert any(isinstance(result, ccxt.NetworkError) for result in results)
    other = await bench.client()
    assert await asyncio.wait_for(other.watch_ohlcv_for_symbols([[SYMBOL, frame] for frame in frames]), 5)


async def test_trap_14_a_flat_position_arrives_with_neither_side_nor_leverage(bench: Bench) -> None:
    client = await bench.client(options={"watchPositions": {"fetchPositionsSnapshot": False}})
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    watching = asyncio.create_task(client.watch_positions([SYMBOL]))
    balance = asyncio.create_task(client.watch_balance())
    await connected(client, "private")
    await client.create_order(SYMBOL, "market", "sell", 0.01)
    row = (await asyncio.wait_for(watching, 5))[-1]
    assert (row["contracts"], row["leverage"]) == (0, None) and row["side"] not in ("long", "short")
    wallet = (await asyncio.wait_for(balance, 5))["USDT"]
    assert wallet["free"] is None and wallet["total"] == float(bench.venue._desk.exchange.account.wallet)


@pytest.mark.parametrize(("act", "prefix"), [("liquidate", "autoclose-"), ("deleverage", "adl_autoclose")])
async def test_trap_15_a_liquidation_is_silent_in_watched_fills_and_stands_in_the_list(
    bench: Bench, act: str, prefix: str
) -> None:
    client = await bench.client()
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    fills = asyncio.create_task(client.watch_my_trades(SYMBOL))
    orders = asyncio.create_task(client.watch_orders(SYMBOL))
    await connected(client, "private")
    bench.act(act, symbol="BTCUSDT")
    assert (await asyncio.wait_for(orders, 5))[-1]["clientOrderId"].startswith(prefix)
    await asyncio.sleep(0.2)
    assert not fills.done()
    newest = (await client.fetch_my_trades(SYMBOL))[-1]
    assert (newest["side"], newest["amount"]) == ("sell", 0.01)
    assert await client.fetch_positions([SYMBOL]) == []
    fills.cancel()


async def test_trap_16_amounts_are_cut_and_prices_rounded_without_a_word(bench: Bench) -> None:
    client = await bench.client()
    order = await client.create_order(SYMBOL, "limit", "buy", 0.0119, 63000.04)
    assert (order["amount"], order["price"]) == (0.011, 63000.0)
    with pytest.raises(ccxt.InvalidOrder):
        await client.create_order(SYMBOL, "market", "buy", 0.0009)
    assert len(bench.requests("/fapi/v1/order")) == 1


async def test_trap_17_closing_a_client_cancels_its_watches_and_it_is_of_no_more_use(bench: Bench) -> None:
    client = await bench.client()
    watching = asyncio.create_task(client.watch_orders(SYMBOL))
    await connected(client, "private")
    await client.close()
    with pytest.raises((asyncio.CancelledError, ccxt.ExchangeClosedByUser)):
        await watching


async def test_trap_19_only_a_fresh_look_at_the_clock_heals_a_clock_that_runs_away(bench: Bench) -> None:
    client = await bench.client()
    bench.act("shift_clock", offset_ms=-5000)
    assert await refused(client.fetch_balance()) == -1021
    assert await refused(client.create_order(SYMBOL, "market", "buy", 0.01)) == -1021
    bench.act("shift_clock", offset_ms=0)
    await client.load_time_difference()
    assert (await client.fetch_balance())["USDT"]["total"] == 10_000


async def test_trap_20_the_plain_endpoint_takes_no_conditional_type(bench: Bench) -> None:
    client = await bench.client()
    raw = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "stopPrice": "60000", "quantity": "0.01"}
    assert await refused(client.fapiPrivatePostOrder(raw)) == -4120


async def test_trap_21_hedge_mode_refuses_reduce_only_and_the_client_drops_it_silently(bench: Bench) -> None:
    client = await bench.client()
    await client.set_position_mode(True)
    assert (await client.fetch_position_mode(SYMBOL))["hedged"] is True
    assert (
        await refused(
            client.create_order(SYMBOL, "market", "sell", 0.01, None, {"reduceOnly": True, "positionSide": "LONG"})
        )
        == -1106
    )
    assert await refused(client.create_order(SYMBOL, "market", "buy", 0.01)) == -4061
    assert (
        await refused(client.create_order(SYMBOL, "market", "sell", 0.01, None, {"hedged": True, "reduceOnly": True}))
        == -4060
    )
    sent = bench.requests("/fapi/v1/order")[-1][1]
    assert "positionSide=LONG" in sent and "reduceOnly" not in sent


async def test_trap_22_the_list_of_bookings_is_dear(bench: Bench) -> None:
    client = await bench.client()
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    bench.act("charge_funding", symbol="BTCUSDT", rate_fraction="0.001")
    before = int(client.last_response_headers["X-MBX-USED-WEIGHT-1M"])
    rows = await client.fetch_funding_history(SYMBOL)
    assert len(rows) == 1 and rows[0]["amount"] < 0
    assert int(client.last_response_headers["X-MBX-USED-WEIGHT-1M"]) - before in (30, 30 - before)
