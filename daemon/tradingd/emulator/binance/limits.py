"""Request weight per IP and order counts per account, in fixed windows of the venue's clock."""

from __future__ import annotations

from tradingd.emulator.binance.errors import VenueError

WEIGHT_PER_MINUTE = 2400
ORDERS_PER_10S = 300
ORDERS_PER_MINUTE = 1200
_IGNORED_BEFORE_BAN = 20
_FIRST_BAN_MS = 120_000
_LONGEST_BAN_MS = 3 * 86_400_000


class Limits:
    """Counts what came in; too much is 429, going on regardless is 418 with a ban that doubles."""

    def __init__(self) -> None:
        self.banned_until_ms = 0
        self._weight = [0, 0]
        self._ten_seconds = [0, 0]
        self._minute = [0, 0]
        self._ignored = 0
        self._bans = 0

    def charge(self, weight: int, now_ms: int) -> None:
        """Count a request before it is looked at."""
        if now_ms < self.banned_until_ms:
            raise self._banned()
        window = now_ms // 60_000
        if self._weight[0] != window:
            self._weight = [window, 0]
            self._ignored = 0
        self._weight[1] += weight
        if self._weight[1] <= WEIGHT_PER_MINUTE:
            return
        self._ignored += 1
        if self._ignored > _IGNORED_BEFORE_BAN:
            self.banned_until_ms = now_ms + min(_LONGEST_BAN_MS, _FIRST_BAN_MS << self._bans)
            self._bans += 1
            self._ignored = 0
            raise self._banned()
        raise VenueError(-1003, status=429)

    def charge_orders(self, count: int, now_ms: int) -> None:
        """Count new orders; those beyond the limit are not looked at."""
        for counter, length_ms, most, words in ((self._ten_seconds, 10_000, ORDERS_PER_10S, "10 SECOND"),
                                                (self._minute, 60_000, ORDERS_PER_MINUTE, "1 MINUTE")):
            window = now_ms // length_ms
            if counter[0] != window:
                counter[:] = [window, 0]
            if counter[1] + count > most:
                raise VenueError(-1015, f"Too many new orders; current limit is {most} orders per {words}.", 429)
        self._ten_seconds[1] += count
        self._minute[1] += count

    def headers(self, with_orders: bool) -> dict[str, str]:
        """The counts as response headers."""
        out = {"X-MBX-USED-WEIGHT-1M": str(self._weight[1])}
        if with_orders:
            out["X-MBX-ORDER-COUNT-10S"] = str(self._ten_seconds[1])
            out["X-MBX-ORDER-COUNT-1M"] = str(self._minute[1])
        return out

    def _banned(self) -> VenueError:
        return VenueError(-1003, f"Way too many requests; IP(127.0.0.1) banned until {self.banned_until_ms}. Please "
                                 "use the websocket for live updates to avoid bans.", 418)
