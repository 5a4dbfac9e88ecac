"""The fifteen facts of the venue's page, each seen through an unmodified ccxt.pro client; numbers as there."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import ccxt.pro
import pytest

from tests.emulator.bybit.bench import SYMBOL, Bench, ccxt_client, code_of, refused, rows, watching
from tests.emulator.helpers import until
from tradingd.emulator.core.filters import Draft
from tradingd.emulator.faults.reading import parse_script
from tradingd.emulator.server import VenueServer


async def test_fact_1_an_acknowledged_post_only_order_is_taken_back_with_its_reason(bench: Bench) -> None:
    client = await bench.client()
    frames = bench.tap(client)
    await watching(bench, client, "watch_orders")
    order = await client.create_order(
        SYMBOL, "limit", "buy", 0.05, round(bench.price() * 1.02, 1), {"postOnly": True, "clientOrderId": "td-1"}
    )
    assert order["status"] is None and order["filled"] is None and order["id"]

    async def told() -> bool:
        return bool(rows(frames, "order"))

    await until(told)
    last = rows(frames, "order")[-1]
    assert (last["orderStatus"], last["rejectReason"]) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")
    found = await client.fetch_canceled_and_closed_orders(SYMBOL, params={"orderLinkId": "td-1"})
    assert found[0]["info"]["rejectReason"] == "EC_PostOnlyWillTakeLiquidity" and bench.held() == 0


async def test_fact_1_an_order_whose_margin_is_gone_at_the_engine_is_rejected_after_its_ack(bench: Bench) -> None:
    client = await bench.client()
    frames = bench.tap(client)
    await watching(bench, client, "watch_orders")
    bench.act("delay_engine", delay_ms=200)
    size, price = round(60_000 / bench.price(), 3), round(bench.price() * 0.99, 1)
    for number in range(2):
        ack = await client.create_order(SYMBOL, "limit", "buy", size, price, {"clientOrderId": f"td-{number}"})
        assert ack["id"] and await client.fetch_open_orders(SYMBOL, params={"orderLinkId": f"td-{number}"}) == []

    async def rejected() -> list[str]:
        return [row["orderLinkId"] for row in rows(frames, "order") if row["orderStatus"] == "Rejected"]

    assert await until(rejected) == ["td-1"]
    found = await client.fetch_canceled_and_closed_orders(SYMBOL, params={"orderLinkId": "td-1"})
    assert (found[0]["status"], found[0]["info"]["rejectReason"]) == ("rejected", "EC_Others")


async def test_fact_1_the_stream_may_tell_of_an_order_before_its_ack_arrives(bench: Bench, server: VenueServer) -> None:
    client = await bench.client()
    await client.fetch_positions()
    frames = bench.tap(client)
    await watching(bench, client, "watch_orders")
    server._faults = server._begin(parse_script('[[rule]]\ndo = "reply_late"\ndelay_ms = 300\non = "create"\n'))
    ack = asyncio.create_task(client.create_order(SYMBOL, "market", "buy", 0.001, None, {"clientOrderId": "td-1"}))

    async def filled() -> bool:
        return any(row["orderStatus"] == "Filled" for row in rows(frames, "order"))

    await until(filled)
    assert not ack.done()
    await ack


async def test_fact_2_what_came_while_nobody_waited_is_given_with_the_next_message_only(bench: Bench) -> None:
    client = await bench.client()
    frames = bench.tap(client)
    [task] = await watching(bench, client, "watch_orders")
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    await asyncio.wait_for(task, 5)
    frames.clear()
    await client.create_order(SYMBOL, "market", "buy", 0.01)

    async def came() -> bool:
        return any(row["orderStatus"] == "Filled" for row in rows(frames, "order"))

    await until(came)
    waiting = asyncio.create_task(client.watch_orders())
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    assert len(await asyncio.wait_for(waiting, 5)) >= 2


async def test_fact_3_the_stream_has_confirm_and_the_unified_row_has_not(bench: Bench) -> None:
    client = await bench.client()
    frames = bench.tap(client)
    unified = await asyncio.wait_for(client.watch_ohlcv(SYMBOL, "1m"), 5)
    assert len(unified[-1]) == 6

    async def both() -> bool:
        return {row["confirm"] for row in rows(frames, "kline.1.BTCUSDT")} == {True, False}

    await until(both)


async def test_fact_4_a_dropped_stream_raises_and_nothing_missed_is_replayed(bench: Bench) -> None:
    client = await bench.client()
    frames = bench.tap(client)
    [task] = await watching(bench, client, "watch_my_trades")
    assert bench.act("end_connections") == "ended 1 connections"
    with pytest.raises(ccxt.pro.NetworkError):
        await asyncio.wait_for(task, 5)
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    await bench.until_held("0.01")
    again = await watching(bench, client, "watch_my_trades")
    done, _ = await asyncio.wait(set(again), timeout=0.3)
    assert not done and not rows(frames, "execution")
    assert len(await client.fetch_my_trades(SYMBOL)) >= 1
    again[0].cancel()


async def test_fact_6_more_than_ten_creates_a_second_are_refused_with_the_clients_throttle_on(today: Bench) -> None:
    client = await today.client(enableRateLimit=True)
    answers = await asyncio.gather(
        *(client.create_order(SYMBOL, "limit", "buy", 0.001, 50_000) for _ in range(25)), return_exceptions=True
    )
    over = [answer for answer in answers if isinstance(answer, ccxt.pro.RateLimitExceeded)]
    assert over and {code_of(each) for each in over} == {10006}


async def test_fact_7_a_client_id_is_never_taken_twice_not_even_after_its_order_ended(bench: Bench) -> None:
    client = await bench.client()
    await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "td-1"})
    await bench.until_held("0.01")
    with pytest.raises(ccxt.pro.InvalidOrder) as caught:
        await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "td-1"})
    assert code_of(caught.value) == 110072 and not isinstance(caught.value, ccxt.pro.DuplicateOrderId)
    assert bench.held() == Decimal("0.01")


async def test_fact_8_the_unified_client_id_cancels_nothing_and_looks_up_another_order(bench: Bench) -> None:
    client = await bench.client()
    price = round(bench.price() * 0.97, 1)
    for name in ("td-1", "td-2"):
        await client.create_order(SYMBOL, "limit", "buy", 0.01, price, {"clientOrderId": name})
        await asyncio.sleep(0.05)
    assert await refused(client.cancel_order(None, SYMBOL, {"clientOrderId": "td-1"})) == 10001
    found = await client.fetch_order("", SYMBOL, {"acknowledged": True, "clientOrderId": "td-1"})
    assert found["clientOrderId"] == "td-2"
    await client.cancel_order(None, SYMBOL, {"orderLinkId": "td-1"})


async def test_fact_9_a_closed_order_is_found_by_link_id_until_the_venue_restarts_then_in_the_history(
    bench: Bench,
) -> None:
    client = await bench.client()
    await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "td-1"})
    await bench.until_held("0.01")
    by_link = {"orderLinkId": "td-1"}
    assert (await client.fetch_open_orders(SYMBOL, params=by_link))[0]["status"] == "closed"
    bench.act("forget_closed")
    assert await client.fetch_open_orders(SYMBOL, params=by_link) == []
    assert (await client.fetch_canceled_and_closed_orders(SYMBOL, params=by_link))[0]["filled"] == 0.01


async def test_fact_10_the_stream_hides_the_margin_and_rest_hides_the_loss(bench: Bench) -> None:
    client = await bench.client()
    [task] = await watching(bench, client, "watch_balance")
    await client.create_order(SYMBOL, "market", "buy", 0.5)
    pushed = await asyncio.wait_for(task, 5)
    assert pushed["USDT"]["used"] == 0 and pushed["USDT"]["free"] == pushed["USDT"]["total"]
    bench.act("move_price", symbol="BTCUSDT", by_fraction=-0.05)

    async def fallen() -> dict[str, object]:
        balance = await client.fetch_balance()
        return balance if float(balance["info"]["result"]["list"][0]["totalPerpUPL"]) < -1000 else {}

    balance = await until(fallen)
    account = balance["info"]["result"]["list"][0]
    free, available = balance["USDT"]["free"], float(account["totalAvailableBalance"])
    assert free - available == pytest.approx(-float(account["totalPerpUPL"]), rel=0.01)


async def test_fact_10_in_isolated_margin_the_figures_of_the_account_are_empty(bench: Bench) -> None:
    client = await bench.client()
    await client.set_margin_mode("isolated")
    account = (await client.fetch_balance())["info"]["result"]["list"][0]
    assert (account["totalAvailableBalance"], account["totalInitialMargin"]) == ("", "")
    assert account["coin"][0]["availableToWithdraw"] == "" and float(account["coin"][0]["walletBalance"]) == 10_000


async def test_fact_11_a_flat_symbol_is_one_row_of_nothing_and_a_list_of_all_is_empty(bench: Bench) -> None:
    client = await bench.client()
    [flat] = await client.fetch_positions([SYMBOL])
    assert (flat["contracts"], flat["side"]) == (0, None)
    assert await client.fetch_positions() == []
    with pytest.raises(ccxt.pro.ArgumentsRequired):
        await client.fetch_positions([SYMBOL, "ETH/USDT:USDT"])


async def test_fact_12_a_page_of_open_orders_has_twenty_and_says_nothing_of_the_rest(bench: Bench) -> None:
    client = await bench.client()
    exchange = bench.venue._desk.exchange
    price = (exchange.mark_price("BTCUSDT") * Decimal("0.97")).quantize(Decimal("0.1"))
    for number in range(60):
        exchange.submit(
            Draft(
                symbol="BTCUSDT",
                side=1,
                kind="LIMIT",
                quantity=Decimal("0.001"),
                price=price,
                client_order_id=f"td-{number}",
            )
        )
    assert len(await client.fetch_open_orders(SYMBOL)) == 20
    assert len(await client.fetch_open_orders(SYMBOL, None, 100)) == 50
    everything = await client.fetch_open_orders(SYMBOL, None, None, {"paginate": True})
    assert len({row["id"] for row in everything}) == 60


async def test_fact_13_an_empty_body_is_an_order_without_id_and_no_error(bench: Bench, server: VenueServer) -> None:
    client = await bench.client()
    await client.fetch_positions()
    server._faults = server._begin(parse_script('[[rule]]\ndo = "empty_body"\non = "create"\n'))
    order = await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "td-1"})
    assert order["id"] is None
    await bench.until_held("0.01")


async def test_fact_14_a_clock_that_is_off_fails_before_the_markets_are_loaded(bench: Bench) -> None:
    client = ccxt_client(bench.port)
    bench.clients.append(client)
    client.has["fetchCurrencies"] = True
    bench.act("shift_clock", offset_ms=12_000)
    with pytest.raises(ccxt.pro.InvalidNonce):
        await client.load_markets()
    await client.load_time_difference()
    assert SYMBOL in await client.load_markets()


async def test_fact_14_the_streams_auth_ignores_the_time_difference_and_the_next_watch_hangs(today: Bench) -> None:
    today.act("shift_clock", offset_ms=12_000)
    client = await today.client()
    await client.fetch_balance()
    with pytest.raises(ccxt.pro.ExchangeError, match="Params Error"):
        await asyncio.wait_for(client.watch_orders(), 5)
    hanging = asyncio.create_task(client.watch_orders())
    done, _ = await asyncio.wait({hanging}, timeout=0.3)
    assert not done
    hanging.cancel()


async def test_fact_15_an_order_over_the_websocket_is_acknowledged_there(today: Bench) -> None:
    client = await today.client()
    order = await asyncio.wait_for(
        client.create_order_ws(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "td-1"}), 5
    )
    assert order["id"] and order["status"] is None
    await today.until_held("0.01")
