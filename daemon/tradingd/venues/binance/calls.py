"""Binance USDT-M: which requests say what the port asks for."""

import hashlib
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from tradingd.config.credentials import Credentials
from tradingd.domain.account import AccountMode, AccountSnapshot, VenueOrder
from tradingd.domain.candles import Candle, timeframe_ms
from tradingd.domain.errors import BadNumber
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.intents import TimeInForce
from tradingd.domain.numbers import exact
from tradingd.domain.orders import Fill, Order, OrderKind, OrderRequest, OrderStatus
from tradingd.domain.records import LedgerRecord
from tradingd.ports import StreamKey
from tradingd.venues.binance.account import listed, read_account, read_bookings
from tradingd.venues.binance.errors import ERRORS, KEY_GONE
from tradingd.venues.binance.limits import rate_windows
from tradingd.venues.binance.quirks import BINANCE
from tradingd.venues.binance.rows import ALGO, Rows
from tradingd.venues.binance.rules import instruments, with_leverage
from tradingd.venues.dialect import Caller, Params
from tradingd.venues.error_map import read_error
from tradingd.venues.reply import Reply, readable
from tradingd.venues.translate import Book, Push, number, text_or_none

_TYPES = {kind: kind.name for kind in OrderKind}
HEDGE_MODE = (
    "the account is in hedge mode: with nothing held and no order open, set Preferences > Position Mode to One-way "
    "Mode on Binance Futures (dualSidePosition = false)"
)
MAY_NOT_TRADE = (
    "Binance says that this account may not trade futures (canTrade): see there whether it is opened and not "
    "restricted, and whether API Management ticks Enable Futures for the key"
)
_MARGIN_TYPES = {"cross": "CROSSED", "isolated": "ISOLATED"}


def plain(value: Decimal) -> str:
    """A number as the venue wants it: no exponent and no trailing zeros, which it counts as precision."""
    return f"{value.normalize():f}"


class BinanceDialect:
    """Binance USDT-M futures, one-way mode, single-asset margin in USDT."""

    quirks = BINANCE
    errors = ERRORS
    rate_windows = staticmethod(rate_windows)

    def __init__(self, venue: VenueId, book: Book, credentials: Credentials) -> None:
        self._venue = venue
        self._book = book
        self._rows = Rows(venue, book)
        self._key_digest = hashlib.sha256(credentials.api_key.reveal().encode()).hexdigest()[:16]

    # what ccxt's websockets mean

    def variant(self, path: str, params: Params) -> str:
        """Lists without a symbol weigh 40 times as much; klines weigh by their length."""
        if path in ("openOrders", "openAlgoOrders"):
            return "" if "symbol" in params else "?all"
        if path == "klines":
            limit = int(str(params.get("limit", 500)))
            return next((f"?{least}" for least in (1001, 500, 100) if limit >= least), "")
        return ""

    def stream_kind(self, url: str) -> str | None:
        """By the routed path: candles on /market/ws, the account on /private/ws."""
        return next((kind for path, kind in self.quirks.stream_kinds.value.items() if path in url), None)

    def candle_hash(self, stream: StreamKey) -> str:
        """As ccxt's watch_ohlcv builds it."""
        return f"ohlcv::{stream.symbol}::{stream.timeframe}"

    def acknowledged(self, frame: Any, subscriptions: dict[str, Any]) -> Iterable[str]:
        """`{"result": null, "id": n}` answers the SUBSCRIBE with that id; a candle proves its own subscription."""
        if not isinstance(frame, dict):
            return []
        if frame.get("e") == "kline":
            instrument = self._book.find(frame["k"]["s"])
            return [] if instrument is None else [f"ohlcv::{instrument.symbol}::{frame['k']['i']}"]
        if frame.get("id") is None or "result" not in frame or frame["result"] is not None:
            return []
        return [
            name for name, what in subscriptions.items() if isinstance(what, dict) and what.get("id") == frame["id"]
        ]

    def pushes(self, frame: Any) -> Iterable[Push]:
        """See rows."""
        return self._rows.pushes(frame)

    def is_pong(self, frame: Any) -> bool:
        """Its pongs are websocket frames of their own, which never come here."""
        return False

    async def watch_account(self, client: Any, now_ms: int) -> None:
        """The listen key's connection carries everything of the account."""
        await client.watch_orders()

    async def keep_account_stream(self, caller: Caller) -> bool:
        """PUT listenKey; False when the venue no longer knows the key."""
        reply = await caller.call("fapiPrivatePutListenKey", {})
        if reply.ok and reply.code is None:
            return True
        if reply.code == KEY_GONE:
            return False
        raise read_error(self.errors, reply, "listen key", caller.now_ms())

    def forget_account_key(self, client: Any) -> None:
        """ccxt asks for a key when its last one looks old."""
        client.options.setdefault("linear", {})["lastAuthenticatedTime"] = 0

    # rules and modes

    def instruments(self, markets: Iterable[Any]) -> dict[InstrumentId, Instrument]:
        """See rules."""
        return instruments(self._venue, markets)

    async def complete_rules(
        self, caller: Caller, rules: dict[InstrumentId, Instrument]
    ) -> dict[InstrumentId, Instrument]:
        """Leverage brackets, which only a signed request shows."""
        rows = await caller.read("fapiPrivateGetLeverageBracket", {})
        with readable("leverage brackets"):
            return with_leverage(rules, listed(rows))

    async def server_time_ms(self, caller: Caller) -> int:
        """The venue's clock."""
        value = await caller.read("fapiPublicGetTime", {})
        with readable("server time"):
            return int(value["serverTime"])

    async def preflight(self, caller: Caller) -> AccountMode:
        """Modes, permission, and the venue's own code of the account; without one, a digest of the key names it."""
        config = await caller.read("fapiPrivateGetAccountConfig", {})
        balances = await caller.read("fapiPrivateV3GetBalance", {})
        problems: list[str] = []
        with readable("account configuration"):
            hedge, can_trade = bool(config["dualSidePosition"]), bool(config["canTrade"])
            if hedge:
                problems.append(HEDGE_MODE)
            if config.get("multiAssetsMargin"):
                problems.append("the account is in multi-assets mode: set it to single-asset mode")
            if not can_trade:
                problems.append(MAY_NOT_TRADE)
            aliases = [text_or_none(row, "accountAlias") for row in listed(balances)]
        account_id = next((alias for alias in aliases if alias), self._key_digest)
        return AccountMode(self._venue, account_id, hedge, can_trade, tuple(problems))

    async def prepare(self, caller: Caller, rules: Instrument, leverage: int, margin_mode: str) -> None:
        """Margin mode, then leverage; "nothing to change" is success."""
        mode = {"symbol": rules.market_id, "marginType": _MARGIN_TYPES[margin_mode]}
        await self._set(caller, "fapiPrivatePostMarginType", dict(mode), f"margin mode of {rules.id}")
        wanted: Params = {"symbol": rules.market_id, "leverage": leverage}
        await self._set(caller, "fapiPrivatePostLeverage", wanted, f"leverage of {rules.id}")

    async def _set(self, caller: Caller, endpoint: str, params: Params, what: str) -> None:
        reply = await caller.call(endpoint, params)
        if not (reply.ok and reply.code is None) and reply.code not in self.errors.unchanged:
            raise read_error(self.errors, reply, what, caller.now_ms())

    # market data

    async def candles(
        self, caller: Caller, rules: Instrument, timeframe: str, since_ms: int, limit: int
    ) -> list[Candle]:
        """Page by page. The venue's clock is read first, so that no candle is called closed before it is."""
        step_ms = timeframe_ms(timeframe)
        closed_before_ms = caller.now_ms()
        if since_ms + (limit + 1) * step_ms >= closed_before_ms:
            closed_before_ms = await self.server_time_ms(caller)
        found: list[Candle] = []
        while len(found) < limit:
            page = min(limit - len(found), self.quirks.candles_limit.value)
            params: Params = {"symbol": rules.market_id, "interval": timeframe, "startTime": since_ms, "limit": page}
            rows = await caller.read("fapiPublicGetKlines", params)
            with readable(f"candles of {rules.id}"):
                found += [self._rows.candle(row, rules.id, timeframe, closed_before_ms) for row in rows]
            if len(rows) < page:
                break
            since_ms = found[-1].open_time_ms + step_ms
        return found

    async def mark_price(self, caller: Caller, rules: Instrument) -> Decimal:
        """From premiumIndex."""
        value = await caller.read("fapiPublicGetPremiumIndex", {"symbol": rules.market_id})
        with readable(f"mark price of {rules.id}"):
            return number(value, "markPrice")

    # orders

    def submit_endpoint(self, request: OrderRequest) -> str:
        """The two order services have an endpoint each."""
        return "POST fapi/v1/algoOrder" if request.kind.is_conditional else "POST fapi/v1/order"

    def submit_call(self, request: OrderRequest, rules: Instrument) -> tuple[str, Params]:
        """The request as journalled: nothing rounded, nothing defaulted by anyone below."""
        params: Params = {"symbol": rules.market_id, "side": request.side.name, "type": _TYPES[request.kind]}
        if request.close_position:
            params["closePosition"] = "true"  # neither quantity nor reduceOnly may stand beside it
        elif request.quantity is None:
            raise BadNumber(f"order {request.client_order_id} has no quantity; allowed: only with close_position")
        else:
            params["quantity"] = plain(request.quantity)
            if request.reduce_only:
                params["reduceOnly"] = "true"
        if request.kind is OrderKind.LIMIT:
            params["price"] = plain(exact(request.limit_price, "limit price"))
            params["timeInForce"] = "GTX" if request.post_only else (request.time_in_force or TimeInForce.GTC).value
        if not request.kind.is_conditional:
            params |= {"newClientOrderId": request.client_order_id, "newOrderRespType": "RESULT"}
            return "fapiPrivatePostOrder", params
        params |= {
            "algoType": "CONDITIONAL",
            "clientAlgoId": request.client_order_id,
            "triggerPrice": plain(exact(request.trigger_price, "trigger price")),
            "workingType": "MARK_PRICE",
        }
        return "fapiPrivatePostAlgoOrder", params

    def accepted(self, reply: Reply, request: OrderRequest) -> VenueOrder | None:
        """Only a body that names our client order id and an id of the venue proves acceptance."""
        if not isinstance(reply.value, dict):
            return None
        try:
            read = self._rows.algo_order if request.kind.is_conditional else self._rows.plain_order
            order = read(reply.value)
        except (KeyError, TypeError, ValueError):
            return None
        return order if order is not None and order.client_order_id == request.client_order_id else None

    def cancel_call(self, order: VenueOrder | Order, rules: Instrument) -> tuple[str, Params]:
        """In the book that holds it. A triggered conditional order has left the algo book: its child is cancelled.

        algoId is documented as counting per symbol, but the cancel takes no symbol: there our own id is safer.
        """
        venue_order_id, client_order_id = order.venue_order_id, order.client_order_id
        algo = order.book == ALGO if isinstance(order, VenueOrder) else order.request.kind.is_conditional
        if algo and order.status is OrderStatus.TRIGGERED and order.child_venue_order_id is not None:
            return "fapiPrivateDeleteOrder", {"symbol": rules.market_id, "orderId": order.child_venue_order_id}
        if algo:
            by_id: Params = {"algoId": venue_order_id} if client_order_id is None else {"clientAlgoId": client_order_id}
            return "fapiPrivateDeleteAlgoOrder", {"symbol": rules.market_id, **by_id}
        by_id = {"origClientOrderId": client_order_id} if venue_order_id is None else {"orderId": venue_order_id}
        return "fapiPrivateDeleteOrder", {"symbol": rules.market_id, **by_id}

    def cancelled(self, reply: Reply) -> bool:
        """The plain service answers with the order, the algo service with its ids and code "200"."""
        value = reply.value
        return isinstance(value, dict) and (value.get("status") == "CANCELED" or str(value.get("code")) == "200")

    async def find_order(self, caller: Caller, request: OrderRequest, rules: Instrument) -> VenueOrder | None:
        """The likely book first; None only when both answered "order does not exist"."""
        searches = [self._find_plain, self._find_algo]
        for search in reversed(searches) if request.kind.is_conditional else searches:
            order = await search(caller, request, rules)
            if order is not None:
                return order
        return None

    async def _find_plain(self, caller: Caller, request: OrderRequest, rules: Instrument) -> VenueOrder | None:
        by_id: Params = {"symbol": rules.market_id, "origClientOrderId": request.client_order_id}
        row = await self._find(caller, "fapiPrivateGetOrder", by_id, f"order {request.client_order_id}")
        with readable(f"order {request.client_order_id}"):
            return None if row is None else self._rows.plain_order(row)

    async def _find_algo(self, caller: Caller, request: OrderRequest, rules: Instrument) -> VenueOrder | None:
        what = f"conditional order {request.client_order_id}"
        by_id: Params = {"symbol": rules.market_id, "clientAlgoId": request.client_order_id}
        row = await self._find(caller, "fapiPrivateGetAlgoOrder", by_id, what)
        with readable(what):
            order = None if row is None else self._rows.algo_order(row)
        if order is None or order.status is not OrderStatus.TRIGGERED or order.child_venue_order_id is None:
            return order
        by_child: Params = {"symbol": rules.market_id, "orderId": order.child_venue_order_id}
        child_row = await self._find(caller, "fapiPrivateGetOrder", by_child, f"child of {what}")
        with readable(f"child of {what}"):
            child = None if child_row is None else self._rows.plain_order(child_row)
        return order if child is None else with_child(order, child)

    async def _find(self, caller: Caller, endpoint: str, params: Params, what: str) -> Any:
        reply = await caller.ask(endpoint, params)
        if reply.ok and reply.code is None:
            return reply.value
        if reply.code in self.errors.unknown_order:
            return None
        raise read_error(self.errors, reply, what, caller.now_ms())

    async def open_orders(self, caller: Caller, rules: Instrument | None) -> list[VenueOrder]:
        """Algo book first: an order that triggers in between is then seen twice, never not at all."""
        params: Params = {} if rules is None else {"symbol": rules.market_id}
        conditional = await caller.read("fapiPrivateGetOpenAlgoOrders", dict(params))
        resting = await caller.read("fapiPrivateGetOpenOrders", dict(params))
        with readable("open orders"):
            orders = [self._rows.algo_order(row) for row in listed(conditional)]
            orders += [self._rows.plain_order(row) for row in listed(resting)]
        return [order for order in orders if order is not None]

    async def fills(self, caller: Caller, rules: Instrument, since_ms: int) -> list[Fill]:
        """Seven days at a time; a full page goes on by trade id, which then reads all there is.

        The rows name no client order id, so orders not seen before are asked for: the fills then are evidence of an
        order of their own, and tell a liquidation.
        """
        window_ms, page = self.quirks.fills_window_ms.value, self.quirks.page_limit.value
        now_ms = caller.now_ms()
        start_ms = max(since_ms, now_ms - self.quirks.fills_retention_ms.value)
        found: dict[int, Any] = {}
        while start_ms <= now_ms:
            params: Params = {"symbol": rules.market_id, "limit": page, "startTime": start_ms}
            if start_ms + window_ms <= now_ms:
                params["endTime"] = start_ms + window_ms - 1
            rows = await self._fills_page(caller, rules, params, found)
            full = rows >= page
            while rows >= page:
                params = {"symbol": rules.market_id, "limit": page, "fromId": max(found) + 1}
                rows = await self._fills_page(caller, rules, params, found)
            if full:
                break
            start_ms += window_ms
        with readable(f"fills of {rules.id}"):
            orders = {int(row["orderId"]) for row in found.values()}
            unknown = [number for number in orders if not self._rows.knows(rules.market_id, str(number))]
            if unknown:
                await self._learn_owners(caller, rules, min(unknown), max(unknown))
            fills = [self._rows.fill(found[trade_id], rules.id) for trade_id in sorted(found)]
        return [fill for fill in fills if fill.time_ms >= since_ms]

    async def _fills_page(self, caller: Caller, rules: Instrument, params: Params, found: dict[int, Any]) -> int:
        rows = await caller.read("fapiPrivateGetUserTrades", params)
        with readable(f"fills of {rules.id}"):
            known = len(found)
            found.update({int(row["id"]): row for row in listed(rows)})
            if rows and "fromId" in params and len(found) == known:
                raise ValueError("a page that repeats the one before it")
        return len(rows)

    async def _learn_owners(self, caller: Caller, rules: Instrument, first: int, last: int) -> None:
        """Read the orders from `first` to `last`; reading a row remembers whose it is."""
        page = self.quirks.page_limit.value
        while first <= last:
            params: Params = {"symbol": rules.market_id, "orderId": first, "limit": page}
            rows = await caller.read("fapiPrivateGetAllOrders", params)
            with readable(f"orders of {rules.id}"):
                for row in listed(rows):
                    self._rows.plain_order(row)
                if len(rows) < page:
                    return
                first = max(first, *(int(row["orderId"]) for row in rows)) + 1

    async def bookings(self, caller: Caller, since_ms: int) -> list[LedgerRecord]:
        """See account."""
        return await read_bookings(caller, self._venue, self._book, since_ms)

    async def account(self, caller: Caller) -> AccountSnapshot:
        """See account."""
        return await read_account(caller, self._venue, self._rows)


def with_child(order: VenueOrder, child: VenueOrder) -> VenueOrder:
    """A triggered conditional order as its child stands: resting it stays TRIGGERED, fills and ends are the child's."""
    status = OrderStatus.TRIGGERED if child.status is OrderStatus.ACCEPTED else child.status
    return msgspec.structs.replace(
        order,
        status=status,
        filled_quantity=child.filled_quantity,
        average_price=child.average_price,
        updated_ms=max(order.updated_ms, child.updated_ms),
    )
