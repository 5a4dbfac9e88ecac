"""Request weight per IP and order counts per account, in fixed windows of the venue's clock."""

from __future__ import annotations

from tradingd.emulator.binance.errors import VenueError

WEIGHT_PER_MINUTE = 2400
ORDERS_PER_10S = 300
ORDERS_PER_MINUTE = 1200
_IGNORED_BEFORE_BAN = 20
"""How many requests may follow the first 429 of a minute, or reach a banned IP, before the next ban; not published."""
_FIRST_BAN_MS = 120_000
_LONGEST_BAN_MS = 3 * 86_400_000


class Limits:
    """Counts what came in; too much is 429, going on regardless is 418 with a ban that doubles each time."""

    def __init__(self, banned_until_ms: int = 0, bans: int = 0) -> None:
        self.banned_until_ms = banned_until_ms
        self.bans = bans
        self.is_paused = False
        self._weight = [0, 0]
        self._ten_seconds = [0, 0]
        self._minute = [0, 0]
        self._ignored = 0

    def charge(self, weight: int, now_ms: int) -> None:
        """Count a request before it is looked at; while paused nothing is counted, nor held against anybody."""
        if self.is_paused:
            return
        if now_ms < self.banned_until_ms:
            self._ignore(now_ms)
            raise self._banned()
        window = now_ms // 60_000
        if self._weight[0] != window:
            self._weight = [window, 0]
            self._ignored = 0
        self._weight[1] += weight
        if self._weight[1] <= WEIGHT_PER_MINUTE:
            return
        self._ignore(now_ms)
        raise self._banned() if now_ms < self.banned_until_ms else VenueError(-1003, status=429)

    def _ignore(self, now_ms: int) -> None:
        """One more who does not listen."""
        self._ignored += 1
        if self._ignored > _IGNORED_BEFORE_BAN:
            self.ban(now_ms, min(_LONGEST_BAN_MS, _FIRST_BAN_MS << min(self.bans, 12)))

    def ban(self, now_ms: int, length_ms: int) -> None:
        """Answer nothing for that long; the next ban will be twice as long."""
        self.banned_until_ms = max(self.banned_until_ms, now_ms + length_ms)
        self.bans += 1
        self._ignored = 0

    def charge_orders(self, count: int, now_ms: int) -> None:
        """Count new orders; those beyond the limit are not looked at."""
        if self.is_paused:
            return
        for counter, length_ms, most, words in (
            (self._ten_seconds, 10_000, ORDERS_PER_10S, "10 SECOND"),
            (self._minute, 60_000, ORDERS_PER_MINUTE, "1 MINUTE"),
        ):
            window = now_ms // length_ms
            if counter[0] != window:
                counter[:] = [window, 0]
            if counter[1] + count > most:
                raise VenueError(-1015, f"Too many new orders; current limit is {most} orders per {words}.", 429)
        self._ten_seconds[1] += count
        self._minute[1] += count

    def order_counts(self) -> list[dict[str, str | int]]:
        """The order counts as the websocket API tells them."""
        return [
            {"rateLimitType": "ORDERS", "interval": interval, "intervalNum": number, "limit": most, "count": counter[1]}
            for interval, number, most, counter in (
                ("SECOND", 10, ORDERS_PER_10S, self._ten_seconds),
                ("MINUTE", 1, ORDERS_PER_MINUTE, self._minute),
            )
        ]

    def weight_count(self) -> dict[str, str | int]:
        """The weight as the websocket API tells it."""
        return {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": WEIGHT_PER_MINUTE,
            "count": self._weight[1],
        }

    def headers(self, with_orders: bool) -> dict[str, str]:
        """The counts as response headers."""
        out = {"X-MBX-USED-WEIGHT-1M": str(self._weight[1])}
        if with_orders:
            out["X-MBX-ORDER-COUNT-10S"] = str(self._ten_seconds[1])
            out["X-MBX-ORDER-COUNT-1M"] = str(self._minute[1])
        return out

    def _banned(self) -> VenueError:
        return VenueError(
            -1003,
            f"Way too many requests; IP(127.0.0.1) banned until {self.banned_until_ms}. Please "
            "use the websocket for live updates to avoid bans.",
            418,
        )
