"""The HTTP session under ccxt: ours to build and to close, never resending, and where the endpoint is replaced."""

import ssl
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tradingd.venues.reply import current_reply

CONNECTIONS = 100
"""Connections at most to one venue; ccxt's own figure."""


def open_session(*, secure: bool, keepalive_s: float) -> aiohttp.ClientSession:
    """A session that gives up idle connections after `keepalive_s` and sends every request at most once.

    aiohttp silently resends GET, PUT and DELETE when a kept connection drops: a cancel would then be answered by its
    own second copy. The switch is private, so a test watches it over a real socket.
    """
    connector = aiohttp.TCPConnector(
        limit=CONNECTIONS, keepalive_timeout=keepalive_s, ssl=_ssl_context() if secure else False
    )
    session = aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        request_class=_Request,
        response_class=_Response,
    )
    session._retry_connection = False
    return session


departure: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("departure", default=None)
"""What a request of this task awaits when its connection stands and its first byte would be next; raises to keep it."""


class _Request(aiohttp.ClientRequest):
    """Asks before it leaves. Before this nothing is on the wire, whatever failed; from here on anything may be."""

    async def send(self, connection: Any) -> aiohttp.ClientResponse:
        """Once `departure` lets it."""
        if (depart := departure.get()) is not None:
            await depart()
        return await super().send(connection)


class _Response(aiohttp.ClientResponse):
    """Notes when an answer begins to arrive: a body may take its time on a slow line, and a second copy would slow it.

    aiohttp's tracing tells it too, but costs each request of the session a dozen signals more.
    """

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Until the head has come."""
        response = await super().start(connection)
        if (reply := current_reply.get()) is not None:
            reply.began = True
        return response


def _ssl_context() -> ssl.SSLContext:
    import certifi  # comes with ccxt, which trusts the same list

    return ssl.create_default_context(cafile=certifi.where())


def replace_endpoint(urls: Any, endpoint: str) -> Any:
    """`urls` (nested, as ccxt keeps them) with scheme and host of each replaced, ws for http, paths kept.

    The paths matter: ccxt routes Binance's streams only while the configured url ends in exactly "/ws".
    """
    if isinstance(urls, dict):
        return {name: replace_endpoint(value, endpoint) for name, value in urls.items()}
    if isinstance(urls, list):
        return [replace_endpoint(value, endpoint) for value in urls]
    if not isinstance(urls, str) or "://" not in urls:
        return urls
    scheme, _, rest = endpoint.rstrip("/").partition("://")
    old_scheme, _, old_rest = urls.partition("://")
    _, slash, path = old_rest.partition("/")
    if old_scheme in ("ws", "wss"):
        scheme = "wss" if scheme == "https" else "ws"
    return f"{scheme}://{rest}{slash}{path}"


def check_endpoint(endpoint: str) -> None:
    """Raise ValueError unless `endpoint` is scheme, host and port alone."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"endpoint {endpoint!r} is not allowed; allowed: http://host:port or https://host:port")
