"""The gate before the handlers: address, key, signature, window, limit of the endpoint; over REST and websocket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tradingd.emulator.bybit.desk import Desk
from tradingd.emulator.bybit.errors import VenueError
from tradingd.emulator.bybit.limits import TooMany
from tradingd.emulator.bybit.params import Params, check_signature, check_window
from tradingd.emulator.bybit.payloads import Json, number_of
from tradingd.emulator.bybit.routes import ROUTES, Route
from tradingd.emulator.wire import HttpRequest, HttpResponse, json_text

_JSON = {"Content-Type": "application/json; charset=utf-8"}
_OPERATIONS = {"order.create": "/v5/order/create", "order.amend": "/v5/order/amend", "order.cancel": "/v5/order/cancel"}
"""Messages of the trade websocket and the endpoints that do the same."""


class Gateway:
    """Lets a request through to its handler, or answers it, and writes the verdict into the ledger."""

    def __init__(self, desk: Desk, keys: Mapping[str, str]) -> None:
        self._desk = desk
        self._keys = keys

    def handle(self, request: HttpRequest, is_counted: bool) -> HttpResponse:
        """One REST request; `is_counted` is false while the clock stands, since windows would never end."""
        desk = self._desk
        desk.limits.is_paused, desk.limits.scale = not is_counted, desk.lags.scale
        try:
            desk.limits.charge_address(desk.now_ms)
        except VenueError as error:
            return HttpResponse(error.status, error.text.encode(), {"Content-Type": "text/plain"})
        route = ROUTES.get((request.method, request.path))
        if route is None:
            return HttpResponse(404, b"404 page not found", {"Content-Type": "text/plain"})
        params = Params.of(request)
        code, text, result, headers = self._judge(route, params, request)
        self._note(request.method, request.path, params, code, result)
        answer = {"retCode": code, "retMsg": text, "result": result, "retExtInfo": {}, "time": desk.clock_ms}
        return HttpResponse(200, msgspec.json.encode(answer), {**_JSON, **headers})

    def _judge(self, route: Route, params: Params, request: HttpRequest) -> tuple[int, str, Json, dict[str, str]]:
        desk = self._desk
        headers: dict[str, str] = {}
        try:
            if route.per_second:
                self._check_access(request)
                if desk.is_read_only and request.method == "POST":
                    raise VenueError(10005)
                headers = desk.limits.charge(request.path, route.per_second, desk.now_ms)
            return 0, "OK", route.handler(desk, params), headers
        except TooMany as error:
            return error.code, error.text, {}, error.headers
        except VenueError as error:
            return error.code, error.text, {}, headers

    def _check_access(self, request: HttpRequest) -> None:
        secret = self._keys.get(request.headers.get("x-bapi-api-key", ""))
        if secret is None:
            raise VenueError(10003)
        check_window(
            request.headers.get("x-bapi-timestamp", ""),
            request.headers.get("x-bapi-recv-window", ""),
            self._desk.clock_ms,
            self._desk.lags.scale,
        )
        check_signature(request, secret)

    def answer(self, message: Json, is_known: bool, connection: str, is_counted: bool) -> str:
        """One message of the trade websocket; the session is authorised once, the window holds for each message."""
        desk = self._desk
        desk.limits.is_paused, desk.limits.scale = not is_counted, desk.lags.scale
        op, args = str(message.get("op")), message.get("args")
        values: Any = args[0] if isinstance(args, list) and args else {}
        params = Params(values if isinstance(values, dict) else {})
        header: Any = message.get("header")
        sent: dict[str, Any] = header if isinstance(header, dict) else {}
        code, text, result, headers = 0, "OK", {}, {}
        path = _OPERATIONS.get(op)
        try:
            if not is_known or desk.is_read_only:
                raise VenueError(10005, "Request not authorized")
            if path is None:
                raise VenueError(10404, "op not found")
            check_window(
                str(sent.get("X-BAPI-TIMESTAMP", "")),
                str(sent.get("X-BAPI-RECV-WINDOW", "")),
                desk.clock_ms,
                desk.lags.scale,
            )
            route = ROUTES["POST", path]
            headers = desk.limits.charge(path, route.per_second, desk.now_ms)
            result = route.handler(desk, params)
        except VenueError as error:
            code, text = error.code, error.text
        self._note("WS", path or op, params, code, result)
        return json_text(
            {
                "reqId": message.get("reqId", ""),
                "retCode": code,
                "retMsg": text,
                "op": op,
                "data": result,
                "header": {**headers, "Timenow": str(desk.clock_ms)},
                "connId": connection,
            }
        )

    def _note(self, method: str, path: str, params: Params, code: int, result: Json) -> None:
        number = number_of(str(result.get("orderId", "")))
        self._desk.ledger.add_request(
            self._desk.now_ms,
            method,
            path,
            params.visible(),
            params.text("symbol"),
            params.text("orderLinkId"),
            number,
            200 if code == 0 else 400,
            code or None,
        )
