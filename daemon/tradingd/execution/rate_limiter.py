"""Each venue's own budget of requests, shared out in the order of P13, and closed while a ban lasts."""

import asyncio
from bisect import insort
from collections.abc import Callable
from math import inf

from tradingd.domain.errors import VenueUnreachable
from tradingd.domain.ids import VenueId
from tradingd.domain.records import BanRecord, BanScope
from tradingd.execution.rate_budget import TRAVEL_MS, Closure, RatePlan, RateWindows, VenueBudget, Waiter, waits
from tradingd.execution.rolling_window import Told
from tradingd.ports import Clock, Priority

HOST_CLOCK_OFF_MS = 86_400_000
"""By how much the host's clock may be off at a start: a ban that it puts longer ago than this is over."""


def _nobody_saves(ban: BanRecord) -> None:
    raise RuntimeError(f"nobody writes down that {ban.venue} is banned: {ban.reason}")


class RateLimiter:
    """Owns the budget of every venue: who waits, who goes first, who must not send at all."""

    def __init__(self, clock: Clock, save_ban: Callable[[BanRecord], None] | None = None) -> None:
        """`save_ban` may be given later, before the first request: the journal's recorder needs the venues first."""
        self._clock = clock
        self.save_ban = save_ban or _nobody_saves
        self._venues: dict[VenueId, VenueBudget] = {}
        self._turn = 0
        self.on_ban: Callable[[VenueId, int, str], None] = lambda venue, until_ms, reason: None

    def add_venue(self, venue: VenueId, plan: RatePlan) -> None:
        """Take over a venue's limits; raises ValueError where a request could never be let out."""
        budget = VenueBudget(plan, self._clock.monotonic())
        budget.check()
        self._venues[venue] = budget

    def adopt(self, venue: VenueId, windows: RateWindows) -> None:
        """Take the venue's own numbers for its windows, as it publishes them; raises ValueError where one of our
        requests could never be let out by them."""
        self._venues[venue].adopt(windows)
        self._serve(venue, self._venues[venue])

    def restore(self, ban: BanRecord) -> None:
        """Obey a ban that an earlier run of the daemon met, and end it rather late than early.

        Nothing may be asked before it ends, so venue time is not known, and the host's clock may have been set. What
        surely passed since is what the host's monotonic clock shows: after a boot of the host, only its uptime.
        """
        budget, now = self._venues.get(ban.venue), self._clock.monotonic()
        lasts_ms = (ban.until_ms - ban.recorded_ms) / self._clock.at(ban.venue).speed
        began_ms = ban.recorded_ms if ban.wall_ms is None else ban.wall_ms
        if budget is None or self._clock.wall_ms() > began_ms + lasts_ms + HOST_CLOCK_OFF_MS:
            return
        before = None if ban.uptime_ms is None else ban.uptime_ms / 1000
        passed_s = 0.0 if before is None else now - before if now >= before else now
        ends_at = now + lasts_ms / 1000 - passed_s
        if ends_at > budget.closures[ban.scope].ends_at:
            budget.closures[ban.scope] = Closure(ban.until_ms, ends_at, ban.reason)

    async def acquire(self, venue: VenueId, endpoint: str, priority: Priority) -> None:
        """Wait until a request to `endpoint` fits; who comes first at the same priority goes first.

        Raises VenueBanned while a ban lasts, so that a caller never sleeps through a ban with a stale purpose; stops
        and exits wait for the end of a window of orders. Whoever gives up after he was let out has spent his share.
        """
        if self.take_now(venue, endpoint, priority):
            return
        budget = self._venues[venue]
        self._turn += 1
        waiter = Waiter(priority, self._turn, endpoint, asyncio.get_running_loop().create_future())
        insort(budget.waiting, waiter, key=lambda each: each.rank)
        self._serve(venue, budget)
        try:
            if waiter.future.done() and budget.leaving > 1:
                await asyncio.sleep(0)  # behind those who were let out before and have not gone yet
            await waiter.future
        except asyncio.CancelledError:
            self._serve(venue, budget)  # those whom he held up
            raise
        finally:
            budget.leaving -= waiter.is_let_out
        self.refuse_banned(venue, endpoint)  # one that came between the grant and this line

    def take_now(self, venue: VenueId, endpoint: str, priority: Priority) -> bool:
        """Whether the budget of a request to `endpoint` was there without waiting, and is taken; raises as `acquire`.

        Where somebody waits, or was let out and has not gone yet, this one comes behind him.
        """
        budget, now = self._venues[venue], self._clock.monotonic()
        ban = budget.closed(venue, endpoint, now)
        if ban is not None and not waits(ban, priority):
            raise ban
        if ban is not None or budget.waiting or budget.leaving:
            return False
        now_ms = self._clock.at(venue).now_ms()
        budget.roll(now_ms, self._clock.at(venue).error_ms)
        return budget.take(priority, endpoint, budget.nothing_aside(), now, self._arrives_ms(venue, now_ms))

    def _arrives_ms(self, venue: VenueId, now_ms: int) -> int:
        """When a request that is let out now has surely reached the venue, by its clock."""
        clock = self._clock.at(venue)
        return now_ms + clock.error_ms + round(TRAVEL_MS * clock.speed)

    def refuse_banned(self, venue: VenueId, endpoint: str) -> None:
        """Raise VenueBanned while a ban lasts: for a request whose budget was taken before."""
        ban = self._venues[venue].closed(venue, endpoint, self._clock.monotonic())
        if ban is not None:
            raise ban

    def observe(
        self,
        venue: VenueId,
        status: int,
        headers: dict[str, str],
        sent_ms: int | None = None,
        endpoint: str = "",
        *,
        is_refusal: bool = False,
    ) -> None:
        """Take the venue's own count where it is higher: other processes on the IP spend it too.

        Only in the window in which the request surely arrived: one that left before the window began, or at its
        beginning within the error of our clock, may have been counted in the one before, and that count would close a
        window in which nothing was spent yet. The next answer tells what is lost. `sent_ms` None: it left just now.
        `is_refusal`: the venue did nothing, as this request was one too many for its endpoint.
        """
        budget = self._venues[venue]
        lower = {name.lower(): value for name, value in headers.items()}
        now_ms = self._clock.at(venue).now_ms()
        sent = now_ms if sent_ms is None else sent_ms
        counted_ms = sent - self._clock.at(venue).error_ms
        budget.roll(now_ms, self._clock.at(venue).error_ms)
        for window in budget.windows:
            used = _count(lower, window.header)
            if used is not None and counted_ms >= window.started_ms:
                window.used = max(window.used, used)
        self._roll_on(venue, budget, endpoint, lower, sent, is_refusal)

    def _roll_on(
        self, venue: VenueId, budget: VenueBudget, endpoint: str, lower: dict[str, str], sent_ms: int, is_refusal: bool
    ) -> None:
        """What an answer says of the rolling windows; whoever waits may leave sooner by it."""
        now, headers = self._clock.monotonic(), budget.plan.headers
        sent_at = now - self._real_s(venue, self._clock.at(venue).now_ms() - sent_ms)
        told = Told(is_refusal=is_refusal)
        if headers is not None:
            resets_ms = _count(lower, headers.resets_ms)
            late_ms = self._clock.at(venue).error_ms - self._clock.at(venue).now_ms()
            reopens_at = None if resets_ms is None else now + self._real_s(venue, resets_ms + late_ms)
            told = Told(_count(lower, headers.limit), _count(lower, headers.left), reopens_at, is_refusal)
        for window in budget.rolling:
            if window.costs(endpoint):
                window.answered(now)
            if endpoint in window.plan.endpoints:
                window.learn(told, now, sent_at)
        if budget.waiting and now + self._changes_in_s(venue, budget) < budget.wakes_at:
            self._serve(venue, budget)

    def _real_s(self, venue: VenueId, venue_ms: float) -> float:
        return venue_ms / 1000 / self._clock.at(venue).speed

    def _changes_in_s(self, venue: VenueId, budget: VenueBudget) -> float:
        clock = self._clock.at(venue)
        return budget.changes_in_s(clock.monotonic(), clock.now_ms(), clock.error_ms, clock.speed)

    def ban(self, venue: VenueId, until_ms: int, reason: str) -> None:
        """Close the venue until `until_ms`, send every waiter home, remember it across restarts, tell `on_ban`.

        A ban that ends no later than the one that stands changes nothing.
        """
        if self._close(venue, until_ms, reason, BanScope.ALL):
            self.on_ban(venue, until_ms, reason)

    def close_orders(self, venue: VenueId, until_ms: int, reason: str) -> None:
        """Let out no request that places an order before `until_ms`; cancels and look-ups go on, and the venue stays
        what it is for the rest of the daemon, in this run and the next."""
        if self._close(venue, until_ms, reason, BanScope.ORDERS):
            self._serve(venue, self._venues[venue])  # those who waited behind an order

    def _close(self, venue: VenueId, until_ms: int, reason: str, scope: BanScope) -> bool:
        """Whether it is news, and longer than what stands."""
        budget, now, now_ms = self._venues[venue], self._clock.monotonic(), self._clock.at(venue).now_ms()
        before = budget.closures[scope]
        # what is over may be dated by a clock that was not set yet: a later ban is not compared with it
        standing = [each.until_ms for each in (before, budget.closures[BanScope.ALL]) if each.ends_at > now]
        lasts_s = (until_ms - now_ms + self._clock.at(venue).error_ms) / 1000 / self._clock.at(venue).speed
        if lasts_s <= 0 or until_ms <= max(standing, default=0):
            return False
        budget.closures[scope] = Closure(until_ms, max(before.ends_at, now + lasts_s), reason)
        budget.send_home(venue, now)
        self.save_ban(BanRecord(venue, until_ms, reason, now_ms, scope, round(now * 1000), self._clock.wall_ms()))
        return True

    def banned_until_ms(self, venue: VenueId) -> int | None:
        """When the ban ends, in venue time; None when there is none."""
        ban = self._venues[venue].closures[BanScope.ALL]
        return ban.until_ms if ban.ends_at > self._clock.monotonic() else None

    def used_fraction(self, venue: VenueId) -> float:
        """The fullest window's share, for status and heartbeat."""
        budget = self._venues[venue]
        budget.roll(self._clock.at(venue).now_ms(), self._clock.at(venue).error_ms)
        now = self._clock.monotonic()
        shares = [window.used / window.limit for window in budget.windows]
        return max([*shares, *(window.used(now) / window.limit for window in budget.rolling)], default=0.0)

    def _serve(self, venue: VenueId, budget: VenueBudget) -> None:
        """Let out everybody who fits, in the order of rank: who waits for one window holds up nobody who needs another.

        Rolls all windows first: one left behind would have ended in the past, and the waker would not sleep.
        """
        now_ms = self._clock.at(venue).now_ms()
        budget.roll(now_ms, self._clock.at(venue).error_ms)
        arrives_ms = self._arrives_ms(venue, now_ms)
        set_aside = budget.nothing_aside()
        waiting, budget.waiting = budget.waiting, []
        now = self._clock.monotonic()
        for waiter in waiting:
            if waiter.future.done():
                continue
            if budget.closed(venue, waiter.endpoint, now) is None and budget.take(
                waiter.priority, waiter.endpoint, set_aside, now, arrives_ms
            ):
                waiter.future.set_result(None)
                budget.leaving += 1
            else:
                budget.waiting.append(waiter)
        if budget.waiting:
            self._wake_in(venue, budget, self._changes_in_s(venue, budget))

    def _wake_in(self, venue: VenueId, budget: VenueBudget, wait_s: float) -> None:
        """See that the waiters are served then; one waker at a time, which an earlier moment replaces."""
        wakes_at = self._clock.monotonic() + wait_s
        if budget.waker is not None and not budget.waker.done():
            if budget.wakes_at <= wakes_at:
                return
            budget.waker.cancel()
        budget.wakes_at = wakes_at
        budget.waker = asyncio.get_running_loop().create_task(
            self._wake(venue, budget, wait_s), name=f"rate budget of {venue}"
        )
        budget.waker.add_done_callback(lambda task: self._woken(venue, budget, task))

    async def _wake(self, venue: VenueId, budget: VenueBudget, wait_s: float) -> None:
        """Serve the waiters each time a window has more room."""
        while budget.waiting:
            await self._clock.sleep(wait_s)
            budget.wakes_at = -inf  # so that serving starts no other waker
            self._serve(venue, budget)
            wait_s = self._changes_in_s(venue, budget)
            budget.wakes_at = self._clock.monotonic() + wait_s

    def _woken(self, venue: VenueId, budget: VenueBudget, task: "asyncio.Task[None]") -> None:
        """Tell of a waker that died, and let nobody wait for it: the next one to wait starts another."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        task.get_loop().call_exception_handler({"message": f"{task.get_name()} died", "exception": error, "task": task})
        waiting, budget.waiting = budget.waiting, []
        for waiter in waiting:
            if not waiter.future.done():
                waiter.future.set_exception(VenueUnreachable(f"the rate budget of {venue} failed: {error!r}"))

    async def close(self) -> None:
        """End the wakers; waiters are cancelled."""
        for budget in self._venues.values():
            if budget.waker is not None:
                budget.waker.cancel()
            for waiter in budget.waiting:
                waiter.future.cancel()


def _count(headers: dict[str, str], name: str) -> int | None:
    """The number in a header, its name in whatever case; None where there is none."""
    text = headers.get(name.lower(), "") if name else ""
    return int(text) if text.isascii() and text.isdigit() else None
