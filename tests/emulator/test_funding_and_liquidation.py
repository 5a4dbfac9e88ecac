"""What the venue takes by itself: funding, liquidation, deleveraging, settlement."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.helpers import Caller, flat, steady
from tradingd.emulator.core.funding import FUNDING_MS
from tradingd.emulator.venues import VenueOptions

CRASH = [*flat(65000, 4), (65000, 65000, 52000, 52000), *flat(52000, 6)]


def to_funding(caller: Caller) -> None:
    """Past the next funding time, with a fresh user stream."""
    caller.run((FUNDING_MS - caller.now_ms % FUNDING_MS) / 1000 - 1)
    caller.listen()
    caller.run(2)


def leverage(caller: Caller, value: int, symbol: str = "BTCUSDT") -> None:
    assert caller.call("POST", "/fapi/v1/leverage", symbol=symbol, leverage=value)["leverage"] == value


def isolate(caller: Caller, symbol: str = "BTCUSDT") -> None:
    assert caller.call("POST", "/fapi/v1/marginType", symbol=symbol, marginType="ISOLATED")["code"] == 200


def income(caller: Caller, kind: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = caller.call("GET", "/fapi/v1/income", incomeType=kind)
    return rows


@pytest.mark.fault(49)
def test_a_position_pays_the_funding_that_was_announced_and_only_the_balance_is_told() -> None:
    caller = Caller()
    caller.order("BUY", "0.1")
    told = caller.call("GET", "/fapi/v1/premiumIndex", signed=False, symbol="BTCUSDT")
    assert caller.venue.act("next_funding_rate", {"symbol": "BTCUSDT", "rate_fraction": "0.0005"})
    before = caller.exchange.account.wallet
    to_funding(caller)
    (row,) = income(caller, "FUNDING_FEE")
    assert row["time"] == told["nextFundingTime"] and row["symbol"] == "BTCUSDT"
    assert float(row["income"]) == pytest.approx(-0.1 * 65000 * 0.0005, rel=0.2)
    assert caller.exchange.account.wallet == before + Decimal(row["income"])
    event = [frame["a"] for frame in caller.events("ACCOUNT_UPDATE") if frame["a"]["m"] == "FUNDING_FEE"]
    assert len(event) == 1 and event[0]["P"] == [] and event[0]["B"][0]["bc"] == row["income"].rstrip("0")
    after = caller.call("GET", "/fapi/v1/premiumIndex", signed=False, symbol="BTCUSDT")
    assert after["nextFundingTime"] == told["nextFundingTime"] + FUNDING_MS
    assert after["lastFundingRate"] != "0.00050000"


def test_shorts_receive_what_longs_pay_and_the_flat_nothing() -> None:
    caller = Caller()
    caller.exchange.funding.fixed_rate = Decimal("0.001")
    caller.order("SELL", "0.1")
    to_funding(caller)
    assert float(income(caller, "FUNDING_FEE")[0]["income"]) > 0
    caller.order("BUY", "0.1")
    to_funding(caller)
    assert len(income(caller, "FUNDING_FEE")) == 1


def test_funding_of_an_isolated_position_comes_from_its_own_margin() -> None:
    caller = Caller()
    isolate(caller)
    leverage(caller, 3)
    caller.exchange.funding.fixed_rate = Decimal("0.001")
    caller.order("BUY", "0.1")
    margin = caller.exchange.account.positions["BTCUSDT"].isolated_usdt
    to_funding(caller)
    paid = Decimal(income(caller, "FUNDING_FEE")[0]["income"])
    assert caller.exchange.account.positions["BTCUSDT"].isolated_usdt == margin + paid
    event = next(frame["a"] for frame in caller.events("ACCOUNT_UPDATE") if frame["a"]["m"] == "FUNDING_FEE")
    assert [row["s"] for row in event["P"]] == ["BTCUSDT"] and event["P"][0]["mt"] == "isolated"


def test_a_cross_account_below_maintenance_is_liquidated_under_the_venues_own_id(tmp_path: Path) -> None:
    caller = steady(tmp_path, CRASH)
    caller.listen()
    leverage(caller, 50)
    caller.order("BUY", "1")
    resting = caller.limit("BUY", "64000", "0.01")
    stop = caller.algo("SELL", "STOP_MARKET", "50000", quantity="0.1", reduceOnly="true")
    announced = float(caller.call("GET", "/fapi/v3/positionRisk", symbol="BTCUSDT")[0]["liquidationPrice"])
    caller.run(240)
    assert caller.position() == 0 and caller.exchange.account.wallet >= 0
    orders = {row["orderId"]: row for row in caller.call("GET", "/fapi/v1/allOrders", symbol="BTCUSDT")}
    (own,) = [row for row in orders.values() if row["clientOrderId"].startswith("autoclose-")]
    assert (own["status"], own["side"], own["timeInForce"]) == ("FILLED", "SELL", "IOC")
    assert 52000 <= float(own["avgPrice"]) <= announced < 65000
    assert orders[resting["orderId"]]["status"] in ("CANCELED", "FILLED")
    assert caller.call("GET", "/fapi/v1/algoOrder", algoId=stop["algoId"])["algoStatus"] == "NEW"
    trades = caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", orderId=own["orderId"])
    assert [float(row["qty"]) for row in trades] == [float(own["executedQty"])]
    events = [frame["o"] for frame in caller.events("ORDER_TRADE_UPDATE") if frame["o"]["i"] == own["orderId"]]
    assert [event["x"] for event in events] == ["NEW", "CALCULATED"] and events[-1]["o"] == "LIQUIDATION"
    assert all(frame["i"] != own["orderId"] for frame in caller.events("TRADE_LITE"))
    assert len(income(caller, "INSURANCE_CLEAR")) == 1


def test_a_liquidation_price_is_where_the_position_is_lost(tmp_path: Path) -> None:
    for margin_type in ("CROSSED", "ISOLATED"):
        path = tmp_path / margin_type
        path.mkdir()
        caller = steady(path, CRASH)
        if margin_type == "ISOLATED":
            isolate(caller)
        leverage(caller, 20)
        caller.order("BUY", "1")
        announced = float(caller.call("GET", "/fapi/v3/positionRisk", symbol="BTCUSDT")[0]["liquidationPrice"])
        for _ in range(240):
            mark = float(caller.exchange.mark_price("BTCUSDT"))
            if not caller.position():
                break
            assert mark > announced
            caller.run(2)
        assert mark <= announced


def test_an_isolated_position_loses_no_more_than_its_margin(tmp_path: Path) -> None:
    caller = steady(tmp_path, [*flat(65000, 4), *flat(52000, 6)])
    isolate(caller)
    leverage(caller, 20)
    caller.order("BUY", "1")
    account = caller.exchange.account
    apart, wallet = account.positions["BTCUSDT"].isolated_usdt, account.wallet
    assert float(apart) == pytest.approx(65000 / 20, rel=0.01)
    caller.run(240)
    assert caller.position() == 0
    assert account.wallet == wallet - apart and account.positions["BTCUSDT"].isolated_usdt == 0
    assert float(income(caller, "INSURANCE_CLEAR")[0]["income"]) > 0


def test_of_two_cross_positions_the_one_that_loses_most_goes_first() -> None:
    caller = Caller()
    leverage(caller, 50)
    leverage(caller, 50, "ETHUSDT")
    caller.order("BUY", "1.5")
    caller.order("BUY", "1", symbol="ETHUSDT")
    caller.venue.act("move_price", {"symbol": "BTCUSDT", "by_fraction": "-0.15"})
    caller.run(30)
    own = [fill for fill in caller.exchange.fills if fill.client_order_id.startswith("autoclose-")]
    assert [fill.symbol for fill in own] == ["BTCUSDT", "ETHUSDT"]
    assert caller.exchange.account.wallet == 0
    assert [float(row["income"]) > 0 for row in income(caller, "INSURANCE_CLEAR")] == [True]


def test_deleveraging_closes_at_the_mark_without_a_clearance_fee() -> None:
    caller = Caller()
    caller.listen()
    caller.order("BUY", "0.1")
    assert "deleveraged" in caller.venue.act("deleverage", {"symbol": "BTCUSDT"})
    caller.run(1)
    assert caller.position() == 0 and income(caller, "INSURANCE_CLEAR") == []
    last = caller.events("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (last["c"], last["x"], last["X"]) == ("adl_autoclose", "CALCULATED", "FILLED")


def test_a_symbol_that_settles_ends_orders_and_position() -> None:
    caller = Caller()
    caller.order("BUY", "0.1")
    caller.limit("BUY", "63000")
    caller.algo("SELL", "STOP_MARKET", "60000", closePosition="true")
    caller.venue.act("set_filters", {"symbol": "BTCUSDT", "status": "SETTLING"})
    assert caller.position() == 0
    assert caller.call("GET", "/fapi/v1/openOrders") == caller.call("GET", "/fapi/v1/openAlgoOrders") == []
    newest = caller.call("GET", "/fapi/v1/allOrders", symbol="BTCUSDT")[-1]
    assert newest["clientOrderId"].startswith("settlement_autoclose-")
    assert caller.order("BUY")["code"] == -4108


def test_a_transfer_changes_the_balance_and_is_told() -> None:
    caller = Caller()
    caller.listen()
    caller.venue.act("transfer", {"usdt": "-9000"})
    caller.run(1)
    event = caller.events("ACCOUNT_UPDATE")[-1]["a"]
    assert (event["m"], event["B"][0]["bc"], event["P"]) == ("WITHDRAW", "-9000", [])
    assert float(caller.call("GET", "/fapi/v3/balance")[0]["balance"]) == 1000
    with pytest.raises(ValueError, match="more than is available"):
        caller.venue.act("transfer", {"usdt": "-2000"})


def test_funding_is_charged_once_across_a_restart(tmp_path: Path) -> None:
    stored = VenueOptions(symbols=("BTCUSDT",), with_lags=False, state_dir=tmp_path)
    caller = Caller(stored)
    caller.order("BUY", "0.1")
    to_funding(caller)
    caller.venue.close()
    again = Caller(stored)
    again.run(60)
    assert len(income(again, "FUNDING_FEE")) == 1
    to_funding(again)
    assert len(income(again, "FUNDING_FEE")) == 2
    again.venue.close()
