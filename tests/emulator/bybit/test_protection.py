"""Protection of a position: trading-stop as state, the orders that the venue makes of it, plain conditional orders."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import ccxt.pro
import pytest

from tests.emulator.bybit.bench import SYMBOL, Bench, refused, rows, watching
from tests.emulator.helpers import until


async def _long(bench: Bench, client: Any, quantity: str = "0.05") -> float:
    await client.create_order(SYMBOL, "market", "buy", float(quantity))
    await bench.until_held(quantity)
    return bench.price()


def _stop(client: Any, **levels: Any) -> Any:
    return client.private_post_v5_position_trading_stop(
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "positionIdx": 0,
            **{name: str(value) for name, value in levels.items()},
        }
    )


async def test_section_5_tp_and_sl_are_state_of_the_position_with_orders_of_the_venues_own(bench: Bench) -> None:
    client = await bench.client()
    price = await _long(bench, client)
    low, high = round(price * 0.97), round(price * 1.03)
    await _stop(client, stopLoss=low, takeProfit=high, slTriggerBy="MarkPrice", tpslMode="Full")
    [position] = await client.fetch_positions([SYMBOL])
    assert (position["stopLossPrice"], position["takeProfitPrice"]) == (low, high)
    listed = await client.fetch_open_orders(SYMBOL)
    assert {(row["info"]["stopOrderType"], row["info"]["orderLinkId"], row["info"]["qty"]) for row in listed} == {
        ("StopLoss", "", "0"),
        ("TakeProfit", "", "0"),
    }
    assert await client.fetch_open_orders(SYMBOL, params={"orderFilter": "Order"}) == []
    assert len(await client.fetch_open_orders(SYMBOL, params={"orderFilter": "tpslOrder"})) == 2


async def test_section_5_setting_the_same_again_is_not_modified_and_zero_takes_it_away(bench: Bench) -> None:
    client = await bench.client()
    low = round(await _long(bench, client) * 0.97)
    await _stop(client, stopLoss=low)
    with pytest.raises(ccxt.pro.ExchangeError) as caught:
        await _stop(client, stopLoss=low)
    assert '"retCode":34040' in str(caught.value) and type(caught.value) is ccxt.pro.ExchangeError
    [before] = await client.fetch_open_orders(SYMBOL)
    await _stop(client, stopLoss=low - 100)
    [after] = await client.fetch_open_orders(SYMBOL)
    assert after["id"] == before["id"] and after["triggerPrice"] == low - 100
    await _stop(client, stopLoss=0)
    assert await client.fetch_open_orders(SYMBOL) == []


async def test_section_5_a_level_on_the_wrong_side_and_one_without_position_are_refused(bench: Bench) -> None:
    client = await bench.client()
    assert await refused(_stop(client, stopLoss=50_000)) == 10001
    price = await _long(bench, client)
    assert await refused(_stop(client, stopLoss=round(price * 1.02))) == 10001
    assert await refused(_stop(client, takeProfit=round(price * 0.98))) == 10001


async def test_section_5_a_full_stop_closes_the_whole_position_and_its_partner_is_cleared(bench: Bench) -> None:
    client = await bench.client()
    frames = bench.tap(client)
    await watching(bench, client, "watch_orders", "watch_my_trades")
    price = await _long(bench, client)
    await _stop(client, stopLoss=round(price * 0.98), takeProfit=round(price * 1.2))
    await client.create_order(SYMBOL, "market", "buy", 0.02)
    await bench.until_held("0.07")
    bench.act("move_price", symbol="BTCUSDT", by_fraction=-0.04)
    await bench.until_held("0")

    async def cleared() -> bool:
        return any(row["cancelType"] == "CancelByTpSlTsClear" for row in rows(frames, "order"))

    await until(cleared)
    stops = [row for row in rows(frames, "order") if row["stopOrderType"] == "StopLoss"]
    assert len({row["orderId"] for row in stops}) == 1
    assert [row["orderStatus"] for row in stops][:2] == ["Untriggered", "Triggered"]
    assert stops[-1]["orderStatus"] == "Filled" and stops[-1]["createType"] == "CreateByStopLoss"
    closing = [row for row in rows(frames, "execution") if row["stopOrderType"] == "StopLoss"]
    assert sum(Decimal(row["closedSize"]) for row in closing) == Decimal("0.07")
    ended = await client.fetch_canceled_orders(SYMBOL)
    assert ended == [], "an order that never fired ends as Deactivated, which that filter does not show"


async def test_section_5_partial_levels_of_one_call_end_each_other(bench: Bench) -> None:
    client = await bench.client()
    price = await _long(bench, client)
    order = await client.create_order(
        SYMBOL,
        "market",
        "sell",
        0.02,
        None,
        {"stopLossPrice": price * 0.98, "takeProfitPrice": price * 1.2, "positionIdx": 0},
    )
    assert order["id"] is None
    bench.act("move_price", symbol="BTCUSDT", by_fraction=-0.04)
    await bench.until_held("0.03")
    assert await client.fetch_open_orders(SYMBOL) == []
    assert (
        await refused(
            _stop(
                client,
                stopLoss=round(bench.price() * 0.97),
                takeProfit=round(bench.price() * 1.03),
                tpslMode="Partial",
                tpSize="0.01",
                slSize="0.02",
            )
        )
        == 10001
    )


async def test_section_5_two_separate_stops_are_plain_conditionals_and_the_survivor_stays(bench: Bench) -> None:
    client = await bench.client()
    price = await _long(bench, client)
    await client.create_order(
        SYMBOL, "market", "sell", 0.05, None, {"stopLossPrice": price * 0.98, "clientOrderId": "td-sl"}
    )
    await client.create_order(
        SYMBOL, "market", "sell", 0.05, None, {"takeProfitPrice": price * 1.02, "clientOrderId": "td-tp"}
    )
    bench.act("move_price", symbol="BTCUSDT", by_fraction=-0.03)
    await bench.until_held("0")
    [left] = await client.fetch_open_orders(SYMBOL)
    assert (left["clientOrderId"], left["info"]["stopOrderType"], left["reduceOnly"]) == ("td-tp", "Stop", True)
    bench.act("move_price", symbol="BTCUSDT", by_fraction=0.09)

    async def ended() -> Any:
        return await client.fetch_canceled_and_closed_orders(SYMBOL, params={"orderLinkId": "td-tp"})

    [row] = await until(ended)
    assert (row["status"], row["info"]["cancelType"], bench.held()) == ("canceled", "CancelByReduceOnly", Decimal(0))


async def test_section_1_a_conditional_order_keeps_its_id_when_it_fires(bench: Bench) -> None:
    client = await bench.client()
    price = bench.price()
    order = await client.create_order(
        SYMBOL,
        "market",
        "buy",
        0.02,
        None,
        {"triggerPrice": price * 1.01, "triggerDirection": "ascending", "clientOrderId": "td-1"},
    )
    [waiting] = await client.fetch_open_orders(SYMBOL, params={"trigger": True})
    assert waiting["id"] == order["id"] and waiting["info"]["orderStatus"] == "Untriggered"
    assert waiting["info"]["triggerBy"] == "LastPrice"
    bench.act("move_price", symbol="BTCUSDT", by_fraction=0.02)
    await bench.until_held("0.02")
    [filled] = await client.fetch_open_orders(SYMBOL, params={"orderLinkId": "td-1"})
    assert (filled["id"], filled["status"], filled["filled"]) == (order["id"], "closed", 0.02)


async def test_section_1_a_cancelled_conditional_order_ends_as_deactivated(bench: Bench) -> None:
    client = await bench.client()
    order = await client.create_order(
        SYMBOL, "market", "buy", 0.02, None, {"triggerPrice": bench.price() * 1.05, "triggerDirection": "ascending"}
    )
    await client.cancel_order(order["id"], SYMBOL)

    async def ended() -> Any:
        return await client.fetch_canceled_and_closed_orders(SYMBOL)

    [row] = await until(ended)
    assert row["info"]["orderStatus"] == "Deactivated" and await client.fetch_canceled_orders(SYMBOL) == []


async def test_section_1_the_trigger_must_lie_on_the_side_that_it_names(bench: Bench) -> None:
    client = await bench.client()
    for direction, factor, code in (("ascending", 0.99, 110092), ("descending", 1.01, 110093)):
        assert (
            await refused(
                client.create_order(
                    SYMBOL,
                    "market",
                    "buy",
                    0.02,
                    None,
                    {"triggerPrice": bench.price() * factor, "triggerDirection": direction},
                )
            )
            == code
        )
    with pytest.raises(ccxt.pro.ArgumentsRequired):
        await client.create_order(SYMBOL, "market", "buy", 0.02, None, {"triggerPrice": 60_000})


async def test_section_4_ten_conditional_orders_of_a_symbol_and_no_more(bench: Bench) -> None:
    client = await bench.client()
    for number in range(10):
        await client.create_order(
            SYMBOL,
            "market",
            "buy",
            0.001,
            None,
            {"triggerPrice": bench.price() * 1.1 + number, "triggerDirection": "ascending"},
        )
        await asyncio.sleep(0.12)
    assert (
        await refused(
            client.create_order(
                SYMBOL,
                "market",
                "buy",
                0.001,
                None,
                {"triggerPrice": bench.price() * 1.1, "triggerDirection": "ascending"},
            )
        )
        == 110009
    )


async def test_section_1_attached_levels_become_the_positions_when_the_order_fills(bench: Bench) -> None:
    client = await bench.client()
    price = bench.price()
    await client.create_order(
        SYMBOL,
        "market",
        "buy",
        0.05,
        None,
        {"stopLoss": {"triggerPrice": price * 0.95}, "takeProfit": {"triggerPrice": price * 1.05}},
    )
    await bench.until_held("0.05")
    [position] = await client.fetch_positions([SYMBOL])
    assert position["stopLossPrice"] == pytest.approx(price * 0.95, rel=1e-4)
    assert position["takeProfitPrice"] == pytest.approx(price * 1.05, rel=1e-4)


async def test_section_1_cancel_all_takes_the_positions_stop_with_it(bench: Bench) -> None:
    client = await bench.client()
    price = await _long(bench, client)
    await _stop(client, stopLoss=round(price * 0.97))
    await client.create_order(SYMBOL, "limit", "buy", 0.01, round(price * 0.97, 1))
    await client.cancel_all_orders(SYMBOL)

    async def empty() -> bool:
        return not await client.fetch_open_orders(SYMBOL)

    await until(empty)
    [position] = await client.fetch_positions([SYMBOL])
    assert position["stopLossPrice"] is None and position["contracts"] == 0.05
