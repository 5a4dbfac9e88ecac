"""Where log lines go: a file descriptor that may be closed, full, or a pipe that nobody reads.

A write never waits and never raises: a daemon that stops trading because a pager was paused would be a bad joke (P15).
Our own O_NONBLOCK must not reach the terminal that we share with a shell, so pipes and terminals are opened anew, and
a socket (the service manager's journal) is written with MSG_DONTWAIT.
"""

import contextlib
import os
import select
import socket
import stat
from collections import deque
from typing import Protocol

MAX_PENDING_BYTES = 1 << 20


class Sink(Protocol):
    """Takes whole lines."""

    @property
    def lost_lines(self) -> int:
        """Lines that could not be written since the last `take_lost`."""
        ...

    def write(self, line: bytes) -> None:
        """Write `line`, which ends in a line feed; never waits, never raises."""
        ...

    def take_lost(self) -> int:
        """`lost_lines`, set back to zero."""
        ...

    def close(self, wait_s: float = 0.5) -> None:
        """Write what is pending, for at most `wait_s` seconds; the descriptor that was given stays open."""
        ...


class FdSink:
    """Lines to a descriptor. What the reader does not take is kept up to MAX_PENDING_BYTES, then the oldest is lost."""

    def __init__(self, fd: int, max_pending_bytes: int = MAX_PENDING_BYTES) -> None:
        self._given = fd
        self._max_pending_bytes = max_pending_bytes
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._torn = False
        self._begun = False
        self.lost_lines = 0
        self._own: int | None = None
        self._socket: socket.socket | None = None
        self._must_poll = False
        with contextlib.suppress(OSError):  # a closed descriptor: every write will fail, and be counted
            self._open()

    def _open(self) -> None:
        mode = os.fstat(self._given).st_mode
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(self._given))
        elif stat.S_ISFIFO(mode) or os.isatty(self._given):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            try:
                self._own = os.open(f"/proc/self/fd/{self._given}", flags)
            except OSError:
                # Another user's terminal: ask before each write instead, and keep to what a pipe takes at once.
                self._must_poll = True

    def write(self, line: bytes) -> None:
        """Write `line`, behind what is still pending; never waits, never raises."""
        self._pending.append(line)
        self._pending_bytes += len(line)
        self._drain()
        while self._pending_bytes > self._max_pending_bytes and len(self._pending) > 1:
            self._lose_oldest_whole_line()

    def _lose_oldest_whole_line(self) -> None:
        if self._begun and len(self._pending) > 1:
            head = self._pending.popleft()
            self._pending_bytes -= len(self._pending.popleft())
            self._pending.appendleft(head)
        else:
            self._pending_bytes -= len(self._pending.popleft())
        self.lost_lines += 1

    def _drain(self) -> None:
        while self._pending:
            line = self._pending[0]
            try:
                written = self._send(b"\n" + line if self._torn else line)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # Closed, full, gone. A line of which a part is out must not run into the next one.
                self._torn = self._torn or self._begun
                self._drop_head()
                self.lost_lines += 1
                continue
            if self._torn and written:
                self._torn = False
                written -= 1
            if written == len(line):
                self._drop_head()
            else:
                self._begun = self._begun or written > 0
                self._pending[0] = line[written:]
                self._pending_bytes -= written

    def _drop_head(self) -> None:
        self._pending_bytes -= len(self._pending.popleft())
        self._begun = False

    def _send(self, data: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if self._own is not None:
            return os.write(self._own, data)
        if self._must_poll:
            if not self._writable(0.0):
                raise BlockingIOError
            data = data[: select.PIPE_BUF]
        return os.write(self._given, data)

    def _writable(self, wait_s: float) -> bool:
        descriptor = self._given if self._own is None else self._own
        poll = select.poll()
        poll.register(descriptor if self._socket is None else self._socket.fileno(), select.POLLOUT)
        return bool(poll.poll(wait_s * 1000))

    def take_lost(self) -> int:
        """How many lines were lost since the last call."""
        lost, self.lost_lines = self.lost_lines, 0
        return lost

    def close(self, wait_s: float = 0.5) -> None:
        """Write what is pending, waiting at most about `wait_s` seconds; the descriptor that was given stays open."""
        rounds = 10
        for _ in range(rounds):
            self._drain()
            if not self._pending:
                break
            with contextlib.suppress(OSError):
                self._writable(wait_s / rounds)
        with contextlib.suppress(OSError):
            if self._own is not None:
                os.close(self._own)
            if self._socket is not None:
                self._socket.close()
        self._own, self._socket = None, None
