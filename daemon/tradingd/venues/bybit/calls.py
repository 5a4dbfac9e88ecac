"""Bybit V5 linear: which requests say what the port asks for."""

import hashlib
import hmac
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from tradingd.config.credentials import Credentials
from tradingd.domain.account import (
    AccountMode,
    AccountSnapshot,
    PositionProtection,
    SubmitOutcome,
    SubmitVerdict,
    VenueOrder,
)
from tradingd.domain.candles import Candle, timeframe_ms
from tradingd.domain.errors import BadNumber
from tradingd.domain.ids import VenueId, VenueOrderId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.intents import Side, TimeInForce
from tradingd.domain.numbers import exact
from tradingd.domain.orders import Fill, Order, OrderKind, OrderRequest, OrderStatus
from tradingd.domain.records import LedgerRecord
from tradingd.execution.rate_budget import RateWindows
from tradingd.ports import StreamKey
from tradingd.venues.bybit import account
from tradingd.venues.bybit.account import CATEGORY, OF_ALL
from tradingd.venues.bybit.errors import ERRORS
from tradingd.venues.bybit.pages import read_all, result, rows_of
from tradingd.venues.bybit.quirks import BYBIT
from tradingd.venues.bybit.rows import INTERVALS, LINEAR, WORDS, Rows
from tradingd.venues.bybit.rules import instruments, with_fees
from tradingd.venues.client import network_error
from tradingd.venues.dialect import Caller, Params
from tradingd.venues.error_map import classify_submit, read_error
from tradingd.venues.reply import Reply, readable
from tradingd.venues.streams import ACCOUNT
from tradingd.venues.translate import Book, Push, number

RISES, FALLS = 1, 2
_AUTH_WINDOW_MS = 10_000
_ACCOUNT_TOPICS = ("order", "execution", "position", "wallet")


def plain(value: Decimal) -> str:
    """A number as the venue wants it: no exponent."""
    return f"{value.normalize():f}"


class BybitDialect:
    """Bybit V5, USDT perpetuals of a unified account in one-way mode."""

    quirks = BYBIT
    errors = ERRORS

    def __init__(self, venue: VenueId, book: Book, credentials: Credentials) -> None:
        self._venue = venue
        self._book = book
        self._rows = Rows(venue, book)
        self._prepared: set[InstrumentId] = set()
        self._key, self._secret = credentials.api_key, credentials.api_secret

    # what ccxt's websockets mean

    def variant(self, path: str, params: Params) -> str:
        """No weight depends on the parameters."""
        return ""

    def rate_windows(self, body: str) -> RateWindows:
        """The venue publishes its limits nowhere but in the headers of each answer."""
        return ()

    def stream_kind(self, url: str) -> str | None:
        """By path: candles are public, the account is private."""
        return next((kind for path, kind in self.quirks.stream_kinds.value.items() if path in url), None)

    def candle_hash(self, stream: StreamKey) -> str:
        """As ccxt's watch_ohlcv builds it."""
        return f"ohlcv::{stream.symbol}::{stream.timeframe}"

    def acknowledged(self, frame: Any, subscriptions: dict[str, Any]) -> Iterable[str]:
        """`{"op": "subscribe", "success": true, "req_id": n}` answers the subscription with that id; a candle proves
        its own."""
        if not isinstance(frame, dict):
            return []
        topic = str(frame.get("topic") or "")
        if topic.startswith("kline."):
            name = self._rows.candle_name(topic)
            return [] if name is None else [name]
        if frame.get("op") != "subscribe" or frame.get("success") is not True:
            return []
        number = str(frame.get("req_id"))
        return [
            name for name, what in subscriptions.items() if isinstance(what, dict) and str(what.get("id")) == number
        ]

    def is_pong(self, frame: Any) -> bool:
        """Its pongs are frames of text like any other."""
        return isinstance(frame, dict) and "pong" in (frame.get("op"), frame.get("ret_msg"))

    def pushes(self, frame: Any) -> Iterable[Push]:
        """See rows."""
        return self._rows.pushes(frame)

    async def watch_account(self, client: Any, now_ms: int) -> None:
        """All topics in one message: one answer says that all stand, and a topic asked for twice is refused.

        ccxt takes what it has sent for subscribed, be it refused, and waits for ever at the next try: so a connection
        on which anything failed is ended. Only that one: whoever reset the stream may have dialled another meanwhile.
        """
        url = await client.get_url_by_market_type(None, True, "watchOrders", {})
        connection = client.client(url)
        try:
            await self._authenticate(client, url, now_ms)
            await client.watch_topics(url, [ACCOUNT], list(_ACCOUNT_TOPICS), {})
        except Exception:
            if client.clients.get(url) is connection:
                connection.on_error(network_error("the account stream was refused"))
            raise

    async def _authenticate(self, client: Any, url: str, now_ms: int) -> None:
        """As ccxt does, but with venue time: with the host's clock 12 s behind, the venue refuses ccxt's own."""
        connection, name = client.client(url), "authenticated"
        future = connection.reusableFuture(name)
        if name not in connection.subscriptions:
            expires = now_ms + _AUTH_WINDOW_MS
            secret, text = self._secret.reveal().encode(), f"GET/realtime{expires}".encode()
            signature = hmac.new(secret, text, hashlib.sha256).hexdigest()
            args = [self._key.reveal(), str(expires), signature]
            client.watch(url, name, {"op": "auth", "args": args}, name)
        await future

    async def keep_account_stream(self, caller: Caller) -> bool:
        """Nothing to prolong: the connection was authenticated when it was made."""
        return True

    def forget_account_key(self, client: Any) -> None:
        """There is none."""

    # rules and modes

    def instruments(self, markets: Iterable[Any]) -> dict[InstrumentId, Instrument]:
        """See rules."""
        return instruments(self._venue, markets)

    async def complete_rules(
        self, caller: Caller, rules: dict[InstrumentId, Instrument]
    ) -> dict[InstrumentId, Instrument]:
        """The account's own fees, and the steps of leverage of what was prepared."""
        page = result(await caller.read("privateGetV5AccountFeeRate", dict(CATEGORY)), "fees")
        with readable("fees"):
            found = with_fees(rules, rows_of(page, "fees"))
        for name in self._prepared & found.keys():
            found[name] = await account.read_caps(caller, found[name])
        return found

    async def server_time_ms(self, caller: Caller) -> int:
        """The venue's clock, which it tells in nanoseconds."""
        value = result(await caller.read("publicGetV5MarketTime", {}), "server time")
        with readable("server time"):
            return int(value["timeNano"]) // 1_000_000

    async def preflight(self, caller: Caller) -> AccountMode:
        """Modes, permission, and the venue's own number of the account; without one, a digest of the key names it."""
        digest = hashlib.sha256(self._key.reveal().encode()).hexdigest()[:16]
        probe = next((rules.market_id for rules in self._book.instruments.values() if rules.trading), None)
        return await account.preflight(caller, self._venue, probe, digest)

    async def prepare(self, caller: Caller, rules: Instrument, leverage: int, margin_mode: str) -> None:
        """See account. What a position may be worth at each leverage is read here too: the venue's list of it comes in
        pages of fifteen symbols, and all of them would hold up a start."""
        await account.prepare(caller, rules, leverage, margin_mode)
        known = await account.read_caps(caller, self._book.rules(rules.id))
        self._book.replace(self._book.instruments | {rules.id: known})
        self._prepared.add(rules.id)

    # market data

    async def candles(
        self, caller: Caller, rules: Instrument, timeframe: str, since_ms: int, limit: int
    ) -> list[Candle]:
        """Page by page; each comes newest first. The venue's clock is read first, so that no candle is called closed
        before it is."""
        step_ms = timeframe_ms(timeframe)
        closed_before_ms = caller.now_ms()
        if since_ms + (limit + 1) * step_ms >= closed_before_ms:
            closed_before_ms = await self.server_time_ms(caller)
        found: list[Candle] = []
        start_ms = -(-since_ms // step_ms) * step_ms
        what = f"candles of {rules.id}"
        while len(found) < limit and start_ms <= closed_before_ms:
            page = min(limit - len(found), self.quirks.candles_limit.value)
            span: Params = {"start": start_ms, "end": start_ms + page * step_ms - 1, "limit": page}
            params = CATEGORY | {"symbol": rules.market_id, "interval": INTERVALS[timeframe]} | span
            rows = rows_of(result(await caller.read("publicGetV5MarketKline", params), what), what)
            with readable(what):
                for row in sorted(rows, key=lambda each: int(each[0])):
                    opened_ms = int(row[0])
                    closed = opened_ms + step_ms <= closed_before_ms
                    found.append(self._rows.candle(row, rules.id, timeframe, opened_ms, closed))
            start_ms += page * step_ms
        return found

    async def mark_price(self, caller: Caller, rules: Instrument) -> Decimal:
        """From tickers."""
        what = f"mark price of {rules.id}"
        value = await caller.read("publicGetV5MarketTickers", CATEGORY | {"symbol": rules.market_id})
        rows = rows_of(result(value, what), what)
        with readable(what):
            return number(rows[0], "markPrice")

    # orders

    def submit_endpoint(self, request: OrderRequest) -> str:
        """One endpoint for all kinds."""
        return "POST /v5/order/create"

    def submit_call(self, request: OrderRequest, rules: Instrument) -> tuple[str, Params]:
        """The request as journalled. ccxt's own create is not used: it takes the trigger's price and direction from
        the spelling of the side, and lets the venue choose by which price an order triggers."""
        params = CATEGORY | {
            "symbol": rules.market_id,
            "side": WORDS[request.side],
            "orderType": "Limit" if request.kind is OrderKind.LIMIT else "Market",
            "orderLinkId": request.client_order_id,
            "positionIdx": 0,
        }
        if request.close_position:
            params |= {"qty": "0", "reduceOnly": True, "closeOnTrigger": True}
        elif request.quantity is None:
            raise BadNumber(f"order {request.client_order_id} has no quantity; allowed: only with close_position")
        else:
            params["qty"] = plain(request.quantity)
            if request.reduce_only:
                params["reduceOnly"] = True
        if request.kind is OrderKind.LIMIT:
            params["price"] = plain(exact(request.limit_price, "limit price"))
            params["timeInForce"] = (
                "PostOnly" if request.post_only else (request.time_in_force or TimeInForce.GTC).value
            )
        if request.kind.is_conditional:
            stop = request.kind is OrderKind.STOP_MARKET
            params["triggerPrice"] = plain(exact(request.trigger_price, "trigger price"))
            params["triggerDirection"] = RISES if stop == (request.side is Side.BUY) else FALLS
            params["triggerBy"] = "MarkPrice"
        return "privatePostV5OrderCreate", params

    def accepted(self, reply: Reply, request: OrderRequest) -> VenueOrder | None:
        """An ack that names our id and the venue's: the order is queued, and checked after this answer."""
        try:
            acked = reply.value["result"]
            order_id, link_id = str(acked["orderId"] or ""), acked["orderLinkId"]
        except (KeyError, TypeError):
            return None
        if not order_id or link_id != request.client_order_id:
            return None
        return VenueOrder(
            instrument=request.instrument,
            book=LINEAR,
            venue_order_id=VenueOrderId(order_id),
            client_order_id=request.client_order_id,
            status=OrderStatus.SUBMITTED,
            side=request.side,
            kind=request.kind,
            quantity=request.quantity,
            trigger_price=request.trigger_price,
            reduce_only=request.reduce_only,
            close_position=request.close_position,
        )

    def cancel_call(self, order: VenueOrder | Order, rules: Instrument) -> tuple[str, Params]:
        """One endpoint for all kinds. Where both ids are sent the venue reads its own only, so only one is."""
        by_id: Params = {"orderId": order.venue_order_id}
        if order.venue_order_id is None:
            by_id = {"orderLinkId": order.client_order_id}
        return "privatePostV5OrderCancel", CATEGORY | {"symbol": rules.market_id} | by_id

    def cancelled(self, reply: Reply) -> bool:
        """An ack, too: that the order has ended is told by the stream."""
        value = reply.value.get("result") if isinstance(reply.value, dict) else None
        return isinstance(value, dict) and bool(value.get("orderId"))

    async def find_order(self, caller: Caller, request: OrderRequest, rules: Instrument) -> VenueOrder | None:
        """What is open or ended lately, then the history: after a restart of the venue only that has ended orders."""
        params = CATEGORY | {"symbol": rules.market_id, "orderLinkId": request.client_order_id}
        what = f"order {request.client_order_id}"
        for endpoint in ("privateGetV5OrderRealtime", "privateGetV5OrderHistory"):
            reply = await caller.ask(endpoint, dict(params))
            if reply.code in self.errors.unknown_order:
                continue
            if not reply.ok or reply.code is not None:
                raise read_error(self.errors, reply, what, caller.now_ms())
            rows = rows_of(result(reply.value, what), what)
            with readable(what):
                # the venue answers with others' orders when it does not understand an id
                mine = [row for row in rows if row["orderLinkId"] == request.client_order_id]
                if mine:
                    return self._rows.order(max(mine, key=lambda row: int(row["updatedTime"])))
        return None

    async def open_orders(self, caller: Caller, rules: Instrument | None) -> list[VenueOrder]:
        """Every page: plain orders, conditional orders, and what stands for a position's stop and take profit."""
        params = OF_ALL if rules is None else CATEGORY | {"symbol": rules.market_id}
        params = params | {"openOnly": 0, "limit": self.quirks.page_limit.value}
        rows = await read_all(caller, "privateGetV5OrderRealtime", params, "open orders")
        with readable("open orders"):
            orders = [self._rows.order(row) for row in rows]
        return [order for order in orders if order is not None and not order.status.is_final]

    async def fills(self, caller: Caller, rules: Instrument, since_ms: int) -> list[Fill]:
        """Seven days at a time, every page, ascending; funding is not among them."""
        now_ms, window_ms = caller.now_ms(), self.quirks.fills_window_ms.value
        start_ms = max(since_ms, now_ms - self.quirks.fills_retention_ms.value)
        what = f"fills of {rules.id}"
        found: dict[str, Fill] = {}
        while start_ms <= now_ms:
            # open at the end of the last window: the venue's clock may be ahead of ours
            span: Params = {"startTime": start_ms, "endTime": start_ms + window_ms - 1, "limit": 100}
            params = CATEGORY | {"symbol": rules.market_id} | span
            rows = await read_all(caller, "privateGetV5ExecutionList", params, what)
            with readable(what):
                read = (self._rows.fill(row) for row in reversed(rows))  # they come newest first
                found.update({fill.trade_id: fill for fill in read if fill is not None})
            start_ms += window_ms
        return sorted((fill for fill in found.values() if fill.time_ms >= since_ms), key=lambda fill: fill.time_ms)

    async def bookings(self, caller: Caller, since_ms: int) -> list[LedgerRecord]:
        """See account."""
        return await account.read_bookings(caller, self._venue, self._book, since_ms)

    async def account(self, caller: Caller) -> AccountSnapshot:
        """See account."""
        return await account.read_account(caller, self._venue, self._rows)

    # protection as a state of the position

    async def set_protection(
        self, caller: Caller, rules: Instrument, stop: Decimal | None, take_profit: Decimal | None
    ) -> SubmitOutcome:
        """Set both for the whole position, none with None. The same values again change nothing: that is success."""
        params = CATEGORY | {
            "symbol": rules.market_id,
            "positionIdx": 0,
            "tpslMode": "Full",
            "stopLoss": "0" if stop is None else plain(stop),
            "takeProfit": "0" if take_profit is None else plain(take_profit),
            "slTriggerBy": "MarkPrice",
            "tpTriggerBy": "MarkPrice",
        }
        reply = await caller.call("privatePostV5PositionTradingStop", params)
        done = reply.ok and reply.code is None and isinstance(reply.value.get("result"), dict)
        if done or reply.code in self.errors.unchanged:
            return SubmitOutcome(SubmitVerdict.ACCEPTED, code=reply.code, message=reply.message if not done else "")
        return classify_submit(self.errors, reply, None)

    async def read_protection(self, caller: Caller, rules: Instrument) -> PositionProtection:
        """What the position carries; flat positions carry none."""
        what = f"protection of {rules.id}"
        params = CATEGORY | {"symbol": rules.market_id}
        rows = await read_all(caller, "privateGetV5PositionList", params, what)
        with readable(what):
            read = [self._rows.protection(row) for row in rows]
            found = next((each for each in read if each is not None), None)
        return found or PositionProtection(rules.id, Decimal(0), None, None, caller.now_ms())
