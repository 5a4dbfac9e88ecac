"""Publishes to an MQTT broker, from a thread of its own; nothing is ever subscribed to.

A thread, because what a broker can do to its client must not reach the loop that trades (P15): the client looks names
up, connects and shakes hands in blocking calls, and a look-up that hangs would hold up the end of the process.
"""

import asyncio
import contextlib
import logging
import math
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import aiomqtt
import structlog

from tradingd.config import MqttSettings
from tradingd.config.credentials import Secret
from tradingd.telemetry.outbox import Message, Outbox

log = structlog.get_logger(__name__)

ONLINE, OFFLINE = "online", "offline"
AVAILABILITY = "availability"
ACKNOWLEDGE_LIMIT_S = 5.0
KEEPALIVE_S = 20
READ_AT_ONCE_BYTES = 4096
UNASKED = "the broker sends more than was asked for"
SETTLED_S = 30.0
"""A connection that has lived so long counts as one: the next failure is the first. Two daemons of one name would throw
each other out without a pause."""


class MqttLink:
    """Keeps a connection and empties the outbox into it, each message acknowledged (QoS 1: at least once).

    `delay_s(attempt)` is the pause after a failed attempt. Lines are logged on the loop that called `start`.
    """

    def __init__(
        self,
        settings: MqttSettings,
        name: str,
        password: Secret | None,
        outbox: Outbox,
        delay_s: Callable[[int], float],
    ) -> None:
        self.base = f"{settings.topic}/{name}"
        self._settings = settings
        self._password = password
        self._outbox = outbox
        self._delay_s = delay_s
        self._stopping = threading.Event()
        self._ended = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._theirs: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._told = ""
        self._attempt = 0
        self._dropped = 0

    # --- on the loop that trades ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; returns at once, whether there is a broker or not."""
        self._loop = asyncio.get_running_loop()
        self._outbox.on_filled = self._wake
        threading.Thread(target=self._main, name="mqtt", daemon=True).start()

    async def stop(self, limit_s: float) -> None:
        """Send what waits, say offline and end. Past `limit_s` the thread is left behind: it dies with the process,
        and the broker tells the last will."""
        self._stopping.set()
        self._wake()
        try:
            async with asyncio.timeout(limit_s):
                await self._ended.wait()
        except TimeoutError:
            log.warning("mqtt_not_closed", limit_s=limit_s)

    def _wake(self) -> None:
        if (theirs := self._theirs) is not None:
            with contextlib.suppress(RuntimeError):  # that connection has just ended
                theirs[0].call_soon_threadsafe(theirs[1].set)

    # --- in the thread --------------------------------------------------------------------------------------------

    def _main(self) -> None:
        while not self._stopping.is_set():
            why = "connection closed"
            try:
                # a loop for each connection: whatever the client leaves behind on it ends with it
                with asyncio.Runner() as runner:
                    runner.run(self._connection())
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                why = str(error) or type(error).__name__
            except Exception as error:
                why = f"fault in the client: {error!r}"
            if self._stopping.is_set():
                break
            self._attempt += 1
            self._say_lost(why)
            self._stopping.wait(self._delay_s(self._attempt))
        self._on_loop(self._ended.set)

    async def _connection(self) -> None:
        loop, wake = asyncio.get_running_loop(), asyncio.Event()
        loop.set_default_executor(_LooseThreads(1))
        loop.set_exception_handler(self._leave_behind)
        client = self._client()
        connected_at = math.inf
        self._theirs = (loop, wake)
        try:
            async with client:
                await self._send(client, Message(AVAILABILITY, ONLINE, True))
                connected_at = loop.time()
                self._outbox.renew()
                self._on_loop(lambda: log.info("mqtt_connected", host=self._settings.host, topic=self.base))
                await self._pump(client, wake)
                await self._send(client, Message(AVAILABILITY, OFFLINE, True))
        except aiomqtt.MqttError as error:
            raise aiomqtt.MqttError(UNASKED) if client.was_flooded else error from None
        finally:
            self._theirs = None
            if loop.time() - connected_at > SETTLED_S:
                self._attempt, self._told = 0, ""
            client.hang_up()

    def _client(self) -> "_Client":
        settings = self._settings
        silent = logging.getLogger("mqtt")
        silent.setLevel(logging.CRITICAL + 1)
        return _Client(
            settings.host,
            settings.port,
            # one name for all connections of this daemon: a new one takes the place of one that the broker still holds
            identifier=self.base.replace("/", "-"),
            username=settings.username or None,
            password=self._password.reveal() if self._password else None,
            tls_context=ssl.create_default_context(cafile=settings.ca_file) if settings.tls else None,
            will=aiomqtt.Will(f"{self.base}/{AVAILABILITY}", OFFLINE, qos=1, retain=True),
            timeout=ACKNOWLEDGE_LIMIT_S,
            keepalive=KEEPALIVE_S,
            logger=silent,
        )

    async def _pump(self, client: "_Client", wake: asyncio.Event) -> None:
        """Send until told to stop, and then what waits; raises MqttError when the connection ends."""
        lost = asyncio.ensure_future(_until_lost(client))
        try:
            while not lost.done():
                wake.clear()
                message = self._outbox.take()
                if message is not None:
                    await self._send(client, message)
                    continue
                self._tell_dropped()
                if self._stopping.is_set():
                    return
                waker = asyncio.ensure_future(wake.wait())
                await asyncio.wait({waker, lost}, return_when=asyncio.FIRST_COMPLETED)
                waker.cancel()
            lost.result()
        finally:
            lost.cancel()

    async def _send(self, client: "_Client", message: Message) -> None:
        try:
            await client.publish(f"{self.base}/{message.topic}", message.payload, qos=1, retain=message.retain)
        except BaseException:
            if message.topic != AVAILABILITY:
                self._outbox.give_back(message)
            raise

    def _leave_behind(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The client leaves futures and callbacks behind when a connection ends; that end is told by itself."""
        left = f"{context.get('message')}: {context.get('exception')!r}"
        self._on_loop(lambda: log.debug("mqtt_client_left", reason=left))

    def _say_lost(self, why: str) -> None:
        """Once per reason: a broker that stays away is not told at each attempt."""
        if why != self._told:
            self._told = why
            self._on_loop(lambda: log.warning("mqtt_lost", host=self._settings.host, reason=why))

    def _tell_dropped(self) -> None:
        dropped = self._outbox.dropped - self._dropped
        if dropped:
            self._dropped += dropped
            self._on_loop(lambda: log.warning("mqtt_events_dropped", events=dropped))

    def _on_loop(self, call: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the daemon has ended without us
                self._loop.call_soon_threadsafe(call)


class _Client(aiomqtt.Client):
    """Reads no more than answers to what it has sent. The client below keeps whatever comes, a packet of 256 MB or
    messages that nobody subscribed to, until the process is out of memory."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, max_queued_incoming_messages=1)
        self.was_flooded = False
        self._sent = self._received_bytes = 0
        self._now_s = asyncio.get_running_loop().time
        self._began_s = self._now_s()
        self._receive = self._client._sock_recv
        setattr(self._client, self._receive.__name__, self._receive_bounded)

    async def publish(self, *arguments: Any, **options: Any) -> None:
        self._sent += 1
        await super().publish(*arguments, **options)

    def _receive_bounded(self, limit_bytes: int) -> bytes:
        # an answer has 2 to 5 bytes: one to each message, to the greeting, and to a ping now and then
        allowed_bytes = 1024 + 64 * self._sent + self._now_s() - self._began_s
        if self._received_bytes > allowed_bytes:
            self.was_flooded = True
            raise ConnectionError(UNASKED)
        data = self._receive(min(limit_bytes, READ_AT_ONCE_BYTES))
        self._received_bytes += len(data)
        return data

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is not None:
            # no goodbye on a connection that is given up: who reads it later keeps the last will to himself
            self._client._sock_close()
        await super().__aexit__(kind, error, trace)

    def hang_up(self) -> None:
        """Close the socket, whatever state it is in: a handshake that timed out leaves it open."""
        socket = self._client.socket()
        if socket is not None:
            socket.close()


async def _until_lost(client: aiomqtt.Client) -> None:
    """Raises MqttError when the connection ends; nothing is subscribed, so no message comes."""
    async for _ in client.messages:
        continue


class _LooseThreads(ThreadPoolExecutor):
    """Runs each call in a daemon thread. A pool's own threads are waited for when the process ends."""

    def submit(self, call: Any, /, *arguments: Any, **named: Any) -> "Future[Any]":
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call(*arguments, **named))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, name="mqtt dial", daemon=True).start()
        return future
