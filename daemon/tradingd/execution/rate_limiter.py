"""Each venue's own budget of requests, shared out in the order of P13, and closed while a ban lasts."""

import asyncio
import heapq
from collections.abc import Callable

import msgspec

from tradingd.domain.errors import VenueBanned
from tradingd.domain.ids import VenueId
from tradingd.domain.records import BanRecord
from tradingd.ports import Clock, Priority


class Window(msgspec.Struct):
    """One fixed clock window of a venue: `limit` units each `length_ms`, read back from `header` where there is one.

    Fixed, not rolling: Binance counts by the venue's clock minute (venue page §4).
    """

    name: str
    length_ms: int
    limit: int
    header: str
    counts_orders: bool
    started_ms: int = 0
    used: int = 0

    def roll(self, now_ms: int) -> None:
        """Begin a new window when the clock says so."""
        start = now_ms - now_ms % self.length_ms
        if start > self.started_ms:
            self.started_ms, self.used = start, 0


class RatePlan(msgspec.Struct, frozen=True):
    """A venue's limits and the weight of each endpoint ("POST fapi/v1/order"); others cost `default_weight`.

    `order_endpoints` count as one order each.
    """

    windows: tuple[tuple[str, int, int, str, bool], ...]
    weights: dict[str, int]
    order_endpoints: frozenset[str]
    default_weight: int = 1


RESERVED_FRACTION = {
    Priority.PROTECT: 0.0,
    Priority.EXIT: 0.0,
    Priority.CANCEL: 0.05,
    Priority.RECONCILE: 0.15,
    Priority.ENTRY: 0.25,
    Priority.DATA: 0.35,
}
"""The share of each window that a priority must leave to those before it."""


class _VenueBudget:
    def __init__(self, plan: RatePlan) -> None:
        self.plan = plan
        self.windows = [Window(*window) for window in plan.windows]
        self.waiting: list[tuple[int, int, str, asyncio.Future[None]]] = []
        self.banned_until_ms = 0
        self.reason = ""
        self.waker: asyncio.Task[None] | None = None


class RateLimiter:
    """Owns the budget of every venue: who waits, who goes first, who must not send at all."""

    def __init__(self, clock: Clock, save_ban: Callable[[BanRecord], None]) -> None:
        self._clock = clock
        self._save_ban = save_ban
        self._venues: dict[VenueId, _VenueBudget] = {}
        self._turn = 0

    def add_venue(self, venue: VenueId, plan: RatePlan) -> None:
        """Take over a venue's limits."""
        self._venues[venue] = _VenueBudget(plan)

    def restore(self, ban: BanRecord) -> None:
        """Obey a ban that an earlier run of the daemon met."""
        if (budget := self._venues.get(ban.venue)) is not None:
            budget.banned_until_ms, budget.reason = ban.until_ms, ban.reason

    async def acquire(self, venue: VenueId, endpoint: str, priority: Priority) -> None:
        """Wait until a request to `endpoint` fits; who comes first at the same priority goes first.

        Raises VenueBanned while a ban lasts, so that a caller never sleeps through a ban with a stale purpose.
        """
        budget = self._venues[venue]
        self._refuse_banned(venue, budget)
        if not budget.waiting and self._take(budget, endpoint, priority):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turn += 1
        heapq.heappush(budget.waiting, (priority, self._turn, endpoint, future))
        self._serve(venue, budget)
        await future

    def observe(self, venue: VenueId, status: int, headers: dict[str, str]) -> None:
        """Take the venue's own count where it is higher: other processes on the IP spend it too."""
        budget = self._venues[venue]
        lower = {name.lower(): value for name, value in headers.items()}
        now_ms = self._clock.now_ms()
        for window in budget.windows:
            text = lower.get(window.header.lower(), "") if window.header else ""
            if text.isascii() and text.isdigit():
                window.roll(now_ms)
                window.used = max(window.used, int(text))

    def ban(self, venue: VenueId, until_ms: int, reason: str) -> None:
        """Close the venue until `until_ms`, remember it across restarts, and send every waiter home."""
        budget = self._venues[venue]
        if until_ms <= budget.banned_until_ms:
            return
        budget.banned_until_ms, budget.reason = until_ms, reason
        self._save_ban(BanRecord(venue, until_ms, reason, self._clock.now_ms()))
        waiting, budget.waiting = budget.waiting, []
        for *_, future in waiting:
            if not future.done():
                future.set_exception(VenueBanned(f"{venue} banned us: {reason}", until_ms=until_ms))

    def banned_until_ms(self, venue: VenueId) -> int | None:
        """When the ban ends, in venue time; None when there is none."""
        until = self._venues[venue].banned_until_ms
        return until if until > self._clock.now_ms() else None

    def used_fraction(self, venue: VenueId) -> float:
        """The fullest window's share, for status and heartbeat."""
        now_ms = self._clock.now_ms()
        fullest = 0.0
        for window in self._venues[venue].windows:
            window.roll(now_ms)
            fullest = max(fullest, window.used / window.limit)
        return fullest

    def _refuse_banned(self, venue: VenueId, budget: _VenueBudget) -> None:
        if budget.banned_until_ms > self._clock.now_ms():
            raise VenueBanned(f"{venue} banned us: {budget.reason}", until_ms=budget.banned_until_ms)

    def _take(self, budget: _VenueBudget, endpoint: str, priority: Priority) -> bool:
        now_ms = self._clock.now_ms()
        weight = budget.plan.weights.get(endpoint, budget.plan.default_weight)
        is_order = endpoint in budget.plan.order_endpoints
        costs = [(window, int(is_order) if window.counts_orders else weight) for window in budget.windows]
        for window in budget.windows:
            # all of them, used or not: the waker sleeps until the next one ends, and one left behind ended long ago
            window.roll(now_ms)
        for window, cost in costs:
            if cost and window.used + cost > window.limit * (1 - RESERVED_FRACTION[priority]):
                return False
        for window, cost in costs:
            window.used += cost
        return True

    def _serve(self, venue: VenueId, budget: _VenueBudget) -> None:
        while budget.waiting:
            priority, _, endpoint, future = budget.waiting[0]
            if future.done():
                heapq.heappop(budget.waiting)
            elif self._take(budget, endpoint, Priority(priority)):
                heapq.heappop(budget.waiting)
                future.set_result(None)
            else:
                break
        if budget.waiting and (budget.waker is None or budget.waker.done()):
            budget.waker = asyncio.get_running_loop().create_task(
                self._wake(venue, budget), name=f"rate budget of {venue}"
            )

    async def _wake(self, venue: VenueId, budget: _VenueBudget) -> None:
        """Serve the waiters each time a window begins anew."""
        while budget.waiting:
            now_ms = self._clock.now_ms()
            ends_ms = min(window.started_ms + window.length_ms for window in budget.windows)
            await self._clock.sleep(max(0.005, (ends_ms - now_ms + 1) / 1000 / self._clock.speed))
            self._serve(venue, budget)

    async def close(self) -> None:
        """End the wakers; waiters are cancelled."""
        for budget in self._venues.values():
            if budget.waker is not None:
                budget.waker.cancel()
            for *_, future in budget.waiting:
                future.cancel()
