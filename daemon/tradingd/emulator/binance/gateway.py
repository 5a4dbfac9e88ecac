"""The gate before the handlers, in the venue's order: weight, key, signature, clock, order counts; REST and websocket.

The websocket API takes orders as messages. It shares keys and order counts with REST and has a weight pool of its own;
session.logon is for Ed25519 keys, which this venue has none of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tradingd.emulator.binance.desk import Desk
from tradingd.emulator.binance.errors import VenueError
from tradingd.emulator.binance.limits import Limits
from tradingd.emulator.binance.params import (
    Params,
    check_engine_window,
    check_message,
    check_signature,
    check_timestamp,
)
from tradingd.emulator.binance.payloads import Json
from tradingd.emulator.binance.routes import PUBLIC, ROUTES, SIGNED, Route, no_such_path, weight_of
from tradingd.emulator.wire import HttpRequest, HttpResponse, json_text

_METHODS = {
    "order.place": ("POST", "/fapi/v1/order"),
    "order.modify": ("PUT", "/fapi/v1/order"),
    "order.cancel": ("DELETE", "/fapi/v1/order"),
    "order.status": ("GET", "/fapi/v1/order"),
    "algoOrder.place": ("POST", "/fapi/v1/algoOrder"),
    "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder"),
    "v2/account.balance": ("GET", "/fapi/v3/balance"),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
}
"""Messages of the websocket API and the endpoints that do the same."""


class _Message(msgspec.Struct):
    id: str | int | None
    method: str
    params: dict[str, str | int | float | bool | None] = {}


class Gateway:
    """Lets a request through to its handler, or answers it, and writes the verdict into the ledger."""

    def __init__(self, desk: Desk, keys: Mapping[str, str]) -> None:
        self._desk = desk
        self._keys = keys
        self._message_limits = Limits()

    def handle(self, request: HttpRequest, is_counted: bool) -> HttpResponse:
        """One REST request; `is_counted` is false while the clock stands, since windows would never end."""
        desk = self._desk
        route = ROUTES.get((request.method, request.path))
        if route is None:
            return no_such_path(request)
        params = Params.of(request)

        def check_access() -> None:
            if route.security == PUBLIC:
                return
            secret = self._secret(request.headers.get("x-mbx-apikey", ""))
            if route.security == SIGNED:
                check_signature(request, params, secret)
                check_timestamp(params, desk.clock_ms, desk.lags.scale)

            self._check_right(route, request.method)

        desk.limits.is_paused = not is_counted
        status, answer = self._judge(route, params, request.method, request.path, desk.limits, check_access)
        headers = {"Content-Type": "application/json", **desk.limits.headers(route.tells_orders or bool(route.orders))}
        return HttpResponse(status, msgspec.json.encode(answer), headers)

    def answer(self, text: str, is_counted: bool) -> str:
        """One message of the websocket API; every one that needs a key carries its own signature."""
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            return json_text({"id": None, "status": 400, "error": {"code": -1100, "msg": "Illegal request."}})
        place = _METHODS.get(message.method)
        if place is None:
            error = {"code": -1020, "msg": "This operation is not supported."}
            return json_text({"id": message.id, "status": 400, "error": error})
        params = Params({name: _plain(value) for name, value in message.params.items() if value is not None})

        def check_access() -> None:
            check_message(params, self._secret(params.text("apiKey") or ""))
            check_timestamp(params, self._desk.clock_ms, self._desk.lags.scale)
            self._check_right(ROUTES[place], place[0])

        limits = self._message_limits
        limits.is_paused = self._desk.limits.is_paused = not is_counted
        status, answer = self._judge(ROUTES[place], params, "WS", message.method, limits, check_access)
        out: Json = {"id": message.id, "status": status}
        out["result" if status == 200 else "error"] = answer
        if params.flag("returnRateLimits") or not params.text("returnRateLimits"):
            out["rateLimits"] = [*self._desk.limits.order_counts(), self._message_limits.weight_count()]
        return json_text(out)

    def _secret(self, key: str) -> str:
        if not key:
            raise VenueError(-2014, status=401)
        if key not in self._keys:
            raise VenueError(-2015, status=401)
        return self._keys[key]

    def _check_right(self, route: Route, method: str) -> None:
        """A key that may only look is told what one that nobody knows is told."""
        if self._desk.is_read_only and route.security == SIGNED and method != "GET":
            raise VenueError(-2015, status=401)

    def _judge(
        self, route: Route, params: Params, method: str, path: str, limits: Limits, check_access: Callable[[], None]
    ) -> tuple[int, Any]:
        desk = self._desk
        status, code, order_id = 200, None, None
        answer: Any
        try:
            limits.charge(weight_of(route, params), desk.now_ms)
            check_access()
            if route.orders:
                desk.limits.charge_orders(route.orders, desk.now_ms)
            if route.orders and desk.engine_delay_ms:
                check_engine_window(params, desk.clock_ms + desk.engine_delay_ms, desk.lags.scale)
            answer = route.handler(desk, params)
            if isinstance(answer, dict):
                order_id = answer.get("orderId", answer.get("algoId"))
        except VenueError as error:
            status, code = error.status, error.code
            answer = {"code": error.code, "msg": error.text}
        client_id = params.text("newClientOrderId") or params.text("clientAlgoId") or params.text("origClientOrderId")
        desk.ledger.add_request(
            desk.now_ms, method, path, params.visible(), params.text("symbol"), client_id, order_id, status, code
        )
        return status, answer


def _plain(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
