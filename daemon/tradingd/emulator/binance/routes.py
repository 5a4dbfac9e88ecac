"""All endpoints: what each does, how it is protected, what it weighs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tradingd.emulator.binance import account_api, algo_api, market_api, order_api, settings_api
from tradingd.emulator.binance.desk import Desk
from tradingd.emulator.binance.params import Params
from tradingd.emulator.wire import HttpRequest, HttpResponse

Handler = Callable[[Desk, Params], Any]
PUBLIC, KEY, SIGNED = 0, 1, 2


class Route(msgspec.Struct, frozen=True):
    """One endpoint: what it does, how it is protected, what it weighs."""

    handler: Handler
    security: int = SIGNED
    weight: int = 1
    weight_without_symbol: int | None = None
    orders: int = 0
    tells_orders: bool = False


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/ping"): Route(market_api.ping, PUBLIC),
    ("GET", "/fapi/v1/time"): Route(market_api.server_time, PUBLIC),
    ("GET", "/fapi/v1/exchangeInfo"): Route(market_api.exchange_info, PUBLIC),
    ("GET", "/fapi/v1/klines"): Route(market_api.klines, PUBLIC),
    ("GET", "/fapi/v1/depth"): Route(market_api.depth, PUBLIC, 10),
    ("GET", "/fapi/v1/ticker/price"): Route(market_api.ticker_price, PUBLIC, 1, 2),
    ("GET", "/fapi/v2/ticker/price"): Route(market_api.ticker_price, PUBLIC, 1, 2),
    ("GET", "/fapi/v1/ticker/bookTicker"): Route(market_api.book_ticker, PUBLIC, 2, 5),
    ("GET", "/fapi/v1/ticker/24hr"): Route(market_api.ticker_24h, PUBLIC, 1, 40),
    ("GET", "/fapi/v1/premiumIndex"): Route(market_api.premium_index, PUBLIC, 1, 10),
    ("POST", "/fapi/v1/order"): Route(order_api.create, weight=0, orders=1),
    ("GET", "/fapi/v1/order"): Route(order_api.query),
    ("PUT", "/fapi/v1/order"): Route(order_api.amend, orders=1),
    ("DELETE", "/fapi/v1/order"): Route(order_api.cancel),
    ("GET", "/fapi/v1/openOrder"): Route(order_api.open_order),
    ("GET", "/fapi/v1/openOrders"): Route(order_api.open_orders, SIGNED, 1, 40),
    ("DELETE", "/fapi/v1/allOpenOrders"): Route(order_api.cancel_all),
    ("GET", "/fapi/v1/allOrders"): Route(order_api.all_orders, weight=5),
    ("GET", "/fapi/v1/userTrades"): Route(order_api.user_trades, weight=5),
    ("POST", "/fapi/v1/batchOrders"): Route(order_api.create_batch, weight=5, tells_orders=True),
    ("DELETE", "/fapi/v1/batchOrders"): Route(order_api.cancel_batch),
    ("GET", "/fapi/v1/forceOrders"): Route(order_api.force_orders, SIGNED, 20, 50),
    ("POST", "/fapi/v1/algoOrder"): Route(algo_api.create, weight=0, orders=1),
    ("GET", "/fapi/v1/algoOrder"): Route(algo_api.query),
    ("DELETE", "/fapi/v1/algoOrder"): Route(algo_api.cancel),
    ("GET", "/fapi/v1/openAlgoOrders"): Route(algo_api.open_orders, SIGNED, 1, 40),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Route(algo_api.cancel_all),
    ("GET", "/fapi/v1/allAlgoOrders"): Route(algo_api.all_orders, weight=5),
    ("GET", "/fapi/v3/account"): Route(account_api.account, weight=5),
    ("GET", "/fapi/v2/account"): Route(account_api.account_v2, weight=5),
    ("GET", "/fapi/v3/balance"): Route(account_api.balance, weight=5),
    ("GET", "/fapi/v2/balance"): Route(account_api.balance, weight=5),
    ("GET", "/fapi/v3/positionRisk"): Route(account_api.position_risk, weight=5),
    ("GET", "/fapi/v2/positionRisk"): Route(account_api.position_risk_v2, weight=5),
    ("POST", "/fapi/v1/leverage"): Route(settings_api.set_leverage),
    ("POST", "/fapi/v1/marginType"): Route(settings_api.set_margin_type),
    ("POST", "/fapi/v1/positionMargin"): Route(settings_api.change_position_margin),
    ("GET", "/fapi/v1/positionSide/dual"): Route(settings_api.position_mode, weight=30),
    ("POST", "/fapi/v1/positionSide/dual"): Route(settings_api.set_position_mode),
    ("GET", "/fapi/v1/symbolConfig"): Route(account_api.symbol_config, weight=5),
    ("GET", "/fapi/v1/accountConfig"): Route(account_api.account_config, weight=5),
    ("GET", "/fapi/v1/commissionRate"): Route(account_api.commission_rate, weight=20),
    ("GET", "/fapi/v1/leverageBracket"): Route(account_api.leverage_bracket),
    ("GET", "/fapi/v1/income"): Route(account_api.income, weight=30),
    ("POST", "/fapi/v1/listenKey"): Route(settings_api.issue_listen_key, KEY),
    ("PUT", "/fapi/v1/listenKey"): Route(settings_api.extend_listen_key, KEY),
    ("DELETE", "/fapi/v1/listenKey"): Route(settings_api.drop_listen_key, KEY),
}


def weight_of(route: Route, params: Params) -> int:
    """What a request weighs."""
    if route.handler is market_api.klines:
        limit = params.integer("limit") or 500
        return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
    if route.weight_without_symbol is not None and params.text("symbol") is None:
        return route.weight_without_symbol
    return route.weight


def no_such_path(request: HttpRequest) -> HttpResponse:
    """Other services of the venue are not here, as in its demo environment."""
    if request.path.startswith(("/sapi/", "/api/", "/papi/", "/dapi/", "/eapi/")):
        return HttpResponse(403, b"<html><body>403 Forbidden</body></html>", {"Content-Type": "text/html"})
    return HttpResponse(
        404,
        b'{"code":-5000,"msg":"Path '
        + request.path.encode()
        + b", Method "
        + request.method.encode()
        + b' is invalid"}',
        {"Content-Type": "application/json"},
    )
