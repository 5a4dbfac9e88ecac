"""Filters and states of a symbol that change under a client, other hands on the account, limits that hold for long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.emulator.helpers import Caller, flat, steady
from tradingd.emulator.core.model import HUMAN_KEY, HUMAN_SECRET
from tradingd.emulator.venues import VenueOptions
from tradingd.emulator.wire import Close

HUMAN: dict[str, Any] = {"key": HUMAN_KEY, "secret": HUMAN_SECRET}


@pytest.fixture
def caller() -> Caller:
    return Caller()


def change(caller: Caller, **changes: Any) -> str:
    return caller.venue.act("set_filters", {"symbol": "BTCUSDT", **changes})


def listed(caller: Caller) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    symbol = caller.call("GET", "/fapi/v1/exchangeInfo", signed=False)["symbols"][0]
    return symbol, {row["filterType"]: row for row in symbol["filters"]}


def test_changed_filters_are_listed_and_hold_at_once(caller: Caller) -> None:
    caller.order("BUY", "0.013")
    change(caller, tick_size="0.5", lot_size="0.005", min_notional_usdt="700", max_market_quantity="1")
    _, filters = listed(caller)
    assert (filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"]) == ("0.5", "0.005")
    assert filters["MIN_NOTIONAL"]["notional"] == "700" and filters["MARKET_LOT_SIZE"]["maxQty"] == "1"
    assert caller.limit("BUY", "63000.1", "0.05")["code"] == -4014
    assert caller.limit("BUY", "63000.5", "0.05")["status"] == "NEW"
    assert caller.order("BUY", "0.012")["code"] == -4023
    assert caller.order("BUY", "0.005")["code"] == -4164
    assert caller.order("BUY", "1.5")["code"] == -4005
    assert caller.order("SELL", "0.013", reduceOnly="true")["code"] == -4023
    assert caller.order("SELL", "0.010", reduceOnly="true")["status"] == "FILLED"
    assert caller.position() == 0.003


def test_a_change_that_prices_and_sizes_do_not_have_is_refused(caller: Caller) -> None:
    for changes, words in (
        ({"tick_size": "0.15"}, "no multiple"),
        ({"lot_size": "0.0005"}, "no multiple"),
        ({"status": "HALTED"}, "no status"),
        ({"colour": 1}, "what to change"),
        ({}, "what to"),
        ({"tick_size": "much"}, "tick_size"),
    ):
        with pytest.raises(ValueError, match=words):
            change(caller, **changes)
    with pytest.raises(ValueError, match="no act"):
        caller.venue.act("nothing", {})
    with pytest.raises(ValueError, match="no symbol"):
        caller.venue.act("set_filters", {"symbol": "PEPE", "tick_size": "1"})


@pytest.mark.parametrize("code", [-4400, -4401, -4087, -4105, -4106, -4107, -4189])
def test_a_symbol_that_takes_only_reducing_orders_says_so_with_its_code(caller: Caller, code: int) -> None:
    caller.order("BUY", "0.02")
    change(caller, reduce_only_code=code)
    assert caller.order("BUY")["code"] == caller.order("SELL")["code"] == code
    assert caller.algo("SELL", "STOP_MARKET", "60000", quantity="0.01")["code"] == code
    assert "algoId" in caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true")
    assert caller.order("SELL", reduceOnly="true")["status"] == "FILLED"
    change(caller, reduce_only_code=0)
    assert caller.order("BUY")["status"] == "FILLED"


@pytest.mark.parametrize(
    ("status", "opening", "reducing"),
    [
        ("PRE_SETTLE", -4140, None),
        ("PRE_DELIVERING", -4140, None),
        ("PENDING_TRADING", -4108, -4108),
        ("CLOSE", -4141, -4141),
        ("DELIVERED", -4141, -4141),
    ],
)
def test_the_status_of_a_symbol_decides_what_it_takes(
    caller: Caller, status: str, opening: int, reducing: int | None
) -> None:
    caller.order("BUY", "0.02")
    resting = caller.limit("BUY", "63000")
    change(caller, status=status)
    assert listed(caller)[0]["status"] == status
    assert caller.order("BUY")["code"] == opening
    assert caller.algo("SELL", "STOP_MARKET", "60000", quantity="0.01")["code"] == opening
    assert caller.order("SELL", reduceOnly="true").get("code") == reducing
    amend = {"symbol": "BTCUSDT", "side": "BUY", "orderId": resting["orderId"], "quantity": "0.02", "price": "63100"}
    assert caller.call("PUT", "/fapi/v1/order", **amend)["code"] == -5024
    assert caller.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=resting["orderId"])["status"] == "CANCELED"


def test_an_opening_trigger_is_rejected_when_it_fires_into_a_symbol_that_only_reduces(tmp_path: Path) -> None:
    caller = steady(tmp_path, [*flat(65000, 4), (65000, 65000, 63000, 63000), *flat(63000, 6)])
    caller.listen()
    algo = caller.algo("SELL", "STOP_MARKET", "64000", quantity="0.01")
    change(caller, reduce_only_code=-4400)
    caller.run(240)
    assert caller.call("GET", "/fapi/v1/algoOrder", algoId=algo["algoId"])["algoStatus"] == "REJECTED"
    assert "reduceOnly" in caller.events("ALGO_UPDATE")[-1]["o"]["rm"]


def test_a_market_order_without_a_price_in_reach_of_the_mark_is_refused(caller: Caller) -> None:
    change(caller, price_band_fraction="0.000001")
    assert caller.order("BUY") == {
        "code": -4131,
        "msg": "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    }


def test_another_key_of_the_account_sees_and_moves_the_same_things(caller: Caller) -> None:
    caller.listen()
    caller.order("BUY", "0.02")
    stop = caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true", clientAlgoId="td-stop")
    waiting = caller.call("GET", "/fapi/v1/openAlgoOrders", **HUMAN)
    assert [row["algoId"] for row in waiting] == [stop["algoId"]]
    caller.call("DELETE", "/fapi/v1/algoOrder", algoId=stop["algoId"], **HUMAN)
    flip = caller.order("SELL", "0.05", **HUMAN)
    caller.run(1)
    assert caller.position() == -0.03
    assert caller.events("ORDER_TRADE_UPDATE")[-1]["o"]["i"] == flip["orderId"]
    assert caller.events("ALGO_UPDATE")[-1]["o"]["X"] == "CANCELED"
    caller.algo("BUY", "STOP_MARKET", "70000", closePosition="true", **HUMAN)
    assert caller.algo("BUY", "STOP_MARKET", "71000", closePosition="true")["code"] == -4130


def test_a_flip_by_another_hand_ends_what_was_tied_to_the_position_and_leaves_the_rest(caller: Caller) -> None:
    caller.order("BUY", "0.02")
    tied = caller.algo("SELL", "TAKE_PROFIT_MARKET", "70000", closePosition="true", timeInForce="GTE_GTC")
    loose = caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true")
    resting = caller.limit("SELL", "66000", "0.02", reduceOnly="true")
    assert caller.venue.act("human", {"act": "flip", "symbol": "BTCUSDT"}).startswith("sold 0.040 BTCUSDT by hand")
    assert caller.position() == -0.02
    states = [caller.call("GET", "/fapi/v1/algoOrder", algoId=algo["algoId"])["algoStatus"] for algo in (tied, loose)]
    assert states == ["EXPIRED", "NEW"]
    assert caller.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=resting["orderId"])["status"] == "EXPIRED"


def test_a_ban_doubles_while_it_is_hit_and_outlives_a_restart(tmp_path: Path) -> None:
    stored = VenueOptions(symbols=("BTCUSDT",), with_lags=False, state_dir=tmp_path)
    caller = Caller(stored)
    for _ in range(80):
        caller.call("GET", "/fapi/v1/income")
    untils: list[int] = []
    for _ in range(21 * 16):
        answer = caller.call("POST", "/fapi/v1/listenKey", signed=False)
        assert caller.last is not None
        if caller.last.status == 418:
            untils.append(int(answer["msg"].split("banned until ")[1].split(".")[0]) - caller.now_ms)
    assert sorted(set(untils))[:3] == [120_000, 240_000, 480_000]
    assert max(untils) == 3 * 86_400_000
    caller.venue.close()
    again = Caller(stored)
    assert again.call("GET", "/fapi/v1/time", signed=False)["code"] == -1003
    again.venue.close()


def test_a_connection_ends_after_a_day(caller: Caller) -> None:
    session = caller.venue.open_session("/market/ws/0", "")
    frames = caller.venue.advance(caller.now_ms + 86_399_000)
    assert not [frame for _, frame in frames if isinstance(frame, Close)]
    frames = caller.venue.advance(caller.now_ms + 2_000)
    assert [number for number, frame in frames if isinstance(frame, Close)] == [session]
    caller.listen()
    assert caller.venue.act("end_connections", {}) == "ended 2 connections as after 24 hours"


def test_a_stream_takes_no_more_than_1024_topics(caller: Caller) -> None:
    names = "/".join(f"sym{number}@kline_1m" for number in range(1025))
    refused = caller.venue.open_session("/market/stream", f"streams={names}")
    assert not isinstance(refused, int) and refused.status == 400


def test_an_order_that_reaches_the_engine_too_late_is_not_executed(caller: Caller) -> None:
    caller.venue.act("delay_engine", {"delay_ms": 3000})
    assert caller.order("BUY", recvWindow=2_000)["code"] == -5028
    assert caller.algo("SELL", "STOP_MARKET", "60000", quantity="0.01", recvWindow=2_999)["code"] == -5028
    assert caller.position() == 0
    assert caller.order("BUY", recvWindow=3_000)["status"] == "FILLED"
    assert "code" not in caller.call("GET", "/fapi/v3/account", recvWindow=1_000)


def test_a_moved_price_takes_candles_and_stops_with_it(caller: Caller) -> None:
    caller.order("BUY", "0.02")
    stop = caller.algo("SELL", "STOP_MARKET", "64000", closePosition="true", workingType="MARK_PRICE")
    before = caller.price()
    caller.venue.act("move_price", {"symbol": "BTCUSDT", "by_fraction": -0.04})
    caller.run(6)
    assert caller.price() == pytest.approx(before * 0.96, rel=0.003)
    assert caller.call("GET", "/fapi/v1/algoOrder", algoId=stop["algoId"])["algoStatus"] == "FINISHED"
    caller.run(120)
    rows = caller.call("GET", "/fapi/v1/klines", signed=False, symbol="BTCUSDT", interval="1m", limit=3)
    assert float(rows[0][2]) > before * 0.99 > float(rows[0][4]) > before * 0.94
    assert float(rows[1][1]) == pytest.approx(float(rows[0][4]), rel=0.002)


def test_a_market_order_takes_no_price_beyond_the_band_and_the_rest_expires(caller: Caller) -> None:
    change(caller, price_band_fraction="0.0003")
    answer = caller.order("BUY", "2.5")
    assert answer["status"] == "EXPIRED" and 0 < float(answer["executedQty"]) < 2.5
    worst = max(float(row["price"]) for row in caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT"))
    assert worst <= float(caller.exchange.mark_price("BTCUSDT")) * 1.0003
