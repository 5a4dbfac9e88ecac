"""Trailing stops, orders with an end, amendments, children that may not fill: what single kinds of orders do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.emulator.helpers import Caller, flat, steady
from tradingd.emulator.venues import VenueOptions

HILL = [*flat(65000, 4), (65000, 67000, 65000, 67000), (67000, 67000, 65800, 65800), *flat(65800, 6)]


def trail(caller: Caller, side: str = "SELL", **params: Any) -> Any:
    return caller.algo(side, "TRAILING_STOP_MARKET", None, **{"quantity": "0.05", "callbackRate": "1", **params})


def row_of(caller: Caller, algo: Any) -> Any:
    return caller.call("GET", "/fapi/v1/algoOrder", algoId=algo["algoId"])


def test_a_trailing_stop_follows_the_best_price_and_fires_on_the_way_back(tmp_path: Path) -> None:
    caller = steady(tmp_path, HILL)
    caller.listen()
    caller.order("BUY", "0.05")
    algo = trail(caller, reduceOnly="true")
    assert (algo["orderType"], algo["callbackRate"], algo["activatePrice"]) == ("TRAILING_STOP_MARKET", "1", "0.0")
    caller.run(170)
    assert row_of(caller, algo)["algoStatus"] == "NEW"
    caller.run(120)
    assert row_of(caller, algo)["algoStatus"] == "FINISHED" and caller.position() == 0
    sold = float(caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT")[-1]["price"])
    assert 65800 <= sold <= 67000 * 0.99
    states = [frame["o"]["X"] for frame in caller.events("ALGO_UPDATE")]
    assert states == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]


def test_a_trailing_stop_waits_for_its_activation(tmp_path: Path) -> None:
    caller = steady(tmp_path, HILL)
    caller.order("BUY", "0.05")
    never = trail(caller, activatePrice="68000", reduceOnly="true")
    soon = trail(caller, activatePrice="66000", reduceOnly="true")
    caller.run(300)
    assert row_of(caller, never)["algoStatus"] == "NEW"
    assert row_of(caller, soon)["algoStatus"] == "FINISHED" and caller.position() == 0


@pytest.mark.parametrize(
    ("side", "params", "expected"),
    [
        ("SELL", {"callbackRate": None}, -1102),
        ("SELL", {"callbackRate": "0.05"}, -1130),
        ("SELL", {"callbackRate": "10.1"}, -1130),
        ("SELL", {"callbackRate": "0.15"}, -1130),
        ("SELL", {"activatePrice": "60000"}, -2021),
        ("BUY", {"activatePrice": "70000"}, -2021),
        ("SELL", {"activatePrice": "0"}, -4135),
        ("SELL", {"activatePrice": "66000.05"}, -4014),
        ("SELL", {"closePosition": "true", "quantity": None}, -4136),
        ("SELL", {"quantity": None}, -1102),
        ("SELL", {"quantity": "0.0001"}, -1111),
        ("SELL", {"workingType": "INDEX"}, -4031),
    ],
)
def test_trailing_stops_are_checked(side: str, params: dict[str, Any], expected: int) -> None:
    assert trail(Caller(), side, **params)["code"] == expected


def test_a_trailing_stop_keeps_its_extreme_over_a_restart(tmp_path: Path) -> None:
    stored = VenueOptions(symbols=("BTCUSDT",), with_lags=False, state_dir=tmp_path)
    caller = Caller(stored)
    caller.order("BUY", "0.05")
    algo = trail(caller, callbackRate="5")
    caller.run(300)
    extreme = caller.exchange.triggers.orders[algo["algoId"]].extreme_ticks
    assert extreme > caller.exchange.instruments["BTCUSDT"].ticks(caller.exchange.fills[0].price)
    caller.venue.close()
    again = Caller(stored)
    assert again.exchange.triggers.orders[algo["algoId"]].extreme_ticks == extreme
    again.venue.close()


def test_an_order_with_an_end_expires_then_and_needs_ten_minutes(tmp_path: Path) -> None:
    stored = VenueOptions(symbols=("BTCUSDT",), with_lags=False, state_dir=tmp_path)
    caller = Caller(stored)
    for till, code in ((None, -1102), (caller.now_ms + 590_000, -5040), (253_402_300_799_001, -5040)):
        assert caller.limit("BUY", "63000", timeInForce="GTD", goodTillDate=till)["code"] == code
    assert caller.limit("BUY", "63000", goodTillDate=caller.now_ms + 900_000)["code"] == -1106
    till = (caller.now_ms + 700_000) // 1000 * 1000
    order = caller.limit("BUY", "63000", timeInForce="GTD", goodTillDate=till + 7)
    assert order["goodTillDate"] == till
    caller.run((till - caller.now_ms) / 1000 - 2)
    caller.venue.close()
    again = Caller(stored)
    query = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
    assert again.call("GET", "/fapi/v1/order", **query)["status"] == "NEW"
    again.listen()
    again.run(3)
    assert again.call("GET", "/fapi/v1/order", **query)["status"] == "EXPIRED"
    event = again.events("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (event["x"], event["gtd"]) == ("EXPIRED", till)
    again.venue.close()


def test_only_limit_orders_are_amended_and_only_whole() -> None:
    caller = Caller()
    order = caller.limit("BUY", "63000")
    amend = {"symbol": "BTCUSDT", "side": "BUY", "orderId": order["orderId"], "quantity": "0.02", "price": "63100"}
    for name in ("quantity", "price"):
        assert caller.call("PUT", "/fapi/v1/order", **{**amend, name: None})["code"] == -1102
    dear = Caller()
    dear.venue.act("set_filters", {"symbol": "BTCUSDT", "min_notional_usdt": 100})
    resting = dear.limit("BUY", "63000")
    answer = dear.call(
        "PUT",
        "/fapi/v1/order",
        symbol="BTCUSDT",
        side="BUY",
        orderId=resting["orderId"],
        quantity="0.001",
        price="63000",
    )
    assert answer == {"code": -5029, "msg": "Order's notional must be no smaller than 100."}
    assert caller.call("PUT", "/fapi/v1/order", **{**amend, "orderId": 1})["code"] == -2013
    filled = caller.order("BUY")
    assert caller.call("PUT", "/fapi/v1/order", **{**amend, "orderId": filled["orderId"]})["code"] == -2011


def test_a_triggered_fill_or_kill_limit_that_cannot_fill_expires_without_a_fill(tmp_path: Path) -> None:
    caller = steady(tmp_path, [*flat(65000, 4), *flat(62000, 6)])
    caller.order("BUY", "0.05")
    algo = caller.algo("SELL", "STOP", "64000", price="63900", quantity="0.05", reduceOnly="true", timeInForce="FOK")
    caller.run(240)
    row = row_of(caller, algo)
    child = caller.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=row["actualOrderId"])
    assert (child["status"], child["executedQty"], caller.position()) == ("EXPIRED", "0.000", 0.05)
    assert row["algoStatus"] == "FINISHED"


def test_a_triggered_post_only_limit_that_would_take_expires(tmp_path: Path) -> None:
    caller = steady(tmp_path, [*flat(65000, 4), (65000, 65000, 63990, 63990), *flat(63990, 6)])
    caller.order("BUY", "0.05")
    algo = caller.algo("SELL", "STOP", "64000", price="63000", quantity="0.05", reduceOnly="true", timeInForce="GTX")
    caller.run(240)
    row = row_of(caller, algo)
    assert caller.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=row["actualOrderId"])["status"] == "EXPIRED"
    assert caller.position() == 0.05


def test_close_position_takes_no_reduce_only_at_all() -> None:
    caller = Caller()
    caller.order("BUY")
    assert caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true", reduceOnly="false")["code"] == -4138


def test_no_more_than_two_hundred_open_orders_per_symbol() -> None:
    caller = Caller()
    for _ in range(200):
        assert caller.limit("BUY", "62000", "0.001")["status"] == "NEW"
        caller.run(0.06)
    assert caller.limit("BUY", "62000", "0.001")["code"] == -2025
    assert caller.limit("BUY", "3300", "0.1", symbol="ETHUSDT")["status"] == "NEW"


def test_an_order_with_fills_is_forgotten_after_ninety_days() -> None:
    caller = Caller()
    order, views = caller.order("BUY"), caller.venue._desk.views
    for days, is_known in ((4, True), (89, True), (91, False)):
        views.now_ms = caller.now_ms + days * 86_400_000
        assert (views.order("BTCUSDT", order["orderId"], None) is not None) == is_known
