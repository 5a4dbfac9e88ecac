"""The Venue port over ccxt.pro, once for all venues; what differs stands in a dialect and its quirks."""

from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, TypeVar

import aiohttp
import msgspec

from tradingd.config.credentials import Credentials
from tradingd.domain.account import (
    AccountMode,
    AccountSnapshot,
    CancelOutcome,
    CancelVerdict,
    RejectKind,
    SubmitOutcome,
    SubmitVerdict,
    VenueOrder,
)
from tradingd.domain.candles import Candle
from tradingd.domain.errors import TradingdError, VenueBanned, VenueError, VenueUnreachable, quoted
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.orders import Fill, Order, OrderRequest
from tradingd.domain.records import LedgerRecord
from tradingd.execution.retry_policy import RetryPolicy
from tradingd.ports import (
    Approved,
    CallContext,
    Clear,
    Clock,
    Priority,
    Random,
    RateBudget,
    StreamKey,
    VenueLimits,
    VenueSink,
    at_once,
    call_context,
)
from tradingd.venues.account_keeper import AccountKeeper
from tradingd.venues.calling import Calls
from tradingd.venues.client import ClientSetup, build_client
from tradingd.venues.clock import ccxt_clock
from tradingd.venues.error_map import (
    classify_cancel,
    classify_submit,
    read_error,
)
from tradingd.venues.hooks import ClientHooks
from tradingd.venues.known import DIALECTS
from tradingd.venues.quirks import Quirks
from tradingd.venues.reply import lists_something
from tradingd.venues.state_protection import protection_by_state
from tradingd.venues.streams import ACCOUNT, CANDLES, Streams
from tradingd.venues.translate import Book
from tradingd.venues.transport import check_endpoint, open_session

T = TypeVar("T")

READ_AGAIN_S = 0.1
"""Real seconds until a read that failed is sent again; doubled each time."""


class ClientSettings(msgspec.Struct, frozen=True):
    """What of the connection is ours to choose; real seconds, but the receive window in ms of venue time."""

    receive_window_ms: int | None = None
    request_timeout_s: float = 10.0
    subscribe_timeout_s: float = 10.0
    ping_interval_ms: int | None = None


class CcxtVenue:
    """One venue over ccxt.pro. Reads raise VenueError; submit and cancel return outcomes.

    `endpoint` ("http://host:port") replaces scheme and host of every url. `window_scale` multiplies the receive window
    and the fence for a built-in venue that runs faster than real time. `open_session` makes the session under ccxt: the
    seam at which a simulation takes the place of the network.
    """

    def __init__(
        self,
        venue: VenueId,
        credentials: Credentials,
        clock: Clock,
        random: Random,
        budget: RateBudget,
        *,
        endpoint: str | None = None,
        window_scale: float = 1.0,
        settings: ClientSettings | None = None,
        open_session: Callable[..., aiohttp.ClientSession] = open_session,
    ) -> None:
        if endpoint is not None:
            check_endpoint(endpoint)
        self.id = venue
        self._credentials = credentials
        self._clock = clock
        self._random = random
        self._budget = budget
        self._endpoint = endpoint
        self._settings = settings or ClientSettings()
        self._open_session = open_session
        self._book = Book()
        self._dialect = DIALECTS[venue](venue, self._book, credentials)
        self.limits: VenueLimits = self._dialect.quirks.limits(
            receive_window_ms=self._settings.receive_window_ms, window_scale=window_scale
        )
        self._calls = Calls(
            venue,
            self._dialect.quirks,
            self._dialect.errors,
            credentials.secrets(),
            clock,
            RetryPolicy(clock, random, first_s=READ_AGAIN_S),
        )
        self.state_protection = protection_by_state(self._dialect, self._calls, self._book)
        self._exchange: Any = None
        self._session: aiohttp.ClientSession | None = None
        self._streams: Streams | None = None
        self._keeper: AccountKeeper | None = None
        self._account_known = False

    def __repr__(self) -> str:
        return f"CcxtVenue({self.id})"

    @property
    def quirks(self) -> Quirks:
        """The venue as data."""
        return self._dialect.quirks

    # life

    async def open(self, sink: VenueSink) -> None:
        """Build the client and load the instruments' rules. After a failure it may be called again.

        Sends nothing signed: whoever opens can read the venue's clock first and set ours by it.
        """
        quirks = self._dialect.quirks
        secure = self._endpoint is None or self._endpoint.startswith("https")
        self._session = self._open_session(secure=secure, keepalive_s=quirks.http_keepalive_s.value)
        self._streams = Streams(self.id, self._dialect, sink, self._credentials.secrets())
        interval_ms = quirks.account_key_interval_ms.value
        self._keeper = AccountKeeper(self.id, self._clock, self._streams, self._renew_account_key, interval_ms)
        setup = ClientSetup(
            ccxt_id=quirks.ccxt_id,
            credentials=self._credentials,
            endpoint=self._endpoint,
            # as on the wire: a built-in venue multiplies it by its speed itself, and no venue takes more than a minute
            receive_window_ms=self._settings.receive_window_ms or quirks.receive_window_ms.value,
            request_timeout_s=self._settings.request_timeout_s,
            ping_interval_ms=self._settings.ping_interval_ms or quirks.ping_interval_ms.value,
            ws_message_interval_s=quirks.ws_message_interval_s.value,
            options=quirks.options.value,
        )
        real = ccxt_clock(self._clock)
        hooks = ClientHooks(self.id, self._dialect.errors, self._budget, self._clock, self._streams)
        self._exchange = build_client(
            setup, self._session, hooks, self._clock, real, self._random, self._dialect.variant
        )
        self._calls.client = self._exchange
        self._streams.use(self._exchange)
        try:
            await self._at(Priority.RECONCILE, self.load_instruments())
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End all connections, tasks and timers."""
        if self._keeper is not None:
            await self._keeper.stop()
            self._keeper = None
        if self._streams is not None:
            await self._streams.close()
        if self._exchange is not None:
            await self._exchange.close()
            self._exchange = self._calls.client = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    # rules and modes

    @property
    def instruments(self) -> dict[InstrumentId, Instrument]:
        """The rules as last read."""
        return self._book.instruments

    async def load_instruments(self) -> dict[InstrumentId, Instrument]:
        """Read the venue's rules anew."""
        client = self._calls.open_client()
        # not load_markets: it lets a second copy wait for the first
        reply = await self._calls.ask_long(client.fetch_markets, "instruments")
        if reply.failure:
            raise read_error(self._dialect.errors, reply, "instruments", self._clock.now_ms())
        try:
            rules = self._dialect.instruments(client.set_markets(reply.value).values())
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise VenueUnreachable(f"{self.id}: instruments cannot be read ({type(error).__name__})") from None
        if not rules:
            if lists_something(reply.body):
                raise VenueUnreachable(f"{self.id}: the venue lists no USDT perpetual")
            raise VenueUnreachable(f"{self.id} answered what is no list of instruments: {quoted(reply.body)}")
        self._adopt_limits(reply.body)
        if self._account_known:
            rules = await self._dialect.complete_rules(self._calls, rules)
        self._book.replace(rules)
        return self._book.instruments

    def _adopt_limits(self, body: str) -> None:
        """The budget is what the venue says it is: the same venue's demo hosts count otherwise."""
        try:
            windows = self._dialect.rate_windows(body)
            if windows:
                self._budget.adopt(self.id, windows)
        except ValueError as error:
            raise VenueUnreachable(f"{self.id}: its limits of requests cannot be kept ({error})") from None

    async def server_time_ms(self, priority: Priority = Priority.RECONCILE) -> int:
        """The venue's clock."""
        return await self._at(priority, self._dialect.server_time_ms(self._calls))

    async def preflight(self) -> AccountMode:
        """Who the account is and whether its modes fit; from now on the rules include what only an account is shown."""
        mode = await self._at(Priority.RECONCILE, self._dialect.preflight(self._calls))
        rules = self._dialect.complete_rules(self._calls, self._book.instruments)
        self._book.replace(await self._at(Priority.RECONCILE, rules))
        self._account_known = True
        return mode

    async def prepare(self, instrument: InstrumentId, leverage: int, margin_mode: str) -> None:
        """Set leverage and margin mode; "already so" is success."""
        work = self._dialect.prepare(self._calls, self._book.rules(instrument), leverage, margin_mode)
        await self._at(Priority.RECONCILE, work)

    # streams

    async def watch(self, stream: StreamKey) -> None:
        """Subscribe; calling again on a live subscription sends nothing."""
        exchange, streams = self._calls.open_client(), self._open_streams()
        if stream.kind == CANDLES:
            name = self._dialect.candle_hash(stream)
            subscribe = lambda: exchange.watch_ohlcv(stream.symbol, stream.timeframe)  # noqa: E731
        elif stream.kind == ACCOUNT:
            name = ACCOUNT
            subscribe = lambda: self._dialect.watch_account(exchange, self._clock.now_ms())  # noqa: E731
        else:
            raise VenueError(f"{self.id}: stream kind {stream.kind!r} is not known; allowed: {CANDLES}, {ACCOUNT}")
        if not streams.stands(stream.kind, name):
            await self._budget.acquire(self.id, f"DIAL {stream.kind}", self._priority(Priority.RECONCILE))
        work = streams.stand(stream.kind, name, subscribe, self._settings.subscribe_timeout_s)
        await self._at(self._priority(Priority.RECONCILE), work)
        if stream.kind == ACCOUNT and self._keeper is not None:
            self._keeper.start()

    async def reset_stream(self, kind: str, reason: str) -> None:
        """Drop the connections of a kind of stream."""
        self._open_streams().reset(kind, reason)

    async def _renew_account_key(self) -> bool:
        return await self._at(Priority.RECONCILE, self._dialect.keep_account_stream(self._calls))

    # market data

    async def candles(self, instrument: InstrumentId, timeframe: str, since_ms: int, limit: int) -> list[Candle]:
        """Candles from `since_ms` on, ascending; the last may still be forming."""
        return await self._dialect.candles(self._calls, self._book.rules(instrument), timeframe, since_ms, limit)

    async def mark_price(self, instrument: InstrumentId, priority: Priority = Priority.ENTRY) -> Decimal:
        """The price that triggers protective orders."""
        return await self._at(priority, self._dialect.mark_price(self._calls, self._book.rules(instrument)))

    # orders

    def submit_endpoint(self, request: OrderRequest) -> str:
        """The budget's endpoint of a submit."""
        return self._dialect.submit_endpoint(request)

    async def submit(
        self, approved: Approved, signed_ms: int, priority: Priority, clear: Clear = at_once
    ) -> SubmitOutcome:
        """Send one order, once; the outcome comes from our own table."""
        key, keeper = approved.request.client_order_id, self._keeper
        if keeper is not None:
            keeper.expect(key)
        outcome = await self._submit(approved, CallContext(priority, prepaid=True, signed_ms=signed_ms, clear=clear))
        if keeper is not None and outcome.verdict not in (SubmitVerdict.ACCEPTED, SubmitVerdict.SUBMITTED):
            keeper.heard(key)
        return outcome

    async def _submit(self, approved: Approved, context: CallContext) -> SubmitOutcome:
        request = approved.request
        try:
            endpoint, params = self._dialect.submit_call(request, self._book.rules(request.instrument))
            reply = await self._within(context, self._calls.call(endpoint, params))
        except TradingdError as error:  # raised before the wire: no such instrument, a number missing, banned, closed
            kind = RejectKind.BANNED if isinstance(error, VenueBanned) else RejectKind.NOT_SENT
            return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=kind, message=str(error), sent=context.posted)
        order = self._dialect.accepted(reply, request) if reply.ok else None
        return classify_submit(self._dialect.errors, reply, order)

    async def cancel(self, order: VenueOrder | Order, priority: Priority, clear: Clear = at_once) -> CancelOutcome:
        """Cancel one order in its own book."""
        keeper = self._keeper
        if keeper is not None:
            keeper.expect(order.client_order_id)
        outcome = await self._cancel(order, CallContext(priority, clear=clear))
        if keeper is not None and outcome.verdict is not CancelVerdict.CANCELED:
            keeper.heard(order.client_order_id)
        return outcome

    async def _cancel(self, order: VenueOrder | Order, context: CallContext) -> CancelOutcome:
        try:
            endpoint, params = self._dialect.cancel_call(order, self._book.rules(order.instrument))
            reply = await self._within(context, self._calls.call(endpoint, params))
        except TradingdError as error:
            return CancelOutcome(CancelVerdict.FAILED, getattr(error, "code", None), str(error))
        return classify_cancel(self._dialect.errors, reply, cancelled=reply.ok and self._dialect.cancelled(reply))

    async def find_order(self, order: OrderRequest, priority: Priority) -> VenueOrder | None:
        """Look the order up by client order id in every book."""
        return await self._at(
            priority, self._dialect.find_order(self._calls, order, self._book.rules(order.instrument))
        )

    async def open_orders(self, instrument: InstrumentId | None, priority: Priority) -> list[VenueOrder]:
        """All open orders in every book."""
        rules = None if instrument is None else self._book.rules(instrument)
        return await self._at(priority, self._dialect.open_orders(self._calls, rules))

    async def fills(self, instrument: InstrumentId, since_ms: int, priority: Priority) -> list[Fill]:
        """All executions since `since_ms`, ascending; older ones than the venue keeps are not among them."""
        return await self._at(priority, self._dialect.fills(self._calls, self._book.rules(instrument), since_ms))

    async def account(self, priority: Priority) -> AccountSnapshot:
        """Balance and all positions."""
        return await self._at(priority, self._dialect.account(self._calls))

    async def bookings(self, since_ms: int, priority: Priority) -> list[LedgerRecord]:
        """All bookings on the wallet since `since_ms`, ascending."""
        return await self._at(priority, self._dialect.bookings(self._calls, since_ms))

    async def _at(self, priority: Priority, work: Coroutine[Any, Any, T]) -> T:
        return await self._within(CallContext(priority), work)

    async def _within(self, context: CallContext, work: Coroutine[Any, Any, T]) -> T:
        token = call_context.set(context)
        try:
            return await work
        finally:
            call_context.reset(token)

    def _priority(self, default: Priority) -> Priority:
        context = call_context.get()
        return default if context is None else context.priority

    def _open_streams(self) -> Streams:
        if self._streams is None:
            raise VenueUnreachable(f"{self.id} is not open")
        return self._streams
