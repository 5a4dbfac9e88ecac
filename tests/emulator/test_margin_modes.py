"""Isolated and cross margin, leverage and position mode, as requests change them and answers show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.emulator.helpers import Caller
from tradingd.emulator.venues import VenueOptions


@pytest.fixture
def caller() -> Caller:
    return Caller()


def post(caller: Caller, path: str, **params: Any) -> Any:
    return caller.call("POST", f"/fapi/v1/{path}", **params)


def test_an_isolated_position_sets_its_initial_margin_apart(caller: Caller) -> None:
    assert post(caller, "marginType", symbol="BTCUSDT", marginType="ISOLATED")["code"] == 200
    assert post(caller, "marginType", symbol="BTCUSDT", marginType="ISOLATED")["code"] == -4046
    caller.order("BUY", "0.1")
    (row,) = caller.call("GET", "/fapi/v3/positionRisk")
    entry = float(row["entryPrice"])
    assert float(row["isolatedWallet"]) == pytest.approx(0.1 * entry / 20)
    assert float(row["isolatedMargin"]) == pytest.approx(float(row["isolatedWallet"]) + float(row["unRealizedProfit"]))
    account = caller.call("GET", "/fapi/v3/account")
    assert float(account["totalCrossWalletBalance"]) == pytest.approx(
        float(account["totalWalletBalance"]) - float(row["isolatedWallet"])
    )
    assert float(account["availableBalance"]) == pytest.approx(float(account["totalCrossWalletBalance"]))
    caller.order("SELL", "0.05")
    (row,) = caller.call("GET", "/fapi/v3/positionRisk")
    assert float(row["isolatedWallet"]) == pytest.approx(0.05 * entry / 20)
    caller.order("SELL", "0.15")
    (row,) = caller.call("GET", "/fapi/v3/positionRisk")
    assert float(row["isolatedWallet"]) == pytest.approx(0.1 * float(row["entryPrice"]) / 20)


def test_margin_is_added_and_taken_only_where_it_is_apart(caller: Caller) -> None:
    ask = {"symbol": "BTCUSDT", "amount": "100", "type": 1}
    assert post(caller, "positionMargin", **ask)["code"] == -4049
    post(caller, "marginType", symbol="BTCUSDT", marginType="ISOLATED")
    assert post(caller, "positionMargin", **ask)["code"] == -4054
    caller.order("BUY", "0.1")
    far = float(caller.call("GET", "/fapi/v3/positionRisk")[0]["liquidationPrice"])
    assert post(caller, "positionMargin", **ask)["code"] == 200
    assert float(caller.call("GET", "/fapi/v3/positionRisk")[0]["liquidationPrice"]) < far
    assert post(caller, "positionMargin", **{**ask, "amount": "20000"})["code"] == -4050
    assert post(caller, "positionMargin", **{**ask, "amount": "400", "type": 2})["code"] == -4051
    assert post(caller, "positionMargin", **{**ask, "amount": "50", "type": 2})["code"] == 200
    assert post(caller, "positionMargin", **{**ask, "type": 3})["code"] == -1130


def test_leverage_cannot_fall_below_what_is_held(caller: Caller) -> None:
    caller.order("BUY", "0.5")
    assert post(caller, "leverage", symbol="BTCUSDT", leverage=10)["leverage"] == 10
    brackets = caller.call("GET", "/fapi/v1/leverageBracket", symbol="BTCUSDT")[0]["brackets"]
    cap = max(row["notionalCap"] for row in brackets if row["initialLeverage"] >= 10)
    assert caller.call("GET", "/fapi/v1/symbolConfig", symbol="BTCUSDT")[0]["maxNotionalValue"] == str(cap)
    assert post(caller, "leverage", symbol="BTCUSDT", leverage=2)["code"] == -2028
    assert caller.exchange.account.leverage["BTCUSDT"] == 10
    post(caller, "marginType", symbol="ETHUSDT", marginType="ISOLATED")
    caller.order("BUY", "1", symbol="ETHUSDT")
    assert post(caller, "leverage", symbol="ETHUSDT", leverage=10)["code"] == -4161
    assert post(caller, "leverage", symbol="ETHUSDT", leverage=40)["leverage"] == 40


def test_margin_mode_cannot_change_under_orders_or_a_position(caller: Caller) -> None:
    ask = {"symbol": "BTCUSDT", "marginType": "ISOLATED"}
    order = caller.limit("BUY", "63000")
    assert post(caller, "marginType", **ask)["code"] == -4047
    caller.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=order["orderId"])
    algo = caller.algo("SELL", "STOP_MARKET", "60000", quantity="0.01")
    assert post(caller, "marginType", **ask)["code"] == -4047
    caller.call("DELETE", "/fapi/v1/algoOrder", algoId=algo["algoId"])
    caller.order("BUY")
    assert post(caller, "marginType", **ask)["code"] == -4048
    assert post(caller, "marginType", symbol="ETHUSDT", marginType="isolated")["code"] == 200
    assert post(caller, "marginType", symbol="ETHUSDT", marginType="BOTH")["code"] == -1102


def test_in_hedge_mode_orders_made_for_one_way_mode_are_refused(caller: Caller) -> None:
    assert post(caller, "positionSide/dual", dualSidePosition="true")["code"] == 200
    assert post(caller, "positionSide/dual", dualSidePosition="true")["code"] == -4059
    assert caller.call("GET", "/fapi/v1/positionSide/dual") == {"dualSidePosition": True}
    assert caller.order("BUY")["code"] == -4061
    assert caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true")["code"] == -4061
    assert caller.order("BUY", positionSide="LONG", reduceOnly="true")["code"] == -1106
    assert caller.order("BUY", positionSide="LONG")["code"] == -4060
    assert caller.order("BUY", positionSide="UP")["code"] == -1102
    assert post(caller, "positionSide/dual", dualSidePosition="false")["code"] == 200
    assert caller.order("BUY")["status"] == "FILLED"
    assert caller.order("BUY", positionSide="LONG")["code"] == -4061


def test_position_mode_cannot_change_under_a_conditional_order(caller: Caller) -> None:
    caller.algo("SELL", "STOP_MARKET", "60000", quantity="0.01")
    assert post(caller, "positionSide/dual", dualSidePosition="true")["code"] == -4067


def test_modes_margin_and_filters_outlive_a_restart(tmp_path: Path) -> None:
    stored = VenueOptions(symbols=("BTCUSDT", "ETHUSDT"), with_lags=False, state_dir=tmp_path)
    caller = Caller(stored)
    post(caller, "marginType", symbol="BTCUSDT", marginType="ISOLATED")
    caller.order("BUY", "0.1")
    caller.venue.act("set_filters", {"symbol": "ETHUSDT", "tick_size": "0.05", "reduce_only_code": -4400})
    caller.venue.act("set_filters", {"symbol": "ETHUSDT", "min_notional_usdt": 30})
    apart = caller.exchange.account.positions["BTCUSDT"].isolated_usdt
    caller.venue.close()
    again = Caller(stored)
    assert apart > 0 and again.exchange.account.positions["BTCUSDT"].isolated_usdt == apart
    instrument = again.exchange.instruments["ETHUSDT"]
    assert (str(instrument.tick_size), str(instrument.min_notional_usdt)) == ("0.05", "30")
    assert again.order("BUY", "0.1", symbol="ETHUSDT")["code"] == -4400
    again.order("SELL", "0.1", reduceOnly="true")
    post(again, "positionSide/dual", dualSidePosition="true")
    again.venue.close()
    last = Caller(stored)
    assert last.exchange.account.is_hedged and last.exchange.account.positions["BTCUSDT"].isolated_usdt == 0
    last.venue.close()
