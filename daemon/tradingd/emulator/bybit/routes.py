"""All endpoints: what each does, whether it needs a key, and how often a second it may be asked."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tradingd.emulator.bybit import (
    account_api,
    bookings_api,
    history_api,
    market_api,
    order_api,
    position_api,
    settings_api,
)
from tradingd.emulator.bybit.desk import Desk
from tradingd.emulator.bybit.params import Params
from tradingd.emulator.bybit.payloads import Json

Handler = Callable[[Desk, Params], Json]


class Route(msgspec.Struct, frozen=True):
    """One endpoint; `per_second` 0 is public."""

    handler: Handler
    per_second: int = 0


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/v5/market/time"): Route(market_api.server_time),
    ("GET", "/v5/market/instruments-info"): Route(market_api.instruments),
    ("GET", "/v5/market/kline"): Route(market_api.klines),
    ("GET", "/v5/market/tickers"): Route(market_api.tickers),
    ("GET", "/v5/market/orderbook"): Route(market_api.order_book),
    ("GET", "/v5/market/risk-limit"): Route(market_api.risk_limits),
    ("POST", "/v5/order/create"): Route(order_api.create, 10),
    ("POST", "/v5/order/amend"): Route(order_api.amend, 10),
    ("POST", "/v5/order/cancel"): Route(order_api.cancel, 10),
    ("POST", "/v5/order/cancel-all"): Route(order_api.cancel_all, 10),
    ("GET", "/v5/order/realtime"): Route(history_api.realtime, 50),
    ("GET", "/v5/order/history"): Route(history_api.history, 50),
    ("GET", "/v5/execution/list"): Route(history_api.executions, 50),
    ("GET", "/v5/position/list"): Route(account_api.positions, 50),
    ("POST", "/v5/position/trading-stop"): Route(position_api.trading_stop, 10),
    ("POST", "/v5/position/set-leverage"): Route(settings_api.set_leverage, 10),
    ("POST", "/v5/position/switch-mode"): Route(settings_api.switch_mode, 10),
    ("POST", "/v5/position/add-margin"): Route(settings_api.add_margin, 10),
    ("GET", "/v5/account/wallet-balance"): Route(account_api.wallet_balance, 50),
    ("GET", "/v5/account/info"): Route(account_api.account_info, 50),
    ("GET", "/v5/account/fee-rate"): Route(account_api.fee_rate, 10),
    ("GET", "/v5/account/transaction-log"): Route(bookings_api.transaction_log, 50),
    ("POST", "/v5/account/set-margin-mode"): Route(settings_api.set_margin_mode, 10),
    ("GET", "/v5/user/query-api"): Route(account_api.key_info, 10),
    ("GET", "/v5/asset/coin/query-info"): Route(account_api.coin_info, 5),
}
