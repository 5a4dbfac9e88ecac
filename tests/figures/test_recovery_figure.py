"""The journal that the figure of a start's recovery is measured on."""

import asyncio
from pathlib import Path

from benchmarks import recovery
from benchmarks.journal_rows import INSTRUMENT, NOON_MS
from tradingd.domain.records import Recovered
from tradingd.journal.opening import open_journal


def test_the_journal_that_is_made_up_for_the_figure_is_one_that_a_start_recovers_from(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"

    async def recovered() -> Recovered:
        await recovery._make(path, 50)
        store = await open_journal(path, mode="sim", now_ms=NOON_MS)
        try:
            return await store.recover(NOON_MS)
        finally:
            await store.close()

    (position,) = asyncio.run(recovered()).positions
    assert (position.instrument, str(position.quantity)) == (INSTRUMENT, "0.002")
