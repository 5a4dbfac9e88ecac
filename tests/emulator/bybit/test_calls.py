"""What each unified method does here: sections 1 to 6 of the page, through an unmodified ccxt.pro client."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import ccxt.pro
import pytest

from tests.emulator.bybit.bench import SYMBOL, Bench, ccxt_client, code_of, refused, rows, watching
from tests.emulator.helpers import until
from tradingd.emulator.bybit.order_api import _take_out
from tradingd.emulator.core.filters import Draft


async def test_section_1_a_second_subscription_of_a_topic_is_refused(bench: Bench) -> None:
    client = await bench.client()
    [task] = await watching(bench, client, "watch_orders")
    with pytest.raises(ccxt.pro.ExchangeError, match=r"already subscribed,topic:order"):
        await asyncio.wait_for(client.watch_orders(SYMBOL), 5)
    task.cancel()


async def test_section_1_types_of_other_venues_and_the_case_of_sides_are_refused(bench: Bench) -> None:
    client = await bench.client()
    assert (
        await refused(client.create_order(SYMBOL, "stop_market", "sell", 0.01, None, {"stopLossPrice": 60_000}))
        == 10001
    )
    assert await refused(client.create_order(SYMBOL, "market", "BUY", 0.01)) == 10001
    for kind in ("market", "Market", "MARKET"):
        assert (await client.create_order(SYMBOL, kind, "buy", 0.01))["id"]


async def test_section_1_a_plain_close_larger_than_the_position_is_cut_to_it(bench: Bench) -> None:
    client = await bench.client()
    await client.create_order(SYMBOL, "market", "buy", 0.05)
    await bench.until_held("0.05")
    await client.create_order(SYMBOL, "market", "sell", 0.5, None, {"reduceOnly": True})
    await bench.until_held("0")


async def test_section_1_quantity_zero_with_both_flags_closes_everything(bench: Bench) -> None:
    client = await bench.client()
    await client.create_order(SYMBOL, "market", "buy", 0.05)
    await bench.until_held("0.05")
    await client.create_order(
        SYMBOL, "market", "sell", 0, None, {"qty": "0", "reduceOnly": True, "closeOnTrigger": True}
    )
    await bench.until_held("0")


async def test_section_1_settings_have_their_own_codes_for_nothing_to_change(bench: Bench) -> None:
    client = await bench.client()
    await client.set_leverage(7, SYMBOL)
    with pytest.raises(ccxt.pro.BadRequest) as leverage:
        await client.set_leverage(7, SYMBOL)
    assert code_of(leverage.value) == 110043
    assert (await client.fetch_leverage(SYMBOL))["longLeverage"] == 7
    with pytest.raises(ccxt.pro.NoChange) as mode:
        await client.set_position_mode(False, SYMBOL)
    assert code_of(mode.value) == 110025
    assert await refused(client.set_margin_mode("cross")) == 110026


async def test_section_1_hedge_mode_can_be_switched_on_and_refuses_every_order(bench: Bench) -> None:
    client = await bench.client()
    await client.set_position_mode(True, SYMBOL)
    assert await refused(client.create_order(SYMBOL, "market", "buy", 0.01)) == 10001
    assert await refused(client.create_order(SYMBOL, "market", "buy", 0.01, None, {"hedged": True})) == 10001


async def test_section_1_modes_do_not_change_under_a_position_or_an_order(bench: Bench) -> None:
    client = await bench.client()
    await client.create_order(SYMBOL, "limit", "buy", 0.01, round(bench.price() * 0.97, 1))

    async def rests() -> Any:
        return await client.fetch_open_orders(SYMBOL)

    await until(rests)
    assert await refused(client.set_position_mode(True, SYMBOL)) == 110028
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    await bench.until_held("0.01")
    assert await refused(client.set_position_mode(True, SYMBOL)) == 110024
    assert await refused(client.set_margin_mode("isolated")) == 3400045


async def test_section_1_executions_of_one_moment_come_in_one_message_and_a_close_is_a_position_without_side(
    bench: Bench,
) -> None:
    client = await bench.client()
    client.options["watchPositions"] = {"fetchPositionsSnapshot": False}
    frames = bench.tap(client)
    await watching(bench, client, "watch_my_trades", "watch_positions")
    await client.create_order(SYMBOL, "market", "buy", 1)

    async def bought() -> bool:
        return bench.held() > 0

    await until(bought)
    await client.create_order(SYMBOL, "market", "sell", 50, None, {"reduceOnly": True})
    await bench.until_held("0")

    async def flat() -> bool:
        told = rows(frames, "position")
        return bool(told) and told[-1]["size"] == "0"

    await until(flat)
    messages = [frame for frame in frames if frame.get("topic") == "execution"]
    assert len(rows(frames, "execution")) > len(messages)
    assert rows(frames, "position")[-1]["side"] == ""


async def test_section_2_client_ids_of_36_letters_digits_and_dashes(bench: Bench) -> None:
    client = await bench.client()
    assert await refused(client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "x" * 37})) == 10001
    assert await refused(client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "a/b:c"})) == 10001
    assert (await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "x" * 36}))["id"]


async def test_section_3_what_is_definitely_not_executed_has_its_code_and_its_class(bench: Bench) -> None:
    client = await bench.client()
    cases: list[tuple[Any, int, type[Exception]]] = [
        (
            client.create_order(SYMBOL, "market", "sell", 0.01, None, {"reduceOnly": True}),
            110017,
            ccxt.pro.InvalidOrder,
        ),
        (
            client.create_order(SYMBOL, "limit", "buy", 0.01, round(bench.price() * 1.2, 1)),
            110003,
            ccxt.pro.InvalidOrder,
        ),
        (client.create_order(SYMBOL, "limit", "buy", 0.001, 4_000), 110094, ccxt.pro.InvalidOrder),
        (client.create_order(SYMBOL, "market", "buy", 100), 110007, ccxt.pro.InsufficientFunds),
        (client.cancel_order("b7a2c2a3-0000-4000-a000-000000000001", SYMBOL), 110001, ccxt.pro.OrderNotFound),
    ]
    for call, code, kind in cases:
        with pytest.raises(kind) as caught:
            await call
        assert code_of(caught.value) == code
    assert bench.held() == 0


async def test_section_3_a_reduce_only_order_of_the_positions_own_side_has_the_same_code(bench: Bench) -> None:
    client = await bench.client()
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    await bench.until_held("0.01")
    with pytest.raises(ccxt.pro.InvalidOrder, match="same side with current position") as caught:
        await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"reduceOnly": True})
    assert code_of(caught.value) == 110017


async def test_section_3_keys_and_signatures(bench: Bench) -> None:
    for config, code in (({"apiKey": "nobody"}, 10003), ({"secret": "wrong"}, 10004)):
        client = ccxt_client(bench.port, **config)
        bench.clients.append(client)
        await client.load_time_difference()
        assert await refused(client.fetch_balance()) == code


async def test_section_3_a_key_without_permission_looks_and_does_not_touch(bench: Bench) -> None:
    client = await bench.client()
    bench.act("read_only")
    assert (await client.fetch_balance())["USDT"]["total"] == 10_000
    with pytest.raises(ccxt.pro.PermissionDenied) as caught:
        await client.create_order(SYMBOL, "market", "buy", 0.01)
    assert code_of(caught.value) == 10005
    assert (await client.private_get_v5_user_query_api())["result"]["readOnly"] == 1
    bench.act("read_only", on=False)
    assert (await client.create_order(SYMBOL, "market", "buy", 0.01))["id"]


async def test_section_3_a_timestamp_outside_of_the_window_is_a_network_error_that_must_not_be_retried(
    bench: Bench,
) -> None:
    client = await bench.client()
    await client.fetch_balance()
    bench.act("shift_clock", offset_ms=6_000)
    with pytest.raises(ccxt.pro.InvalidNonce) as caught:
        await client.fetch_balance()
    assert code_of(caught.value) == 10002 and isinstance(caught.value, ccxt.pro.NetworkError)


async def test_section_4_private_replies_tell_the_limit(bench: Bench) -> None:
    client = await bench.client()
    await client.create_order(SYMBOL, "market", "buy", 0.01)
    headers = client.last_response_headers
    assert headers["X-Bapi-Limit"] == "10" and headers["X-Bapi-Limit-Status"] == "9"
    assert int(headers["X-Bapi-Limit-Reset-Timestamp"]) > 0


async def test_section_4_an_address_that_asks_too_often_gets_403_for_ten_minutes(bench: Bench) -> None:
    client = await bench.client()
    asked = await asyncio.gather(*(client.fetch_time() for _ in range(620)), return_exceptions=True)
    over = [each for each in asked if isinstance(each, Exception)]
    assert over and all(isinstance(each, ccxt.pro.RateLimitExceeded) for each in over)
    assert "403, access too frequent" in str(over[0])
    with pytest.raises(ccxt.pro.RateLimitExceeded):
        await client.fetch_time()


async def test_section_5_a_spot_symbol_raises_for_positions(bench: Bench) -> None:
    client = await bench.client()
    assert await refused(client.private_get_v5_position_list({"category": "spot", "symbol": "BTCUSDT"})) == 10001
    assert await refused(client.private_get_v5_position_list({"category": "linear", "symbol": "NOPEUSDT"})) == 10001


async def test_section_6_a_cancelled_order_has_nothing_left(bench: Bench) -> None:
    client = await bench.client()
    order = await client.create_order(SYMBOL, "limit", "buy", 0.05, round(bench.price() * 0.97, 1))

    async def rests() -> Any:
        return await client.fetch_open_orders(SYMBOL)

    await until(rests)
    await client.cancel_order(order["id"], SYMBOL)

    async def ended() -> Any:
        return await client.fetch_canceled_orders(SYMBOL)

    [row] = await until(ended)
    assert (row["remaining"], row["filled"], row["info"]["leavesQty"]) == (0, 0, "0")


async def test_section_6_a_cancel_that_lost_the_race_tells_filled_twice(bench: Bench) -> None:
    client = await bench.client()
    frames = bench.tap(client)
    await watching(bench, client, "watch_orders")
    exchange, desk = bench.venue._desk.exchange, bench.venue._desk
    order = exchange.submit(
        Draft(symbol="BTCUSDT", side=1, kind="MARKET", quantity=Decimal("0.001"), client_order_id="td-1")
    )
    _take_out(desk, order.order_id)

    async def twice() -> bool:
        return [row["orderStatus"] for row in rows(frames, "order")].count("Filled") == 2

    await until(twice)
    last = rows(frames, "order")[-1]
    assert (last["cancelType"], last["rejectReason"]) == ("CancelByUser", "EC_OrigClOrdIDDoesNotExist")


async def test_section_6_liquidation_and_deleveraging_are_executions_of_other_types(bench: Bench) -> None:
    client = await bench.client()
    for act, kind in (("deleverage", "AdlTrade"), ("liquidate", "BustTrade")):
        await client.create_order(SYMBOL, "market", "buy", 0.05)
        await bench.until_held("0.05")
        bench.act(act, symbol="BTCUSDT")
        await bench.until_held("0")
        found = (await client.private_get_v5_execution_list({"category": "linear", "symbol": "BTCUSDT"}))["result"]
        assert found["list"][0]["execType"] == kind and found["list"][0]["orderLinkId"] == ""
    assert {row["info"]["execType"] for row in await client.fetch_my_trades(SYMBOL)} == {"Trade"}


async def test_section_6_funding_is_an_execution_that_the_unified_calls_hide(bench: Bench) -> None:
    client = await bench.client()
    frames = bench.tap(client)
    await watching(bench, client, "watch_my_trades")
    await client.create_order(SYMBOL, "market", "buy", 0.05)
    await bench.until_held("0.05")
    bench.act("charge_funding", symbol="BTCUSDT", rate_fraction=0.001)

    async def told() -> list[dict[str, Any]]:
        return [row for row in rows(frames, "execution") if row["execType"] == "Funding"]

    [row] = await until(told)
    assert row["feeRate"] == "0.00100000" and float(row["execFee"]) > 3 and row["closedSize"] == "0"
    assert {each["info"]["execType"] for each in await client.fetch_my_trades(SYMBOL)} == {"Trade"}
    everything = await client.fetch_my_trades(SYMBOL, None, None, {"execType": "Funding"})
    assert [each["info"]["execId"] for each in everything] == [row["execId"]]


async def test_a_human_with_the_same_account_leaves_orders_without_a_link_id(bench: Bench) -> None:
    client, human = await bench.client(), await bench.client(apiKey="human-key", secret="human-secret")
    frames = bench.tap(client)
    await watching(bench, client, "watch_orders")
    bench.act("human", act="open", symbol="BTCUSDT", side="sell", quantity=0.03)
    await bench.until_held("-0.03")
    await human.create_order(SYMBOL, "market", "buy", 0.03, None, {"reduceOnly": True})
    await bench.until_held("0")

    async def told() -> bool:
        return len({row["orderId"] for row in rows(frames, "order")}) == 2

    await until(told)
    assert {row["orderLinkId"] for row in rows(frames, "order")} == {""}
