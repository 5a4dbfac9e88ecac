"""A loopback proxy before a built-in venue, which spoils the answers that a test names and can mute or feed websockets.

Raw sockets on purpose: a body cut in the middle or a reset is not something that an HTTP library lets one send.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple


class Seen(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    query: str
    body: str
    headers: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> dict[str, str]:
        text = self.query or self.body
        return dict(part.split("=", 1) for part in text.split("&") if "=" in part)


Fault = Callable[["Exchange"], Awaitable[None]]


class Exchange(NamedTuple):
    """One request in the hands of a fault."""

    seen: Seen
    forward: Callable[[], Awaitable[bytes]]
    writer: asyncio.StreamWriter


def response(status: int, body: str, *, headers: dict[str, str] | None = None, kind: str = "application/json") -> bytes:
    """A whole HTTP answer."""
    data = body.encode()
    lines = [f"HTTP/1.1 {status} Any", f"Content-Type: {kind}", f"Content-Length: {len(data)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def answer(status: int, body: str, *, headers: dict[str, str] | None = None, kind: str = "application/json") -> Fault:
    """Answer without asking the venue."""

    async def fault(exchange: Exchange) -> None:
        exchange.writer.write(response(status, body, headers=headers, kind=kind))

    return fault


def replaced(status: int, body: str, kind: str = "application/json") -> Fault:
    """Let the venue execute, but answer something else."""

    async def fault(exchange: Exchange) -> None:
        await exchange.forward()
        exchange.writer.write(response(status, body, kind=kind))

    return fault


async def cut_body(exchange: Exchange) -> None:
    """Let the venue execute, and end the connection in the middle of the body."""
    whole = await exchange.forward()
    head, _, body = whole.partition(b"\r\n\r\n")
    exchange.writer.write(head + b"\r\n\r\n" + body[: len(body) // 2])


async def truncated_json(exchange: Exchange) -> None:
    """Let the venue execute, and answer half of its JSON as if that were all."""
    _, _, body = (await exchange.forward()).partition(b"\r\n\r\n")
    exchange.writer.write(response(200, body[: len(body) // 2].decode()))


async def executed_then_gone(exchange: Exchange) -> None:
    """Let the venue execute, and close without an answer."""
    await exchange.forward()


async def gone(exchange: Exchange) -> None:
    """Close without telling the venue or answering."""


async def executed_then_mute(exchange: Exchange) -> None:
    """Let the venue execute, and never answer."""
    await exchange.forward()
    await asyncio.sleep(30)


def text_frame(text: str) -> bytes:
    """One unmasked websocket text frame, as a server sends it."""
    data = text.encode()
    size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2, "big")
    return b"\x81" + size + data


class FaultyProxy:
    """`faults["POST /fapi/v1/order"]` spoils that call; `seen` keeps every request."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self.faults: dict[str, Fault] = {}
        self.seen: list[Seen] = []
        self.connections = 0
        self.muted = False
        self.websockets: list[tuple[str, asyncio.StreamWriter]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def names(self) -> list[str]:
        return [seen.name for seen in self.seen]

    def inject(self, path: str, text: str) -> None:
        """Send a frame to the clients of the websockets whose path begins so."""
        for ws_path, writer in self.websockets:
            if ws_path.startswith(path) and not writer.is_closing():
                writer.write(text_frame(text))

    def drop(self, path: str) -> None:
        """Break the websockets whose path begins so."""
        for ws_path, writer in self.websockets:
            if ws_path.startswith(path):
                writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                raw, seen = await self._read_request(reader)
                self.seen.append(seen)
                if seen.headers.get("upgrade", "").lower() == "websocket":
                    await self._splice(raw, seen, reader, writer)
                    return
                fault = self.faults.get(seen.name)
                if fault is not None:
                    await fault(Exchange(seen, partial(self._forward, raw), writer))
                    await writer.drain()
                    return
                writer.write(await self._forward(raw))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    @staticmethod
    async def _read_request(reader: asyncio.StreamReader) -> tuple[bytes, Seen]:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, target, _ = first.split(" ", 2)
        path, _, query = target.partition("?")
        return head + body, Seen(method, path, query, body.decode(), headers)

    async def _forward(self, raw: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = (line.lower().partition(b":") for line in head.split(b"\r\n"))
        length = next(int(value) for name, _, value in lines if name == b"content-length")
        body = await reader.readexactly(length)
        writer.close()
        return head + body

    async def _splice(self, raw: bytes, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        up_writer.write(raw)
        self.websockets.append((seen.path, writer))
        async with asyncio.TaskGroup() as both_ways:
            both_ways.create_task(self._pipe(reader, up_writer))
            both_ways.create_task(self._pipe(up_reader, writer))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not self.muted:
                writer.write(data)
        writer.close()
