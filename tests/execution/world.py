"""The real execution pipeline over a real SQLite journal, with a venue in memory and time that takes none."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.execution.ack_first import AckFirstVenue
from tests.execution.fakes import BINANCE, BTC, FakeVenue, MiddleRandom, VirtualClock
from tests.execution.virtual_time import ProcessClock
from tradingd.app.compose import Execution, build_execution
from tradingd.bus import Bus
from tradingd.config import load_settings
from tradingd.domain.errors import JournalError, VenueError
from tradingd.domain.events import Event, IncidentRaised, IntentDenied, OrderChanged, VenueState
from tradingd.domain.ids import ClientOrderId, DecisionKey, IntentId, Purpose, StrategyId, make_epoch
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import CancelOrders, Enter, Exit, Protect, Side
from tradingd.domain.orders import Order
from tradingd.domain.records import BootRecord, IntentRecord, Record, Recovered
from tradingd.execution.rate_budget import RatePlan
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.feeds.account_feed import AccountFeed
from tradingd.journal.opening import open_inline
from tradingd.journal.spool import Spool
from tradingd.journal.store import InlineStore

TREND = StrategyId("trend")
CONFIG = """
[daemon]
speed = 1
[venues.binance]
leverage = 5
[risk]
max_position_notional_usdt = 1000000
{risk}
[execution]
{execution}
[strategies.trend]
instruments = ["BTC/USDT:USDT@binance", "ETH/USDT:USDT@binance"]
timeframe = "1m"
hold_candles = {hold}
"""
both_acks = pytest.mark.parametrize(
    "make_world", [pytest.param(False, id="checks-first"), pytest.param(True, id="acks-first")], indirect=True
)
"""Runs a test on a venue that checks before it answers, and on one that answers before."""
WIDE = RatePlan(
    windows=(("weight", 60_000, 100_000, "x-used", False),),
    weights={},
    order_endpoints=frozenset(),
)


class BreakableStore:
    """The real store; while `broken` no commit succeeds, as on a full disk."""

    def __init__(self, inner: InlineStore) -> None:
        self.inner = inner
        self.broken = False
        self.delay_s = 0.0
        self._queue: deque[tuple[Sequence[Record], bool, asyncio.Future[None]]] = deque()

    def submit(
        self, records: Sequence[Record], *, durable: bool = True, applied: Callable[[], None] | None = None
    ) -> "asyncio.Future[None]":
        loop = asyncio.get_running_loop()
        if self.broken:
            future: asyncio.Future[None] = loop.create_future()
            future.set_exception(JournalError("database or disk is full"))
            return future
        if not self.delay_s:
            return self.inner.submit(records, durable=durable)
        later: asyncio.Future[None] = loop.create_future()
        self._queue.append((records, durable, later))
        loop.call_later(self.delay_s, self._commit)
        return later

    def _commit(self) -> None:
        records, durable, later = self._queue.popleft()
        self.inner.submit_now(records, durable=durable)
        if not later.done():
            later.set_result(None)

    async def check_writable(self) -> None:
        if self.broken:
            raise JournalError("database or disk is full")
        await self.inner.check_writable()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class World:
    """One run after another on one journal and one venue. `boot` begins a run, `crash` ends it as SIGKILL does."""

    def __init__(
        self,
        directory: Path,
        *,
        hold: int = 0,
        risk: str = "",
        execution: str = "",
        plan: RatePlan = WIDE,
        acks_first: bool = False,
    ):
        (directory / "tradingd.toml").write_text(CONFIG.format(hold=hold, risk=risk, execution=execution))
        self.settings = load_settings(directory / "tradingd.toml", {})
        self.path = directory / "journal.db"
        self._reader: sqlite3.Connection | None = None
        self.spool = Spool(directory / "journal.db.spool")
        self.clock = VirtualClock()
        self.venue: Any = AckFirstVenue(self.clock) if acks_first else FakeVenue(self.clock)
        self.plan = plan
        self.boots = 0
        self.events: list[Event] = []
        self.faults: list[BaseException] = []
        self.intents = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self.execution: Execution
        self.store: BreakableStore
        self.bus: Bus
        self.limiter: RateLimiter
        self.recovered: Recovered

    # --- runs -----------------------------------------------------------------------------------------------------

    async def boot(self, *, ready: bool = True) -> "World":
        """Read the journal, put everything together as the daemon does, recover, open the lanes."""
        self.boots += 1
        inner = open_inline(self.path, mode="sim", now_ms=self.clock.now_ms())
        await self.spool.take_in(inner, self.clock.now_ms())
        self.store = BreakableStore(inner)
        self.recovered = await inner.recover(self.clock.now_ms())
        self.bus = Bus(lambda event, error: self.faults.append(error))
        process = ProcessClock(self.clock)
        self.limiter = RateLimiter(process)
        self.limiter.add_venue(BINANCE, self.plan)
        for ban in self.recovered.bans:
            self.limiter.restore(ban)
        epoch = make_epoch(self.clock.now_ms(), f"{self.boots:03}")
        self.execution = build_execution(
            self.settings,
            {BINANCE: self.venue},
            self.limiter,
            self.store,
            self.bus,
            process,
            MiddleRandom(),
            epoch,
            self.recovered,
            self.spool.append,
        )
        for event_type in Event.__args__:
            self.bus.subscribe(event_type, self.events.append)
        watch = _NoWatch()
        self.venue.sink = AccountFeed(self.execution.recorder, {}, watch, self.bus, lambda candle: None)
        await self.store.submit((BootRecord(epoch, self.clock.now_ms(), "sim", "0", 1, ""),))
        self.execution.idempotency.doubt_submitted()
        self.execution.state.instruments.update(self.venue.instruments)
        self._tasks.append(asyncio.create_task(self._tick(), name="tick"))
        if ready:
            await self.recover()
        return self

    async def recover(self) -> None:
        """What VenueSession does: reconcile, take crashed intents up, open the lanes, READY."""
        execution = self.execution
        execution.reconciler.begin_history(BINANCE, self.recovered.flags)
        await self.reconcile()
        records = execution.pipeline.resume_intents(self.recovered.open_intents)
        if records:
            execution.recorder.commit(records)
        execution.pipeline.open_lanes(BINANCE)
        execution.router.mark(BINANCE, VenueState.READY, "reconciled")
        await asyncio.sleep(0.2)

    async def reconcile(self) -> None:
        """As often as a session would: readings that contradict the journal must first be old enough to be believed."""
        for _ in range(20):
            try:
                return await self.execution.reconciler.reconcile(BINANCE)
            except VenueError as error:
                refused = error
                await self.clock.sleep(1.0)
        raise refused

    async def _tick(self) -> None:
        while True:
            await self.clock.sleep(0.1)
            await self.execution.pipeline.tick()

    async def crash(self) -> None:
        """Nothing of this run acts any more; the venue goes on."""
        self.venue.sink = None
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self.store.inner.close_now()

    async def restart(self) -> "World":
        """SIGKILL, and a new run on the same journal."""
        await self.crash()
        return await self.boot()

    # --- acting ---------------------------------------------------------------------------------------------------

    def submit(
        self, intent: Enter | Exit | Protect | CancelOrders, *, late: bool = False, cause_ms: int | None = None
    ) -> IntentId:
        """A strategy's intent, its record committed as the host does."""
        self.intents += 1
        now_ms = self.clock.now_ms()
        kind = {Enter: "enter", Exit: "exit", Protect: "protect", CancelOrders: "cancel_orders"}[type(intent)]
        record = IntentRecord(
            IntentId(f"i{self.intents}"), DecisionKey(f"d{self.intents}"), TREND, intent.instrument, kind, "{}", now_ms
        )
        decided = self.store.submit((record,), durable=False)
        self.execution.pipeline.submit_intent(
            record, intent, decided, late=late, cause_ms=now_ms if cause_ms is None else cause_ms
        )
        return record.intent_id

    def enter(self, side: Side = Side.BUY, instrument: InstrumentId = BTC, **fields: Any) -> IntentId:
        """An entry of 0.1 with a stop 2 % away, unless said otherwise."""
        stop = Decimal(49_000) if side is Side.BUY else Decimal(51_000)
        if not {"quantity", "notional", "risk"} & set(fields):
            fields["quantity"] = Decimal("0.1")
        return self.submit(Enter(instrument, side, **{"stop_loss": stop, **fields}))

    def exit(self, instrument: InstrumentId = BTC) -> IntentId:
        return self.submit(Exit(instrument, "test"))

    def protect(self, instrument: InstrumentId = BTC, **levels: Any) -> IntentId:
        return self.submit(Protect(instrument, **levels))

    async def open_position(self, side: Side = Side.BUY, **fields: Any) -> None:
        """Enter, and wait until it is covered and converged."""
        self.enter(side, **fields)
        await self.until(lambda: self.is_covered() and self.execution.reconciler.check(BINANCE) is None)

    async def close_position(self) -> None:
        """Exit, and wait until flat, swept and converged."""
        self.exit()
        await self.until_flat()

    async def until_flat(self, limit_s: float = 30) -> None:
        await self.until(
            lambda: (
                not self.venue.positions.get(BTC)
                and not self.held()
                and not self.execution.exits.goals
                and not self.venue.open_now()
                and self.execution.reconciler.check(BINANCE) is None
            ),
            limit_s,
        )
        await asyncio.sleep(0.1)

    async def until(self, condition: Any, limit_s: float = 30) -> float:
        """Wait until something is so; returns the seconds that it took."""
        began = self.clock.monotonic()
        while not condition():
            if self.clock.monotonic() - began > limit_s:
                raise AssertionError(
                    f"not so after {limit_s} s; incidents: {self.incidents()}; denied: {self.denials()}"
                )
            await asyncio.sleep(0.005)
        return self.clock.monotonic() - began

    async def naked(self) -> float:
        """Wait for a position; when it began to be so."""
        await self.until(lambda: self.venue.positions.get(BTC))
        return self.clock.monotonic()

    # --- looking --------------------------------------------------------------------------------------------------

    def held(self, instrument: InstrumentId = BTC) -> Decimal:
        return self.execution.state.expected_quantity(instrument)

    def is_covered(self, instrument: InstrumentId = BTC) -> bool:
        """Whether a position is held and a stop of ours stands behind it at the venue."""
        stops = [each for each in self.venue.open_now(instrument) if each.trigger_price is not None]
        levels = self.venue.state_protection
        stands = bool(stops) if levels is None else levels.carried.get(instrument, (None,))[0] is not None
        return self.held(instrument) != 0 and stands and self.execution.protection.is_covered(instrument)

    def sent(self, purpose: Purpose) -> list[Any]:
        return [request for request in self.venue.submitted if request.purpose is purpose]

    def order(self, client_order_id: str) -> Order:
        return self.execution.state.orders[ClientOrderId(client_order_id)]

    def last(self, purpose: Purpose) -> Order:
        """Our order behind the last request of a purpose."""
        return self.order(self.sent(purpose)[-1].client_order_id)

    def incidents(self) -> list[str]:
        return [event.kind for event in self.events if isinstance(event, IncidentRaised)]

    def denials(self) -> list[str]:
        return [event.denial.reason.value for event in self.events if isinstance(event, IntentDenied)]

    def changes(self, client_order_id: str) -> list[str]:
        return [
            event.order.status.value
            for event in self.events
            if isinstance(event, OrderChanged) and event.order.client_order_id == client_order_id
        ]

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What a second connection reads: committed facts only. It stays open: `until` asks 200 times a second."""
        if self._reader is None:
            self._reader = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        return self._reader.execute(sql, parameters).fetchall()

    def close_reader(self) -> None:
        """Let go of the journal; whoever looks again opens it again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def outcome(self, intent_id: IntentId) -> tuple[Any, ...]:
        """(outcome, reason) of an intent in the journal."""
        (row,) = self.rows("SELECT outcome, reason FROM intents WHERE intent_id = ?", intent_id)
        return row

    async def outcome_of(self, intent_id: IntentId, limit_s: float = 30) -> tuple[Any, ...]:
        """The outcome, once it has one."""
        await self.until(lambda: self.outcome(intent_id)[0] is not None, limit_s)
        return self.outcome(intent_id)


class _NoWatch:
    """The streams are somebody else's business here."""

    def on_alive(self, stream: str) -> None:
        return

    def on_disconnect(self, stream: str, reason: str) -> None:
        return

    def on_unreadable(self, stream: str, reason: str) -> None:
        return
