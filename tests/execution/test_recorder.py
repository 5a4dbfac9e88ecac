"""The one writer of order facts: whatever comes, in any order, however often (P8); durable before visible."""

import asyncio
import shutil
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.execution.fakes import BTC, START_MS, VirtualClock
from tests.execution.virtual_time import VirtualLoop, in_virtual_time
from tests.execution.world import BreakableStore
from tradingd.bus import Bus
from tradingd.domain.account import VenueOrder
from tradingd.domain.events import Filled, IncidentRaised, OrderChanged
from tradingd.domain.ids import ClientOrderId, Purpose, StrategyId, TradeId, VenueOrderId
from tradingd.domain.intents import Side
from tradingd.domain.orders import FINAL, Fill, Order, OrderEvent, OrderKind, OrderRequest, OrderStatus
from tradingd.execution.recorder import Recorder
from tradingd.execution.state import TradingState
from tradingd.journal.opening import open_inline

S, E = OrderStatus, OrderEvent
KEY = ClientOrderId("td-lmnopqrsabc-1e")
WHOLE = Decimal("0.1")
PARTS = tuple(Decimal(part) for part in ("0.02", "0.03", "0.05"))


class Null(BreakableStore):
    """A store that has always just committed: for properties of what is believed in memory."""

    def __init__(self) -> None:
        return

    def submit(self, records, *, durable=True, applied=None):
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


class Bench:
    """A recorder with one submitted order."""

    def __init__(self, store=None, purpose: Purpose = Purpose.ENTRY) -> None:
        self.clock = VirtualClock()
        self.state = TradingState()
        self.faults: list[BaseException] = []
        self.bus = Bus(lambda event, error: self.faults.append(error))
        self.seen: list[object] = []
        for event_type in (OrderChanged, Filled, IncidentRaised):
            self.bus.subscribe(event_type, self.seen.append)
        self.store = store or Null()
        self.facts = 0
        self.recorder = Recorder(self.state, self.store, self.bus, self.clock, "td", self.on_fact)
        request = OrderRequest(KEY, BTC, purpose, Side.BUY, OrderKind.LIMIT, WHOLE, Decimal(50_000))
        order = Order(request, StrategyId("trend"), None, created_ms=START_MS, signed_ms=START_MS)
        self.recorder.add_order(order, ())

    def on_fact(self, instrument) -> None:
        self.facts += 1

    @property
    def order(self) -> Order:
        return self.state.orders[KEY]

    def show(self, status: OrderStatus, filled: Decimal = Decimal(0), source: str = "stream") -> None:
        self.recorder.apply_shown(
            VenueOrder(
                BTC,
                "plain",
                VenueOrderId("v1"),
                KEY,
                status,
                Side.BUY,
                OrderKind.LIMIT,
                WHOLE,
                filled,
                Decimal(50_000) if filled else None,
            ),
            source,
        )

    def fill(self, number: int, source: str = "stream") -> bool:
        return self.recorder.apply_fill(
            Fill(
                BTC,
                TradeId(f"t{number}"),
                VenueOrderId("v1"),
                KEY,
                Side.BUY,
                Decimal(50_000 + number),
                PARTS[number],
                Decimal("0.1"),
                "USDT",
                Decimal(0),
                False,
                START_MS + number,
            ),
            source,
        )

    def incidents(self) -> list[str]:
        return [event.kind for event in self.seen if isinstance(event, IncidentRaised)]


class OneOrder(RuleBasedStateMachine):
    """Facts of one order in any order and number, against what must be true of it whatever came."""

    @initialize()
    def begin(self):
        self.loop = VirtualLoop()
        self.bench = self.run(self._make)
        self.booked: set[int] = set()
        self.reported = Decimal(0)
        self.last = (S.SUBMITTED, Decimal(0), Decimal(0))

    async def _make(self):
        return Bench()

    def run(self, what, *arguments):
        async def call():
            result = what(*arguments)
            result = await result if asyncio.iscoroutine(result) else result
            await asyncio.sleep(0)
            return result

        return self.loop.run_until_complete(call())

    def teardown(self):
        if hasattr(self, "loop"):
            self.loop.close()

    @rule(number=st.integers(0, 2), source=st.sampled_from(["stream", "lookup"]))
    def a_fill(self, number, source):
        new = self.run(self.bench.fill, number, source)
        assert new == (number not in self.booked)
        self.booked.add(number)

    @rule(status=st.sampled_from([S.ACCEPTED, S.CANCELED, S.EXPIRED]), source=st.sampled_from(["stream", "reply"]))
    def it_is_shown(self, status, source):
        self.run(self.bench.show, status, self.reported, source)

    @rule(parts=st.integers(1, 3), late=st.booleans())
    def it_is_shown_as_filled(self, parts, late):
        filled = sum(PARTS[:parts], Decimal(0))
        if not late:
            self.reported = max(self.reported, filled)
        else:
            filled = min(filled, self.reported) or filled
            self.reported = max(self.reported, filled)
        self.run(self.bench.show, S.FILLED if filled == WHOLE else S.PARTIALLY_FILLED, filled)

    @rule()
    def its_answer_is_lost(self):
        self.run(lambda: self.bench.recorder.apply_event(KEY, E.TIME_OUT, "local"))

    @rule()
    def it_is_refused(self):
        self.run(lambda: self.bench.recorder.apply_event(KEY, E.REJECT, "reply", code="-1"))

    @rule()
    def it_is_not_found(self):
        self.run(lambda: self.bench.recorder.apply_event(KEY, E.NOT_FOUND, "lookup"))

    @invariant()
    def quantities_only_grow_and_are_those_that_came(self):
        if not hasattr(self, "bench"):
            return
        order = self.bench.order
        booked = sum((PARTS[number] for number in self.booked), Decimal(0))
        assert order.booked_quantity == booked
        assert order.filled_quantity == max(booked, self.reported)
        assert self.bench.state.position(BTC).quantity == booked
        assert self.bench.state.expected_quantity(BTC) == max(booked, self.reported)
        status, filled, was_booked = self.last
        assert order.filled_quantity >= filled
        assert order.booked_quantity >= was_booked
        if status in FINAL - {S.REJECTED}:
            assert order.status in FINAL
        if order.booked_quantity == WHOLE:
            assert order.status is S.FILLED
        assert (KEY in self.bench.state.open_ids) == (order.status not in FINAL)
        assert self.bench.faults == []
        self.last = (order.status, order.filled_quantity, order.booked_quantity)


TestOneOrder = OneOrder.TestCase
TestOneOrder.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)

FACTS = ("accepted", "part", "fill 0", "fill 1", "fill 2", "filled")


def tell(bench: Bench, fact: str) -> None:
    if fact.startswith("fill "):
        bench.fill(int(fact[-1]))
    elif fact == "accepted":
        bench.show(S.ACCEPTED)
    else:
        bench.show(S.FILLED if fact == "filled" else S.PARTIALLY_FILLED, WHOLE if fact == "filled" else PARTS[0])


@pytest.mark.fault(19, 20)
@settings(max_examples=100, deadline=None)
@given(st.permutations(FACTS), st.lists(st.sampled_from(FACTS), max_size=6))
@in_virtual_time
async def test_any_order_of_the_same_facts_with_any_repetition_ends_the_same(facts, again):
    bench = Bench()
    for fact in (*facts, *again):
        tell(bench, fact)
    order = bench.order
    assert (order.status, order.booked_quantity, order.filled_quantity) == (S.FILLED, WHOLE, WHOLE)
    position = bench.state.position(BTC)
    assert position.quantity == WHOLE
    expected = sum(part * (50_000 + number) for number, part in enumerate(PARTS)) / WHOLE
    assert abs((position.entry_price or 0) - expected) < Decimal("1e-18")
    assert abs((order.average_price or 0) - expected) < Decimal("1e-18")
    assert bench.incidents() == []


@pytest.mark.fault(19)
@pytest.mark.parametrize("facts", [("accepted",), ("part", "fill 0"), ("filled", "fill 0", "fill 1", "fill 2")])
@in_virtual_time
async def test_a_fact_told_again_changes_nothing_and_tells_nobody(facts):
    bench = Bench()
    for fact in facts:
        tell(bench, fact)
    await asyncio.sleep(0.01)
    order, seen, bench.facts = bench.order, len(bench.seen), 0
    for fact in facts:
        tell(bench, fact)
    await asyncio.sleep(0.01)
    assert bench.order == order
    assert bench.seen[seen:] == []


@pytest.mark.fault(25)
@pytest.mark.parametrize("end", [S.CANCELED, S.EXPIRED])
@in_virtual_time
async def test_an_old_picture_of_an_order_that_has_ended_is_no_late_fill(end):
    bench = Bench()
    bench.show(S.PARTIALLY_FILLED, PARTS[0])
    bench.fill(0)
    bench.show(end, PARTS[0])
    bench.show(S.PARTIALLY_FILLED, PARTS[0], "lookup")
    await asyncio.sleep(0.01)
    assert bench.order.status is end
    assert bench.incidents() == []


@pytest.mark.parametrize("end", [S.CANCELED, S.EXPIRED, S.REJECTED])
@in_virtual_time
async def test_a_fill_after_the_end_wins_and_is_an_incident(end):
    bench = Bench()
    bench.show(end)
    bench.fill(0)
    await asyncio.sleep(0.01)
    assert bench.state.position(BTC).quantity == PARTS[0]
    assert "late_fill" in bench.incidents()


@in_virtual_time
async def test_what_cannot_be_is_an_incident_and_changes_nothing():
    bench = Bench()
    bench.show(S.FILLED, WHOLE)
    for number in range(3):
        bench.fill(number)
    order = bench.order
    bench.recorder.apply_event(KEY, E.REJECT, "reply")
    bench.recorder.apply_event(KEY, E.NOT_FOUND, "lookup")
    await asyncio.sleep(0.01)
    assert bench.order == order
    assert bench.incidents().count("illegal_order_event") == 2


# --- durable before visible ---


@pytest.fixture
def journal(tmp_path, empty_journal):
    path = tmp_path / "journal.db"
    shutil.copy(empty_journal, path)
    return path


def statuses(path: Path) -> list[str]:
    store = open_inline_reader(path)
    try:
        return [row[0] for row in store.execute("SELECT after FROM order_events ORDER BY rowid")]
    finally:
        store.close()


def open_inline_reader(path: Path):
    import sqlite3

    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


@in_virtual_time
async def test_nobody_hears_of_a_fact_before_others_can_read_it(journal):
    store = BreakableStore(open_inline(journal, mode="sim", now_ms=START_MS))
    store.delay_s = 0.5
    bench = Bench(store)
    heard: list[tuple[str, str]] = []
    bench.bus.subscribe(OrderChanged, lambda event: heard.append((event.order.status.value, statuses(journal)[-1])))
    bench.show(S.ACCEPTED)
    assert bench.order.status is S.ACCEPTED
    assert bench.facts == 1
    await asyncio.sleep(0.4)
    assert heard == []
    assert bench.seen == []
    await asyncio.sleep(0.2)
    assert [status for status, _ in heard] == ["SUBMITTED", "ACCEPTED"]
    assert all(told in ("SUBMITTED", "ACCEPTED") for _, told in heard)
    store.inner.close_now()


@in_virtual_time
async def test_facts_held_while_the_journal_fails_are_saved_in_order_and_told_only_then(journal):
    store = BreakableStore(open_inline(journal, mode="sim", now_ms=START_MS))
    bench = Bench(store)
    await asyncio.sleep(0.01)
    bench.seen.clear()
    store.broken = True
    bench.show(S.ACCEPTED)
    await asyncio.sleep(0.01)
    store.broken = False  # mends itself, but nothing may overtake what is held
    bench.fill(0)
    bench.show(S.CANCELED, PARTS[0])
    await asyncio.sleep(0.01)
    assert [event for event in bench.seen if not isinstance(event, IncidentRaised)] == []
    assert statuses(journal) == ["SUBMITTED"]
    assert [bench.recorder.journal_writable, await bench.recorder.save_held(), bench.recorder.journal_writable] == [
        False,
        True,
        True,
    ]
    assert statuses(journal) == ["SUBMITTED", "ACCEPTED", "PARTIALLY_FILLED", "CANCELED"]
    told = [event.order.status.value for event in bench.seen if isinstance(event, OrderChanged)]
    assert told == ["ACCEPTED", "PARTIALLY_FILLED", "CANCELED"]
    assert bench.incidents() == ["journal_not_writable"]
    store.inner.close_now()


@in_virtual_time
async def test_a_unit_that_fails_while_a_later_one_is_on_its_way_does_not_undo_the_later_one(journal):
    store = BreakableStore(open_inline(journal, mode="sim", now_ms=START_MS))
    bench = Bench(store)
    await asyncio.sleep(0.01)
    store.broken = True
    bench.show(S.ACCEPTED)
    store.broken = False
    bench.show(S.CANCELED)  # handed over before anybody knows that the one before it failed
    await asyncio.sleep(0.01)
    assert await bench.recorder.save_held()
    rows = open_inline_reader(journal)
    assert rows.execute("SELECT status FROM orders").fetchall() == [("CANCELED",)]
    rows.close()
    store.inner.close_now()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(FACTS), min_size=1, max_size=8), st.data())
def test_the_journal_ends_as_memory_whenever_it_fails_and_mends(empty_journal, facts, data):
    broken = data.draw(st.lists(st.booleans(), min_size=len(facts), max_size=len(facts)))

    @in_virtual_time
    async def run(path):
        store = BreakableStore(open_inline(path, mode="sim", now_ms=START_MS))
        bench = Bench(store)
        await asyncio.sleep(0.01)
        for fact, breaks in zip(facts, broken, strict=True):
            store.broken = breaks
            tell(bench, fact)
            await asyncio.sleep(0.01)
            if not breaks:
                await bench.recorder.save_held()
        store.broken = False
        assert await bench.recorder.save_held()
        await asyncio.sleep(0.01)
        stored, held = await store.find_order(KEY), bench.order
        assert (stored.status, stored.filled_quantity, stored.booked_quantity, stored.venue_order_id) == (
            held.status,
            held.filled_quantity,
            held.booked_quantity,
            held.venue_order_id,
        )
        recovered = await store.recover(START_MS)
        assert [position.quantity for position in recovered.positions if position.quantity] == [
            quantity for quantity in [bench.state.position(BTC).quantity] if quantity
        ]
        assert len(recovered.recent_fills) == len(bench.state.seen_trades.get(BTC, ()))
        store.inner.close_now()

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal.db"
        shutil.copy(empty_journal, path)
        run(path)


def sell(bench: Bench, purpose: Purpose, quantity: Decimal | None) -> ClientOrderId:
    """An accepted order that closes."""
    key = ClientOrderId("td-lmnopqrsabc-2x")
    kind = OrderKind.STOP_MARKET if quantity is None else OrderKind.MARKET
    whole = {"close_position": True, "trigger_price": Decimal(49_000)} if quantity is None else {"reduce_only": True}
    request = OrderRequest(key, BTC, purpose, Side.SELL, kind, quantity, **whole)
    bench.state.put_order(Order(request, StrategyId("trend"), None, status=S.ACCEPTED, signed_ms=START_MS))
    return key


def sold(bench: Bench, key: ClientOrderId, number: int, quantity: str) -> None:
    price, fee = Decimal(49_000), Decimal("0.1")
    bench.recorder.apply_fill(
        Fill(BTC, TradeId(f"s{number}"), VenueOrderId("v2"), key, Side.SELL, price, Decimal(quantity), fee, "USDT",
             Decimal(0), False, START_MS + number), "stream")  # fmt: skip


@in_virtual_time
async def test_a_stop_for_the_whole_position_that_sells_more_than_was_booked_is_no_late_fill():
    bench = Bench()
    bench.show(S.FILLED, WHOLE)
    bench.fill(0)
    stop = sell(bench, Purpose.STOP, None)
    sold(bench, stop, 1, "0.02")
    sold(bench, stop, 2, "0.08")
    bench.fill(1)
    bench.fill(2)
    await asyncio.sleep(0.01)
    assert bench.state.position(BTC).is_flat
    assert bench.incidents() == []


@in_virtual_time
async def test_an_exit_whose_fill_is_booked_before_those_of_its_entry_has_turned_nothing():
    bench = Bench()
    bench.show(S.FILLED, WHOLE)
    bench.fill(0)
    sold(bench, sell(bench, Purpose.EXIT, WHOLE), 1, "0.1")
    assert bench.state.position(BTC).quantity == Decimal("-0.08")
    bench.fill(1)
    bench.fill(2)
    await asyncio.sleep(0.01)
    assert bench.state.position(BTC).quantity == 0
    assert bench.incidents() == []


@in_virtual_time
async def test_an_order_of_ours_that_turned_the_position_is_an_incident():
    bench = Bench()
    for number in range(3):
        bench.fill(number)
    sold(bench, sell(bench, Purpose.EXIT, Decimal("0.15")), 1, "0.15")
    await asyncio.sleep(0.01)
    assert bench.incidents() == ["position_flipped"]
