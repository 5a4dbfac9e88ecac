"""The whole of execution before a built-in Bybit, through unmodified ccxt.pro: levels set, moved, put right, fired."""

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.execution.virtual_time import MiddleRandom
from tests.venues.bybit.bench import BTC, BYBIT_ID, BybitBench, mark
from tests.venues.doubles import until
from tests.venues.faulty_proxy import executed_then_gone
from tradingd.app.compose import Execution, build_execution
from tradingd.bus import Bus
from tradingd.config import load_settings
from tradingd.domain.events import Event, Filled, ForeignOrderSeen, IncidentRaised, VenueState
from tradingd.domain.ids import DecisionKey, IntentId, StrategyId, make_epoch
from tradingd.domain.intents import Enter, Exit, Protect, Side
from tradingd.domain.records import BootRecord, IntentRecord
from tradingd.execution.rate_budget import RatePlan
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.feeds.account_feed import AccountFeed
from tradingd.journal.opening import open_inline
from tradingd.journal.reading import Reader, open_reader
from tradingd.ports import Priority, StreamKey
from tradingd.venues.ccxt_venue import CcxtVenue

CONFIG = """
[venues.bybit]
leverage = 5
[risk]
max_position_notional_usdt = 1000000
[strategies.trend]
instruments = ["BTC/USDT:USDT@bybit"]
timeframe = "1m"
hold_candles = 0
"""
WIDE = RatePlan(windows=(("weight", 60_000, 100_000, "x-used", False),), weights={}, order_endpoints=frozenset())


class NoWatch:
    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


class Run:
    """One run of execution on a journal and the venue."""

    def __init__(self, bench: BybitBench, venue: CcxtVenue, path: Path) -> None:
        self.bench, self.venue, self.path = bench, venue, path
        self.events: list[Event] = []
        self.intents = 0
        self.execution: Execution
        self.ticks: asyncio.Task[None]

    async def begin(self) -> "Run":
        clock = self.bench.clock
        self.store = open_inline(self.path / "journal.db", mode="sim", now_ms=clock.now_ms())
        recovered = await self.store.recover(clock.now_ms())
        (self.path / "config.toml").write_text(CONFIG)
        bus, limiter, epoch = (
            Bus(lambda event, error: pytest.fail(repr(error))),
            RateLimiter(clock),
            make_epoch(clock.now_ms(), "abc"),
        )
        limiter.add_venue(BYBIT_ID, WIDE)
        self.execution = build_execution(
            load_settings(self.path / "config.toml", {}), {BYBIT_ID: self.venue}, limiter, self.store, bus, clock,
            MiddleRandom(), epoch, recovered, lambda line: None,
        )  # fmt: skip
        for kind in Event.__args__:
            bus.subscribe(kind, self.events.append)
        await self.store.submit((BootRecord(epoch, clock.now_ms(), "sim", "0", 1, ""),))
        feed = AccountFeed(self.execution.recorder, {}, NoWatch(), bus, lambda candle: None)
        self.venue = self.bench.build()
        await self.venue.open(feed)
        state, pipeline = self.execution.state, self.execution.pipeline
        state.instruments.update(self.venue.instruments)
        await self.venue.watch(StreamKey(BYBIT_ID, "account"))
        self.execution.reconciler.begin_history(BYBIT_ID, recovered.flags)
        await self.execution.reconciler.reconcile(BYBIT_ID)
        pipeline.open_lanes(BYBIT_ID)
        self.execution.router.mark(BYBIT_ID, VenueState.READY, "reconciled")
        self.ticks = asyncio.create_task(self._tick())
        return self

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            await self.execution.pipeline.tick()

    async def end(self) -> None:
        self.ticks.cancel()
        for lane in self.execution.pipeline.lanes.values():
            await lane.stop()
        self.store.close_now()

    def submit(self, intent: Enter | Exit | Protect) -> IntentId:
        self.intents += 1
        now_ms = self.bench.clock.now_ms()
        key, name = DecisionKey(f"d{self.intents}"), IntentId(f"i{self.intents}")
        record = IntentRecord(name, key, StrategyId("trend"), BTC, type(intent).__name__.lower(), "{}", now_ms)
        decided = self.store.submit((record,), durable=False)
        self.execution.pipeline.submit_intent(record, intent, decided, late=False, cause_ms=now_ms)
        return name

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        reader: Reader = open_reader(self.path / "journal.db")
        try:
            return list(reader.query(sql).rows)
        finally:
            reader.close()

    async def until(self, check: Callable[[], Any], limit_s: float = 8.0) -> None:
        async def checked() -> Any:
            return check()

        await until(checked, limit_s)

    async def carries(self) -> tuple[Decimal | None, Decimal | None]:
        assert self.venue.state_protection is not None
        read = await self.venue.state_protection.read(BTC, Priority.PROTECT)
        return read.stop, read.take_profit

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events if isinstance(event, IncidentRaised)]

    def is_covered(self) -> bool:
        return self.execution.protection.has_stop(BTC) and self.execution.state.expected_quantity(BTC) != 0


@pytest.fixture
async def run(bench: BybitBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    monkeypatch.setattr("tradingd.config.rules.VENUES_BUILT", ("binance", "bybit"))
    run = await Run(bench, await bench.open(), tmp_path).begin()
    await asyncio.sleep(0.3)
    yield run
    await run.end()


@pytest.mark.fault(67)
async def test_an_entry_is_protected_moved_put_right_and_closed(run: Run) -> None:
    venue = run.venue
    low, higher, far = await mark(venue, "0.97"), await mark(venue, "0.98"), await mark(venue, "1.05")
    run.submit(Enter(BTC, Side.BUY, quantity=Decimal("0.010"), stop_loss=low, take_profit=far))
    await run.until(run.is_covered)
    moved = run.submit(Protect(BTC, stop_loss=higher))
    await run.until(lambda: run.rows(f"SELECT outcome FROM intents WHERE intent_id = '{moved}'") == [("done",)])
    assert venue.state_protection is not None
    await asyncio.sleep(2.5)
    await venue.state_protection.set(BTC, None, far, Priority.PROTECT)  # a human, at the venue's own page
    await run.until(lambda: "protection_changed" in run.kinds())
    await run.until(run.is_covered)
    await asyncio.sleep(0.5)
    assert await run.carries() == (higher, far)
    assert run.execution.sweeper.foreign.get(BTC, {}) == {}
    assert not [event for event in run.events if isinstance(event, ForeignOrderSeen)]
    run.submit(Exit(BTC, "done"))
    await run.until(lambda: run.execution.state.expected_quantity(BTC) == 0)
    assert {"emergency_close", "stop_not_placed", "foreign_order"}.isdisjoint(run.kinds())


async def test_a_setting_whose_answer_is_lost_is_read_back(run: Run) -> None:
    run.bench.proxy.faults["POST /v5/position/trading-stop"] = executed_then_gone
    run.submit(Enter(BTC, Side.BUY, quantity=Decimal("0.010"), stop_loss=await mark(run.venue, "0.97")))
    await run.until(run.is_covered)
    await run.until(lambda: run.rows("SELECT outcome FROM protection_sets")[0] == ("unknown",))
    assert "emergency_close" not in run.kinds()


async def test_a_level_that_fires_is_told_as_that_and_is_the_strategys(run: Run) -> None:
    near, low = await mark(run.venue, "1.0002"), await mark(run.venue, "0.9998")
    run.submit(Enter(BTC, Side.BUY, quantity=Decimal("0.010"), stop_loss=low, take_profit=near))
    fills: list[Filled] = []

    def closed() -> bool:
        fills[:] = [event for event in run.events if isinstance(event, Filled) and event.position.is_flat]
        return bool(fills)

    await run.until(closed, 150)  # when the market goes there, in real time
    (exit_by, strategy) = run.rows("SELECT exit_by, strategy FROM v_trades")[0]
    assert exit_by in ("stop_loss", "take_profit") and strategy == "trend"
    assert (fills[-1].strategy, fills[-1].fill.reason, fills[-1].order) == ("trend", exit_by, None)
