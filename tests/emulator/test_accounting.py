"""Accounting that holds for every sequence of orders, settings, prices and funding times, cross and isolated."""

from __future__ import annotations

from decimal import Decimal
from itertools import groupby

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.emulator.helpers import Caller
from tradingd.emulator.core.liquidation import LIQUIDATION
from tradingd.emulator.core.records import ZERO

SYMBOLS = ("BTCUSDT", "ETHUSDT")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "market",
                "market",
                "limit",
                "reduce",
                "stop",
                "trail",
                "price",
                "funding",
                "leverage",
                "margin",
                "add",
                "deleverage",
                "transfer",
                "wait",
            ]
        ),
        st.sampled_from(SYMBOLS),
        st.sampled_from(["BUY", "SELL"]),
        st.integers(1, 1200),
        st.integers(-900, 900),
    ),
    min_size=4,
    max_size=22,
)


def play(caller: Caller, kind: str, symbol: str, side: str, thousandths: int, bps: int) -> None:
    quantity = f"{Decimal(thousandths) / 1000 * (1 if symbol == 'BTCUSDT' else 20):.3f}"
    digits = 1 if symbol == "BTCUSDT" else 2
    price = f"{caller.price(symbol) * (1 + bps / 20_000):.{digits}f}"
    if kind == "market":
        caller.order(side, quantity, symbol=symbol)
    elif kind == "limit":
        caller.limit(side, price, quantity, symbol=symbol)
    elif kind == "reduce":
        caller.order(side, quantity, symbol=symbol, reduceOnly="true")
    elif kind == "stop":
        caller.algo(side, "STOP_MARKET", price, symbol=symbol, closePosition="true", timeInForce="GTE_GTC")
    elif kind == "trail":
        caller.algo(side, "TRAILING_STOP_MARKET", None, symbol=symbol, quantity=quantity, callbackRate="0.5")
    elif kind == "price":
        caller.venue.act("move_price", {"symbol": symbol, "by_fraction": Decimal(bps) / 5000})
        caller.run(4)
    elif kind == "funding":
        caller.exchange.funding.charge(symbol, Decimal(bps) / 10_000)
        caller.run(2)
    elif kind == "leverage":
        caller.call("POST", "/fapi/v1/leverage", symbol=symbol, leverage=1 + thousandths % 100)
    elif kind == "margin":
        caller.call("POST", "/fapi/v1/marginType", symbol=symbol, marginType="ISOLATED" if bps > 0 else "CROSSED")
    elif kind == "add":
        caller.call("POST", "/fapi/v1/positionMargin", symbol=symbol, amount=thousandths, type=1 if bps > 0 else 2)
    elif kind == "deleverage":
        caller.venue.act("deleverage", {"symbol": symbol})
    elif kind == "transfer":
        if caller.exchange.totals().available > thousandths:
            caller.venue.act("transfer", {"usdt": thousandths if bps > 0 else -thousandths})
    else:
        caller.run(thousandths / 4)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, seed=st.integers(0, 3), isolated=st.booleans(), leverage=st.integers(5, 60), fall=st.booleans())
def test_the_books_balance_whatever_happens(
    steps: list[tuple[str, str, str, int, int]], seed: int, isolated: bool, leverage: int, fall: bool
) -> None:
    caller = Caller(seed=seed)
    opening = [
        ("leverage", "BTCUSDT", "BUY", leverage - 1, 0),
        ("margin", "BTCUSDT", "BUY", 0, int(isolated)),
        ("market", "BTCUSDT", "BUY", 700, 0),
        ("market", "ETHUSDT", "SELL", 300, 0),
    ]
    crash = [("price", "BTCUSDT", "BUY", 0, -900), ("market", "BTCUSDT", "BUY", 300, 0)] if fall else []
    for step in (*opening, *steps[:5], *crash, *steps[5:]):
        play(caller, *step)
        check_balances(caller)
        check_positions(caller)


def check_balances(caller: Caller) -> None:
    account = caller.exchange.account
    rows = caller.exchange.ledger.income(None, None, 0, 1 << 60, 1 << 30)
    assert account.wallet == 10_000 + sum((Decimal(row[4]) for row in rows), ZERO)
    assert account.wallet == Decimal(caller.exchange.ledger.meta("wallet") or 0)
    answer = {
        name: Decimal(value) for name, value in caller.call("GET", "/fapi/v3/account").items() if isinstance(value, str)
    }
    truth = sum(
        (
            caller.exchange.mark_price(symbol) * held.quantity - held.entry_price * held.quantity
            for symbol, held in account.positions.items()
        ),
        ZERO,
    )
    assert abs(answer["totalUnrealizedProfit"] - truth) < Decimal("0.001")
    assert abs(answer["totalWalletBalance"] + answer["totalUnrealizedProfit"] - answer["totalMarginBalance"]) < Decimal(
        "0.0000001"
    )
    assert (
        min(
            answer["totalInitialMargin"],
            answer["totalMaintMargin"],
            answer["totalPositionInitialMargin"],
            answer["totalOpenOrderInitialMargin"],
            answer["availableBalance"],
            answer["maxWithdrawAmount"],
        )
        >= 0
    )
    apart = sum((held.isolated_usdt for held in account.positions.values()), ZERO)
    assert abs(answer["totalCrossWalletBalance"] - (account.wallet - apart)) < Decimal("0.0000001")


def check_positions(caller: Caller) -> None:
    exchange = caller.exchange
    for symbol in SYMBOLS:
        fills = [fill for fill in exchange.fills if fill.symbol == symbol]
        held = exchange.account.positions[symbol]
        assert held.quantity == sum((fill.quantity * fill.side for fill in fills), ZERO)
        assert held.isolated_usdt >= 0
        if not held.quantity or not exchange.account.isolated[symbol]:
            assert held.isolated_usdt == 0
        after = ZERO
        for order_id, own in groupby(fills, key=lambda fill: fill.order_id):
            after += sum((fill.quantity * fill.side for fill in own), ZERO)
            if exchange.orders[order_id].client_order_id.startswith(LIQUIDATION):
                assert after == 0, "a liquidation leaves nothing"
    if all(not held.quantity for held in exchange.account.positions.values()):
        assert exchange.account.wallet >= 0
