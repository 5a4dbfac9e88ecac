"""Websocket sessions, listen keys, limits, and what lags behind."""

from __future__ import annotations

import json

import pytest

from tests.emulator.helpers import Caller
from tradingd.emulator.venues import VenueOptions
from tradingd.emulator.wire import Close

LAGGING = VenueOptions(symbols=("BTCUSDT",), with_lags=True)


def test_topics_of_another_class_stay_silent() -> None:
    caller = Caller()
    public = caller.venue.open_session("/ws/btcusdt@kline_1m", "")
    market = caller.venue.open_session("/market/stream", "streams=btcusdt@kline_1m/nothing@kline_1m")
    assert isinstance(public, int) and isinstance(market, int)
    frames = caller.venue.advance(caller.now_ms + 10_000)
    assert {session for session, _ in frames} == {market}
    wrapped = json.loads(str(frames[0][1]))
    assert wrapped["stream"] == "btcusdt@kline_1m" and wrapped["data"]["k"]["i"] == "1m"
    assert not isinstance(caller.venue.open_session("/elsewhere", ""), int)


def test_unsubscribing_ends_the_pushes() -> None:
    caller = Caller()
    session = caller.listen("btcusdt@kline_1m", "btcusdt@markPrice@1s")
    assert {frame["e"] for frame in caller.run(5)} == {"kline", "markPriceUpdate"}
    message = {"method": "UNSUBSCRIBE", "params": ["btcusdt@kline_1m", "btcusdt@markPrice@1s"], "id": 7}
    assert caller.venue.on_frame(session, json.dumps(message)) == ['{"result":null,"id":7}']
    assert caller.run(5) == []
    assert "unable to parse" in str(caller.venue.on_frame(session, "not json")[0])


def test_more_than_ten_messages_in_a_second_end_the_connection() -> None:
    caller = Caller()
    session = caller.venue.open_session("/market/ws/1", "")
    assert isinstance(session, int)
    answers = [caller.venue.on_frame(session, '{"method":"LIST_SUBSCRIPTIONS","id":1}')[0] for _ in range(11)]
    assert answers[9] == '{"result":[],"id":1}'
    assert isinstance(answers[10], Close)


def test_a_listen_key_dies_after_an_hour_unless_it_is_extended() -> None:
    caller = Caller()
    caller.listen()
    caller.run(3000)
    caller.call("PUT", "/fapi/v1/listenKey", signed=False)
    caller.run(3000)
    assert caller.events("listenKeyExpired") == []
    caller.run(700)
    assert len(caller.events("listenKeyExpired")) == 1
    caller.order("BUY")
    caller.run(5)
    assert caller.events("ORDER_TRADE_UPDATE") == []
    assert caller.call("PUT", "/fapi/v1/listenKey", signed=False)["code"] == -1125


def test_events_keep_their_order_and_come_after_the_answer() -> None:
    caller = Caller(LAGGING)
    caller.listen()
    assert caller.order("BUY", "0.05")["status"] == "FILLED"
    assert caller.run(0.002) == []
    for _ in range(20):
        assert caller.order("SELL", "0.05")["status"] == "FILLED"
        assert caller.order("BUY", "0.05")["status"] == "FILLED"
        caller.run(0.001)
    caller.run(2)
    orders = [frame["o"] for frame in caller.events("ORDER_TRADE_UPDATE")]
    numbers = [row["i"] for row in orders]
    assert numbers == sorted(numbers)
    assert orders[0]["x"] == "NEW" and orders[1]["x"] == "TRADE"
    trades = [row["t"] for row in orders if row["x"] == "TRADE"]
    assert trades == sorted(set(trades))


@pytest.mark.fault(33, 35)
def test_look_ups_balances_and_positions_lag_and_disagree() -> None:
    caller = Caller(LAGGING)
    seen: set[tuple[bool, bool, bool, bool]] = set()
    for _ in range(60):
        order = caller.order("BUY", "0.05")
        caller.run(0.06)
        found = "code" not in caller.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=order["orderId"])
        wallet = float(caller.call("GET", "/fapi/v3/balance")[0]["balance"])
        held = caller.position() != 0
        fills = len(caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", orderId=order["orderId"])) > 0
        truth = float(caller.exchange.account.wallet)
        seen.add((found, wallet == pytest.approx(truth), held, fills))
        caller.run(1)
        caller.order("SELL", "0.05", reduceOnly="true")
        caller.run(1)
    assert len(seen) > 6
    assert caller.call("GET", "/fapi/v3/positionRisk") == []


def test_lags_stretch_with_the_speed() -> None:
    caller = Caller(LAGGING)
    caller.venue.set_time_scale(600)
    order = caller.order("BUY", "0.05")
    caller.run(2)
    assert caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", orderId=order["orderId"]) == []
    caller.run(300)
    assert caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", orderId=order["orderId"])


def test_weights_and_order_counts_are_in_the_headers_and_in_fixed_windows() -> None:
    caller = Caller()
    caller.call("GET", "/fapi/v3/account")
    caller.call("GET", "/fapi/v1/openOrders")
    caller.order("BUY")
    assert caller.last is not None
    assert {name: value for name, value in caller.last.headers.items() if name.startswith("X-")} == {
        "X-MBX-USED-WEIGHT-1M": "45",
        "X-MBX-ORDER-COUNT-10S": "1",
        "X-MBX-ORDER-COUNT-1M": "1",
    }
    caller.run(60)
    caller.call("GET", "/fapi/v1/time", signed=False)
    assert caller.last.headers["X-MBX-USED-WEIGHT-1M"] == "1"


def test_too_much_weight_is_429_and_going_on_is_418_until_the_ban_ends() -> None:
    caller = Caller()
    for _ in range(80):
        caller.call("GET", "/fapi/v1/income")
    assert caller.last is not None and caller.last.status == 200
    statuses = []
    for _ in range(25):
        answer = caller.call("GET", "/fapi/v1/time", signed=False)
        statuses.append(caller.last.status)
        assert answer["code"] == -1003
    assert statuses[:20] == [429] * 20 and statuses[-1] == 418
    until_ms = int(answer["msg"].split("banned until ")[1].split(".")[0])
    caller.run((until_ms - caller.now_ms) / 1000 - 1)
    assert caller.call("GET", "/fapi/v1/time", signed=False)["code"] == -1003
    caller.run(2)
    assert "serverTime" in caller.call("GET", "/fapi/v1/time", signed=False)


def test_too_many_orders_are_not_looked_at() -> None:
    caller = Caller()
    answers = [caller.order("BUY", "0.001") for _ in range(301)]
    assert answers[-1]["code"] == -1015 and caller.last is not None and caller.last.status == 429
    caller.run(10)
    assert caller.order("BUY", "0.001")["status"] == "FILLED"


def test_the_same_seed_and_the_same_requests_give_the_same_frames() -> None:
    def play() -> list[dict[str, object]]:
        caller = Caller(VenueOptions(symbols=("BTCUSDT", "ETHUSDT"), seed=11))
        caller.listen("btcusdt@kline_1m", "ethusdt@kline_5m")
        caller.listen()
        for minute in range(40):
            side = "BUY" if minute % 3 else "SELL"
            caller.order(side, "0.3")
            caller.limit(side, f"{caller.price() * 0.999:.1f}", "0.05", newClientOrderId=f"td-{minute}")
            caller.algo("SELL", "STOP_MARKET", f"{caller.price() * 0.99:.1f}", closePosition="true")
            caller.run(47.3)
        return caller.frames

    first, again = play(), play()
    assert len(first) > 1000
    assert first == again
