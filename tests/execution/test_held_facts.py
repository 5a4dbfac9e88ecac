"""Order facts that the journal cannot take: held in order, written again in order, told once; none lost silently."""

import asyncio
import json
import shutil
import sqlite3
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.execution.fakes import BINANCE, BTC, START_MS
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import BreakableStore
from tradingd.bus import Bus
from tradingd.domain.errors import JournalError, JournalUnitRefused
from tradingd.domain.events import IncidentRaised, PositionChanged
from tradingd.domain.ids import Purpose, TradeId, VenueOrderId
from tradingd.domain.intents import Side
from tradingd.domain.numbers import ZERO
from tradingd.domain.orders import Fill, Order, OrderStatus
from tradingd.domain.positions import Position
from tradingd.domain.records import FlagRecord
from tradingd.execution.fact_queue import FactQueue
from tradingd.journal.opening import open_inline, open_journal

S = OrderStatus


def fill_of(number, **changes):
    fill = Fill(
        BTC,
        TradeId(f"t{number}"),
        VenueOrderId("v1"),
        None,
        Side.BUY,
        Decimal(50_000),
        Decimal("0.1"),
        ZERO,
        "USDT",
        ZERO,
        False,
        START_MS + number,
    )
    return msgspec.structs.replace(fill, **changes)


def position_of(quantity, updated_ms):
    return Position(BTC, Decimal(quantity), Decimal(50_000), 1, updated_ms)


def told(position):
    return PositionChanged(position, ZERO, False, str(position.updated_ms))


@pytest.fixture
def journal(tmp_path, empty_journal):
    path = tmp_path / "journal.db"
    shutil.copy(empty_journal, path)
    return path


def rows(path, sql):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


class Bench:
    """A queue of facts before a real journal in a file."""

    def __init__(self, store):
        self.store = store
        self.faults: list[BaseException] = []
        self.heard: list[object] = []
        bus = Bus(lambda event, error: self.faults.append(error))
        for kind in (PositionChanged, IncidentRaised):
            bus.subscribe(kind, self.heard.append)
        self.queue = FactQueue(store, bus)
        self.halts: list[str] = []
        self.queue.on_halt = self.halts.append

    def moments(self):
        return [event.position.updated_ms for event in self.heard if isinstance(event, PositionChanged)]

    def incidents(self):
        return [event.kind for event in self.heard if isinstance(event, IncidentRaised)]


async def test_a_unit_that_was_on_its_way_behind_a_failed_one_is_not_undone_by_it(journal):
    store = await open_journal(journal, mode="sim", now_ms=START_MS)
    await store._on_connection(lambda: store._engine._connection.execute("PRAGMA busy_timeout = 150"))
    bench = Bench(store)
    other = sqlite3.connect(journal, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    first = bench.queue.submit((position_of(1, 1), fill_of(1)), (told(position_of(1, 1)),))
    await asyncio.sleep(0.05)
    second = bench.queue.submit((position_of(0, 2), fill_of(2)), (told(position_of(0, 2)),))
    with pytest.raises(JournalError):
        await first
    other.execute("COMMIT")
    other.close()
    await second
    assert bench.moments() == []  # nobody hears of the second before the first
    assert await bench.queue.save()
    assert rows(journal, "SELECT quantity, updated_ms FROM positions") == [(0.0, 2)]
    assert rows(journal, "SELECT trade_id FROM fills ORDER BY sequence") == [("t2",), ("t1",)]
    assert bench.moments() == [1, 2]
    assert bench.queue.writable
    await store.close()


@in_virtual_time
async def test_what_overtook_is_written_again_in_one_commit_with_what_it_overtook(journal, monkeypatch):
    store = BreakableStore(open_inline(journal, mode="sim", now_ms=START_MS))
    bench = Bench(store)
    store.broken = True
    bench.queue.submit((position_of(1, 1),))
    store.broken = False
    bench.queue.submit((position_of(0, 2),))
    await asyncio.sleep(0.01)
    seen = []
    commit: Any = store.submit

    def watched(records, *, durable=True):
        future = commit(records, durable=durable)
        seen.extend(rows(journal, "SELECT updated_ms FROM positions"))
        return future

    monkeypatch.setattr(store, "submit", watched)
    assert await bench.queue.save()
    assert seen == [(2,)]  # a crash at any moment finds the newer row
    store.inner.close_now()


@in_virtual_time
async def test_facts_written_twice_are_there_once(journal):
    store = open_inline(journal, mode="sim", now_ms=START_MS)
    fill = fill_of(1)
    await store.submit((fill,))
    await store.submit((fill,))
    with pytest.raises(JournalUnitRefused):
        await store.submit((msgspec.structs.replace(fill, quantity=Decimal("0.2")),))
    assert rows(journal, "SELECT quantity FROM fills") == [(0.1,)]
    store.close_now()


@in_virtual_time
async def test_a_unit_that_cannot_be_stored_is_set_aside_halts_entries_and_holds_nothing_up(journal):
    store = open_inline(journal, mode="sim", now_ms=START_MS)
    bench = Bench(store)
    refused = bench.queue.submit((fill_of(1, quantity=ZERO),), (told(position_of(1, 1)),))
    poison = bench.queue.submit((fill_of(2, price=Decimal("NaN")), position_of(1, 2)), (told(position_of(1, 2)),))
    good = bench.queue.submit((fill_of(3),), (told(position_of(1, 3)),))
    await good
    for future in (refused, poison):
        with pytest.raises(JournalUnitRefused):
            await future
    assert rows(journal, "SELECT trade_id FROM fills") == [("t3",)]
    assert bench.queue.writable
    assert bench.incidents() == ["journal_unit_refused"] * 2
    assert len(bench.halts) == 2
    await asyncio.sleep(0.001)
    assert bench.moments() == [1, 2, 3]
    kept = [json.loads(line) for line in journal.with_name("journal.db.refused").read_text().splitlines()]
    assert [[each["record"] for each in unit["records"]] for unit in kept] == [["Fill"], ["Fill", "Position"]]
    assert kept[0]["records"][0]["fields"]["trade_id"] == "t1"
    assert "CHECK" in kept[0]["reason"]
    store.close_now()


@in_virtual_time
async def test_a_unit_that_cannot_be_stored_does_not_hold_up_those_held_with_it(journal):
    store = BreakableStore(open_inline(journal, mode="sim", now_ms=START_MS))
    bench = Bench(store)
    store.broken = True
    for number, quantity in ((1, "0.1"), (2, "0"), (3, "0.1")):
        bench.queue.submit((fill_of(number, quantity=Decimal(quantity)),), (told(position_of(1, number)),))
        await asyncio.sleep(0.01)
    store.broken = False
    assert await bench.queue.save()
    assert rows(journal, "SELECT trade_id FROM fills") == [("t1",), ("t3",)]
    assert bench.moments() == [1, 2, 3]
    assert len(bench.halts) == 1
    assert bench.queue.writable
    store.inner.close_now()


@in_virtual_time
async def test_a_disk_that_is_full_is_no_refusal(journal):
    store = open_inline(journal, mode="sim", now_ms=START_MS)
    bench = Bench(store)
    connection = store._engine._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(1, 40):
        bench.queue.submit((fill_of(number, reason="x" * 900),))
    await asyncio.sleep(0.01)
    assert not bench.queue.writable
    assert bench.halts == []
    assert not await bench.queue.save() or bench.queue.writable
    connection.execute("PRAGMA max_page_count = 1000000")
    assert await bench.queue.save()
    assert rows(journal, "SELECT count(*) FROM fills") == [(39,)]
    assert not journal.with_name("journal.db.refused").exists()
    store.close_now()


@in_virtual_time
async def test_too_many_held_facts_halt_entries_once_and_none_is_dropped(journal, monkeypatch):
    monkeypatch.setattr("tradingd.execution.fact_queue.MAX_UNSAVED_UNITS", 5)
    store = BreakableStore(open_inline(journal, mode="sim", now_ms=START_MS))
    bench = Bench(store)
    store.broken = True
    for number in range(1, 12):
        bench.queue.submit((fill_of(number),))
        await asyncio.sleep(0.001)
    assert bench.incidents() == ["journal_not_writable", "order_facts_overflow"]
    assert len(bench.halts) == 1
    store.broken = False
    assert await bench.queue.save()
    assert rows(journal, "SELECT count(*) FROM fills") == [(11,)]
    store.inner.close_now()


@in_virtual_time
async def test_a_refused_unit_halts_entries_until_an_operator_resumes_also_after_a_restart(make_world):
    world = await make_world().boot()
    world.execution.recorder.commit((fill_of(1, quantity=ZERO),))
    await asyncio.sleep(0.1)
    intent = world.enter()
    assert await world.outcome_of(intent) == ("denied", "halted")
    assert world.execution.switches.halted
    await world.restart()
    assert world.execution.switches.halted
    world.execution.switches.halted = ""
    world.execution.recorder.commit((FlagRecord("halted", "", "", world.clock.now_ms()),))
    await world.open_position()


# --- a journal that hangs ---


@in_virtual_time
async def test_a_journal_that_hangs_does_not_hold_up_the_stop_whose_id_is_on_disk_first(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.sent(Purpose.ENTRY) and world.last(Purpose.ENTRY).status is S.ACCEPTED)
    world.store.delay_s = 10
    spooled = []
    world.venue.on_submit = lambda request: spooled.append(
        [
            order.status
            for order in (msgspec.json.decode(line, type=Order) for line in world.spool.lines())
            if order.client_order_id == request.client_order_id
        ]
    )
    world.venue.fill(world.last(Purpose.ENTRY).client_order_id, Decimal("0.1"))
    assert await world.until(lambda: world.sent(Purpose.STOP)) < 0.5
    assert spooled == [[S.SUBMITTED]]
    await asyncio.sleep(15)  # what hung is committed at last, beside the spool
    stop = world.last(Purpose.STOP).client_order_id
    assert world.rows("SELECT status FROM orders WHERE client_order_id = ?", stop) == [("ACCEPTED",)]
    world.store.delay_s = 0
    await world.restart()
    assert world.order(stop).status is S.ACCEPTED
    assert len(world.rows("SELECT 1 FROM orders WHERE purpose = 'stop'")) == 1


@in_virtual_time
async def test_an_entry_waits_for_a_slow_journal_and_is_never_spooled(make_world):
    world = await make_world().boot()
    world.store.delay_s = 2
    world.enter()
    await asyncio.sleep(1.5)
    assert world.venue.submitted == []
    await world.until(lambda: world.sent(Purpose.ENTRY))
    assert all(
        msgspec.json.decode(line, type=Order).request.purpose is not Purpose.ENTRY for line in world.spool.lines()
    )


@in_virtual_time
async def test_the_tick_never_waits_for_the_journal(make_world):
    world = await make_world().boot()
    world.store.broken = True
    world.execution.recorder.commit((position_of(0, 1),))
    await asyncio.sleep(0.05)

    async def hang():
        await asyncio.sleep(5)
        raise JournalError("database is locked")

    world.store.check_writable = hang
    for _ in range(3):
        began = world.clock.monotonic()
        await world.execution.pipeline.tick()
        assert world.clock.monotonic() - began < 0.01
    world.store.broken = False
    del world.store.check_writable
    await world.until(lambda: world.execution.recorder.journal_writable, 10)


@in_virtual_time
async def test_a_fault_while_saving_is_told_and_saving_is_tried_again(make_world):
    world = await make_world().boot()
    world.store.broken = True
    world.execution.recorder.commit((position_of(0, 1),))
    await asyncio.sleep(0.05)

    async def fault():
        raise RuntimeError("a fault of ours")

    world.store.check_writable = fault
    await world.until(lambda: "save_held_failed" in world.incidents())
    world.store.broken = False
    del world.store.check_writable
    await world.until(lambda: world.execution.recorder.journal_writable)


@in_virtual_time
async def test_a_journal_that_cannot_be_read_ends_no_reconcile_by_another_error(make_world):
    from tradingd.domain.errors import VenueError

    world = await make_world().boot()
    await world.open_position()
    stop = world.last(Purpose.STOP)
    state = world.execution.state
    state.open_ids.pop(stop.client_order_id)
    del state.orders[stop.client_order_id]  # forgotten: only the journal can tell
    state._by_venue_id.clear()

    async def unreadable(client_order_id):
        raise JournalError("disk I/O error")

    world.store.find_order = unreadable
    with pytest.raises(VenueError):
        await world.execution.reconciler.reconcile(BINANCE)


@in_virtual_time
async def test_a_ban_that_a_full_disk_did_not_take_is_written_once_it_can_be(make_world):
    world = await make_world().boot()
    world.store.broken = True
    until_ms = world.clock.now_ms() + 600_000
    world.limiter.ban(BINANCE, until_ms, "HTTP 418")
    await asyncio.sleep(1)
    assert world.rows("SELECT count(*) FROM bans") == [(0,)]
    world.store.broken = False
    await world.until(lambda: world.execution.recorder.journal_writable)
    assert world.rows("SELECT venue, until_ms FROM bans") == [("binance", until_ms)]
