"""Orders as messages: the websocket API, by hand and through an unmodified ccxt.pro client."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any

import ccxt.pro
import pytest

from tests.emulator.helpers import START_MS, Caller, ccxt_client, serving
from tradingd.emulator.venues import VenueOptions, open_venue

SYMBOL = "BTC/USDT:USDT"


class Talker:
    """Sends signed messages on one session."""

    def __init__(self) -> None:
        self.caller = Caller()
        session = self.caller.venue.open_session("/ws-fapi/v1", "")
        assert isinstance(session, int)
        self.session = session

    def say(self, method: str, secret: str = "sim-secret", **params: Any) -> Any:
        values = {"apiKey": "sim-key", "timestamp": self.caller.now_ms, "recvWindow": 5000, **params}
        text = "&".join(f"{name}={values[name]}" for name in sorted(values))
        values["signature"] = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return self.raw(json.dumps({"id": "7", "method": method, "params": values}))

    def raw(self, text: str) -> Any:
        (answer,) = self.caller.venue.on_frame(self.session, text)
        return json.loads(str(answer))


MARKET: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "MARKET",
    "quantity": "0.01",
    "newOrderRespType": "RESULT",
}


def test_an_order_as_a_message_is_the_same_order() -> None:
    talker = Talker()
    answer = talker.say("order.place", newClientOrderId="td-1", **MARKET)
    assert (answer["id"], answer["status"], answer["result"]["status"]) == ("7", 200, "FILLED")
    assert answer["rateLimits"][0] == {
        "rateLimitType": "ORDERS",
        "interval": "SECOND",
        "intervalNum": 10,
        "limit": 300,
        "count": 1,
    }
    found = talker.caller.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="td-1")
    assert found["orderId"] == answer["result"]["orderId"]
    stop = talker.say(
        "algoOrder.place",
        symbol="BTCUSDT",
        side="SELL",
        type="STOP_MARKET",
        algoType="CONDITIONAL",
        triggerPrice="60000",
        closePosition="true",
    )
    assert talker.say("algoOrder.cancel", algoId=stop["result"]["algoId"])["result"]["code"] == "200"
    assert talker.say("v2/account.position", symbol="BTCUSDT")["result"][0]["positionAmt"] == "0.01"


def test_messages_are_refused_with_the_same_codes() -> None:
    talker = Talker()
    for answer, code, status in (
        (talker.say("order.place", secret="wrong", **MARKET), -1022, 400),
        (talker.say("order.place", **{**MARKET, "apiKey": "nobody"}), -2015, 401),
        (talker.say("order.place", **{**MARKET, "timestamp": START_MS - 9000}), -1021, 400),
        (talker.say("order.place", **{**MARKET, "quantity": "50"}), -2019, 400),
        (talker.say("order.cancel", symbol="BTCUSDT", orderId="1"), -2011, 400),
        (talker.say("session.logon"), -1020, 400),
        (talker.raw("nonsense"), -1100, 400),
    ):
        assert (answer["error"]["code"], answer["status"]) == (code, status)
    assert talker.caller.position() == 0


def test_order_counts_are_shared_with_rest_and_weight_is_not() -> None:
    talker = Talker()
    talker.caller.call("GET", "/fapi/v1/income")
    talker.caller.order("BUY")
    answer = talker.say("order.status", symbol="BTCUSDT", origClientOrderId="none")
    counts = {(row["rateLimitType"], row["interval"]): row["count"] for row in answer["rateLimits"]}
    assert counts == {("ORDERS", "SECOND"): 1, ("ORDERS", "MINUTE"): 1, ("REQUEST_WEIGHT", "MINUTE"): 1}


async def test_trap_18_orders_over_the_websocket_lose_the_class_of_their_refusal() -> None:
    venue = open_venue(VenueOptions(symbols=("BTCUSDT",), with_lags=False), START_MS)
    async with serving(venue) as server:
        client = ccxt_client(server.port)
        try:
            await client.load_markets()
            await client.load_time_difference()
            price = float(venue._desk.exchange.last_price("BTCUSDT"))
            order = await asyncio.wait_for(client.create_order_ws(SYMBOL, "limit", "buy", 0.01, price * 0.97), 5)
            stop = await asyncio.wait_for(
                client.create_order_ws(
                    SYMBOL, "market", "sell", 0.01, None, {"stopLossPrice": price * 0.9, "reduceOnly": True}
                ),
                5,
            )
            await asyncio.wait_for(client.cancel_order_ws(order["id"], SYMBOL), 5)
            await asyncio.wait_for(client.cancel_order_ws(stop["id"], SYMBOL, {"trigger": True}), 5)
            with pytest.raises(ccxt.pro.ExchangeError, match="-2019") as caught:
                await asyncio.wait_for(client.create_order_ws(SYMBOL, "market", "buy", 50), 5)
            assert type(caught.value) is ccxt.pro.ExchangeError
        finally:
            await client.close()
