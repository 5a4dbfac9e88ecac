"""Plain orders: what the venue accepts, what it refuses and with which words."""

from __future__ import annotations

import hashlib
import hmac
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.emulator.helpers import Caller
from tradingd.emulator.wire import HttpRequest


@pytest.fixture
def caller() -> Caller:
    return Caller()


def code(answer: dict[str, Any]) -> int:
    return int(answer.get("code", 0))


def test_a_market_order_answers_filled_and_its_fills_sum_to_it(caller: Caller) -> None:
    caller.listen()
    answer = caller.order("BUY", "2", newClientOrderId="td-1")
    assert (answer["status"], answer["clientOrderId"], answer["executedQty"]) == ("FILLED", "td-1", "2.000")
    trades = caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT")
    assert len(trades) > 1 and len({row["id"] for row in trades}) == len(trades)
    assert sum(float(row["qty"]) for row in trades) == pytest.approx(2)
    caller.run(1)
    states = [frame["o"]["X"] for frame in caller.events("ORDER_TRADE_UPDATE")]
    assert states == ["NEW", *["PARTIALLY_FILLED"] * (len(trades) - 1), "FILLED"]
    assert [frame["t"] for frame in caller.events("TRADE_LITE")] == [row["id"] for row in trades]
    update = caller.events("ACCOUNT_UPDATE")[-1]["a"]
    assert update["P"][0]["pa"] == "2" and update["B"][0]["a"] == "USDT"


def test_an_ack_shows_no_fill_although_the_order_is_filled(caller: Caller) -> None:
    answer = caller.order("BUY", "0.01", newOrderRespType="ACK")
    assert (answer["status"], answer["executedQty"]) == ("NEW", "0.000")
    assert caller.position() == 0.01


@pytest.mark.parametrize(
    ("params", "expected", "text"),
    [
        ({"quantity": "0.0005"}, -1111, "Precision is over the maximum defined for this asset."),
        ({"quantity": "0"}, -4003, "Quantity less than or equal to zero."),
        ({"quantity": "0.000"}, -4003, "Quantity less than or equal to zero."),
        ({"quantity": "200"}, -4005, "Quantity greater than max quantity."),
        ({"quantity": "1e-3"}, -1100, "Illegal characters found in parameter 'quantity'"),
        ({"quantity": "nan"}, -1100, "Illegal characters"),
        ({"quantity": "-1"}, -1100, "Illegal characters"),
        ({"quantity": None}, -1102, "Mandatory parameter 'quantity' was not sent"),
        ({"symbol": "BTC/USDT"}, -1121, "Invalid symbol."),
        ({"symbol": None}, -1102, "Mandatory parameter 'symbol' was not sent"),
        ({"side": "buy"}, -1117, "Invalid side."),
        ({"type": "market"}, -1116, "Invalid orderType."),
        ({"type": "STOP_MARKET"}, -4120, "Algo Order API"),
        ({"quantity": "20"}, -2019, "Margin is insufficient."),
        ({"reduceOnly": "true"}, -2022, "ReduceOnly Order is rejected."),
        ({"positionSide": "LONG"}, -4061, "position side does not match"),
        ({"quantity": "0.000000001"}, -1111, "Precision"),
        ({"newClientOrderId": "x" * 37}, -4015, "Client order id"),
        ({"newClientOrderId": "a b"}, -1100, "Illegal characters found in parameter 'newClientOrderId'"),
        ({"type": "LIMIT", "price": "60000"}, -1102, "timeInForce"),
        ({"type": "LIMIT", "timeInForce": "GTC"}, -1102, "price"),
        ({"type": "LIMIT", "timeInForce": "NOW", "price": "60000"}, -1115, "Invalid timeInForce."),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "64000.15"}, -4014, "Price not increased by tick size."),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "64000.155"}, -1111, "Precision"),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "0"}, -4001, "Price less than 0."),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "90000"}, -4016, "Limit price can't be higher than"),
        ({"side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "price": "30000"}, -4024, "can't be lower than"),
        ({"type": "LIMIT", "timeInForce": "GTX", "price": "66000"}, -5022, "Post Only"),
        (
            {"quantity": "110", "type": "LIMIT", "timeInForce": "FOK", "price": "64999"},
            -2027,
            "maximum allowable position",
        ),
        ({"quantity": "2", "type": "LIMIT", "timeInForce": "FOK", "price": "64900"}, -5021, "FOK"),
    ],
)
def test_the_venue_refuses_with_its_own_code_and_text(
    caller: Caller, params: dict[str, Any], expected: int, text: str
) -> None:
    answer = caller.order(**{"side": "BUY", **params})
    assert code(answer) == expected
    assert text in answer["msg"]
    assert caller.last is not None and caller.last.status == 400
    assert caller.position() == 0


def test_minimum_notional_is_per_symbol_and_asked_of_entries_only(caller: Caller) -> None:
    words = "Order's notional must be no smaller than {} (unless you choose reduce only)."
    assert caller.order("BUY", "0.005", symbol="ETHUSDT") == {"code": -4164, "msg": words.format(20)}
    assert caller.order("BUY", "0.010", symbol="ETHUSDT")["status"] == "FILLED"
    assert caller.order("SELL", "0.001", symbol="ETHUSDT", reduceOnly="true")["status"] == "FILLED"
    cheap = Caller(balance_usdt=Decimal(10_000))
    cheap.exchange.feeds["BTCUSDT"].minute = msgspec.structs.replace(
        cheap.exchange.feeds["BTCUSDT"].minute, last=[400_000] * 30, mark=[400_000] * 30
    )
    assert cheap.order("BUY", "0.001") == {"code": -4164, "msg": words.format(50)}


def test_a_reduce_only_order_is_cut_down_to_the_position_and_never_turns_it(caller: Caller) -> None:
    caller.order("BUY", "0.01")
    answer = caller.order("SELL", "0.5", reduceOnly="true")
    assert (answer["status"], answer["origQty"]) == ("FILLED", "0.010")
    assert caller.position() == 0


@pytest.mark.fault(56)
def test_client_ids_are_unique_among_open_orders_only(caller: Caller) -> None:
    assert caller.limit("BUY", "63000", newClientOrderId="td-1")["status"] == "NEW"
    assert code(caller.limit("BUY", "63000", newClientOrderId="td-1")) == -4116
    assert code(caller.algo("SELL", "STOP_MARKET", "60000", quantity="0.01", clientAlgoId="td-1")) == -4116
    assert caller.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="td-1")["status"] == "CANCELED"
    assert caller.order("BUY", newClientOrderId="td-1")["status"] == "FILLED"
    assert caller.order("BUY", newClientOrderId="td-1")["status"] == "FILLED"
    assert caller.position() == 0.02


def test_a_venue_that_remembers_ids_refuses_the_id_of_a_filled_order() -> None:
    caller = Caller(remembers_ids=True)
    assert caller.order("BUY", newClientOrderId="td-1")["status"] == "FILLED"
    assert code(caller.order("BUY", newClientOrderId="td-1")) == -4116
    stop = caller.algo("SELL", "STOP_MARKET", "60000", quantity="0.01", clientAlgoId="td-2")
    caller.call("DELETE", "/fapi/v1/algoOrder", algoId=stop["algoId"])
    assert code(caller.order("BUY", newClientOrderId="td-2")) == -4116


def test_look_ups_and_cancels_name_unknown_orders_differently(caller: Caller) -> None:
    for params in ({"orderId": 1}, {"origClientOrderId": "none"}):
        assert code(caller.call("GET", "/fapi/v1/order", symbol="BTCUSDT", **params)) == -2013
        assert code(caller.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", **params)) == -2011
    assert code(caller.call("GET", "/fapi/v1/order", symbol="BTCUSDT")) == -1102
    filled = caller.order("BUY")
    assert code(caller.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=filled["orderId"])) == -2011


def test_a_resting_order_can_be_amended_once_and_not_to_what_it_is(caller: Caller) -> None:
    order = caller.limit("BUY", "63000")
    amend = {"symbol": "BTCUSDT", "side": "BUY", "orderId": order["orderId"], "quantity": "0.02", "price": "63100"}
    assert caller.call("PUT", "/fapi/v1/order", **amend)["price"] == "63100.0"
    assert code(caller.call("PUT", "/fapi/v1/order", **amend)) == -5027


def test_an_order_without_fills_is_forgotten_after_three_days(caller: Caller) -> None:
    order = caller.limit("BUY", "63000")
    caller.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=order["orderId"])
    query = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
    assert caller.call("GET", "/fapi/v1/order", **query)["status"] == "CANCELED"
    caller.run(3 * 86_400 + 60)
    assert code(caller.call("GET", "/fapi/v1/order", **query)) == -2013


def test_a_resting_limit_order_fills_as_maker_at_its_own_price(caller: Caller) -> None:
    caller.listen()
    price = caller.price()
    order = caller.limit("SELL", f"{price * 1.002:.1f}", "0.03")
    caller.run(600)
    filled = caller.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=order["orderId"])
    assert (filled["status"], float(filled["avgPrice"])) == ("FILLED", float(order["price"]))
    trades = caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT")
    assert all(row["maker"] for row in trades)
    assert sum(float(row["commission"]) for row in trades) == pytest.approx(0.03 * float(order["price"]) * 0.0002)


def test_an_ioc_order_takes_what_is_there_and_expires(caller: Caller) -> None:
    answer = caller.limit("BUY", f"{caller.price() + 10:.1f}", "3", timeInForce="IOC", newOrderRespType="RESULT")
    assert answer["status"] == "EXPIRED"
    assert 0 < float(answer["executedQty"]) < 3


def test_batches_give_each_order_its_own_verdict(caller: Caller) -> None:
    batch = (
        '[{"symbol":"BTCUSDT","side":"BUY","type":"MARKET","quantity":"0.01","newOrderRespType":"RESULT"},'
        '{"symbol":"BTCUSDT","side":"BUY","type":"MARKET","quantity":"0.0001"}]'
    )
    answers = caller.call("POST", "/fapi/v1/batchOrders", batchOrders=batch)
    assert [answers[0]["status"], answers[1]["code"]] == ["FILLED", -1111]
    assert caller.last is not None and caller.last.headers["X-MBX-ORDER-COUNT-10S"] == "2"


def test_signatures_keys_and_clocks_are_checked(caller: Caller) -> None:
    path = "/fapi/v3/account"
    assert code(caller.call("GET", path, secret="wrong")) == -1022
    assert code(caller.call("GET", path, key="nobody")) == -2015
    assert caller.last is not None and caller.last.status == 401
    assert code(caller.call("GET", path, key="")) == -2014
    assert code(caller.call("GET", path, timestamp=caller.now_ms - 10_001)) == -1021
    assert "totalWalletBalance" in caller.call("GET", path, timestamp=caller.now_ms - 10_000)
    assert code(caller.call("GET", path, timestamp=caller.now_ms + 1_000)) == -1021
    assert "totalWalletBalance" in caller.call("GET", path, timestamp=caller.now_ms + 999)
    assert code(caller.call("GET", path, signed=False)) == -1102


def test_receive_windows_stretch_with_the_speed(caller: Caller) -> None:
    caller.venue.set_time_scale(60)
    stale = caller.now_ms - 400_000
    assert "totalWalletBalance" in caller.call("GET", "/fapi/v3/account", timestamp=stale)
    assert code(caller.call("GET", "/fapi/v3/account", timestamp=stale, recvWindow=5_000)) == -1021


def test_a_signature_covers_the_exact_bytes(caller: Caller) -> None:
    text = f"symbol=BTCUSDT&recvWindow=10000&timestamp={caller.now_ms}"
    signature = hmac.new(b"sim-secret", text.encode(), hashlib.sha256).hexdigest()
    for query, status in ((f"{text}&signature={signature}", 200), (f"{text}&x=1&signature={signature}", 400)):
        answer = caller.venue.handle(HttpRequest("GET", "/fapi/v1/openOrders", query, {"x-mbx-apikey": "sim-key"}))
        assert answer.status == status


def test_other_services_are_not_here(caller: Caller) -> None:
    answer = caller.venue.handle(HttpRequest("GET", "/sapi/v1/capital/config/getall"))
    assert answer.status == 403
    assert caller.venue.handle(HttpRequest("GET", "/fapi/v1/nothing")).status == 404
