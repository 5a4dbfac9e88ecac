"""Requests per account and endpoint in a rolling second, and per address in five; windows last as long in real time."""

from __future__ import annotations

from collections import deque

from tradingd.emulator.bybit.errors import VenueError

IP_REQUESTS, IP_WINDOW_MS, IP_BAN_MS = 600, 5_000, 600_000
CONNECTIONS, CONNECTIONS_WINDOW_MS = 500, 300_000
_SECOND_MS = 1_000


class _Window:
    """Arrivals of the last so many milliseconds."""

    def __init__(self) -> None:
        self._arrivals: deque[int] = deque()

    def count(self, now_ms: int, length_ms: float) -> int:
        while self._arrivals and self._arrivals[0] <= now_ms - length_ms:
            self._arrivals.popleft()
        return len(self._arrivals)

    def add(self, now_ms: int) -> None:
        self._arrivals.append(now_ms)

    def first_ms(self, now_ms: int) -> int:
        return self._arrivals[0] if self._arrivals else now_ms


class Limits:
    """Counts what came in; beyond 10006, or 403 for the whole address for ten minutes."""

    def __init__(self, banned_until_ms: int = 0) -> None:
        self.banned_until_ms = banned_until_ms
        self.is_paused = False
        self.scale = 1.0
        self._ip = _Window()
        self._dials = _Window()
        self._endpoints: dict[str, _Window] = {}

    def charge_address(self, now_ms: int) -> None:
        """Count a request of the address; who goes on while banned begins the ten minutes anew."""
        if self.is_paused:
            return
        if now_ms >= self.banned_until_ms and self._ip.count(now_ms, IP_WINDOW_MS * self.scale) < IP_REQUESTS:
            self._ip.add(now_ms)
            return
        self.ban(now_ms)
        raise VenueError(403, "403, access too frequent", 403)

    def ban(self, now_ms: int) -> None:
        """Answer nothing but 403 for ten minutes."""
        self.banned_until_ms = max(self.banned_until_ms, now_ms + int(IP_BAN_MS * self.scale))

    def charge(self, group: str, most: int, now_ms: int) -> dict[str, str]:
        """Count a request of the account; gives the headers. Raises 10006 for one too many, which is not counted."""
        window = self._endpoints.setdefault(group, _Window())
        used = 0 if self.is_paused else window.count(now_ms, _SECOND_MS * self.scale)
        is_over = used >= most
        if not is_over and not self.is_paused:
            window.add(now_ms)
            used += 1
        reset_ms = window.first_ms(now_ms) + int(_SECOND_MS * self.scale) if is_over else now_ms
        headers = {
            "X-Bapi-Limit": str(most),
            "X-Bapi-Limit-Status": str(most - used),
            "X-Bapi-Limit-Reset-Timestamp": str(reset_ms),
        }
        if is_over:
            raise TooMany(headers)
        return headers

    def may_dial(self, now_ms: int) -> bool:
        """Whether the address may open one more websocket; 500 in five minutes."""
        if self._dials.count(now_ms, CONNECTIONS_WINDOW_MS * self.scale) >= CONNECTIONS:
            return False
        self._dials.add(now_ms)
        return True


class TooMany(VenueError):
    """10006, with the headers that tell when it will be better."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(10006)
        self.headers = headers
