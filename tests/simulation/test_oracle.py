"""The oracle is not blind: each component replaced by a pass-through, and each planted bug, turns it red."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.simulation.worlds import broken, scripted, verdict
from tradingd.domain.orders import OrderStatus
from tradingd.execution.balance_reconciler import BalanceReconciler
from tradingd.execution.exchange_router import ExchangeRouter
from tradingd.execution.hold_period_guard import HoldPeriodGuard
from tradingd.execution.idempotency_manager import IdempotencyManager
from tradingd.execution.leftover_sweeper import LeftoverSweeper
from tradingd.execution.order_router import EntryDraft, OrderRouter
from tradingd.execution.protection import Protection
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.execution.recorder import Recorder
from tradingd.execution.retry_policy import RetryPolicy
from tradingd.execution.risk_guard import RiskGuard
from tradingd.ports import Approved, Priority
from tradingd.simulation.dialects import CREATES
from tradingd.simulation.faults import Fate, FaultPlan, Scheduled
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.world import World
from tradingd.venues.ccxt_venue import CcxtVenue

MINUTE_US = 60 * SECOND_US
LINES = "1 buy 0.02 0.02; 3 exit; 4 sell 0.02 0.02; 6 exit"


def play(
    directory: Path, *, entries: int = 2, script: Callable[[World], None] = lambda world: None, **options: Any
) -> set[str]:
    """What is broken after nine minutes of the script; `script` sets the faults."""
    directory.mkdir(exist_ok=True)
    world = scripted(directory, options.pop("lines", LINES), hold=options.pop("hold", 0), **options)
    try:
        world.start()
        script(world)
        world.run_to(9 * MINUTE_US)
        return broken(verdict(world, entries=entries))
    finally:
        world.close()


def first_create(fate: Fate) -> Callable[[World], None]:
    """A fault for the first order that is sent, and for nothing else."""

    def script(world: World) -> None:
        hit: list[int] = []

        def decide(now_us: int, method: str, path: str) -> Fate | None:
            if f"{method} {path}" in CREATES and not hit:
                hit.append(now_us)
                return fate
            return None

        world.plan.script = decide

    return script


LATE = first_create(Fate("late_short", out_us=round(2.6 * SECOND_US)))
"""The first entry arrives after the daemon has stopped waiting, and within its receive window."""

RESET = first_create(Fate("reset_after"))
LOST = first_create(Fate("lose_reply"))


def outage(world: World) -> None:
    world.run_to(round(2.5 * MINUTE_US))
    world.apply(Scheduled(world.now_us, "outage", 20 * SECOND_US))
    until_us = world.plan.outage_until_us
    world.plan.script = lambda now_us, method, path: Fate("refuse") if now_us < until_us else None


def death(world: World) -> None:
    world.run_to(round(1.5 * MINUTE_US))
    world.crash()
    world.run_for(4 * 60)
    world.start()


DEATH: dict[str, Any] = {"lines": "1 sell 0.0012 0.05; 8 exit", "entries": 1}
"""The stop fires while nobody lives."""


def killed_bare(world: World) -> None:
    """Killed when its entry has filled and its stop has not got through; the next run may send what it likes."""
    world.plan.script = lambda now_us, method, path: (
        Fate("refuse") if method == "POST" and path == "/fapi/v1/algoOrder" else None
    )
    while not any(each.is_create and each.status == 200 for each in world.network.log.requests):
        world.run_for(0.1)
    world.run_for(0.5)
    world.crash()
    world.plan.script = lambda now_us, method, path: None
    world.run_for(10)
    world.start()


def ban(world: World) -> None:
    world.run_to(round(2.9 * MINUTE_US))
    world.apply(Scheduled(world.now_us, "ban", 20 * SECOND_US))


def duplicates() -> FaultPlan:
    plan = FaultPlan("1", heal_us=9 * MINUTE_US)
    plan.frame_rates = {"duplicate_frame": 1.0}
    return plan


# --- the same worlds with the daemon as it is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (lambda world: None, {"lag_factor": 6.0}),
        (LATE, {}),
        (RESET, {}),
        (LOST, {}),
        (outage, {}),
        (ban, {}),
        (death, DEATH),
        (lambda world: None, {"plan": duplicates()}),
        (lambda world: None, {"hold": 3, "entries": 1}),
        (lambda world: None, {"notional": "60000", "entries": 0}),
    ],
    ids=["plain", "late", "reset", "lost", "outage", "ban", "death", "duplicates", "hold", "too large"],
)
def test_the_daemon_as_it_is_passes(tmp_path: Path, script: Callable[[World], None], options: dict[str, Any]) -> None:
    assert play(tmp_path, script=script, **options) == set()


# --- IdempotencyManager -----------------------------------------------------------------------------------------------


def test_sending_before_the_commit_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Recorder.add_order

    def add_later(self: Recorder, order: Any, records: Any, applied: Any = None) -> "asyncio.Future[None]":
        submitted = msgspec.structs.replace(order, status=OrderStatus.SUBMITTED)
        self._state.put_order(submitted)
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, write, self, order, records)
        done: asyncio.Future[None] = loop.create_future()
        done.set_result(None)
        return done

    monkeypatch.setattr(Recorder, "add_order", add_later)
    assert "P2" in play(tmp_path)


def test_a_verdict_without_the_fence_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IdempotencyManager, "fence_ms", lambda self, order, venue: 0)
    assert "I9" in play(tmp_path, script=LATE)


def test_an_id_that_is_used_twice_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = IdempotencyManager.next_id

    def same(self: IdempotencyManager, purpose: Any) -> Any:
        self._sequence = 0
        return make(self, purpose)

    monkeypatch.setattr(IdempotencyManager, "next_id", same)
    assert "P1" in play(tmp_path)


# --- the other six ----------------------------------------------------------------------------------------------------


def test_a_risk_guard_that_lets_everything_pass_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RiskGuard, "approve_entry", lambda self, draft, view: Approved(draft.request, ()))
    assert "limits" in play(tmp_path / "size", notional="60000", entries=0)
    assert "limits" in play(tmp_path / "stop", lines="1 buy - 0.02; 3 exit", entries=0)


def test_an_order_router_that_rounds_nothing_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = OrderRouter.entry

    def unrounded(self: OrderRouter, intent: Any, rules: Any, mark: Any, equity: Any) -> Any:
        draft = exact(self, intent, rules, mark, equity)
        if not isinstance(draft, EntryDraft):
            return draft
        request = msgspec.structs.replace(draft.request, quantity=intent.notional / draft.price)
        return msgspec.structs.replace(draft, request=request)

    monkeypatch.setattr(OrderRouter, "entry", unrounded)
    assert "done" in play(tmp_path / "guarded")
    monkeypatch.setattr(RiskGuard, "check_filters", lambda self, request, rules: None)
    assert "P6" in play(tmp_path / "bare")


def test_an_exchange_router_that_only_waits_for_the_reply_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def submit(self: ExchangeRouter, clearance: Any, approved: Any, priority: Any, timeout_s: float) -> Any:
        order = clearance.order
        return await self.venue(order.instrument).submit(approved, order.signed_ms, priority, clearance)

    monkeypatch.setattr(ExchangeRouter, "submit", submit)
    assert "P5" in play(tmp_path, script=LOST)


def test_a_create_that_is_sent_again_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = CcxtVenue.submit

    async def twice(self: CcxtVenue, approved: Any, signed_ms: int, priority: Any, clear: Any) -> Any:
        outcome = await once(self, approved, signed_ms, priority, clear)
        return outcome if outcome.order or not outcome.sent else await once(self, approved, signed_ms, priority)

    monkeypatch.setattr(CcxtVenue, "submit", twice)
    assert "P1" in play(tmp_path, script=RESET)


def test_a_retry_policy_that_never_waits_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RetryPolicy, "delay_s", lambda self, attempt: 0.0)
    assert "hammering" in play(tmp_path, script=outage)


def test_a_rate_limiter_that_lets_everything_pass_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def acquire(self: RateLimiter, venue: Any, endpoint: str, priority: Any) -> None:
        return None

    monkeypatch.setattr(RateLimiter, "acquire", acquire)
    assert "P13" in play(tmp_path, script=ban)


def test_a_reconciler_that_lets_entries_pass_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def converge(self: BalanceReconciler, venue: Any) -> None:
        return None

    monkeypatch.setattr(BalanceReconciler, "check", lambda self, venue: None)
    monkeypatch.setattr(BalanceReconciler, "converge", converge)
    monkeypatch.setattr("tradingd.app.core.BALANCE_S", 3_600.0)  # the readings of the timers would hide it
    config = "[execution]\nreconcile_interval_s = 3600"
    assert "P10/P17" in play(tmp_path, config=config)


def test_a_start_that_leaves_a_bare_position_waiting_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert play(tmp_path / "as it is", script=killed_bare) == set()
    reconcile = BalanceReconciler.reconcile

    async def slow(self: BalanceReconciler, venue: Any, *rest: Any) -> None:
        await self._clock.sleep(7)
        await reconcile(self, venue, *rest)

    monkeypatch.setattr(BalanceReconciler, "reconcile", slow)
    assert "P5" in play(tmp_path / "slow", script=killed_bare)


def test_a_reconciler_that_agrees_with_everything_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def reconcile(self: BalanceReconciler, venue: Any, on_known: Any = None) -> None:
        await self.read(venue, Priority.RECONCILE)

    async def book_missing(self: BalanceReconciler, instrument: Any) -> int:
        return 0

    monkeypatch.setattr(BalanceReconciler, "reconcile", reconcile)
    monkeypatch.setattr(BalanceReconciler, "book_missing", book_missing)
    assert "P8" in play(tmp_path, script=death, **DEATH)


# --- guards beside the seven ------------------------------------------------------------------------------------------


def test_a_hold_period_guard_that_lets_everything_pass_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HoldPeriodGuard, "check", lambda self, instrument, now_ms: None)
    assert "P4" in play(tmp_path, hold=3, entries=1)


def test_a_sweeper_that_finds_nothing_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sweep(self: LeftoverSweeper, instrument: Any, priority: Any) -> bool:
        return True

    monkeypatch.setattr(LeftoverSweeper, "sweep", sweep)
    assert "P7" in play(tmp_path)


def test_a_position_without_its_stop_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def step(self: Protection, instrument: Any) -> None:
        return None

    monkeypatch.setattr(Protection, "step", step)
    assert "P5" in play(tmp_path)


def test_a_fill_that_is_booked_twice_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Recorder.apply_fill

    def again(self: Recorder, fill: Any, source: str) -> bool:
        self._state.seen_trades.pop(fill.instrument, None)
        return book(self, fill, source)

    monkeypatch.setattr(Recorder, "apply_fill", again)
    assert play(tmp_path, plan=duplicates()) != set()
