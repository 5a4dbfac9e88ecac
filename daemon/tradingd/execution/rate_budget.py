"""One venue's windows, what was spent of them, and who may spend what is left."""

import asyncio
from math import inf

import msgspec

from tradingd.domain.errors import VenueBanned
from tradingd.domain.ids import VenueId
from tradingd.domain.records import BanScope
from tradingd.domain.text import moment
from tradingd.execution.rolling_window import RollingHeaders, RollingLimit, RollingWindow
from tradingd.ports import Priority

TRAVEL_MS = 500
"""So long (real time) a request may take from its grant to the venue's count: the write-ahead commit and the wire."""


class Window(msgspec.Struct):
    """One fixed clock window of a venue: `limit` units each `length_ms`, read back from `header` where there is one.

    Fixed, not rolling: Binance counts by the venue's clock minute (General Info, Limits). `late` is what was let out so
    near to its end that the venue may count it in the next one, which begins with it.
    """

    name: str
    length_ms: int
    limit: int
    header: str
    counts_orders: bool
    started_ms: int = 0
    used: int = 0
    late: int = 0

    def ends_ms(self, error_ms: int) -> int:
        """When, by our clock, the venue has surely begun a new window."""
        return self.started_ms + self.length_ms + self._doubt_ms(error_ms)

    def _doubt_ms(self, error_ms: int) -> int:
        return min(error_ms, self.length_ms // 4)  # a clock that was never set must not hold the windows for ever

    def roll(self, now_ms: int, error_ms: int) -> None:
        """Begin a new window once the venue's clock surely has.

        A clock that goes back gives no new budget; one that was far ahead must not keep the window for that long.
        """
        sure_ms = now_ms - self._doubt_ms(error_ms)
        start = sure_ms - sure_ms % self.length_ms
        if start > self.started_ms:
            self.used = self.late if start == self.started_ms + self.length_ms else 0
            self.started_ms, self.late = start, 0
        elif start < self.started_ms - self.length_ms:
            self.started_ms = start

    def lacks(self, cost: int, aside: float, share: float) -> bool:
        """Whether `cost` does not fit in that share of the window beside what is set aside."""
        return self.used + aside + cost > self.limit * share

    def spend(self, units: int, arrives_ms: int) -> None:
        """Count a request that reaches the venue at `arrives_ms` at the latest."""
        self.used += units
        if arrives_ms >= self.started_ms + self.length_ms:
            self.late += units


RateWindows = tuple[tuple[str, int, int, str, bool], ...]
"""Each with its name, length in ms, limit, header, and whether it counts orders instead of weight."""


class RatePlan(msgspec.Struct, frozen=True):
    """A venue's limits and the weight of each endpoint ("POST fapi/v1/order"); others cost `default_weight`.

    `order_endpoints` count as one order each. A venue counts in windows of its clock, or in `rolling` ones, whose
    `headers` tell how it counts, or in both.
    """

    windows: RateWindows
    weights: dict[str, int]
    order_endpoints: frozenset[str]
    default_weight: int = 1
    rolling: tuple[RollingLimit, ...] = ()
    headers: RollingHeaders | None = None


RESERVED_FRACTION = {
    Priority.PROTECT: 0.0,
    Priority.EXIT: 0.0,
    Priority.CANCEL: 0.05,
    Priority.RECONCILE: 0.15,
    Priority.ENTRY: 0.25,
    Priority.DATA: 0.35,
}
"""The share of each window that a priority must leave to those before it."""


class Closure(msgspec.Struct, frozen=True):
    """A ban: `until_ms` is venue time, for people; `ends_at` is monotonic, which no step of a clock moves."""

    until_ms: int = 0
    ends_at: float = -inf
    reason: str = ""


class Waiter(msgspec.Struct, frozen=True):
    priority: Priority
    turn: int
    endpoint: str
    future: "asyncio.Future[None]"

    @property
    def rank(self) -> tuple[int, int]:
        return self.priority, self.turn

    @property
    def is_let_out(self) -> bool:
        return self.future.done() and not self.future.cancelled() and self.future.exception() is None


class VenueBudget:
    def __init__(self, plan: RatePlan, began: float = -inf) -> None:
        """`began`: when this run did, monotonic."""
        self.plan = plan
        self.windows = [Window(*window) for window in plan.windows]
        self.rolling = [RollingWindow(limit, TRAVEL_MS / 1000, began) for limit in plan.rolling]
        self.waiting: list[Waiter] = []
        self.leaving = 0  # let out, and not gone yet
        self.closures = dict.fromkeys(BanScope, Closure())
        self.waker: asyncio.Task[None] | None = None
        self.wakes_at = inf

    def costs(self, endpoint: str) -> list[int]:
        """What one request takes of each window of the clock."""
        weight = self.plan.weights.get(endpoint, self.plan.default_weight)
        orders = int(endpoint in self.plan.order_endpoints)
        return [orders if window.counts_orders else weight for window in self.windows]

    def closed(self, venue: VenueId, endpoint: str, now: float) -> VenueBanned | None:
        """Why a request to `endpoint` may not leave now."""
        ban, orders = self.closures[BanScope.ALL], self.closures[BanScope.ORDERS]
        if endpoint in self.plan.order_endpoints and orders.ends_at > max(now, ban.ends_at):
            left_s = orders.ends_at - now
            why = f"{venue} takes no order for {left_s:.1f} s: its limit of orders is used up ({orders.reason})"
            return VenueBanned(why, until_ms=orders.until_ms, orders_only=True)
        if ban.ends_at <= now:
            return None
        why = f"{venue} banned us until {moment(ban.until_ms)} (venue time): {ban.reason}"
        return VenueBanned(why, until_ms=ban.until_ms)

    def send_home(self, venue: VenueId, now: float) -> None:
        """End the waiting of those whose request may not leave any more, and who do not wait for that."""
        for waiter in self.waiting:
            ban = self.closed(venue, waiter.endpoint, now)
            if ban is not None and not waits(ban, waiter.priority) and not waiter.future.done():
                waiter.future.set_exception(ban)
        self.waiting = [waiter for waiter in self.waiting if not waiter.future.done()]

    def check(self) -> None:
        """A request that fits no empty window would wait for ever, and everybody behind it."""
        least_share = 1 - max(RESERVED_FRACTION.values())
        for endpoint in {*self.plan.weights, *self.plan.order_endpoints, "any other"}:
            for window, cost in zip(self.windows, self.costs(endpoint), strict=True):
                if cost > window.limit * least_share:
                    raise ValueError(f"{endpoint} costs {cost}: too much for {window.name} of {window.limit}")

    def adopt(self, windows: RateWindows) -> None:
        """Take the venue's own numbers for its windows, and keep what was spent of those that stay."""
        before = {(window.length_ms, window.counts_orders): window for window in self.windows}
        adopted = VenueBudget(msgspec.structs.replace(self.plan, windows=windows))
        adopted.check()
        for window in adopted.windows:
            known = before.get((window.length_ms, window.counts_orders))
            if known is not None:
                window.started_ms, window.used, window.late = known.started_ms, known.used, known.late
        self.plan, self.windows = adopted.plan, adopted.windows

    def roll(self, now_ms: int, error_ms: int) -> None:
        """Begin each window anew whose time has come."""
        for window in self.windows:
            window.roll(now_ms, error_ms)

    def nothing_aside(self) -> list[float]:
        """What is set aside of each window while the first of those who wait is looked at."""
        return [0.0] * (len(self.windows) + len(self.rolling))

    def take(self, priority: Priority, endpoint: str, set_aside: list[float], now: float, arrives_ms: int) -> bool:
        """Spend what a request costs if it fits beside what is set aside for those before it; else set its own aside:
        where it is short nobody passes it, and elsewhere nobody takes its share, or it would be short there next."""
        share = 1 - RESERVED_FRACTION[priority]
        fixed = self.costs(endpoint)
        costs = fixed + [window.costs(endpoint) for window in self.rolling]
        aside = set_aside[len(fixed) :]
        short = [
            cost > 0 and window.lacks(cost, kept, share)
            for window, cost, kept in zip(self.windows, fixed, set_aside[: len(fixed)], strict=True)
        ] + [
            cost > 0 and window.lacks(cost, kept, share, now)
            for window, cost, kept in zip(self.rolling, costs[len(fixed) :], aside, strict=True)
        ]
        if any(short):
            for index, cost in enumerate(costs):
                if cost:
                    set_aside[index] += inf if short[index] else cost
            return False
        for window, cost in zip(self.windows, fixed, strict=True):
            window.spend(cost, arrives_ms)
        for window_of, cost in zip(self.rolling, costs[len(fixed) :], strict=True):
            if cost:
                window_of.spend(now)
        return True

    def changes_in_s(self, now: float, now_ms: int, error_ms: int, speed: float) -> float:
        """Real seconds until some window has more room, or orders may leave again."""
        moments = [(window.ends_ms(error_ms) - now_ms + 1) / 1000 / speed for window in self.windows]
        moments += [window.changes_at(now) - now for window in self.rolling]
        if (reopens_s := self.closures[BanScope.ORDERS].ends_at - now) > 0:
            moments.append(reopens_s)
        return max(0.005, min(moments, default=1.0))


def waits(ban: VenueBanned, priority: Priority) -> bool:
    """Whether a request stays in line: stops and exits do where only the limit of orders is used up, as its window is
    short and they go first when it ends."""
    return ban.orders_only and priority <= Priority.EXIT
