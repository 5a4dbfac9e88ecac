"""Balances, positions and settings; what must hold for every sequence of orders."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.emulator.helpers import Caller


def test_available_is_equity_less_initial_margin_of_positions_and_orders() -> None:
    caller = Caller()
    caller.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=10)
    caller.order("BUY", "0.1")
    caller.limit("BUY", "63000", "0.1")
    row = caller.call("GET", "/fapi/v3/account")
    position = row["positions"][0]
    mark = float(caller.call("GET", "/fapi/v1/premiumIndex", signed=False, symbol="BTCUSDT")["markPrice"])
    assert float(position["positionInitialMargin"]) == pytest.approx(0.1 * mark / 10)
    assert float(position["openOrderInitialMargin"]) == pytest.approx(630)
    assert float(row["availableBalance"]) == pytest.approx(
        float(row["totalWalletBalance"]) + float(row["totalUnrealizedProfit"]) - float(row["totalInitialMargin"])
    )
    assert float(row["totalWalletBalance"]) < 10_000
    fees = caller.call("GET", "/fapi/v1/income", incomeType="COMMISSION")
    assert sum(float(fee["income"]) for fee in fees) == pytest.approx(float(row["totalWalletBalance"]) - 10_000)


def test_a_closing_order_needs_no_margin() -> None:
    caller = Caller()
    caller.order("BUY", "2.9")
    assert caller.order("BUY", "1")["code"] == -2019
    assert caller.order("SELL", "2.9")["status"] == "FILLED"


def test_leverage_and_modes_answer_as_the_venue_does() -> None:
    caller = Caller()

    def post(path: str, **params: Any) -> Any:
        return caller.call("POST", path, **params)

    assert post("/fapi/v1/leverage", symbol="BTCUSDT", leverage=126)["code"] == -4028
    assert post("/fapi/v1/leverage", symbol="BTCUSDT", leverage=50)["leverage"] == 50
    assert post("/fapi/v1/marginType", symbol="BTCUSDT", marginType="CROSSED")["code"] == -4046
    assert post("/fapi/v1/positionSide/dual", dualSidePosition="false")["code"] == -4059
    assert caller.call("GET", "/fapi/v1/positionSide/dual") == {"dualSidePosition": False}
    caller.order("BUY")
    assert post("/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")["code"] == -4048
    assert post("/fapi/v1/positionSide/dual", dualSidePosition="true")["code"] == -4068
    config = {row["symbol"]: row for row in caller.call("GET", "/fapi/v1/symbolConfig")}
    assert config["BTCUSDT"]["leverage"] == 50 and config["ETHUSDT"]["leverage"] == 20
    assert caller.call("GET", "/fapi/v1/commissionRate", symbol="BTCUSDT")["takerCommissionRate"] == "0.0005"
    risk = {row["symbol"]: row for row in caller.call("GET", "/fapi/v2/positionRisk")}
    assert (risk["BTCUSDT"]["leverage"], risk["ETHUSDT"]["positionAmt"]) == ("50", "0")


def test_pages_of_fills_go_on_from_a_trade_id() -> None:
    caller = Caller()
    for _ in range(12):
        caller.order("BUY", "0.02")
        caller.order("SELL", "0.02")
        caller.run(60)
    everything = caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", limit=1000)
    numbers = [row["id"] for row in everything]
    assert numbers == sorted(set(numbers)) and len(numbers) >= 24
    newest = caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", limit=5)
    assert [row["id"] for row in newest] == numbers[-5:]
    pages, start = [], 0
    while page := caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", fromId=start, limit=7):
        pages += [row["id"] for row in page]
        start = pages[-1] + 1
    assert pages == numbers
    first_ms = everything[0]["time"]
    oldest = caller.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", startTime=first_ms, limit=3)
    assert [row["id"] for row in oldest] == numbers[:3]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["market", "limit", "reduce", "stop", "take", "cancel", "wait"]),
        st.sampled_from(["BUY", "SELL"]),
        st.integers(1, 400),
        st.integers(-30, 30),
    ),
    min_size=3,
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=ACTIONS, seed=st.integers(0, 5))
def test_wallet_and_position_are_the_sums_of_the_fills(actions: list[tuple[str, str, int, int]], seed: int) -> None:
    caller = Caller(seed=seed)
    for kind, side, thousandths, bps in actions:
        quantity = f"0.{thousandths:03d}"
        price = f"{caller.price() * (1 + bps / 10_000):.1f}"
        if kind == "market":
            caller.order(side, quantity)
        elif kind == "limit":
            caller.limit(side, price, quantity)
        elif kind == "reduce":
            caller.order(side, quantity, reduceOnly="true")
        elif kind in ("stop", "take"):
            caller.algo(side, "STOP_MARKET" if kind == "stop" else "TAKE_PROFIT_MARKET", price, closePosition="true")
        elif kind == "cancel":
            caller.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
        else:
            caller.run(thousandths)
        check_books(caller)


def check_books(caller: Caller) -> None:
    exchange = caller.exchange
    fills = exchange.fills
    assert exchange.account.positions["BTCUSDT"].quantity == sum((f.quantity * f.side for f in fills), Decimal(0))
    assert exchange.account.wallet == Decimal(10_000) + sum((f.realized_usdt - f.fee_usdt for f in fills), Decimal(0))
    for order in exchange.orders.values():
        own = [fill for fill in fills if fill.order_id == order.order_id]
        assert order.filled == sum((fill.quantity for fill in own), Decimal(0)) <= order.quantity
        assert order.quote == sum((fill.quantity * fill.price for fill in own), Decimal(0))
        assert order.is_open == (order.order_id in exchange.open_orders["BTCUSDT"])
        if order.reduce_only and order.filled:
            position = Decimal(0)
            for fill in fills:
                after = position + fill.quantity * fill.side
                if fill.order_id == order.order_id:
                    assert abs(after) < abs(position) and after * position >= 0
                position = after
    assert len({fill.trade_id for fill in fills}) == len(fills)
