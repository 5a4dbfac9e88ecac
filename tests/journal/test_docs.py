"""docs/journal.md tells the truth: its columns are those of the views, its queries run."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal.test_views import a_traded_world
from tradingd.journal import schema
from tradingd.journal.reading import Reader, open_reader
from tradingd.journal.views import VIEWS

TEXT = (Path(__file__).parents[2] / "docs" / "journal.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(path: Path) -> Iterator[Reader]:
    connection = sqlite3.connect(path)
    a_traded_world(connection)
    connection.close()
    opened = open_reader(path)
    yield opened
    opened.close()


def test_there_are_ten_queries() -> None:
    assert len(QUERIES) == 10


@pytest.mark.parametrize("number", range(10))
def test_each_query_of_the_documentation_runs(reader: Reader, number: int) -> None:
    found = reader.query(QUERIES[number])
    assert found.columns
    with_rows = {0, 1, 2, 3, 4, 6, 9}
    assert bool(found.rows) == (number in with_rows)


def test_the_columns_of_each_view_are_documented(reader: Reader) -> None:
    documented = dict(re.findall(r"^### (v_\w+) — .*\n`(.*)`$", TEXT, re.MULTILINE))
    assert list(documented) == list(VIEWS)
    for name, columns in documented.items():
        assert tuple(columns.split(", ")) == reader.query(f"SELECT * FROM {name} LIMIT 0").columns


def test_each_table_is_documented() -> None:
    listed = set(re.findall(r"`(\w+)`", TEXT.split("## Tables")[1].split("## Writing")[0]))
    assert listed == set(schema.metadata.tables)
