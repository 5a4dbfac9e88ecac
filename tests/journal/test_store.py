"""The two adapters of the Store port: units, order, cancellation, failure, recovery."""

import asyncio
import random
import resource
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from tests.journal.making import BTC, ETH, NOON, inline, make_fill, make_order
from tradingd.domain.errors import JournalError, JournalRefused, JournalUnitRefused, Severity
from tradingd.domain.ids import ClientOrderId, DecisionKey, Epoch, IntentId, Purpose, StrategyId, TradeId, VenueId
from tradingd.domain.orders import Fill, OrderEvent, OrderStatus
from tradingd.domain.positions import Position
from tradingd.domain.records import (
    BalanceRecord,
    BanRecord,
    BootRecord,
    DayEquityRecord,
    DecisionRecord,
    FlagRecord,
    IncidentRecord,
    IntentRecord,
    LastCloseRecord,
    LedgerRecord,
    NoteRecord,
    OrderEventRecord,
    ProtectionRecord,
    Record,
    SignalRecord,
    StrategyStateRecord,
    StreamRecord,
)
from tradingd.journal.opening import open_journal
from tradingd.journal.recovery import RECENT_MS, RECENT_ROWS
from tradingd.journal.store import InlineStore, SqliteStore
from tradingd.ports import Store

DAY_MS = 86_400_000
ROOT = Path(__file__).parents[2]


def count(path: Path, table: str) -> int:
    """Rows that another connection sees."""
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


async def test_both_adapters_are_stores(store: SqliteStore | InlineStore) -> None:
    used: Store = store
    await used.check_writable()


async def test_a_unit_is_visible_to_others_once_its_future_is_done(store: Store, path: Path) -> None:
    await store.submit([make_order(), make_fill(1)])
    assert (count(path, "orders"), count(path, "fills")) == (1, 1)


async def test_an_order_is_replaced_by_its_client_order_id(store: Store) -> None:
    await store.submit([make_order(status=OrderStatus.SUBMITTED)])
    filled = make_order(status=OrderStatus.FILLED, filled_quantity=Decimal("0.5"), average_price=Decimal("43210.1"))
    await store.submit([filled])
    assert await store.find_order(filled.client_order_id) == filled
    assert await store.find_order(ClientOrderId("nobody")) is None


async def test_another_fill_under_a_known_trade_id_fails_its_own_unit_and_no_other(store: Store, path: Path) -> None:
    other = make_fill(1, quantity=Decimal("0.6"))
    units: list[list[Record]] = [[make_fill(1)], [make_order(1), other], [make_fill(2)]]
    results = await asyncio.gather(*[store.submit(unit) for unit in units], return_exceptions=True)
    assert [type(result) for result in results] == [type(None), JournalUnitRefused, type(None)]
    assert "quantity" in str(results[1])
    assert (count(path, "fills"), count(path, "orders")) == (2, 0)


async def test_another_decision_under_a_known_key_takes_its_intents_down_with_it(store: Store, path: Path) -> None:
    first = DecisionRecord(DecisionKey("d"), StrategyId("trend"), "candle", BTC, NOON, "nothing", 1, "0")
    again = msgspec.structs.replace(first, outcome="intents")
    intent = IntentRecord(IntentId("i"), DecisionKey("d"), StrategyId("trend"), BTC, "enter", "{}", NOON)
    await store.submit([first])
    with pytest.raises(JournalUnitRefused):
        await store.submit([again, intent])
    assert (count(path, "decisions"), count(path, "intents")) == (1, 0)


async def test_a_unit_that_is_written_twice_is_there_once(store: Store, path: Path) -> None:
    key, step = DecisionKey("d"), make_order(1).client_order_id
    unit: list[Record] = [
        make_order(1),
        make_fill(1),
        DecisionRecord(key, StrategyId("trend"), "candle", BTC, NOON, "note", 1, "0"),
        NoteRecord(key, 1, BTC, "quiet", "{}"),
        OrderEventRecord(step, OrderEvent.SUBMIT, OrderStatus.INITIALIZED, OrderStatus.SUBMITTED, NOON, "local"),
        LedgerRecord(VenueId("binance"), "fee", "1", BTC, Decimal(-1), "USDT", NOON),
        BalanceRecord(VenueId("binance"), "USDT", Decimal(1), Decimal(1), Decimal(1), NOON),
        SignalRecord("s", "webhook", StrategyId("trend"), "{}", NOON),
    ]
    await store.submit(unit)
    await store.submit(unit)
    tables = ("orders", "fills", "decisions", "notes", "order_events", "ledger", "balances", "signals")
    assert [count(path, table) for table in tables] == [1] * 8


async def test_two_fills_of_an_order_in_one_millisecond_are_two_steps(store: Store, path: Path) -> None:
    key, part = make_order(1).client_order_id, OrderStatus.PARTIALLY_FILLED
    steps = [
        OrderEventRecord(key, OrderEvent.FILL_PART, part, part, NOON, "stream", trade_id=TradeId(trade))
        for trade in ("1", "2")
    ]
    await store.submit(steps)
    assert count(path, "order_events") == 2


async def test_a_fill_whose_owner_becomes_known_gets_it_and_never_loses_it(store: Store, path: Path) -> None:
    owned = make_fill(1, client_order_id=make_order(1).client_order_id)
    for fill in (make_fill(1), owned, make_fill(1)):
        await store.submit([fill])
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT client_order_id FROM fills").fetchall() == [(owned.client_order_id,)]
    connection.close()


async def test_what_cannot_be_stored_fails_its_own_unit_and_no_other(store: Store, path: Path) -> None:
    bad = make_fill(2, price=Decimal("NaN"))
    worse = make_fill(3, reason="half a surrogate \ud800")
    largest = make_fill(4, time_ms=2**70)
    units = [[make_fill(1)], [bad], [worse], [largest], [make_fill(5)]]
    results = await asyncio.gather(*[store.submit(unit) for unit in units], return_exceptions=True)
    assert [isinstance(result, JournalError) for result in results] == [False, True, True, True, False]
    assert count(path, "fills") == 2


async def test_units_commit_in_the_order_of_their_submission(store: Store, path: Path) -> None:
    gate = asyncio.Semaphore(64)

    async def one(number: int) -> None:
        async with gate:
            await store.submit([make_fill(number)], durable=number % 3 == 0)

    await asyncio.gather(*[one(number) for number in range(1, 1001)])
    connection = sqlite3.connect(path)
    written = [int(row[0]) for row in connection.execute("SELECT trade_id FROM fills ORDER BY sequence")]
    connection.close()
    assert written == list(range(1, 1001))


async def test_a_read_sees_everything_submitted_before_it(store: Store) -> None:
    futures = [store.submit([make_fill(number)]) for number in range(1, 101)]
    seen = await store.seen_trades(BTC, NOON + 51)
    assert seen == {str(number) for number in range(51, 101)}
    await asyncio.gather(*futures)


@pytest.mark.fault(89)
async def test_a_cancelled_caller_still_commits(threaded: SqliteStore, path: Path) -> None:
    shuffle = random.Random(7)

    async def one(number: int) -> None:
        await threaded.submit([make_order(number), make_fill(number)])

    tasks = [asyncio.create_task(one(number)) for number in range(1, 601)]
    await asyncio.sleep(0)
    cancelled = shuffle.sample(tasks, 500)
    while cancelled:
        for task in cancelled[:50]:
            task.cancel()
        del cancelled[:50]
        await asyncio.sleep(0)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(result, asyncio.CancelledError) for result in ended) > 100
    await threaded.check_writable()
    assert (count(path, "orders"), count(path, "fills")) == (600, 600)


async def test_close_drains_the_queue_and_refuses_what_comes_later(threaded: SqliteStore, path: Path) -> None:
    futures = [threaded.submit([make_fill(number)]) for number in range(1, 301)]
    await threaded.close()
    assert all(future.done() and future.exception() is None for future in futures)
    with pytest.raises(JournalError, match="closed"):
        await threaded.submit([make_fill(999)])
    with pytest.raises(JournalError, match="closed"):
        await threaded.recover(NOON)
    assert count(path, "fills") == 300


async def test_a_cancelled_close_still_closes(path: Path) -> None:
    store = await open_journal(path, mode="sim", now_ms=NOON)
    store.submit([make_fill(1)])
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await store.close()
    inline(path).close_now()  # the lock is free
    assert count(path, "fills") == 1


def test_a_loop_torn_down_without_close_leaves_no_caller_and_no_thread_behind(path: Path) -> None:
    async def abandoned() -> "asyncio.Future[None]":
        store = await open_journal(path, mode="sim", now_ms=NOON)
        await store.submit([make_fill(1)])
        return store.submit([make_fill(2)])

    future = asyncio.run(abandoned())
    assert isinstance(future.exception(), JournalError)
    assert count(path, "fills") >= 1


@pytest.mark.fault(79)
async def test_a_full_disk_fails_the_callers_and_heals_by_itself(threaded: SqliteStore, path: Path) -> None:
    await threaded.submit([make_fill(1)])
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    wal_bytes = path.with_name("journal.sqlite-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal_bytes, limit[1]))
    try:
        units = [threaded.submit([make_order(number), make_fill(number)]) for number in range(2, 50)]
        results = await asyncio.gather(*units, return_exceptions=True)
        assert all(isinstance(result, JournalError) for result in results)
        with pytest.raises(JournalError, match="could not commit"):
            await threaded.check_writable()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    await threaded.check_writable()
    await threaded.submit([make_order(50), make_fill(50)])
    assert await threaded.seen_trades(BTC, 0) == {"1", "50"}
    assert (count(path, "orders"), count(path, "fills")) == (1, 2)


async def test_a_database_that_may_not_grow_fails_with_journal_error_until_it_may(path: Path) -> None:
    store = inline(path)
    connection = store._engine._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    results = [store.submit([make_fill(n, reason="x" * 900)]).exception() for n in range(1, 40)]
    failed = [error for error in results if error is not None]
    assert failed
    assert "SQLITE_FULL" in str(failed[-1])
    connection.execute("PRAGMA max_page_count = 1000000")
    await store.check_writable()
    await store.submit([make_fill(99)])
    assert count(path, "fills") == results.count(None) + 1
    await store.close()


@pytest.mark.fault(80)
async def test_a_writer_that_holds_the_lock_too_long_fails_the_callers_and_heals(
    threaded: SqliteStore, path: Path
) -> None:
    await threaded._on_connection(lambda: threaded._engine._connection.execute("PRAGMA busy_timeout = 50"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="locked"):
        await threaded.submit([make_fill(1)])
    other.execute("ROLLBACK")
    other.close()
    await threaded.submit([make_fill(1)])


@pytest.mark.fault(80)
async def test_a_reader_in_a_long_transaction_holds_up_neither_writer_nor_checkpoint(
    threaded: SqliteStore, path: Path
) -> None:
    reader = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM fills").fetchone() == (0,)
    for start in range(0, 6000, 200):
        await asyncio.gather(*[threaded.submit([make_fill(n)], durable=False) for n in range(start, start + 200)])
    assert await threaded._writer.call(threaded._engine.checkpoint) > 0  # the reader keeps pages in the WAL
    assert reader.execute("SELECT count(*) FROM fills").fetchone() == (0,)
    reader.close()
    assert await threaded._writer.call(threaded._engine.checkpoint) == 0
    before = path.with_name("journal.sqlite-wal").stat().st_size
    await threaded.submit([make_fill(9999)])
    assert path.with_name("journal.sqlite-wal").stat().st_size == before  # it begins again at its start


async def test_pins_hold_for_good(store: SqliteStore | InlineStore) -> None:
    await store.pin({"account.binance": "a1"}, NOON)
    await store.pin({"account.binance": "a1", "account.bybit": "b1"}, NOON)
    with pytest.raises(JournalRefused, match="account of binance 'a1', but this run has 'a2'"):
        await store.pin({"account.binance": "a2"}, NOON)
    await store.submit([make_fill(1)])


async def test_recover_gives_back_what_a_start_needs(store: Store) -> None:
    live = make_order(1, status=OrderStatus.IN_DOUBT)
    stop = make_order(2, Purpose.STOP, status=OrderStatus.ACCEPTED, created_ms=NOON + 1)
    old = make_order(3, status=OrderStatus.FILLED, updated_ms=NOON - RECENT_MS - 1)
    recent = make_order(4, status=OrderStatus.CANCELED)
    intent = IntentRecord(IntentId("i"), DecisionKey("d1"), StrategyId("trend"), BTC, "enter", "{}", NOON)
    done = IntentRecord(IntentId("j"), None, StrategyId("trend"), BTC, "exit", "{}", NOON, "done", decided_ms=NOON)
    boots = [BootRecord(Epoch(f"e{n}"), NOON + n, "sim", "0.1.0", n, "00") for n in range(12)]
    trend = StrategyId("trend")
    decisions = [DecisionRecord(DecisionKey(f"d{n}"), trend, "candle", BTC, NOON, "nothing", 1, "0") for n in (1, 2)]
    stream = StreamRecord(BTC, "1m", NOON, NOON)
    position = Position(BTC, Decimal("0.5"), Decimal("43210.1"), NOON, NOON, StrategyId("trend"))
    protection = ProtectionRecord(BTC, None, None, Decimal(1), None, stop.client_order_id, None, "covered", NOON)
    close = LastCloseRecord(ETH, NOON, "stop", TradeId("1"), None)
    today = DayEquityRecord(VenueId("binance"), "2023-11-14", Decimal(1000), Decimal(0), NOON)
    before = DayEquityRecord(VenueId("binance"), "2023-11-01", Decimal(900), Decimal(0), NOON - 13 * DAY_MS)
    ban = BanRecord(VenueId("binance"), NOON, "-1003", NOON)
    open_incident = IncidentRecord("a", "late_fill", Severity.CRITICAL, "", None, None, None, NOON)
    closed_incident = IncidentRecord("b", "late_fill", Severity.CRITICAL, "", None, None, None, NOON, NOON)
    flag = FlagRecord("paused", "1", "", NOON)
    state = StrategyStateRecord(StrategyId("trend"), BTC, "{}", NOON)
    note = NoteRecord(DecisionKey("d1"), 1, BTC, "quiet", "{}")
    fills: list[Fill] = [make_fill(1), make_fill(2, time_ms=NOON - RECENT_MS - 1), make_fill(3)]
    await store.submit([live, stop, old, recent, intent, done, *boots, *decisions, stream, position, protection])
    await store.submit([close, today, before, ban, open_incident, closed_incident, flag, state, note, *fills])
    found = await store.recover(NOON)
    assert found.open_orders == (live, stop)
    assert found.recent_orders == (recent,)
    assert found.open_intents == (intent,)
    assert found.boots == tuple(boots[2:])
    assert found.epochs == {boot.epoch for boot in boots}
    assert found.recent_decisions == {"d1", "d2"}
    assert (found.streams, found.positions, found.protections) == ((stream,), (position,), (protection,))
    assert (found.last_closes, found.day_equities, found.bans) == ((close,), (today,), (ban,))
    assert (found.incidents, found.flags, found.states) == ((open_incident,), (flag,), (state,))
    assert found.recent_fills == (fills[0], fills[2])
    assert found.last_fill_ms == {BTC: NOON + 3}


async def test_recovery_reads_no_more_of_a_long_journal_than_of_a_short_one(path: Path) -> None:
    store = inline(path)
    batch = [make_fill(n, time_ms=NOON + n) for n in range(1, 6001)]
    orders = [make_order(n, status=OrderStatus.FILLED, updated_ms=NOON + n) for n in range(1, 6001)]
    await store.submit([*batch, *orders, Position(BTC)])
    store._engine.checkpoint()
    steps = 0

    def tick() -> None:
        nonlocal steps
        steps += 1

    store._engine._connection.set_progress_handler(tick, 100)
    found = await store.recover(NOON + 6000)
    assert len(found.recent_fills) == len(found.recent_orders) == RECENT_ROWS
    assert found.recent_fills[-1].trade_id == "6000"
    of_short = steps
    await store.submit([make_fill(n, time_ms=NOON + n) for n in range(6001, 30001)])
    steps = 0
    await store.recover(NOON + 30000)
    assert steps < of_short * 1.1
    await store.close()


@pytest.mark.fault(78)
def test_what_was_told_as_committed_survives_a_sigkill(path: Path) -> None:
    script = f"""
import asyncio
from pathlib import Path
from tests.journal.making import NOON, make_fill, make_order
from tradingd.journal.opening import open_journal

async def main():
    store = await open_journal(Path({str(path)!r}), mode="sim", now_ms=NOON)
    async def one(number):
        await store.submit([make_order(number), make_fill(number)])
        print(number, flush=True)
    number = 0
    while True:
        await asyncio.gather(*[one(number + offset) for offset in range(1, 9)])
        number += 8

asyncio.run(main())
"""
    writing = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert writing.stdout is not None
    told = [next(writing.stdout) for _ in range(random.Random(3).randrange(100, 400))]
    writing.kill()
    rest, _ = writing.communicate()
    whole = {line for line in (*told, *rest.splitlines(keepends=True)) if line.endswith("\n")}
    inline(path).close_now()
    connection = sqlite3.connect(path)
    fills = {row[0] for row in connection.execute("SELECT trade_id FROM fills")}
    orders = connection.execute("SELECT count(*) FROM orders").fetchone()[0]
    connection.close()
    assert {line.strip() for line in whole} <= fills
    assert orders == len(fills)


async def test_a_read_behind_a_commit_that_hangs_gives_up_in_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradingd.journal.store.READ_LIMIT_S", 0.1)
    store = await open_journal(path, mode="sim", now_ms=NOON)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    hanging = store.submit([make_order()])
    for read in (store.find_order(make_order().client_order_id), store.seen_trades(BTC, NOON)):
        with pytest.raises(JournalError, match=r"the journal could not be read within 0\.1 s: a commit hangs"):
            await read
    other.execute("ROLLBACK")
    other.close()
    await hanging
    assert await store.find_order(make_order().client_order_id) == make_order()
    await store.close()
