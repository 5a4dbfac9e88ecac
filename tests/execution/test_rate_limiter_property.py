"""In any order of events the budget keeps its promises (P13)."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.execution.fakes import BINANCE
from tests.execution.test_rate_limiter_order import PLAN, WINDOWS, limiter
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.errors import VenueBanned
from tradingd.domain.records import BanRecord, BanScope
from tradingd.execution.rate_budget import RESERVED_FRACTION, TRAVEL_MS
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.ports import Priority

ENDPOINTS = ["GET light", "GET heavy", "POST order"]
ASK = st.tuples(st.just("ask"), st.sampled_from(ENDPOINTS), st.sampled_from(list(Priority)))
STEP = st.one_of(
    *[ASK] * 9,
    *[st.tuples(st.just("pass"), st.sampled_from([0.5, 3.0, 9.0, 30.0]))] * 2,
    *[st.tuples(st.just("header"), st.sampled_from(["x-weight", "x-orders"]), st.integers(0, 45))] * 2,
    st.tuples(st.just("give up"), st.integers(0, 50)),
    st.tuples(st.just("too many orders"), st.sampled_from([500, 10_000])),
    st.tuples(st.just("ban"), st.sampled_from([500, 5_000, 70_000])),
    st.tuples(st.just("restart"), st.sampled_from([0.0, 2.0, 60.0])),
)


class Model:
    """What the windows hold by what was let out and told; checks each request as it leaves."""

    def __init__(self) -> None:
        self.limiter, self.clock = limiter()
        self.bans: dict[BanScope, BanRecord] = {}
        self.limiter.save_ban = self.save
        self.waiting: list[tuple[Priority, int, str]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.used: dict[tuple[str, int], int] = {}
        self.banned_until_ms = 0
        self.closed_until_ms = 0
        self.turn = 0

    def save(self, ban: BanRecord) -> None:
        """As the journal does: the newest of each scope."""
        self.bans[ban.scope] = ban

    async def restart(self, down_s: float) -> None:
        """A crash, and a new run on the same journal. What the venue counts is told by its next answers."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.limiter.close()
        await asyncio.sleep(down_s)
        self.limiter = RateLimiter(self.clock, self.save)
        self.limiter.add_venue(BINANCE, PLAN)
        for ban in self.bans.values():
            self.limiter.restore(ban)
        self.used.clear()

    def windows(self, endpoint: str) -> list[tuple[tuple[str, int], int, int]]:
        """Each window that a request needs: its key, its limit, the cost."""
        now_ms = self.clock.now_ms()
        found = []
        for name, length_ms, limit, _, counts_orders in WINDOWS:
            is_order = endpoint in PLAN.order_endpoints
            cost = int(is_order) if counts_orders else PLAN.weights.get(endpoint, 1)
            if cost:
                found.append(((name, now_ms // length_ms), limit, cost))
        return found

    def fits(self, endpoint: str, priority: Priority) -> bool:
        if self.clock.now_ms() < self.ends_ms(endpoint):
            return False
        share = 1 - RESERVED_FRACTION[priority]
        return all(self.used.get(key, 0) + cost <= limit * share + 1e-9 for key, limit, cost in self.windows(endpoint))

    def share_a_window(self, one: str, other: str) -> bool:
        return bool({key for key, *_ in self.windows(one)} & {key for key, *_ in self.windows(other)})

    def ends_ms(self, endpoint: str) -> int:
        return max(self.banned_until_ms, self.closed_until_ms if endpoint in PLAN.order_endpoints else 0)

    async def ask(self, endpoint: str, priority: Priority) -> None:
        self.turn += 1
        me = (priority, self.turn, endpoint)
        self.waiting.append(me)
        try:
            await self.limiter.acquire(BINANCE, endpoint, priority)
        except VenueBanned:
            assert self.clock.now_ms() < self.ends_ms(endpoint)
            urgent = priority <= Priority.EXIT
            assert not urgent or self.clock.now_ms() < self.banned_until_ms, "a limit of orders sent a stop home"
            return
        finally:
            self.waiting.remove(me)
        assert self.clock.now_ms() >= self.ends_ms(endpoint), "left during a ban"
        assert self.fits(endpoint, priority), "a window or what is kept of it for the urgent is exceeded"
        for other in self.waiting:
            passed = other < me and self.fits(other[2], other[0]) and self.share_a_window(other[2], endpoint)
            assert not passed, f"{me} passed {other}"
        lengths = {window[0]: window[1] for window in WINDOWS}
        for (name, number), _, cost in self.windows(endpoint):
            self.used[name, number] = self.used.get((name, number), 0) + cost
            arrives_in = (self.clock.now_ms() + TRAVEL_MS) // lengths[name]
            if arrives_in > number:  # the venue may count it there
                self.used[name, arrives_in] = self.used.get((name, arrives_in), 0) + cost

    def check_nobody_waits_in_vain(self) -> None:
        for me in self.waiting:
            before = [other for other in self.waiting if other < me and self.share_a_window(other[2], me[2])]
            assert before or not self.fits(me[2], me[0]), f"{me} waits though it fits"

    async def step(self, what: str, *how: Any) -> None:
        if what == "ask":
            self.tasks.append(asyncio.create_task(self.ask(*how)))
        elif what == "pass":
            await asyncio.sleep(how[0])
        elif what == "give up" and self.tasks:
            self.tasks[how[0] % len(self.tasks)].cancel()
        elif what == "header":
            name, length_ms = next((window[0], window[1]) for window in WINDOWS if window[3] == how[0])
            key = (name, self.clock.now_ms() // length_ms)
            self.used[key] = max(self.used.get(key, 0), how[1])
            self.limiter.observe(BINANCE, 200, {how[0]: str(how[1])})
        elif what == "too many orders":
            self.closed_until_ms = max(self.closed_until_ms, self.clock.now_ms() + how[0])
            self.limiter.close_orders(BINANCE, self.clock.now_ms() + how[0], "-1015")
        elif what == "ban":
            self.banned_until_ms = max(self.banned_until_ms, self.clock.now_ms() + how[0])
            self.limiter.ban(BINANCE, self.clock.now_ms() + how[0], "HTTP 418")
        elif what == "restart":
            await self.restart(*how)
        await asyncio.sleep(0.01)
        self.check_nobody_waits_in_vain()

    async def finish(self) -> None:
        results = await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), 3_600)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result
        await self.limiter.close()


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, min_size=10, max_size=50))
def test_in_any_order_of_events_no_promise_of_the_budget_is_broken(steps):
    @in_virtual_time
    async def run() -> None:
        model = Model()
        for step in steps:
            await model.step(*step)
        await model.finish()

    run()
