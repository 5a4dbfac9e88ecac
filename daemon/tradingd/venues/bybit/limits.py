"""Bybit V5: how often each endpoint may be asked in a rolling second, and the address in five."""

from tradingd.execution.rolling_window import RollingHeaders, RollingLimit

_PER_SECOND = {
    "POST /v5/order/create": 10,
    "POST /v5/order/amend": 10,
    "POST /v5/order/cancel": 10,
    "POST /v5/order/cancel-all": 10,
    "POST /v5/position/trading-stop": 10,
    "POST /v5/position/set-leverage": 10,
    "POST /v5/position/switch-mode": 10,
    "POST /v5/account/set-margin-mode": 10,
    "GET /v5/order/realtime": 50,
    "GET /v5/order/history": 50,
    "GET /v5/execution/list": 50,
    "GET /v5/position/list": 50,
    "GET /v5/account/wallet-balance": 50,
    "GET /v5/account/info": 50,
    "GET /v5/account/transaction-log": 10,
    "GET /v5/account/fee-rate": 10,
    "GET /v5/user/query-api": 10,
}
"""Of the account. What no page names is taken for the least of its kind."""

_PUBLIC = (
    "GET /v5/market/kline",
    "GET /v5/market/tickers",
    "GET /v5/market/time",
    "GET /v5/market/instruments-info",
    "GET /v5/market/risk-limit",
)
_DIALS = ("DIAL candles", "DIAL account")

ENDPOINTS = (*_PER_SECOND, *_PUBLIC, *_DIALS)

ROLLING = (
    *(
        RollingLimit(endpoint.rpartition("/v5/")[2], 1.0, limit, frozenset({endpoint}))
        for endpoint, limit in _PER_SECOND.items()
    ),
    RollingLimit("address", 5.0, 600),
    RollingLimit("dials", 300.0, 500, frozenset(_DIALS)),
)

HEADERS = RollingHeaders("X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp")
