"""docs/journal.md tells the truth: its columns are those of the views, its queries run."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal.making import BTC, NOON, make_order, write
from tests.journal.test_views import TREND, a_traded_world
from tradingd.domain.ids import DecisionKey, Epoch
from tradingd.domain.orders import OrderStatus
from tradingd.domain.records import BootRecord, DecisionRecord
from tradingd.execution.balance_reconciler import HISTORY_FLAG
from tradingd.execution.exits import EXIT_FLAG
from tradingd.execution.loss_limits import DAY_FLAG, PEAK_FLAG
from tradingd.execution.wallets import BOOKED_FLAG, WALLET_FLAG
from tradingd.journal import schema
from tradingd.journal.reading import Reader, open_reader
from tradingd.journal.views import VIEWS

TEXT = (Path(__file__).parents[2] / "docs" / "journal.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(path: Path) -> Iterator[Reader]:
    """A world in which each query of the page has something to find."""
    connection = sqlite3.connect(path)
    a_traded_world(connection)
    lost = make_order(7, status=OrderStatus.IN_DOUBT)
    failed = DecisionRecord(DecisionKey("d9"), TREND, "candle", BTC, NOON, "error", 90_000, "c0de", error="ValueError")
    write(connection, lost, failed, BootRecord(Epoch("mhz3k1q8"), NOON, "sim", "0.1", 4711, "c0de"))
    connection.close()
    opened = open_reader(path)
    yield opened
    opened.close()


def test_there_are_ten_queries() -> None:
    assert len(QUERIES) == 10


@pytest.mark.parametrize("number", range(10))
def test_each_query_of_the_documentation_finds_something(reader: Reader, number: int) -> None:
    found = reader.query(QUERIES[number])
    assert found.columns and found.rows


def test_the_columns_of_each_view_are_documented(reader: Reader) -> None:
    documented = dict(re.findall(r"^### (v_\w+) — .*\n`(.*)`$", TEXT, re.MULTILINE))
    assert list(documented) == list(VIEWS)
    for name, columns in documented.items():
        assert tuple(columns.split(", ")) == reader.query(f"SELECT * FROM {name} LIMIT 0").columns


def test_each_table_is_documented_with_columns_that_it_has() -> None:
    section = TEXT.split("## Tables")[1].split("## Writing")[0]
    listed = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE)
    assert {name for name, _ in listed} == set(schema.metadata.tables)
    for name, told in listed:
        named = re.findall(r"`(\w+)`", told)
        assert named and set(named) <= set(schema.metadata.tables[name].columns.keys()), name


def test_each_flag_that_is_written_is_documented() -> None:
    (row,) = re.findall(r"^\| `flags` \|.*$", TEXT, re.MULTILINE)
    for prefix in (BOOKED_FLAG, WALLET_FLAG, PEAK_FLAG, DAY_FLAG, EXIT_FLAG, HISTORY_FLAG):
        assert re.search(rf"\b{prefix.removesuffix(':')}\b", row), prefix


def test_each_view_and_table_that_the_prose_names_exists() -> None:
    named = set(re.findall(r"\bv_\w+", TEXT)) | set(re.findall(r"(?:FROM|JOIN) (\w+)", "".join(QUERIES)))
    assert named - {"curve", "peaks", "ranked"} <= set(VIEWS) | set(schema.metadata.tables)
