"""What stands in for aiohttp's session under ccxt: the same calls, the same exceptions, no socket."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import WSMessage, WSMsgType
from aiohttp.client_reqrep import ConnectionKey

from tradingd.emulator.wire import HttpRequest, Refusal
from tradingd.simulation.network import Answer, Network, Pipe
from tradingd.venues.transport import departure

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 418: "I'm a teapot", 429: "Too Many Requests"}


def _refused(url: str) -> aiohttp.ClientConnectorError:
    parts = urlsplit(url)
    key = ConnectionKey(parts.hostname or "", parts.port, True, True, None, None, None)
    return aiohttp.ClientConnectorError(key, ConnectionRefusedError(111, "Connection refused"))


def _after_host(url: str) -> str:
    rest = url.partition("://")[2]
    return rest[rest.index("/") :]


class SimResponse:
    """One answer, as far as ccxt reads it."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.reason = _REASONS.get(answer.status, "")
        self.headers = answer.headers
        self.content = None
        self._answer = answer

    async def text(self, errors: str = "strict") -> str:
        """The body; ClientPayloadError when the connection broke in it."""
        if self._answer.cut:
            raise aiohttp.ClientPayloadError("Response payload is not completed")
        return self._answer.body.decode(errors=errors)


class _Request:
    """The context manager that `session.get(...)` gives."""

    def __init__(
        self, session: "SimSession", method: str, url: str, data: bytes | None, headers: Any, timeout: Any
    ) -> None:
        self._session = session
        self._url = url
        self._timeout_s: float | None = timeout.total
        path, _, query = _after_host(url).partition("?")
        lower = {str(name).lower(): str(value) for name, value in headers.items()}
        self._request = HttpRequest(method, path, query, lower, data or b"")

    async def __aenter__(self) -> SimResponse:
        self._session.fence()
        network, incarnation = self._session.network, self._session.incarnation
        fate = network.fate(self._request)
        if fate.kind != "refuse" and (depart := departure.get()) is not None:
            await depart()
        self._session.boundary(f"sending {self._request.method} {self._request.path}")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        network.send(self._request, fate, incarnation, lambda answer: self._resolve(future, answer))
        self._session.boundary(f"sent {self._request.method} {self._request.path}")
        async with asyncio.timeout(self._timeout_s):
            answer = await future
        if answer.trouble == "refused":
            raise _refused(self._url)
        if answer.trouble == "reset":
            raise aiohttp.ServerDisconnectedError
        return SimResponse(answer)

    def _resolve(self, future: "asyncio.Future[Answer]", answer: Answer) -> None:
        if not self._session.is_dead() and not future.done():
            future.set_result(answer)

    async def __aexit__(self, *_exc: object) -> None:
        return None


class SimSocket:
    """One websocket, as far as ccxt's client uses it."""

    _conn = None

    def __init__(self, session: "SimSession") -> None:
        self._session = session
        self._pipe: Pipe | None = None
        self._messages: deque[WSMessage] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.closed = False

    def attach(self, pipe: Pipe) -> None:
        """The connection stands."""
        self._pipe = pipe

    def deliver(self, kind: str, value: object) -> None:
        """What the network brings: text, pong, close, dropped."""
        if self._session.is_dead() or self.closed:
            return
        if kind == "dropped":
            self.closed = True
            self._messages.append(WSMessage(WSMsgType.CLOSED, None, None))
        elif kind == "close":
            self._messages.append(WSMessage(WSMsgType.CLOSE, value, ""))
        elif kind == "pong":
            self._messages.append(WSMessage(WSMsgType.PONG, value, ""))
        else:
            self._messages.append(WSMessage(WSMsgType.TEXT, value, ""))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> WSMessage:
        """The next message."""
        while not self._messages:
            if self.closed:
                return WSMessage(WSMsgType.CLOSED, None, None)
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._messages.popleft()

    async def send_str(self, text: str) -> None:
        """Send one text frame."""
        self._session.fence()
        if self._pipe is None or self.closed:
            raise ConnectionResetError("Cannot write to closing transport")
        self._session.network.send_frame(self._pipe, text)

    async def ping(self, message: bytes = b"") -> None:
        """Send a ping."""
        self._session.fence()
        if self._pipe is None or self.closed:
            raise ConnectionResetError("Cannot write to closing transport")
        self._session.network.ping(self._pipe)

    async def pong(self, message: bytes = b"") -> None:
        """The model sends no pings."""

    async def close(self, **_kwargs: Any) -> bool:
        """Hang up."""
        self._session.fence()
        if self.closed:
            return False
        self.closed = True
        if self._pipe is not None:
            self._session.network.hang_up(self._pipe)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        return True


class _Dial:
    """The context manager that `ws_connect` gives; ccxt enters it by hand."""

    def __init__(self, session: "SimSession", url: str) -> None:
        self._session = session
        self._url = url

    async def __aenter__(self) -> SimSocket:
        self._session.fence()
        socket = SimSocket(self._session)
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def done(value: object) -> None:
            if not self._session.is_dead() and not future.done():
                future.set_result(value)
            elif isinstance(value, Pipe):
                self._session.network.hang_up(value)

        path, _, query = _after_host(self._url).partition("?")
        self._session.network.dial(path, query, self._session.incarnation, socket.deliver, done)
        value = await future
        if isinstance(value, Pipe):
            socket.attach(value)
            return socket
        if isinstance(value, Refusal):
            raise aiohttp.WSServerHandshakeError(None, (), status=value.status, message=value.reason)  # type: ignore[arg-type]
        raise _refused(self._url)

    async def __aexit__(self, *_exc: object) -> None:
        return None


class SimSession:
    """An aiohttp session of one daemon; after the daemon's death it does nothing any more."""

    def __init__(
        self,
        network: Network,
        incarnation: int,
        boundary: Callable[[str], None],
        fence: Callable[[], None],
        is_dead: Callable[[], bool],
    ) -> None:
        self.network = network
        self.incarnation = incarnation
        self.boundary = boundary
        self.fence = fence
        self.is_dead = is_dead
        self.headers: dict[str, str] = {}

    def _request(self, method: str, url: object, **options: Any) -> _Request:
        return _Request(self, method, str(url), options.get("data"), options.get("headers") or {}, options["timeout"])

    def get(self, url: object, **options: Any) -> _Request:
        """GET."""
        return self._request("GET", url, **options)

    def post(self, url: object, **options: Any) -> _Request:
        """POST."""
        return self._request("POST", url, **options)

    def put(self, url: object, **options: Any) -> _Request:
        """PUT."""
        return self._request("PUT", url, **options)

    def delete(self, url: object, **options: Any) -> _Request:
        """DELETE."""
        return self._request("DELETE", url, **options)

    def patch(self, url: object, **options: Any) -> _Request:
        """PATCH."""
        return self._request("PATCH", url, **options)

    def ws_connect(self, url: object, **_options: Any) -> _Dial:
        """Open a websocket."""
        return _Dial(self, str(url))

    async def close(self) -> None:
        """Nothing is held."""
