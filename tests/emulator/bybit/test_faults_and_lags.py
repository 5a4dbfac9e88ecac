"""Bad days of the built-in Bybit: scripts mean the same here, and what is seen lags behind what is."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import ccxt.pro
import pytest

from tests.emulator.bybit.bench import SYMBOL, Bench, code_of, rows, watching
from tests.emulator.helpers import START_MS, until
from tradingd.emulator.bybit import meaning
from tradingd.emulator.faults.language import PURPOSES, PUSHES, REPLIES
from tradingd.emulator.faults.reading import parse_script
from tradingd.emulator.server import VenueServer
from tradingd.emulator.venues import VenueOptions, open_bybit
from tradingd.emulator.wire import HttpRequest


def _play(server: VenueServer, *rules: str) -> None:
    server._faults = server._begin(parse_script("".join(f"[[rule]]\n{rule}\n" for rule in rules)))


async def test_section_3_a_lost_reply_is_an_order_that_may_exist_and_its_id_proves_it(
    bench: Bench, server: VenueServer
) -> None:
    client = await bench.client(timeout=300)
    await client.fetch_positions()
    _play(server, 'do = "lose_reply"\non = "create"\ntimes = 1')
    with pytest.raises(ccxt.pro.RequestTimeout):
        await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "td-1"})
    await bench.until_held("0.01")
    with pytest.raises(ccxt.pro.InvalidOrder) as caught:
        await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "td-1"})
    assert code_of(caught.value) == 110072


async def test_section_3_a_server_timeout_is_a_plain_error_although_the_order_was_taken(
    bench: Bench, server: VenueServer
) -> None:
    client = await bench.client()
    await client.fetch_positions()
    _play(server, 'do = "answer"\nreply = "request_timeout"\nexecuted = true\non = "create"\ntimes = 1')
    with pytest.raises(ccxt.pro.ExchangeError) as caught:
        await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "td-1"})
    assert code_of(caught.value) == 10000 and not isinstance(caught.value, ccxt.pro.NetworkError)
    await bench.until_held("0.01")


async def test_section_4_a_ban_is_403_and_does_not_say_until_when(bench: Bench, server: VenueServer) -> None:
    client = await bench.client()
    await client.fetch_positions()
    _play(server, 'do = "ban"\nfor_s = 60\non = "create"')
    with pytest.raises(ccxt.pro.RateLimitExceeded, match="access too frequent"):
        await client.create_order(SYMBOL, "market", "buy", 0.01)
    with pytest.raises(ccxt.pro.RateLimitExceeded):
        await client.fetch_positions()


@pytest.mark.fault(32)
async def test_fact_1_an_order_that_the_venue_takes_back_ends_without_a_fill(bench: Bench, server: VenueServer) -> None:
    client = await bench.client()
    await client.fetch_positions()
    frames = bench.tap(client)
    await watching(bench, client, "watch_orders")
    _play(server, 'do = "end_order"\ndelay_ms = 50\ntimes = 1')
    order = await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "td-1"})

    async def ended() -> bool:
        return any(row["orderStatus"] == "Cancelled" for row in rows(frames, "order"))

    await until(ended)
    assert order["id"] and bench.held() == 0


async def test_pushes_are_lost_and_repeated_by_their_kind(bench: Bench, server: VenueServer) -> None:
    client = await bench.client()
    frames = bench.tap(client)
    await watching(bench, client, "watch_orders", "watch_my_trades")
    _play(server, 'do = "lose_push"\npush = "order"', 'do = "repeat_push"\npush = "fill"')
    await client.create_order(SYMBOL, "market", "buy", 0.001)
    await bench.until_held("0.001")

    async def twice() -> bool:
        ids = [row["execId"] for row in rows(frames, "execution")]
        return bool(ids) and len(ids) == 2 * len(set(ids))

    await until(twice)
    assert not rows(frames, "order")


async def test_section_1_what_is_watched_is_dialled_again_after_a_reset(bench: Bench, server: VenueServer) -> None:
    client = await bench.client()
    [task] = await watching(bench, client, "watch_orders")
    _play(server, 'do = "cut_streams"\nstream = "account"\nafter_s = 0\ntimes = 1')
    with pytest.raises(ccxt.pro.NetworkError):
        await asyncio.wait_for(task, 5)
    [again] = await watching(bench, client, "watch_orders")
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    assert (await asyncio.wait_for(again, 5))[-1]["info"]["orderStatus"] in ("New", "PartiallyFilled", "Filled")


async def test_fact_5_a_half_open_stream_is_noticed_after_missed_pongs_only(bench: Bench, server: VenueServer) -> None:
    client = await bench.client()
    client.options["ws"] = {"keepAlive": 150}
    [task] = await watching(bench, client, "watch_orders")
    _play(server, 'do = "half_open"\nstream = "account"\nafter_s = 0\ntimes = 1')
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    done, _ = await asyncio.wait({task}, timeout=0.15)
    assert not done
    with pytest.raises(ccxt.pro.RequestTimeout):
        await asyncio.wait_for(task, 5)


async def test_section_3_retries_of_the_client_hide_a_success_behind_110072(bench: Bench, server: VenueServer) -> None:
    client = await bench.client(timeout=300)
    await client.fetch_positions()
    client.options["maxRetriesOnFailure"] = 1
    _play(server, 'do = "lose_reply"\non = "create"\ntimes = 1')
    with pytest.raises(ccxt.pro.InvalidOrder) as caught:
        await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "td-1"})
    assert code_of(caught.value) == 110072
    await bench.until_held("0.01")


def test_every_word_of_the_language_has_a_meaning_here() -> None:
    assert all(len(meaning.reply(name)) == 3 for name in REPLIES)
    create = HttpRequest("POST", "/v5/order/create", body=b'{"symbol":"BTCUSDT"}')
    stop = HttpRequest("POST", "/v5/order/create", body=b'{"symbol":"BTCUSDT","triggerPrice":"1"}')
    look_up = HttpRequest("GET", "/v5/order/realtime", "symbol=BTCUSDT&orderLinkId=td-1")
    found = [meaning.purpose(request) for request in (create, stop, look_up)]
    assert found == ["create", "create_conditional", "look_up"] and set(found) <= set(PURPOSES)
    assert meaning.symbol_of(stop) == "BTCUSDT"
    assert meaning.push('{"topic":"execution","data":[{"symbol":"BTCUSDT"}]}') == ("fill", "BTCUSDT")
    assert meaning.push('{"topic":"kline.1.BTCUSDT","data":[{}]}') == ("candle", "BTCUSDT")
    assert meaning.push('{"topic":"wallet","data":[{}]}')[0] in PUSHES


@pytest.mark.fault(33, 34, 35)
async def test_section_5_wallet_position_and_history_lag_behind_a_close() -> None:
    venue = open_bybit(VenueOptions(venue="bybit", symbols=("BTCUSDT",)), START_MS)
    server = VenueServer(venue, asyncio.get_running_loop().time, 1)
    await server.start(0)
    bench = Bench(venue, server.port)
    try:
        client = await bench.client()
        seen: dict[str, int] = {"position": 0, "margin": 0, "wallet": 0, "history": 0}
        for number in range(6):
            await client.create_order(SYMBOL, "market", "buy", 0.01)
            await bench.until_held("0.01")
            await asyncio.sleep(0.35)
            link = {"orderLinkId": f"td-{number}"}
            await client.create_order(SYMBOL, "market", "sell", 0.01, None, {"reduceOnly": True, **link})
            await bench.until_held("0")
            [position], balance, history = await asyncio.gather(
                client.fetch_positions([SYMBOL]),
                client.fetch_balance(),
                client.fetch_canceled_and_closed_orders(SYMBOL, params=link),
            )
            seen["position"] += position["contracts"] > 0
            seen["margin"] += balance["USDT"]["used"] > 0
            told = balance["info"]["result"]["list"][0]["coin"][0]["walletBalance"]
            seen["wallet"] += Decimal(told) != venue._desk.exchange.account.wallet
            seen["history"] += not history
            await asyncio.sleep(0.1)
        assert min(seen.values()) > 0, seen
    finally:
        await asyncio.gather(*(client.close() for client in bench.clients))
        await server.stop()


def test_a_venue_that_is_taken_up_again_has_what_it_had_and_forgets_what_realtime_showed(tmp_path: Any) -> None:
    options = VenueOptions(venue="bybit", symbols=("BTCUSDT",), state_dir=tmp_path, with_lags=False)
    first = open_bybit(options, START_MS)
    first.act("human", {"act": "open", "symbol": "BTCUSDT", "side": "buy", "quantity": "0.01"})
    assert len(first._desk.recent) == 1
    first.act("charge_funding", {"symbol": "BTCUSDT", "rate_fraction": "0.001"})
    [paid] = first._desk.funding
    first.close()
    again = open_bybit(options, START_MS)
    assert str(again._desk.exchange.account.positions["BTCUSDT"].quantity) == "0.010"
    assert len(again._desk.recent) == 0 and len(again._desk.archive) == 1
    [kept] = again._desk.funding
    assert {name: kept[name] for name in ("execId", "execFee", "execQty", "execTime", "side")} == {
        name: paid[name] for name in ("execId", "execFee", "execQty", "execTime", "side")
    }
    again.close()
