"""The built-in Binance USDT-M venue: routes, gateway checks, and the fan-out of what the engine reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

import msgspec

from tradingd.emulator.binance import account_api, acts, algo_api, market_api, meaning, order_api, settings_api
from tradingd.emulator.binance.desk import Desk
from tradingd.emulator.binance.errors import VenueError
from tradingd.emulator.binance.limits import Limits
from tradingd.emulator.binance.params import Params, check_engine_window, check_signature, check_timestamp
from tradingd.emulator.binance.payloads import account_event, conditional_event, fill_event, order_event
from tradingd.emulator.binance.streams import Streams
from tradingd.emulator.binance.views import Views
from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.core.lags import FOREVER_MS, Lags
from tradingd.emulator.core.ledger import Ledger
from tradingd.emulator.core.records import ZERO, Candle, Conditional, Fill, Order
from tradingd.emulator.wire import Frame, HttpRequest, HttpResponse, Meaning, Refusal

Handler = Callable[[Desk, Params], Any]
_PUBLIC, _KEY, _SIGNED = 0, 1, 2
_SAVE_EVERY_MS = 1_000
HUMAN_KEY, HUMAN_SECRET = "human-key", "human-secret"
"""Another key of the same account: what somebody else does beside the daemon."""


class Route(msgspec.Struct, frozen=True):
    """One endpoint: what it does, how it is protected, what it weighs."""

    handler: Handler
    security: int = _SIGNED
    weight: int = 1
    weight_without_symbol: int | None = None
    orders: int = 0


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/ping"): Route(market_api.ping, _PUBLIC),
    ("GET", "/fapi/v1/time"): Route(market_api.server_time, _PUBLIC),
    ("GET", "/fapi/v1/exchangeInfo"): Route(market_api.exchange_info, _PUBLIC),
    ("GET", "/fapi/v1/klines"): Route(market_api.klines, _PUBLIC),
    ("GET", "/fapi/v1/depth"): Route(market_api.depth, _PUBLIC, 10),
    ("GET", "/fapi/v1/ticker/price"): Route(market_api.ticker_price, _PUBLIC, 1, 2),
    ("GET", "/fapi/v2/ticker/price"): Route(market_api.ticker_price, _PUBLIC, 1, 2),
    ("GET", "/fapi/v1/ticker/bookTicker"): Route(market_api.book_ticker, _PUBLIC, 2, 5),
    ("GET", "/fapi/v1/ticker/24hr"): Route(market_api.ticker_24h, _PUBLIC, 1, 40),
    ("GET", "/fapi/v1/premiumIndex"): Route(market_api.premium_index, _PUBLIC, 1, 10),
    ("POST", "/fapi/v1/order"): Route(order_api.create, weight=0, orders=1),
    ("GET", "/fapi/v1/order"): Route(order_api.query),
    ("PUT", "/fapi/v1/order"): Route(order_api.amend, orders=1),
    ("DELETE", "/fapi/v1/order"): Route(order_api.cancel),
    ("GET", "/fapi/v1/openOrder"): Route(order_api.open_order),
    ("GET", "/fapi/v1/openOrders"): Route(order_api.open_orders, _SIGNED, 1, 40),
    ("DELETE", "/fapi/v1/allOpenOrders"): Route(order_api.cancel_all),
    ("GET", "/fapi/v1/allOrders"): Route(order_api.all_orders, weight=5),
    ("GET", "/fapi/v1/userTrades"): Route(order_api.user_trades, weight=5),
    ("POST", "/fapi/v1/batchOrders"): Route(order_api.create_batch, weight=5),
    ("POST", "/fapi/v1/algoOrder"): Route(algo_api.create, weight=0, orders=1),
    ("GET", "/fapi/v1/algoOrder"): Route(algo_api.query),
    ("DELETE", "/fapi/v1/algoOrder"): Route(algo_api.cancel),
    ("GET", "/fapi/v1/openAlgoOrders"): Route(algo_api.open_orders, _SIGNED, 1, 40),
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
    ("POST", "/fapi/v1/listenKey"): Route(settings_api.issue_listen_key, _KEY),
    ("PUT", "/fapi/v1/listenKey"): Route(settings_api.extend_listen_key, _KEY),
    ("DELETE", "/fapi/v1/listenKey"): Route(settings_api.drop_listen_key, _KEY),
}


class BinanceVenue:
    """A `wire.VenueModel`: unmodified Binance clients talk to it."""

    def __init__(self, exchange: Exchange, ledger: Ledger, seed: int, account_id: str, api_key: str, api_secret: str,
                 with_lags: bool = True) -> None:
        rng = Random(f"{seed}/binance/{exchange.now_ms}")
        lags = Lags(rng, enabled=with_lags)
        ban = (ledger.meta("ban") or "0 0").split()
        limits = Limits(int(ban[0]), int(ban[1]))
        views = Views(exchange.account, lags)
        views.load(ledger.orders(), ledger.conditionals(), ledger.fills())
        self._desk = Desk(exchange, ledger, views, Streams(exchange, lags, rng), limits, lags, rng, account_id)
        stored_keys = msgspec.json.decode(ledger.meta("listen_keys") or "{}", type=dict[str, int])
        self._desk.streams.restore_keys(stored_keys)
        settings_api.restore_settings(self._desk)
        self._keys = {api_key: api_secret, HUMAN_KEY: HUMAN_SECRET}
        self._told_wallet = exchange.account.wallet
        self._seed = seed
        self._saved_ms = exchange.now_ms
        exchange.listener = self

    # -- REST ---------------------------------------------------------------------------------------------------

    @property
    def meaning(self) -> Meaning:
        """What this dialect's requests and frames are about."""
        return meaning

    def act(self, kind: str, values: Mapping[str, object]) -> str:
        """What the venue or a human does without being asked; it is in the ledger before anybody hears of it."""
        text = acts.play(self._desk, kind, values)
        self.save()
        return text

    def handle(self, request: HttpRequest, lag_ms: int = 0, end_order_ms: int | None = None) -> HttpResponse:
        """Gateway checks in the venue's order, then the handler; the verdict is in the ledger before it leaves."""
        desk = self._desk
        route = ROUTES.get((request.method, request.path))
        if route is None:
            return _no_such_path(request)
        desk.views.now_ms = FOREVER_MS if self.stands_still else desk.now_ms - lag_ms
        desk.exchange.end_next_in_ms = end_order_ms
        params = Params.of(request)
        status, code, order_id = 200, None, None
        try:
            if not self.stands_still:  # windows of a clock that stands would never end
                desk.limits.charge(_weight(route, params), desk.now_ms)
            self._check_access(route, request, params)
            if route.orders and not self.stands_still:
                desk.limits.charge_orders(route.orders, desk.now_ms)
            if route.orders and desk.engine_delay_ms:
                check_engine_window(params, desk.clock_ms + desk.engine_delay_ms, desk.lags.scale)
            answer = route.handler(desk, params)
            if isinstance(answer, dict):
                order_id = answer.get("orderId", answer.get("algoId"))
        except VenueError as error:
            status, code = error.status, error.code
            answer = {"code": error.code, "msg": error.text}
        desk.exchange.end_next_in_ms = None
        desk.ledger.add_request(
            desk.now_ms, request.method, request.path, params.visible(), params.text("symbol"),
            params.text("newClientOrderId") or params.text("clientAlgoId") or params.text("origClientOrderId"),
            order_id, status, code)
        if request.method != "GET":
            self.save()
        headers = {"Content-Type": "application/json", **desk.limits.headers(bool(route.orders))}
        return HttpResponse(status, msgspec.json.encode(answer), headers)

    def _check_access(self, route: Route, request: HttpRequest, params: Params) -> None:
        if route.security == _PUBLIC:
            return
        key = request.headers.get("x-mbx-apikey", "")
        if not key:
            raise VenueError(-2014, status=401)
        secret = self._keys.get(key)
        if secret is None:
            raise VenueError(-2015, status=401)
        if route.security == _SIGNED:
            check_signature(request, params, secret)
            check_timestamp(params, self._desk.clock_ms, self._desk.lags.scale)

    # -- websocket ----------------------------------------------------------------------------------------------

    def open_session(self, path: str, query: str) -> int | Refusal:
        """A handshake."""
        return self._desk.streams.open(path, query)

    def on_frame(self, session: int, frame: str) -> list[Frame]:
        """A frame from a client."""
        return self._desk.streams.on_frame(session, frame, is_counted=not self.stands_still)

    def close_session(self, session: int) -> None:
        """A client is gone."""
        self._desk.streams.close(session)

    # -- time ---------------------------------------------------------------------------------------------------

    def advance(self, to_ms: int) -> list[tuple[int, Frame]]:
        """Run to a venue time; what happened is in the ledger before anybody hears of it."""
        exchange, streams = self._desk.exchange, self._desk.streams
        while streams.next_push_ms <= min(to_ms, exchange.end_ms):
            exchange.advance(streams.next_push_ms)
            streams.push_open()
        exchange.advance(to_ms)
        self.save(only_if_due=True)
        return streams.due(exchange.now_ms)

    def settle(self) -> list[tuple[int, Frame]]:
        """Everything on its way arrives, although market time stands still."""
        return self._desk.streams.due(FOREVER_MS)

    def next_event_ms(self) -> int:
        """When something is due next."""
        return min(self._desk.exchange.next_event_ms(), self._desk.streams.next_event_ms())

    def set_time_scale(self, scale: float) -> None:
        """Receive windows, lags and protocol timers are stretched by it."""
        self._desk.lags.scale = scale

    @property
    def now_ms(self) -> int:
        """Venue time."""
        return self._desk.now_ms

    @property
    def stands_still(self) -> bool:
        """A market from a file waits for a candle listener, and stays where it is after its last candle."""
        exchange = self._desk.exchange
        waits = exchange.source.waits_for_listener and not self._desk.streams.has_candle_listener
        return waits or exchange.is_finished

    def describe(self) -> Mapping[str, object]:
        """Who this is."""
        exchange = self._desk.exchange
        return {"venue": "binance", "account": self._desk.account_id, "market": exchange.source.kind,
                "symbols": list(exchange.feeds), "seed": self._seed, "finished": exchange.is_finished}

    def close(self) -> None:
        """Write what is pending."""
        self.save()
        self._desk.ledger.close()

    def save(self, only_if_due: bool = False) -> None:
        """Commit, with the venue time, so that a restart never falls behind what was told to anybody."""
        desk = self._desk
        if only_if_due and not desk.ledger.is_dirty and desk.now_ms - self._saved_ms < _SAVE_EVERY_MS * desk.lags.scale:
            return
        desk.ledger.set_meta("now_ms", str(desk.now_ms))
        desk.ledger.set_meta("ids", msgspec.json.encode(desk.exchange.ids).decode())
        desk.ledger.set_meta("listen_keys", msgspec.json.encode(desk.streams.keys).decode())
        if desk.limits.bans:
            desk.ledger.set_meta("ban", f"{desk.limits.banned_until_ms} {desk.limits.bans}")
        desk.ledger.commit()
        self._saved_ms = desk.now_ms

    # -- what the engine reports --------------------------------------------------------------------------------

    def on_order(self, order: Order, execution: str, fill: Fill | None, at_ms: int) -> None:
        """Plain order changed."""
        desk = self._desk
        desk.views.put_order(order, at_ms)
        if fill is not None:
            desk.views.put_fill(fill, at_ms)
        if fill is not None and execution == "TRADE":
            desk.streams.publish_user(lambda event_ms: fill_event(order, fill, at_ms, event_ms))
        desk.streams.publish_user(lambda event_ms: order_event(order, execution, fill, at_ms, event_ms))

    def on_conditional(self, order: Conditional, at_ms: int) -> None:
        """Conditional order changed."""
        self._desk.views.put_conditional(order, at_ms)
        self._desk.streams.publish_user(lambda event_ms: conditional_event(order, at_ms, event_ms))

    def on_account(self, symbols: Iterable[str], at_ms: int, cause: str = "ORDER") -> None:
        """Wallet and positions changed."""
        desk, account = self._desk, self._desk.exchange.account
        symbols = tuple(symbols)
        desk.views.put_account(symbols, at_ms)
        rows = []
        for symbol in symbols:
            margin = account.margin(symbol, desk.exchange.mark_price(symbol), ())
            rows.append((account.positions[symbol], margin.unrealized, account.isolated[symbol]))
        wallet, change = account.wallet, account.wallet - self._told_wallet
        self._told_wallet = wallet
        cross = wallet - sum(position.isolated_usdt for position in account.positions.values())
        change = ZERO if cause == "ORDER" else change  # "bc" leaves out profit and commission
        desk.streams.publish_user(lambda event_ms: account_event(wallet, cross, change, cause, rows, at_ms, event_ms))

    def on_minute(self, symbol: str, candle: Candle) -> None:
        """A minute closed."""
        self._desk.streams.on_minute(symbol, candle)


def _weight(route: Route, params: Params) -> int:
    if route.handler is market_api.klines:
        limit = params.integer("limit") or 500
        return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
    if route.weight_without_symbol is not None and params.text("symbol") is None:
        return route.weight_without_symbol
    return route.weight


def _no_such_path(request: HttpRequest) -> HttpResponse:
    """Other services of the venue are not here, as in its demo environment."""
    if request.path.startswith(("/sapi/", "/api/", "/papi/", "/dapi/", "/eapi/")):
        return HttpResponse(403, b"<html><body>403 Forbidden</body></html>", {"Content-Type": "text/html"})
    return HttpResponse(404, b'{"code":-5000,"msg":"Path ' + request.path.encode() + b', Method ' +
                        request.method.encode() + b' is invalid"}', {"Content-Type": "application/json"})
