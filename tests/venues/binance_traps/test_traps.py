"""The numbered traps of the venue's page, with the daemon's answer to each.

That a bare client falls into them is shown in `tests/emulator/test_ccxt_traps.py`, or here where the network must be
bad.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Any

import aiohttp
import ccxt.pro
import pytest

from tests.emulator.helpers import START_MS as VENUE_START_MS
from tests.emulator.helpers import ccxt_client, serving
from tests.venues.bench import ORDER, Bench, mark, request, send, stop
from tests.venues.binance_traps.worlds import Told, minute_ms, once, play
from tests.venues.doubles import BTC, KEY, SECRET, until
from tests.venues.faulty_proxy import FaultyProxy, executed_then_gone
from tests.venues.test_streams import ACCOUNT, CANDLES
from tradingd.domain.account import CancelVerdict, SubmitVerdict
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderKind
from tradingd.emulator.faults.language import Rule
from tradingd.emulator.venues import VenueOptions, open_venue
from tradingd.ports import Priority, StreamKey
from tradingd.simulation.world import World

SYMBOL = "BTC/USDT:USDT"
HOUR_LINES = "1 buy 0.02 0.02; 3 exit"


@asynccontextmanager
async def bare(**config: Any) -> AsyncIterator[tuple[Any, FaultyProxy, Any]]:
    """An unmodified client behind a proxy, on a venue of its own."""
    venue = open_venue(VenueOptions(symbols=("BTCUSDT",), with_lags=False), VENUE_START_MS)
    async with serving(venue) as server:
        proxy = FaultyProxy(server.port)
        await proxy.start()
        client = ccxt_client(proxy.port, **config)
        try:
            await client.load_markets()
            await client.load_time_difference()
            yield client, proxy, venue
        finally:
            await client.close()
            await proxy.stop()


def drop_price(world: World) -> None:
    """Let the stop fire, and the rest happen."""
    world.venue.act("move_price", {"symbol": "BTCUSDT", "by_fraction": Decimal("-0.04")})
    world.network.venue_changed()
    world.run_for(20)


def stopped_out() -> Told:
    return play("1 buy 0.02 0.05", [], 1.5, drop_price)


def an_hour() -> Told:
    return play(HOUR_LINES, [], 71.2, another_hand)


def another_hand(world: World) -> None:
    """Opens a position that nobody here asked for."""
    world.venue.act("human", {"act": "open", "symbol": "BTCUSDT", "side": "buy", "quantity": "0.01"})
    world.network.venue_changed()
    world.run_for(0.5)


def test_trap_01_the_listen_key_is_renewed_every_20_minutes_and_the_account_is_heard_after_70() -> None:
    told = once("hour", an_hour)
    asked = [each for each in told.requests if each.path == "/fapi/v1/listenKey"]
    assert [each.method for each in asked] == ["POST", "PUT", "PUT", "PUT"]
    gaps = [(b.sent_us - a.sent_us) / 60e6 for a, b in pairwise(asked)]
    assert all(19.5 < gap < 20.5 for gap in gaps)
    assert told.fills[-1]["time_ms"] > minute_ms(71) and told.fills[-1]["reason"] != "entry"
    assert len([each for each in told.requests if each.method == "DIAL"]) == 2, (
        "an expired key would have been dialled anew"
    )


async def test_trap_02_an_expired_listen_key_is_replaced_at_once(bench: Bench) -> None:
    venue = await bench.open()
    await venue.watch(ACCOUNT)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{bench.server.port}") as admin:
        await admin.post("/_venue/act", json={"do": "expire_listen_key"})
    await bench.sink.wait_for("disconnect")
    await venue.watch(ACCOUNT)
    await send(bench, venue, request())
    await bench.sink.wait_for("fill")


async def test_trap_03_a_bare_client_notices_a_half_open_socket_after_two_pings_and_pings_every_three_minutes() -> None:
    async with bare(streaming={"keepAlive": 300}) as (client, proxy, _):
        watching = asyncio.create_task(client.watch_orders(SYMBOL))
        await until(lambda: _connected(client))
        proxy.muted = True
        began = time.monotonic()
        with pytest.raises(ccxt.NetworkError):
            await asyncio.wait_for(watching, 5)
        assert 0.5 < time.monotonic() - began < 2
    assert ccxt.pro.binanceusdm().streaming["keepAlive"] == 180_000  # so twice three minutes, up to twelve
    # the daemon's 15 s: test_deaf_streams


async def _connected(client: Any) -> bool:
    return any("private" in url and socket.connected.done() for url, socket in client.clients.items())


def _posts(told: Told) -> list[dict[str, str]]:
    return [each.params for each in told.requests if each.is_create]


def test_trap_04_no_request_of_ours_trusts_a_flag_that_the_venue_ignores() -> None:
    sent = {name for params in _posts(once("stopped out", stopped_out)) for name in params}
    assert sent == {
        "symbol", "side", "type", "quantity", "newClientOrderId", "newOrderRespType", "timestamp", "recvWindow",
        "signature", "closePosition", "algoType", "clientAlgoId", "triggerPrice", "workingType",
    }  # fmt: skip


def test_trap_05_stop_and_take_profit_are_orders_of_their_own_on_the_venue() -> None:
    told = once("stopped out", stopped_out)
    algos = [(algo["kind"], algo["close_position"]) for algo in told.evidence.algos]
    assert sorted(algos) == [("STOP_MARKET", True), ("TAKE_PROFIT_MARKET", True)]


async def test_trap_06_a_bare_client_that_retries_fills_twice_and_ours_sends_once(bench: Bench) -> None:
    lost = 0

    async def lose_first(exchange: Any) -> None:
        nonlocal lost
        answer = await exchange.forward()
        lost += 1
        if lost > 1:
            exchange.writer.write(answer)

    async with bare(options={"maxRetriesOnFailure": 1, "maxRetriesOnFailureDelay": 1}) as (client, proxy, _):
        proxy.faults[ORDER] = lose_first
        await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "twice"})
        proxy.faults.clear()
        assert (await client.fetch_positions([SYMBOL]))[0]["contracts"] == 0.02
    venue = await bench.open()
    bench.proxy.faults[ORDER] = executed_then_gone
    assert (await send(bench, venue, request())).verdict is SubmitVerdict.AMBIGUOUS
    assert bench.proxy.names().count(ORDER) == 1


async def test_trap_07_a_bare_cancel_that_worked_reads_unknown_and_ours_leaves_once(bench: Bench) -> None:
    cancel = "DELETE /fapi/v1/order"
    async with bare() as (client, proxy, venue):
        price = float(venue._desk.exchange.last_price("BTCUSDT"))
        resting = await client.create_order(SYMBOL, "limit", "buy", 0.01, price * 0.9)
        proxy.faults[cancel] = _lose_first_of()
        with pytest.raises(ccxt.OrderNotFound, match="-2011"):
            await client.cancel_order(resting["id"], SYMBOL)
        assert proxy.names().count(cancel) == 2
    ours = await bench.open()
    price_ours = await mark(ours, "0.9")
    order = (await send(bench, ours, request(kind=OrderKind.LIMIT, limit_price=price_ours))).order
    assert order is not None
    bench.proxy.faults[cancel] = _lose_first_of()
    assert (await ours.cancel(order, Priority.CANCEL)).verdict is CancelVerdict.AMBIGUOUS
    assert bench.proxy.names().count(cancel) == 1


def _lose_first_of() -> Any:
    lost: list[bool] = []

    async def fault(exchange: Any) -> None:
        answer = await exchange.forward()
        if lost:
            exchange.writer.write(answer)
        lost.append(True)

    return fault


def test_trap_08_a_fired_stop_is_as_its_child_stands_with_its_fills_and_its_price() -> None:
    told = once("stopped out", stopped_out)
    (fired,) = [order for order in told.evidence.j_orders if order["purpose"] == "stop"]
    child = fired["child_venue_order_id"]
    assert fired["status"] == "FILLED" and child not in (None, fired["venue_order_id"])
    fills = [fill for fill in told.fills if fill["venue_order_id"] == child]
    assert fills and {fill["client_order_id"] for fill in fills} == {fired["client_order_id"]}
    assert fired["average_price"] is not None


def test_trap_09_one_stop_is_one_order_in_the_journal_however_often_it_is_told() -> None:
    told = once("stopped out", stopped_out)
    assert len([order for order in told.evidence.j_orders if order["purpose"] == "stop"]) == 1
    steps = [e["event"] for e in told.events if e["purpose"] == "stop"]
    assert steps.count("trigger") == steps.count("accept") == 1
    assert len({fill["trade_id"] for fill in told.fills}) == len(told.fills) == len(told.evidence.fills)


async def test_trap_10_a_candle_that_was_delivered_never_changes(bench: Bench) -> None:
    venue = await bench.open()
    await venue.watch(CANDLES)
    first = await bench.sink.wait_for("candle")
    copy = (first.open_time_ms, first.close, first.volume)
    await bench.sink.wait_for("candle", 2)
    assert (first.open_time_ms, first.close, first.volume) == copy
    with pytest.raises(AttributeError):
        first.close = Decimal(1)


def test_trap_11_each_execution_is_a_fill_of_the_journal_however_the_client_bundles_them() -> None:
    told = once("large", lambda: play("1 buy 0.02 0.05; 2 exit", [], 2.5, notional="4000"))
    ours = {(str(fill["trade_id"]), Decimal(str(fill["quantity"]))) for fill in told.fills}
    theirs = {(str(fill["trade_id"]), Decimal(str(fill["quantity"]))) for fill in told.evidence.fills}
    assert ours == theirs and len(ours) > 2, "in several parts"


def test_trap_12_what_happens_while_the_account_stream_is_gone_is_read_after_it() -> None:
    cut = Rule(do="cut_streams", stream="account", since_ms=minute_ms(1) + 20_000, times=1)
    refuse = Rule(do="refuse_streams", since_ms=minute_ms(1) + 20_000, times=1, what=(("for_s", 5),))
    hand = Rule(do="human", since_ms=minute_ms(1) + 21_000, times=1, what=(("act", "close"), ("symbol", "BTCUSDT")))
    told = once("cut", lambda: play("1 buy 0.02 0.02", [cut, refuse, hand], 1.6))
    assert {"venue: cut_streams", "venue: human"} <= set(told.played)
    assert len(told.fills) == len(told.evidence.fills) and {fill["side"] for fill in told.fills} == {"buy", "sell"}
    (close,) = told.closes
    assert close["cause"] == "foreign" and told.ready


async def test_trap_13_a_dozen_subscriptions_at_once_are_paced_and_all_stand(bench: Bench) -> None:
    venue = await bench.open()
    frames = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
    keys = [StreamKey(venue.id, "candles", BTC.symbol, frame) for frame in frames]
    await asyncio.gather(*(venue.watch(key) for key in keys))
    assert bench.sink.all("disconnect") == []


async def test_trap_14_flat_is_zero_and_a_pushed_wallet_claims_no_margin(bench: Bench) -> None:
    venue = await bench.open()
    await venue.watch(ACCOUNT)
    await send(bench, venue, request())
    await send(bench, venue, request(2, side=Side.SELL, reduce_only=True))
    flat = await bench.sink.wait_for("position", match=lambda position: position.quantity == 0)
    assert flat.instrument == BTC
    balance = bench.sink.all("balance")[-1]
    assert (balance.available, balance.equity) == (None, None)
    snapshot = await venue.account(Priority.RECONCILE)
    assert snapshot.balance.equity is not None and snapshot.balance.available is not None


# 15, liquidations: test_other_clients


def test_trap_16_what_leaves_is_on_the_step_already_and_below_it_nothing_leaves() -> None:
    told = once("stopped out", stopped_out)
    quantities = [Decimal(params["quantity"]) for params in _posts(told) if "quantity" in params]
    assert quantities and all(quantity % Decimal("0.001") == 0 for quantity in quantities)
    booked = {order["client_order_id"]: order["quantity"] for order in told.evidence.j_orders}
    assert all(
        Decimal(str(booked[params["newClientOrderId"]])) == Decimal(params["quantity"])
        for params in _posts(told)
        if "newClientOrderId" in params
    )
    told = once("tiny", lambda: play("1 buy 0.02 0.02", [], 1.2, notional="20"))
    (intent,) = told.intents
    assert intent["outcome"] == "denied" and not _posts(told)


async def test_trap_17_closing_cancels_nobody_and_the_venue_can_be_opened_again(bench: Bench) -> None:
    venue = await bench.open()
    waiting = asyncio.create_task(venue.watch(ACCOUNT))
    await waiting
    await venue.close()
    assert not waiting.cancelled() and asyncio.current_task() is not None
    await venue.open(bench.sink)
    await venue.watch(ACCOUNT)
    assert (await send(bench, venue, request())).verdict is SubmitVerdict.ACCEPTED


def test_trap_18_orders_leave_over_rest_where_an_answer_has_its_time() -> None:
    told = once("stopped out", stopped_out)
    assert {each.path for each in told.requests if each.is_create} == {"/fapi/v1/order", "/fapi/v1/algoOrder"}
    assert {each.path for each in told.requests if each.method == "DIAL"} == {"/market/ws/0", "/private/ws"}


def test_trap_19_a_clock_that_runs_away_is_set_and_the_entry_signed_anew() -> None:
    shift = Rule(do="shift_clock", since_ms=minute_ms(1) - 3_000, times=1, what=(("offset_ms", -9_000),))
    told = once("shifted", lambda: play("1 buy 0.02 0.02", [shift], 1.5))
    codes = [e["raw_code"] for e in told.events if e["event"] == "reject"]
    assert codes == ["-1021"] and told.fills and told.ready


async def test_trap_20_conditional_orders_go_to_the_algo_service(bench: Bench) -> None:
    venue = await bench.open()
    await send(bench, venue, request())
    assert (await send(bench, venue, stop(2, await mark(venue, "0.98")))).verdict is SubmitVerdict.ACCEPTED
    assert [name for name in bench.proxy.names() if name.startswith("POST")][-1] == "POST /fapi/v1/algoOrder"


async def test_trap_21_hedge_mode_is_found_at_the_start_with_what_to_change(bench: Bench) -> None:
    other = ccxt_client(bench.server.port, apiKey=KEY, secret=SECRET)
    try:
        await other.load_time_difference()
        await other.set_position_mode(True)
    finally:
        await other.close()
    venue = await bench.open()
    mode = await venue.preflight()
    assert mode.hedge_mode and "hedge mode" in mode.problems[0]


def test_trap_22_dear_lists_are_off_the_hot_path() -> None:
    told = once("stopped out", stopped_out)
    sent_us = next(each.sent_us for each in told.requests if each.is_create)
    hot = [each for each in told.requests if sent_us - 5_000_000 < each.sent_us < sent_us + 1_000_000]
    dear = ("/fapi/v1/income", "/fapi/v1/positionSide/dual")
    assert len(hot) > 3 and not [each for each in hot if each.path in dear]
    assert len([each for each in told.requests if each.path in dear]) <= 3
    assert not [each for each in hot if "open" in each.path and "symbol" not in each.params], "no list of all symbols"
