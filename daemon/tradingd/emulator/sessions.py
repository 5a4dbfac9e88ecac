"""The open websockets of a venue: what is on its way to each, and what a fault does to them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator

from aiohttp import WSCloseCode, WSMsgType, web

from tradingd.emulator.faults.language import ANY
from tradingd.emulator.wire import Close, Frame

_QUEUE_FRAMES = 20_000


def reset(transport: asyncio.BaseTransport | None) -> None:
    """End a connection with RST, as a host does that lost it."""
    if transport is None:
        return
    handle = transport.get_extra_info("socket")
    if handle is not None:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


class Session:
    """One websocket; frames leave in order, those that a fault delays come later."""

    def __init__(self, number: int, stream: str, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.number = number
        self.stream = stream
        self.socket = socket
        self.mute_until_ms = 0
        self.is_half_open = False
        self._transport = request.transport
        self._queue: asyncio.Queue[Frame] = asyncio.Queue(_QUEUE_FRAMES)

    def put(self, frame: Frame) -> bool:
        """Send a frame; False for a client that does not read, which is cut off as the venue would."""
        if self.is_half_open:
            return True
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(Close(WSCloseCode.POLICY_VIOLATION, "slow consumer"))
            return False
        return True

    async def send(self) -> None:
        """Send what is put, until the session is closed."""
        while True:
            frame = await self._queue.get()
            if self.is_half_open:
                continue
            if isinstance(frame, Close):
                await self.socket.close(code=frame.code, message=frame.reason.encode())
                return
            await self.socket.send_str(frame)

    async def receive(self, on_text: Callable[[str], None]) -> None:
        """Take what the client sends until it is gone; a half-open connection answers nothing, not even a ping."""
        async for message in self.socket:
            if message.type is WSMsgType.TEXT:
                on_text(message.data)

    # -- faults -------------------------------------------------------------------------------------------------

    def cut(self, *, with_reset: bool = True) -> None:
        """End the connection without a close frame: with RST, or with FIN."""
        if with_reset:
            reset(self._transport)
        elif self._transport is not None:
            self._transport.close()

    def half_open(self) -> None:
        """Read and write nothing more; the kernel still acknowledges, so that the client sees a living connection."""
        self.is_half_open = True
        if isinstance(self._transport, asyncio.ReadTransport):
            self._transport.pause_reading()


class Sessions:
    """All of them."""

    def __init__(self) -> None:
        self._all: dict[int, Session] = {}

    def add(self, session: Session) -> None:
        """One was opened."""
        self._all[session.number] = session

    def pop(self, number: int) -> Session | None:
        """One is gone."""
        return self._all.pop(number, None)

    def get(self, number: int) -> Session | None:
        """The one of that number, if it is still open."""
        return self._all.get(number)

    def of(self, stream: str) -> Iterator[Session]:
        """Those of a kind: account, candles, other or any."""
        return (session for session in list(self._all.values()) if stream in (ANY, session.stream))

    def close_all(self) -> None:
        """The venue stops; a half-open one cannot be told, it is reset."""
        for session in self.of(ANY):
            if session.is_half_open:
                session.cut()
            session.put(Close(WSCloseCode.GOING_AWAY, "venue stops"))
