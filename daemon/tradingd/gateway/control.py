"""The control socket: one JSON object per line in, one out, for whoever the file's mode lets in.

A command that has begun is never cancelled because its caller went away: a flatten ends what it began.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import stat
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import structlog

from tradingd.domain import jsonsafe
from tradingd.domain.errors import TradingdError
from tradingd.domain.records import CommandRecord
from tradingd.domain.text import storable
from tradingd.gateway.commands import COMMANDS, MAX_MESSAGE_BYTES, BadCommand, Reply, check_command
from tradingd.gateway.unix_path import connect, unix_address
from tradingd.ports import Clock

MAX_CLIENTS = 16
IDLE_TIMEOUT_S = 10.0
ROOM_AFTER_S = 1.0
"""A caller who has asked nothing for so long leaves his place to one who comes when all are taken."""
TURN_AWAY_S = 1.0
MAX_TURNED_AWAY = 64
BACKLOG = 64
COMMAND_TIMEOUT_S = 45.0
SEND_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 1.0
CLOSE_TIMEOUT_S = 1.0


class ControlHandler(Protocol):
    """Who carries commands out. `command` and `arguments` are checked against COMMANDS before."""

    async def handle(self, command: str, arguments: dict[str, str]) -> dict[str, Any]:
        """The result, any JSON-like values. A TradingdError becomes the caller's error message."""
        ...


class ControlSocketBusy(TradingdError):
    """A living daemon holds this control socket, or the path is not a socket; starting a second one is refused."""


class ControlServer:
    """Serves one control socket. `record` hears every request, `scrub` sees every byte that goes out."""

    def __init__(
        self,
        path: Path,
        handler: ControlHandler,
        clock: Clock,
        *,
        record: Callable[[CommandRecord], None],
        scrub: Callable[[str], str],
        max_clients: int = MAX_CLIENTS,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        command_timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> None:
        self.path = path
        self._handler = handler
        self._clock = clock
        self._record = record
        self._scrub = scrub
        self._max_clients = max_clients
        self._idle_timeout_s = idle_timeout_s
        self._command_timeout_s = command_timeout_s
        self._log: Any = structlog.get_logger()
        self._lock: int | None = None
        self._inode: int | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._turned_away: set[asyncio.Task[None]] = set()
        self._idle: dict[asyncio.Task[None], tuple[float, asyncio.StreamReader]] = {}
        self._commands: set[asyncio.Task[Reply]] = set()

    async def start(self) -> None:
        """Take the socket and listen. Raises ControlSocketBusy, or OSError where the directory cannot be used."""
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._lock = _take_lock(self.path)
        try:
            await asyncio.to_thread(_remove_stale, self.path)
            listener = _listen(self.path)
            self._inode = self.path.stat().st_ino
            self._server = await _serve_on(listener, self._serve)
        except BaseException:
            self._release()
            raise

    async def stop(self) -> None:
        """Take no new callers, let running commands answer for a moment, then close everything."""
        if self._server is not None:
            self._server.close()
        if self._commands:
            # The caller of `stop` itself is owed an answer.
            await asyncio.wait(self._commands, timeout=CLOSE_TIMEOUT_S)
            await asyncio.sleep(0)
        callers = (*self._clients, *self._turned_away)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        for command in tuple(self._commands):
            self._log.warning("command_abandoned", command=command.get_name())
            command.cancel()
        await asyncio.gather(*self._commands, return_exceptions=True)
        self._release()

    def _release(self) -> None:
        with contextlib.suppress(OSError):
            if self._inode is not None and self.path.stat().st_ino == self._inode:
                self.path.unlink()
        self._inode = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("control client")
        has_place = len(self._clients) < self._max_clients or self._make_room()
        (self._clients if has_place else self._turned_away).add(task)
        try:
            if has_place:
                await self._converse(task, reader, writer)
            elif len(self._turned_away) <= MAX_TURNED_AWAY:
                await self._turn_away(reader, writer)
        except (OSError, TimeoutError):
            return  # the caller went away or does not read; what it asked for was carried out and recorded
        except asyncio.CancelledError:
            return  # sent away by `stop`; a task that ends as cancelled is logged as an error by Python 3.11's streams
        finally:
            self._clients.discard(task)
            self._turned_away.discard(task)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    def _make_room(self) -> bool:
        """Send away the caller who has been idle for longest, if that was long enough; whether there is room now."""
        if not self._idle:
            return False
        task = next(iter(self._idle))
        since, reader = self._idle[task]
        if asyncio.get_running_loop().time() - since < ROOM_AFTER_S:
            return False
        del self._idle[task]
        self._clients.discard(task)
        self._turned_away.add(task)
        reader.set_exception(TimeoutError())
        return True

    async def _turn_away(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say that all places are taken, after the request was read: what is closed with bytes unread is reset by the
        kernel, and the caller would see that instead of the answer."""
        with contextlib.suppress(TimeoutError, asyncio.LimitOverrunError, asyncio.IncompleteReadError):
            async with asyncio.timeout(min(TURN_AWAY_S, self._idle_timeout_s)):
                await reader.readuntil(b"\n")
        text = f"{self._max_clients} callers are connected already, the most there may be: ask again in a moment"
        await self._send(writer, _error("busy", text))

    async def _request(self, task: "asyncio.Task[None]", reader: asyncio.StreamReader) -> bytes:
        self._idle[task] = (asyncio.get_running_loop().time(), reader)
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await reader.readuntil(b"\n")
        finally:
            self._idle.pop(task, None)

    async def _converse(
        self, task: "asyncio.Task[None]", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        source = _peer(writer)
        while True:
            try:
                line = await self._request(task, reader)
            except TimeoutError:
                await self._send(writer, _error("timeout", "nothing was asked for too long"))
                return
            except asyncio.LimitOverrunError:
                reply = _error("bad_command", f"a request may have {MAX_MESSAGE_BYTES} bytes")
                self._note("?", {}, source, reply)
                await self._send(writer, reply)
                return
            except asyncio.IncompleteReadError:
                return
            await self._send(writer, await self._answer(line, source))

    async def _answer(self, line: bytes, source: str) -> Reply:
        name: object = "?"
        arguments: object = {}
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise BadCommand('a request is a JSON object: {"command": "status", "arguments": {}}')
            name, arguments = request.get("command"), request.get("arguments", {})
            command, checked = check_command(name, arguments)
        except (ValueError, RecursionError) as error:  # BadCommand, JSONDecodeError, UnicodeDecodeError
            text = str(error) if isinstance(error, BadCommand) else f"not a line of JSON: {error}"
            reply = _error("bad_command", text, allowed=list(COMMANDS))
            self._note(name, arguments, source, reply)
            return reply
        task = asyncio.create_task(self._carry_out(command, checked, source), name=f"control {command}")
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)
        try:
            async with asyncio.timeout(self._command_timeout_s):
                return await asyncio.shield(task)
        except TimeoutError:
            return _error("pending", f"{command} still runs after {self._command_timeout_s:g} s; see status")

    async def _carry_out(self, command: str, arguments: dict[str, str], source: str) -> Reply:
        reply: Reply
        if not COMMANDS[command].reads:
            # as it begins: what it changes shows from then on, and must not look like a fault
            said = {"arguments": ", ".join(f"{name} {value}" for name, value in arguments.items())} if arguments else {}
            self._log.info("command_received", command=command, **said, by=source.removeprefix("control socket, "))
        try:
            reply = {"ok": True, "result": await self._handler.handle(command, arguments)}
        except TradingdError as error:
            self._log.warning("command_refused", command=command, reason=str(error))
            reply = _error("refused", str(error))
        except asyncio.CancelledError:
            self._note(command, arguments, source, _error("refused", "the daemon stopped"))
            raise
        except Exception as error:
            self._log.exception("command_failed", command=command, cause=source)
            reply = _error("failed", f"{command} failed inside the daemon: {type(error).__name__}; see its log")
        self._note(command, arguments, source, reply)
        return reply

    def _note(self, command: object, arguments: object, source: str, reply: Reply) -> None:
        """Hand the request to `record`. What only read is recorded without what it read."""
        known = COMMANDS.get(command) if isinstance(command, str) else None
        brief = {"ok": True} if reply["ok"] and known is not None and known.reads else reply
        name = storable(str(command), 100)
        self._record(
            CommandRecord(
                command=self._scrub(name),
                arguments_json=self._scrub(jsonsafe.dumps(arguments)),
                source=source,
                received_ms=self._clock.now_ms(),
                result_json=self._scrub(jsonsafe.dumps(brief)),
            )
        )

    async def _send(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        writer.write(self._scrub(jsonsafe.dumps(reply)).encode() + b"\n")
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await writer.drain()


def _error(kind: str, text: str, **more: Any) -> Reply:
    return {"ok": False, "kind": kind, "error": text, **more}


def _peer(writer: asyncio.StreamWriter) -> str:
    """Who asks, by the kernel's word."""
    try:
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return "control socket"
    pid, uid, _gid = struct.unpack("3i", peer)
    return f"control socket, uid {uid}, pid {pid}"


def _take_lock(path: Path) -> int:
    """The lock that a living daemon holds as long as it lives; the kernel gives it back at any death."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise ControlSocketBusy(
            f"a tradingd runs here already (pid {holder}, {path}): stop it first, or use another state_dir"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _remove_stale(path: Path) -> None:
    """Remove the socket of a dead daemon; raises ControlSocketBusy when something listens, or it is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlSocketBusy(f"{path} is in the way and is not a socket: move it, or use another state_dir")
    try:
        connect(path, PROBE_TIMEOUT_S).close()
    except (ConnectionRefusedError, FileNotFoundError):
        path.unlink(missing_ok=True)
    except OSError as error:
        # A full backlog, a timeout: something is there, and it is not for us to take its place.
        raise ControlSocketBusy(f"something holds {path} without answering ({error}): stop it first") from None
    else:
        raise ControlSocketBusy(f"a tradingd listens on {path} already: stop it first, or use another state_dir")


async def _serve_on(
    listener: socket.socket, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> asyncio.Server:
    if sys.version_info >= (3, 13):
        # Its own clean-up looks for the address the socket was bound by, which for a long path is gone by then.
        return await asyncio.start_unix_server(serve, sock=listener, limit=MAX_MESSAGE_BYTES, cleanup_socket=False)
    return await asyncio.start_unix_server(serve, sock=listener, limit=MAX_MESSAGE_BYTES)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with unix_address(path) as address:
            listener.bind(address)
        # Before listen(): nobody can connect while the mode is still the umask's.
        os.chmod(path, 0o660)
        listener.setblocking(False)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
