"""What requests and frames of this dialect are about, in the words of fault scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tradingd.emulator.bybit.params import Params
from tradingd.emulator.wire import HttpRequest

_PURPOSES: dict[str, str] = {
    "POST /v5/order/create": "create",
    "POST /v5/position/trading-stop": "create_conditional",
    "POST /v5/order/amend": "amend",
    "POST /v5/order/cancel": "cancel",
    "POST /v5/order/cancel-all": "cancel",
    "GET /v5/order/realtime": "open_orders",
    "GET /v5/order/history": "history",
    "GET /v5/execution/list": "history",
    "GET /v5/account/transaction-log": "history",
    "GET /v5/position/list": "positions",
    "GET /v5/account/wallet-balance": "balance",
    "POST /v5/position/set-leverage": "settings",
    "POST /v5/position/switch-mode": "settings",
    "POST /v5/account/set-margin-mode": "settings",
    "GET /v5/account/info": "settings",
    "GET /v5/user/query-api": "settings",
    "GET /v5/market/time": "time",
    "GET /v5/market/instruments-info": "markets",
    "GET /v5/market/kline": "candles",
}

_REPLIES: Mapping[str, tuple[int, int, str]] = {
    "rate_limited": (200, 10006, "Too many visits. Exceeded the API Rate Limit."),
    "too_many_orders": (200, 10006, "Too many visits!"),
    "waf": (403, 0, "403, access too frequent"),
    "request_timeout": (200, 10000, "Server Timeout"),
    "bad_gateway": (502, 0, ""),
    "gateway_timeout": (504, 0, ""),
    "unknown": (200, 10016, "Server error."),
    "unexpected_response": (200, 500000, "Server error."),
    "backend_timeout": (200, 10000, "Server Timeout"),
    "overloaded": (429, 10429, "System level frequency protection."),
    "unavailable": (503, 0, "Service Unavailable."),
    "disconnected": (200, 3400214, "Server error, please try again later"),
    "clock": (200, 10002, "invalid request, please check your server timestamp or recv_window param."),
    "engine_clock": (200, 10002, "invalid request, please check your server timestamp or recv_window param."),
    "bad_key": (200, 10003, "API key is invalid."),
    "would_trigger": (200, 110093, "expect Falling, but trigger_price is not below the current price"),
    "reduce_only": (200, 110017, "current position is zero, cannot fix reduce-only order qty"),
    "too_many_conditionals": (200, 110009, "The number of stop orders exceeds the maximum allowable limit."),
}
_BAN = (403, 0, "403, access too frequent")


def purpose(request: HttpRequest) -> str:
    """What a request is for; one endpoint makes plain and conditional orders, one lists and looks up."""
    found = _PURPOSES.get(f"{request.method} {request.path}", "other")
    if found in ("create", "open_orders", "history") and request.path.startswith("/v5/order/"):
        params = Params.of(request)
        if found == "create":
            return "create_conditional" if params.has("triggerPrice") else "create"
        return "look_up" if params.has("orderId") or params.has("orderLinkId") else found
    return found


def symbol_of(request: HttpRequest) -> str | None:
    """The symbol that a request names."""
    return Params.of(request).text("symbol")


def stream(path: str, query: str) -> str:
    """What a websocket of that path is for."""
    return {"/v5/private": "account", "/v5/public/linear": "candles"}.get(path, "other")


_PUSHES = {"order": "order", "execution": "fill", "position": "account", "wallet": "account", "kline": "candle"}


def push(frame: str) -> tuple[str, str | None]:
    """What a frame tells of, and of which symbol."""
    try:
        found: Any = msgspec.json.decode(frame)
    except msgspec.DecodeError:
        return "other", None
    topic = str(found.get("topic", "")) if isinstance(found, dict) else ""
    kind = _PUSHES.get(topic.split(".")[0], "other")
    if kind == "candle":
        return kind, topic.split(".")[-1]
    rows = found.get("data") if isinstance(found, dict) else None
    symbols = {row.get("symbol") for row in rows} if isinstance(rows, list) else set()
    return kind, symbols.pop() if len(symbols) == 1 else None


def reply(name: str) -> tuple[int, int, str]:
    """Status, code and text of a ready answer."""
    return _REPLIES[name]


def error(code: int, text: str) -> bytes:
    """The body of an answer with that code."""
    return msgspec.json.encode({"retCode": code, "retMsg": text, "result": {}, "retExtInfo": {}, "time": 0})


def banned(until_ms: int) -> tuple[int, int, str]:
    """What a banned address is told: not until when."""
    return _BAN
