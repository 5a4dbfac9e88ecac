"""What a daemon tells its service manager, over a real datagram socket."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path


class Manager:
    """A service manager's end of the socket; `told` has every message with the time of its arrival."""

    def __init__(self, directory: Path, watchdog_s: float) -> None:
        self.told: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = directory / "notify"
        path.unlink(missing_ok=True)  # of an earlier start here
        self._socket.bind(str(path))
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(int(watchdog_s * 1_000_000))}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                message = self._socket.recv(65_536)
            except OSError:
                return
            self.told.append((time.monotonic(), message.decode()))

    def lines(self, name: str, since_s: float = 0.0) -> list[str]:
        """The values of an assignment, in order."""
        lines = (line for at_s, message in list(self.told) if at_s >= since_s for line in message.split("\n"))
        return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]

    def wait(self, condition: Callable[[], object], limit_s: float = 30.0) -> None:
        """Until it holds; else the last messages tell why not."""
        assert holds(condition, limit_s), [message for _, message in self.told[-10:]]

    def close(self) -> None:
        """Nobody listens any more."""
        self._socket.close()


def holds(condition: Callable[[], object], limit_s: float) -> bool:
    """Whether it became true in time."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True
