"""Tells the service manager how it goes, over the datagram socket that it named; without one, nothing happens."""

import os
import socket
from collections.abc import Mapping


class Notifier:
    """sd_notify(3) by hand. Sending never waits and never raises; each method says whether the message left.

    `watchdog_s` is how often the service manager wants to hear `watchdog` at the least; None when it does not care.
    """

    def __init__(self, environ: Mapping[str, str], pid: int | None = None) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL byte of Linux's abstract names; other forms (vsock) are not for services.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        if not address.startswith(("@", "/")):
            self._address = ""
        self.watchdog_s = _watchdog_s(environ, os.getpid() if pid is None else pid)

    @property
    def enabled(self) -> bool:
        """Whether a service manager listens."""
        return bool(self._address)

    def ready(self, status: str = "") -> bool:
        """The start is complete."""
        return self._send("READY=1", _status(status))

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self._send(_status(text))

    def extend_start(self, seconds: float) -> bool:
        """The start may take so much longer, counted from now."""
        return self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def reloading(self, monotonic_s: float) -> bool:
        """A reload has begun at that CLOCK_MONOTONIC; `ready` says that it is over."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={round(monotonic_s * 1_000_000)}")

    def watchdog(self) -> bool:
        """Still making progress; to be said more often than `watchdog_s`."""
        return self._send("WATCHDOG=1")

    def stopping(self, status: str = "") -> bool:
        """The stop has begun."""
        return self._send("STOPPING=1", _status(status))

    def _send(self, *assignments: str) -> bool:
        if not self._address:
            return False
        message = "\n".join(assignment for assignment in assignments if assignment).encode("utf-8", "replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message, self._address)
        except (OSError, ValueError):  # gone, full, or an address that cannot be one
            return False
        return True


def _status(text: str) -> str:
    """One line: a line feed would begin another assignment."""
    return f"STATUS={' '.join(text.split())}" if text else ""


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    try:
        limit_us = int(environ.get("WATCHDOG_USEC", ""))
        meant_for = int(environ.get("WATCHDOG_PID") or pid)
    except ValueError:
        return None
    return limit_us / 1_000_000 if limit_us > 0 and meant_for == pid else None
