"""The websockets of one venue: which subscriptions stand, and who is told when they end."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from tradingd.domain.account import VenueBalance, VenueOrder, VenuePosition
from tradingd.domain.candles import Candle
from tradingd.domain.errors import VenueError, VenueUnreachable
from tradingd.domain.ids import VenueId
from tradingd.domain.orders import Fill
from tradingd.ports import VenueSink
from tradingd.venues.client import network_error
from tradingd.venues.dialect import Dialect
from tradingd.venues.reply import MAX_TEXT, redact
from tradingd.venues.translate import KeyExpired, Push

ACCOUNT = "account"
CANDLES = "candles"


class Connection:
    """One live websocket of ccxt: its kind, and the subscriptions that stand on it."""

    def __init__(self, client: Any, kind: str) -> None:
        self.client = client
        self.kind = kind
        self.standing: set[str] = set()


class Streams:
    """Subscribes, taps frames, and tells the sink; nothing here dials by itself."""

    def __init__(self, venue: VenueId, dialect: Dialect, sink: VenueSink, secrets: tuple[str, ...]) -> None:
        self._venue = venue
        self._dialect = dialect
        self._sink = sink
        self._secrets = secrets
        self._connections: dict[int, Connection] = {}
        self._waiting: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self.on_told: Callable[[str | None], None] = lambda client_order_id: None
        self.on_ended: Callable[[], None] = lambda: None

    async def stand(self, kind: str, name: str, subscribe: Callable[[], Any], timeout_s: float) -> None:
        """Start a ccxt watch call and wait until its subscription stands: the venue's ack, or the open connection.

        The watch call itself ends with its first frame, which a quiet account may never send; so it is left to run.
        """
        if self.stands(kind, name):
            return
        waiter = self._waiting.get((kind, name))
        if waiter is None or waiter.done():
            waiter = asyncio.get_running_loop().create_future()
            self._waiting[kind, name] = waiter
            waiter.add_done_callback(partial(self._forget, kind, name))
            task = asyncio.create_task(subscribe(), name=f"{self._venue} {kind} {name}")
            self._tasks.add(task)
            task.add_done_callback(partial(self._watched, kind, name, waiter))
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(waiter)
        except TimeoutError:
            self.reset(kind, f"no answer to the subscription of {name}")
            text = f"{self._venue}: no answer to the subscription of {name} in {timeout_s:g} s"
            raise VenueUnreachable(text) from None
        if not self.stands(kind, name):
            raise VenueUnreachable(f"{self._venue}: {name} ended as soon as it stood")

    def stands(self, kind: str, name: str) -> bool:
        """Whether the subscription stands on a live connection."""
        return any(c.kind == kind and name in c.standing for c in self._connections.values())

    def reset(self, kind: str, reason: str) -> None:
        """End all connections of a kind with an error, which wakes who waits; `close` would cancel them instead.

        Those still being dialled too: a new try would else wait for the old one.
        """
        clients = [connection.client for connection in self._connections.values()]
        clients += [client for client in self._exchange.clients.values() if id(client) not in self._connections]
        for client in clients:
            if self._dialect.stream_kind(client.url) == kind:
                client.on_error(network_error(reason))
        self._fail(kind, reason)

    async def close(self) -> None:
        """End what still waits; later ends of connections are told to nobody."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for kind in (ACCOUNT, CANDLES):
            self._fail(kind, "the venue is being closed")

    # the client's hooks

    def connected(self, client: Any) -> None:
        """Where the account stream has no subscribe message, the connection is the subscription."""
        connection = self._connection(client)
        if connection is None:
            closing = asyncio.create_task(client.close())  # given up while it was dialled
            self._tasks.add(closing)
            closing.add_done_callback(self._tasks.discard)
        elif connection.kind == ACCOUNT and self._dialect.quirks.connection_is_subscription.value:
            self._stand(connection, ACCOUNT)

    def ended(self, client: Any, reason: str) -> None:
        """Tell once per connection; ccxt calls up to four times."""
        connection = self._connection(client)
        if connection is None:
            return
        del self._connections[id(client)]
        client.tradingd_ended = True
        reason = self._clean(reason)
        if connection.kind == ACCOUNT and not self._closing:
            self._dialect.forget_account_key(self._exchange)
            self.on_ended()
        self._fail(connection.kind, reason)
        if not self._closing:
            self._sink.on_disconnect(self._venue, connection.kind, reason)

    def received(self, client: Any, data: bool) -> None:
        """A quiet account shows its life by pongs; candles must show data, since a subscription can die alone."""
        connection = self._connection(client)
        if connection is not None and connection.kind == ACCOUNT:
            self._sink.on_alive(self._venue, ACCOUNT)

    def frame(self, client: Any, frame: Any) -> bool:
        """Translate and hand on; whether it was a candle and no more."""
        connection = self._connection(client)
        if connection is None:
            return False
        for name in self._dialect.acknowledged(frame, client.subscriptions):
            self._stand(connection, name)
        if connection.kind == CANDLES and not self._dialect.is_pong(frame):
            self._sink.on_alive(self._venue, CANDLES)
        kinds = set()
        for push in self._dialect.pushes(frame):
            kinds.add(type(push))
            self._hand_on(client, push)
        return kinds == {Candle}

    def bad_frame(self, client: Any, reason: str) -> None:
        """Record it; the connection goes on."""
        connection = self._connection(client)
        self._sink.on_bad_frame(self._venue, connection.kind if connection else "ended", self._clean(reason))

    def use(self, exchange: Any) -> None:
        """The client whose websockets these are."""
        self._exchange = exchange

    def _hand_on(self, client: Any, push: Push) -> None:
        match push:
            case Candle():
                self._sink.on_candle(push)
            case Fill():
                self._sink.on_fill(push)
            case VenueOrder():
                self.on_told(push.client_order_id)
                self._sink.on_order(push)
            case VenuePosition():
                self._sink.on_position(push)
            case VenueBalance():
                self._sink.on_balance(push)
            case KeyExpired():
                # ccxt ignores this event and the stream stays deaf; not from inside its own handler
                asyncio.get_running_loop().call_soon(client.on_error, network_error("the listen key expired"))

    def _connection(self, client: Any) -> Connection | None:
        return self._connections.get(id(client)) or self._new(client)

    def _new(self, client: Any) -> Connection | None:
        kind = self._dialect.stream_kind(client.url)
        if kind is None or getattr(client, "tradingd_ended", False):
            return None
        connection = Connection(client, kind)  # holds the client, so that its id stays its own
        self._connections[id(client)] = connection
        return connection

    def _stand(self, connection: Connection, name: str) -> None:
        connection.standing.add(name)
        waiter = self._waiting.get((connection.kind, name))
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, kind: str, reason: str) -> None:
        for (waiting_kind, _), waiter in list(self._waiting.items()):
            if waiting_kind == kind and not waiter.done():
                waiter.set_exception(VenueUnreachable(reason))

    def _forget(self, kind: str, name: str, waiter: asyncio.Future[None]) -> None:
        if self._waiting.get((kind, name)) is waiter:
            del self._waiting[kind, name]
        if not waiter.cancelled():
            waiter.exception()  # its caller may have been cancelled; that is no news to anybody

    def _watched(self, kind: str, name: str, waiter: asyncio.Future[None], task: asyncio.Task[Any]) -> None:
        """A watch call ended: by its first frame, by the end of its connection, or because the venue refused it.

        Only the last is news here; ccxt would then still take the subscription for sent.
        """
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if waiter.done() or (error is None and not task.cancelled()):
            return
        for connection in self._connections.values():
            if connection.kind == kind:
                connection.client.subscriptions.pop(name, None)
        if isinstance(error, VenueError):
            waiter.set_exception(error)
        else:
            reason = "cancelled" if error is None else type(error).__name__
            waiter.set_exception(VenueUnreachable(f"{self._venue}: {name} could not be watched: {reason}"))

    def _clean(self, text: str) -> str:
        return redact(text, self._secrets)[:MAX_TEXT]
