"""One ccxt.pro client with its seams overridden: budget, signed time, wire record, tap, timers, clocks, random ids.

`Any` ends in this package: ccxt has no useful types.
"""

import asyncio
import importlib
import logging
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import msgspec

from tradingd.config.credentials import Credentials
from tradingd.domain.errors import plain_failure
from tradingd.ports import Clock, Priority, Random, call_context
from tradingd.venues.clock import CcxtClock
from tradingd.venues.lean_ccxt import import_lean
from tradingd.venues.reply import current_reply
from tradingd.venues.transport import departure, replace_endpoint

if TYPE_CHECKING:
    _CcxtClient = Any
else:
    _CcxtClient = object  # ccxt's class is named only when a client is built: importing it takes a second


class Hooks(Protocol):
    """Who hears the client; plain functions on the loop."""

    async def acquire(self, endpoint: str, priority: Priority) -> None:
        """Wait for the budget of one request."""

    def refuse_banned(self, endpoint: str) -> None:
        """Raise while no request may leave."""

    def answered(self, status: int, headers: dict[str, str], body: str, sent_ms: int, endpoint: str) -> None:
        """An answer came, whatever it says, to a request to `endpoint` that left at `sent_ms` (venue time)."""

    def connected(self, client: Any) -> None:
        """A websocket stands."""

    def ended(self, client: Any, reason: str) -> None:
        """A websocket, or the attempt at one, ended; called more than once for the same end."""

    def received(self, client: Any, data: bool) -> None:
        """A websocket message arrived; `data` is False for pings and pongs."""

    def frame(self, client: Any, frame: Any) -> bool:
        """A decoded frame arrived; True: it was a candle and no more, of which ccxt itself needs to know nothing."""

    def bad_frame(self, client: Any, reason: str) -> None:
        """A frame could not be understood."""


class ClientSetup(msgspec.Struct, frozen=True):
    """What a client is built from. Times as their names say."""

    ccxt_id: str
    credentials: Credentials
    endpoint: str | None
    receive_window_ms: int
    request_timeout_s: float
    ping_interval_ms: int
    ws_message_interval_s: float
    options: dict[str, object]


sent_ms: ContextVar[int] = ContextVar("sent_ms")
"""When the request of this task left, venue time: ccxt hands it to nobody."""
sent_to: ContextVar[str] = ContextVar("sent_to", default="")
"""Where to, by the budget's name of the endpoint."""


class EndpointCost(float):
    """The cost that ccxt hands from its table to `throttle`, carrying the endpoint's name along."""

    endpoint: str = ""


def endpoint_name(method: str, base_url: str, path: str, variant: str) -> str:
    """The budget's name of an endpoint: "GET fapi/v1/openOrders", with "?all" and the like for dearer variants."""
    _, _, rest = base_url.partition("://")
    _, _, prefix = rest.partition("/")
    return f"{method} {prefix}/{path}{variant}"


class Seams(msgspec.Struct, frozen=True):
    """What the overrides of one client reach the daemon by. `variant` names dearer calls of a path."""

    hooks: Hooks
    clock: Clock
    variant: Callable[[str, dict[str, object]], str]
    ws_message_interval_s: float
    timers: list[asyncio.TimerHandle] = []


class _Override(_CcxtClient):  # type: ignore[misc]
    """A share of the overrides, put before ccxt's own class; one underscore keeps ccxt's aliases away from `_seams`."""

    _seams: Seams


class _SignedTime(_Override):
    """Venue time under every signature; ccxt's own clocks stay in real time."""

    def nonce(self) -> int:
        """The time that is signed: the journalled one where the caller gave one."""
        context = call_context.get()
        return self._seams.clock.now_ms() if context is None or context.signed_ms is None else context.signed_ms


class _OurBudget(_Override):
    """Our budget instead of ccxt's own throttler, which knows neither priorities nor the venue's weights."""

    def calculate_rate_limiter_cost(self, api: Any, method: Any, path: Any, params: Any, config: Any = None) -> Any:
        """ccxt's cost as a number that also tells `throttle` which endpoint it is for."""
        cost = EndpointCost(super().calculate_rate_limiter_cost(api, method, path, params, config or {}))
        variant = self._seams.variant(path, params)
        cost.endpoint = endpoint_name(method, self.urls["api"][api[0]], path, variant)
        return cost

    async def throttle(self, cost: Any = None) -> None:
        """Wait for the budget, unless the caller took it already."""
        sent_to.set(cost.endpoint)
        context = call_context.get()
        if context is not None and context.prepaid:
            context.prepaid = False
            self._seams.hooks.refuse_banned(cost.endpoint)  # the ban may have come after the budget was taken
            return
        priority = Priority.DATA if context is None else context.priority
        await self._seams.hooks.acquire(cost.endpoint, priority)


class _WireRecord(_Override):
    """What left and what came back over REST, apart from ccxt's exceptions."""

    async def fetch(self, url: Any, method: Any = "GET", headers: Any = None, body: Any = None) -> Any:
        """Send, once a connection stands and nothing keeps the request back any more."""
        reply = current_reply.get()
        if reply is not None:
            reply.tried = True
        token = departure.set(partial(self._depart, method))
        try:
            async with asyncio.timeout(None if reply is None else reply.limit_s):
                return await super().fetch(url, method, headers, body)
        finally:
            departure.reset(token)

    async def _depart(self, method: str) -> None:
        """Called by the transport right before the first byte, with everything built: a commit that is on its way to
        the disk is waited for here. Notes that the request may reach the wire."""
        context, reply = call_context.get(), current_reply.get()
        if context is not None and context.clear is not None:
            clear, context.clear = context.clear, None
            await clear()
            self._seams.hooks.refuse_banned(sent_to.get())  # the ban may have come while the commit was on its way
        sent_ms.set(self._seams.clock.now_ms())
        if reply is not None:
            reply.wrote = True
        if context is not None and method == "POST":
            context.posted = True

    def on_rest_response(
        self, code: Any, reason: Any, url: Any, method: Any, response_headers: Any, response_body: Any, *rest: Any
    ) -> Any:
        """Keep status, headers and body as they came; the budget learns from every answer."""
        body = super().on_rest_response(code, reason, url, method, response_headers, response_body, *rest)
        if (reply := current_reply.get()) is not None:
            reply.status, reply.headers, reply.body = code, response_headers, body
        self._seams.hooks.answered(code, response_headers, body, sent_ms.get(), sent_to.get())
        return body


class _OurTimers(_Override):
    """ccxt's timers outlive `close` and would revive the client; kept here to be cancelled."""

    def delay(self, timeout: Any, method: Any, *args: Any) -> Any:
        """Start a timer of ccxt's, and forget those that are over."""
        timers, now = self._seams.timers, self.asyncio_loop.time()
        timers[:] = [timer for timer in timers if not timer.cancelled() and timer.when() > now]
        timers.append(super().delay(timeout, method, *args))
        return timers[-1]

    async def keep_alive_listen_key(self, params: Any = None) -> None:
        """Ours: ccxt renews the key once and never again."""

    async def close(self, clean_instance_data: bool = False) -> None:
        """Cancel what ccxt started, then close."""
        for timer in self._seams.timers:
            timer.cancel()
        self._seams.timers.clear()
        await super().close(clean_instance_data)


class _Tap(_Override):
    """Websockets: guarded, paced, and everything that happens on them told to the hooks."""

    def ws_dial_delay(self, url: Any) -> float:
        """No backoff of ccxt's own: the supervisor has one, and a second would sleep past the venue's return."""
        return 0.0

    def client(self, url: Any) -> Any:
        """Guard and pace each new websocket once."""
        known = url in (self.clients or {})
        client = super().client(url)
        if not known:
            _guard(client, self._seams.hooks)
            client.throttle = _pacer(self._seams.clock, self._seams.ws_message_interval_s)
        return client

    def handle_message(self, client: Any, message: Any) -> None:
        """The tap. ccxt's receive loop dies silently of any exception, so none leaves this method."""
        hooks, is_candle = self._seams.hooks, False
        try:
            is_candle = hooks.frame(client, message)
        except Exception as error:
            hooks.bad_frame(client, f"{type(error).__name__}: {error}")
        if is_candle and not client.futures:
            return  # ccxt would keep it for a caller that waits; it stands between the candle and an order
        try:
            super().handle_message(client, message)
        except Exception as error:
            hooks.bad_frame(client, f"ccxt could not handle a frame: {type(error).__name__}")

    def on_connected(self, client: Any, message: Any = None) -> None:
        super().on_connected(client, message)
        self._seams.hooks.connected(client)

    def on_error(self, client: Any, error: Any) -> None:
        """Only for the client that is current: ccxt would drop its successor on the second call."""
        if self.clients.get(client.url) is client:
            super().on_error(client, error)
        self._seams.hooks.ended(client, plain_failure(str(error)))

    def on_close(self, client: Any, error: Any) -> None:
        if self.clients.get(client.url) is client:
            super().on_close(client, error)
        self._seams.hooks.ended(client, f"closed with code {error}")


def build_client(
    setup: ClientSetup,
    session: aiohttp.ClientSession,
    hooks: Hooks,
    clock: Clock,
    real: CcxtClock,
    random: Random,
    variant: Callable[[str, dict[str, object]], str],
) -> Any:
    """A client on `session`; imports ccxt (0.3 s, 3 s without bytecode). `variant` names dearer calls of a path."""
    logging.getLogger("ccxt").setLevel(logging.WARNING)  # at DEBUG ccxt logs urls with signatures and bodies
    import_lean()
    ccxt_class = getattr(importlib.import_module("ccxt.pro"), setup.ccxt_id)
    install_class_clock(real)
    # A class per client, since ccxt writes aliases onto it; what it needs stands there before ccxt's __init__ runs.
    parts = (_SignedTime, _OurBudget, _WireRecord, _OurTimers, _Tap, ccxt_class)
    seams = Seams(hooks, clock, variant, setup.ws_message_interval_s)
    client_class: Any = type("Client", parts, {"_seams": seams, **_static_overrides(real, random)})
    exchange = client_class(_ccxt_config(setup, session))
    exchange.has["fetchCurrencies"] = False  # its endpoint lives on another host and fails with another key rule
    if setup.endpoint is not None:
        exchange.urls = replace_endpoint(exchange.urls, setup.endpoint)
    return exchange


def _static_overrides(real: CcxtClock, random: Random) -> dict[str, object]:
    """Clocks and random ids, which ccxt asks the class for."""
    return {
        "milliseconds": staticmethod(real.milliseconds),
        "seconds": staticmethod(real.seconds),
        "microseconds": staticmethod(real.microseconds),
        "uuid": staticmethod(lambda: random.token(32)),
        "uuid16": staticmethod(lambda length=16: random.token(length)),
        "uuid22": staticmethod(lambda length=22: random.token(length)),
    }


def _ccxt_config(setup: ClientSetup, session: aiohttp.ClientSession) -> dict[str, object]:
    secrets = setup.credentials
    return {
        "session": session,
        "asyncio_loop": asyncio.get_running_loop(),
        "apiKey": secrets.api_key.reveal(),
        "secret": secrets.api_secret.reveal(),
        **({"password": secrets.api_password.reveal()} if secrets.api_password else {}),
        "enableRateLimit": True,  # off would bypass the override of throttle too
        "timeout": round(setup.request_timeout_s * 1000),
        "timeout_on_exit": 0,
        "enableLastHttpResponse": False,
        "enableLastJsonResponse": False,
        "enableLastResponseHeaders": False,
        "streaming": {"keepAlive": setup.ping_interval_ms},
        "verify": False,  # ccxt's own TLS context is not used: the session has its own, which does verify
        "options": {**setup.options, "recvWindow": setup.receive_window_ms, "maxRetriesOnFailure": 0},
    }


def install_class_clock(real: CcxtClock) -> None:
    """Give ccxt's ping loop the clock of the clients: it asks the class, and two clocks end every connection."""
    base = importlib.import_module("ccxt.base.exchange").BaseExchange
    for name in ("milliseconds", "seconds", "microseconds"):
        setattr(base, name, staticmethod(getattr(real, name)))


def network_error(reason: str) -> Exception:
    """ccxt's NetworkError: what a websocket must be ended with, so that nobody sees a cancellation."""
    error: Exception = importlib.import_module("ccxt.base.errors").NetworkError(reason)
    return error


def _guard(client: Any, hooks: Hooks) -> None:
    """Let neither a frame that is no JSON nor a failing read end the receive loop unnoticed, and no dial leave during
    a ban."""
    handle, receive, dial = client.handle_message, client.receive, client.create_connection

    def dialled(session: Any) -> Any:
        hooks.refuse_banned("DIAL")  # the ban may have come with the answer that gave the key of the stream
        return dial(session)

    def guarded(message: Any) -> None:
        hooks.received(client, message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY))
        try:
            handle(message)
        except Exception as error:
            hooks.bad_frame(client, f"{type(error).__name__}: not a frame of this venue")
            client.on_error(network_error("a frame that cannot be read"))

    async def received() -> Any:
        try:
            return await receive()
        except Exception as error:
            return aiohttp.WSMessage(aiohttp.WSMsgType.ERROR, type(error).__name__, None)

    client.handle_message, client.receive, client.create_connection = guarded, received, dialled


def _pacer(clock: Clock, interval_s: float) -> Callable[[Any], Any]:
    """Space the messages on one connection: above ten per second the venue disconnects."""
    free_at = clock.monotonic()

    async def wait(_cost: Any = None) -> None:
        nonlocal free_at
        now = clock.monotonic()
        start = max(now, free_at)
        free_at = start + interval_s
        if start > now:
            await clock.sleep(start - now)

    return wait
