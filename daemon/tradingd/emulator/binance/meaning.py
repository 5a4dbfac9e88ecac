"""What requests and frames of this dialect are about, in the words of fault scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tradingd.emulator.binance.params import Params
from tradingd.emulator.wire import HttpRequest

_CONDITIONAL = "/fapi/v1/algoOrder"
_PURPOSES: dict[str, str] = {
    "POST /fapi/v1/order": "create",
    "POST /fapi/v1/batchOrders": "create",
    f"POST {_CONDITIONAL}": "create_conditional",
    "PUT /fapi/v1/order": "amend",
    "DELETE /fapi/v1/order": "cancel",
    "DELETE /fapi/v1/allOpenOrders": "cancel",
    f"DELETE {_CONDITIONAL}": "cancel_conditional",
    "DELETE /fapi/v1/algoOpenOrders": "cancel_conditional",
    "GET /fapi/v1/order": "look_up",
    "GET /fapi/v1/openOrder": "look_up",
    f"GET {_CONDITIONAL}": "look_up",
    "GET /fapi/v2/positionRisk": "positions",
    "GET /fapi/v3/positionRisk": "positions",
    "GET /fapi/v2/account": "balance",
    "GET /fapi/v3/account": "balance",
    "GET /fapi/v2/balance": "balance",
    "GET /fapi/v3/balance": "balance",
    "GET /fapi/v1/openOrders": "open_orders",
    "GET /fapi/v1/openAlgoOrders": "open_orders",
    "GET /fapi/v1/allOrders": "history",
    "GET /fapi/v1/allAlgoOrders": "history",
    "GET /fapi/v1/userTrades": "history",
    "GET /fapi/v1/income": "history",
    "POST /fapi/v1/leverage": "settings",
    "POST /fapi/v1/marginType": "settings",
    "GET /fapi/v1/positionSide/dual": "settings",
    "POST /fapi/v1/positionSide/dual": "settings",
    "GET /fapi/v1/symbolConfig": "settings",
    "GET /fapi/v1/accountConfig": "settings",
    "POST /fapi/v1/listenKey": "listen_key",
    "PUT /fapi/v1/listenKey": "listen_key",
    "DELETE /fapi/v1/listenKey": "listen_key",
    "GET /fapi/v1/time": "time",
    "GET /fapi/v1/exchangeInfo": "markets",
    "GET /fapi/v1/klines": "candles",
}

_REPLIES: Mapping[str, tuple[int, int, str]] = {
    "rate_limited": (
        429,
        -1003,
        "Too many requests; current limit of IP(127.0.0.1) is 2400 requests per minute. "
        "Please use the websocket for live updates to avoid polling the API.",
    ),
    "too_many_orders": (429, -1015, "Too many new orders; current limit is 300 orders per TEN_SECONDS."),
    "waf": (403, 0, ""),
    "request_timeout": (
        408,
        -1007,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    ),
    "bad_gateway": (502, 0, ""),
    "gateway_timeout": (504, 0, ""),
    "unknown": (503, -1000, "Unknown error, please check your request or try again later."),
    "unexpected_response": (
        503,
        -1006,
        "An unexpected response was received from the message bus. Execution status unknown.",
    ),
    "backend_timeout": (
        503,
        -1007,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    ),
    "overloaded": (
        503,
        -1008,
        "Server is currently overloaded with other requests. Please try again in a few minutes.",
    ),
    "unavailable": (503, 0, "Service Unavailable."),
    "disconnected": (500, -1001, "Internal error; unable to process your request. Please try again."),
    "clock": (400, -1021, "Timestamp for this request is outside of the recvWindow."),
    "engine_clock": (400, -5028, "Timestamp for this request is outside of the ME recvWindow."),
    "bad_key": (401, -2015, "Invalid API-key, IP, or permissions for action."),
    "would_trigger": (400, -2021, "Order would immediately trigger."),
    "reduce_only": (400, -2022, "ReduceOnly Order is rejected."),
    "too_many_conditionals": (400, -4045, "Reach max stop order limit."),
}


def purpose(request: HttpRequest) -> str:
    """What a request is for."""
    return _PURPOSES.get(f"{request.method} {request.path}", "other")


def symbol_of(request: HttpRequest) -> str | None:
    """The symbol that a request names."""
    return Params.of(request).text("symbol")


def stream(path: str, query: str) -> str:
    """What a websocket of that path is for."""
    if path.startswith("/private"):
        return "account"
    return "candles" if path.startswith("/market") or "kline" in path or "kline" in query else "other"


def push(frame: str) -> tuple[str, str | None]:
    """What a frame tells of, and of which symbol."""
    try:
        found: Any = msgspec.json.decode(frame)
    except msgspec.DecodeError:
        return "other", None
    if isinstance(found, dict) and isinstance(found.get("data"), dict):
        found = found["data"]
    return _event(found) if isinstance(found, dict) else ("other", None)


def _event(event: dict[str, Any]) -> tuple[str, str | None]:
    kind = event.get("e")
    if kind == "kline":
        return "candle", event["s"]
    if kind == "TRADE_LITE":
        return "fill", event["s"]
    if kind in ("ORDER_TRADE_UPDATE", "ALGO_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT"):
        order = event.get("o", event.get("or", {}))
        return ("fill" if order.get("x") == "TRADE" else "order"), order.get("s")
    if kind == "ACCOUNT_UPDATE":
        rows = event["a"].get("P", [])
        return "account", rows[0]["s"] if len(rows) == 1 else None
    return "other", None


def reply(name: str) -> tuple[int, int, str]:
    """Status, code and text of a ready answer."""
    return _REPLIES[name]


def error(code: int, text: str) -> bytes:
    """The body of an answer with that code."""
    return msgspec.json.encode({"code": code, "msg": text})


def banned(until_ms: int) -> tuple[int, int, str]:
    """What a banned address is told."""
    return (
        418,
        -1003,
        (
            f"Way too many requests; IP(127.0.0.1) banned until {until_ms}. Please use the websocket for "
            "live updates to avoid bans."
        ),
    )
