"""The algo service: a book of its own, triggers, children and leftovers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emulator.helpers import Caller, flat, steady

DROP = [*flat(65000, 4), (65000, 65000, 63000, 63000), *flat(63000, 6)]
RISE = [*flat(65000, 4), (65000, 67000, 65000, 67000), *flat(67000, 6)]


def states(caller: Caller) -> list[str]:
    return [frame["o"]["X"] for frame in caller.events("ALGO_UPDATE")]


def test_the_two_books_do_not_see_each_other() -> None:
    caller = Caller()
    algo = caller.algo("SELL", "STOP_MARKET", "60000", quantity="0.01", clientAlgoId="td-stop")
    plain = caller.limit("BUY", "63000", newClientOrderId="td-plain")
    assert [row["orderId"] for row in caller.call("GET", "/fapi/v1/openOrders", symbol="BTCUSDT")] == [plain["orderId"]]
    conditional = caller.call("GET", "/fapi/v1/openAlgoOrders", symbol="BTCUSDT")
    assert [row["algoId"] for row in conditional] == [algo["algoId"]]
    assert caller.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="td-stop")["code"] == -2013
    assert caller.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=algo["algoId"])["code"] == -2011
    caller.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    assert len(caller.call("GET", "/fapi/v1/openAlgoOrders", symbol="BTCUSDT")) == 1
    answer = caller.call("DELETE", "/fapi/v1/algoOrder", clientAlgoId="td-stop")
    assert answer == {"algoId": algo["algoId"], "clientAlgoId": "td-stop", "code": "200", "msg": "success"}
    assert caller.call("DELETE", "/fapi/v1/algoOrder", clientAlgoId="td-stop")["code"] == -2011
    assert caller.call("GET", "/fapi/v1/algoOrder", clientAlgoId="td-stop")["algoStatus"] == "CANCELED"


def test_a_stop_fires_a_new_plain_order_with_its_own_id(tmp_path: Path) -> None:
    caller = steady(tmp_path, DROP)
    caller.listen()
    caller.order("BUY", "0.05")
    algo = caller.algo(
        "SELL", "STOP_MARKET", "64000", closePosition="true", workingType="MARK_PRICE", clientAlgoId="td-stop"
    )
    caller.run(240)
    assert caller.position() == 0
    row = caller.call("GET", "/fapi/v1/algoOrder", algoId=algo["algoId"])
    child = caller.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=row["actualOrderId"])
    assert row["algoStatus"] == "FINISHED" and states(caller) == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
    assert (child["type"], child["origType"], child["clientOrderId"]) == ("MARKET", "STOP_MARKET", "td-stop")
    assert child["orderId"] != algo["algoId"] and child["closePosition"] is True and child["reduceOnly"] is True
    assert float(child["avgPrice"]) <= 64000
    fills = [frame["o"] for frame in caller.events("ORDER_TRADE_UPDATE") if frame["o"]["x"] == "TRADE"]
    assert str(fills[-1]["i"]) == row["actualOrderId"] and fills[-1]["c"] == "td-stop"
    assert sum(float(fill["rp"]) for fill in fills) < 0


def test_a_take_profit_fires_on_the_other_side(tmp_path: Path) -> None:
    caller = steady(tmp_path, RISE)
    caller.order("BUY", "0.05")
    caller.algo("SELL", "TAKE_PROFIT_MARKET", "66000", closePosition="true")
    caller.run(240)
    assert caller.position() == 0
    assert float(caller.call("GET", "/fapi/v3/account")["totalWalletBalance"]) > 10_040


def test_a_gap_fills_a_stop_far_behind_its_trigger(tmp_path: Path) -> None:
    caller = steady(tmp_path, [*flat(65000, 4), *flat(62000, 6)])
    caller.order("BUY", "0.05")
    caller.algo("SELL", "STOP_MARKET", "64500", closePosition="true", workingType="MARK_PRICE")
    caller.run(240)
    trades = caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT")
    assert caller.position() == 0 and float(trades[-1]["price"]) < 62001


def test_leftovers_survive_the_position_and_close_the_next_one(tmp_path: Path) -> None:
    caller = steady(tmp_path, [*flat(65000, 6), (65000, 65000, 63000, 63000), *flat(63000, 6)])
    caller.order("BUY", "0.05")
    caller.algo("SELL", "STOP_MARKET", "64000", quantity="0.05", reduceOnly="true")
    caller.algo("SELL", "STOP_MARKET", "64100", closePosition="true")
    caller.order("SELL", "0.05", reduceOnly="true")
    assert len(caller.call("GET", "/fapi/v1/openAlgoOrders", symbol="BTCUSDT")) == 2
    caller.order("BUY", "0.02")
    caller.run(420)
    assert caller.position() == 0


def test_gte_gtc_needs_a_position_and_ends_with_it() -> None:
    caller = Caller()
    assert caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true", timeInForce="GTE_GTC")["code"] == -4509
    caller.order("BUY", "0.05")
    algo = caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true", timeInForce="GTE_GTC")
    caller.order("SELL", "0.05")
    assert caller.call("GET", "/fapi/v1/algoOrder", algoId=algo["algoId"])["algoStatus"] == "EXPIRED"


def test_with_the_flag_off_close_position_orders_end_with_the_position() -> None:
    caller = Caller(leftover_on_close=False)
    caller.order("BUY", "0.05")
    caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true")
    caller.order("SELL", "0.05")
    assert caller.call("GET", "/fapi/v1/openAlgoOrders", symbol="BTCUSDT") == []


def test_a_reduce_only_stop_without_a_position_is_rejected_when_it_fires(tmp_path: Path) -> None:
    caller = steady(tmp_path, DROP)
    caller.listen()
    algo = caller.algo("SELL", "STOP_MARKET", "64000", quantity="0.05", reduceOnly="true")
    caller.run(240)
    assert caller.call("GET", "/fapi/v1/algoOrder", algoId=algo["algoId"])["algoStatus"] == "REJECTED"
    assert caller.events("ALGO_UPDATE")[-1]["o"]["rm"] == "Reduce Only reject"


def test_margin_is_asked_for_only_when_a_stop_fires(tmp_path: Path) -> None:
    caller = steady(tmp_path, DROP)
    algo = caller.algo("SELL", "STOP_MARKET", "64000", quantity="50")
    caller.run(240)
    assert caller.call("GET", "/fapi/v1/algoOrder", algoId=algo["algoId"])["algoStatus"] == "REJECTED"
    assert caller.position() == 0


@pytest.mark.parametrize(
    ("side", "kind", "trigger", "expected"),
    [
        ("SELL", "STOP_MARKET", "66000", -2021),
        ("BUY", "STOP_MARKET", "60000", -2021),
        ("SELL", "TAKE_PROFIT_MARKET", "60000", -2021),
        ("BUY", "TAKE_PROFIT_MARKET", "66000", -2021),
        ("SELL", "STOP_MARKET", "60000.05", -4014),
        ("SELL", "STOP_MARKET", "0", -4006),
        ("SELL", "LIMIT", "60000", -1116),
        ("SELL", "STOP", "60000", -1102),
    ],
)
def test_triggers_are_checked(side: str, kind: str, trigger: str, expected: int) -> None:
    assert Caller().algo(side, kind, trigger, quantity="0.01")["code"] == expected


def test_close_position_is_unique_per_direction_and_takes_no_quantity() -> None:
    caller = Caller()
    caller.order("BUY", "0.05")
    assert "algoId" in caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true")
    assert caller.algo("SELL", "STOP_MARKET", "60100", closePosition="true")["code"] == -4130
    assert "algoId" in caller.algo("SELL", "TAKE_PROFIT_MARKET", "70000", closePosition="true")
    assert "algoId" in caller.algo("SELL", "STOP_MARKET", "60100", quantity="0.05", reduceOnly="true")
    assert caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true", quantity="1")["code"] == -4137
    assert caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true", reduceOnly="true")["code"] == -1106
    assert caller.algo("SELL", "STOP", "60000", closePosition="true", price="59000")["code"] == -4136


def test_no_more_than_two_hundred_conditional_orders_over_the_account() -> None:
    caller = Caller()
    for _ in range(200):
        assert "algoId" in caller.algo("SELL", "STOP_MARKET", "60000", quantity="0.01")
        caller.run(0.3)
    assert caller.algo("SELL", "STOP_MARKET", "60000", quantity="0.01")["code"] == -4045


def test_a_stop_limit_becomes_a_resting_limit_order(tmp_path: Path) -> None:
    caller = steady(tmp_path, DROP)
    caller.order("BUY", "0.05")
    algo = caller.algo("SELL", "STOP", "64000", price="63900", quantity="0.05", reduceOnly="true")
    caller.run(240)
    row = caller.call("GET", "/fapi/v1/algoOrder", algoId=algo["algoId"])
    child = caller.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=row["actualOrderId"])
    assert (child["type"], child["price"]) == ("LIMIT", "63900.0")
    assert row["algoStatus"] in ("TRIGGERED", "FINISHED")
