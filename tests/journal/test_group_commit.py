"""What shares a transaction: an order leg waits for one commit, never for two."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from tests.journal.making import NOON, make_fill, make_order
from tradingd.domain.errors import JournalError
from tradingd.domain.records import FlagRecord
from tradingd.journal.engine import Unit
from tradingd.journal.opening import open_journal
from tradingd.journal.store import SqliteStore
from tradingd.journal.writer import MAX_BATCH_UNITS


@pytest_asyncio.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = await open_journal(path, mode="sim", now_ms=NOON)
    yield opened
    await opened.close()


@pytest.fixture
def sizes(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many units each transaction has, as they come."""
    found: list[int] = []
    commit = store._engine.commit

    def counted(units: Sequence[Unit], applied: Callable[[], None]) -> list[JournalError | None]:
        found.append(len(units))
        return commit(units, applied)

    monkeypatch.setattr(store._engine, "commit", counted)
    return found


async def test_a_decision_shares_the_transaction_of_the_order_leg_behind_it(
    store: SqliteStore, sizes: list[int]
) -> None:
    decision = store.submit([FlagRecord("decided", "yes", "", NOON)], durable=False)
    for _ in range(20):  # turns of the loop, as the guards of an entry take them
        await asyncio.sleep(0)
    await store.submit([make_order(1)])
    assert decision.done()
    assert sizes == [2]


async def test_a_unit_that_need_not_be_durable_waits_for_company_for_milliseconds_only(
    store: SqliteStore, sizes: list[int]
) -> None:
    async with asyncio.timeout(1):
        await store.submit([make_fill(1)], durable=False)
        await store.submit([make_fill(2)], durable=False)
    assert sizes == [1, 1]


async def test_a_read_does_not_wait_for_company_and_sees_what_lingers(store: SqliteStore, sizes: list[int]) -> None:
    lingering = store.submit([make_order(1)], durable=False)
    assert await store.find_order(make_order(1).client_order_id) == make_order(1)
    assert lingering.done()
    assert sizes == [1]


async def test_a_full_batch_waits_for_nobody(store: SqliteStore, sizes: list[int]) -> None:
    futures = [store.submit([make_fill(number)], durable=False) for number in range(1, MAX_BATCH_UNITS + 1)]
    await asyncio.gather(*futures)
    assert sizes == [MAX_BATCH_UNITS]


async def test_what_lingers_is_committed_by_close(path: Path) -> None:
    store = await open_journal(path, mode="sim", now_ms=NOON)
    lingering = store.submit([make_fill(1)], durable=False)
    await store.close()
    assert lingering.result() is None
