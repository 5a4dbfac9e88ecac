"""Who may read: a member of the group without write permission, in every state of the file; and none may write."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.journal.making import inline, make_fill
from tests.journal.users import (
    DELETED,
    GROUP,
    IN_TRANSACTION,
    IS_ROOT,
    PLAIN_ROWS,
    READER,
    ROWS,
    STRANGER,
    give_to_reader,
    needs_root,
    said_by,
    start_as,
)
from tradingd.domain.errors import JournalError
from tradingd.journal.reading import QueryFailed, Reader, open_reader
from tradingd.journal.store import InlineStore


def opened(path: Path) -> InlineStore:
    store = inline(path)
    store.submit_now([make_fill(1)])
    return store


def running(path: Path) -> Callable[[], None]:
    store = opened(path)
    return store.close_now


def stopped(path: Path) -> Callable[[], None]:
    opened(path).close_now()
    return lambda: None


def killed(path: Path) -> Callable[[], None]:
    """The files as a SIGKILL leaves them: the fill is in the WAL only."""
    store = opened(path)
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(f"{path}{suffix}", f"{path}{suffix}.kept")
    store.close_now()
    for suffix in ("", "-wal", "-shm"):
        os.replace(f"{path}{suffix}.kept", f"{path}{suffix}")
        if IS_ROOT:
            os.chown(f"{path}{suffix}", 0, GROUP)
    return lambda: None


def tidied(path: Path) -> Callable[[], None]:
    """Another program was the last to close, and took -wal and -shm away."""
    opened(path).close_now()
    connection = sqlite3.connect(path)
    connection.execute("SELECT count(*) FROM fills").fetchone()
    connection.close()
    assert not path.with_name("journal.sqlite-shm").exists()
    return lambda: None


def to_the_group(path: Path) -> tuple[int, int]:
    return READER, GROUP


def to_an_owner_who_may_not_write(path: Path) -> tuple[int, int]:
    give_to_reader(path, 0o444, 0o555)
    return READER, READER


GIVEN = pytest.mark.parametrize("given", [pytest.param(to_the_group, marks=needs_root), to_an_owner_who_may_not_write])
Given = Callable[[Path], tuple[int, int]]
State = Callable[[Path], Callable[[], None]]


@GIVEN
@pytest.mark.parametrize("state", [running, stopped, killed, tidied])
def test_who_may_only_read_reads_the_journal(shared: Path, state: State, given: Given) -> None:
    end = state(shared)
    try:
        assert said_by(*given(shared), shared, ROWS) == "(('1',),)"
    finally:
        end()


@GIVEN
@pytest.mark.parametrize("state", [running, stopped, killed])
def test_any_sqlite_program_of_theirs_reads_it_with_mode_ro(shared: Path, state: State, given: Given) -> None:
    end = state(shared)
    try:
        assert said_by(*given(shared), shared, PLAIN_ROWS) == "[('1',)]"
    finally:
        end()


@GIVEN
def test_who_may_only_read_cannot_write(shared: Path, given: Given) -> None:
    store = opened(shared)
    assert said_by(*given(shared), shared, DELETED).startswith("OperationalError")
    store.close_now()


def test_a_reader_in_a_transaction_does_not_hold_up_the_writer(shared: Path) -> None:
    store = opened(shared)
    reader = start_as(READER, GROUP, shared, IN_TRANSACTION)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"
    for number in range(2, 3000):
        store.submit_now([make_fill(number)], durable=False)
    answer, _ = reader.communicate("go on\n", timeout=30)
    assert answer == "[1, 1]\n"
    store.close_now()


def test_strangers_cannot_read_and_are_told_who_may(shared: Path) -> None:
    store = opened(shared)
    if not IS_ROOT:
        shared.chmod(0)  # nobody else can be asked: a file that its owner may not read either
    assert "its owner's group may read it" in said_by(STRANGER, STRANGER, shared, "open_reader(path)")
    if not IS_ROOT:
        shared.chmod(0o640)
    store.close_now()


@pytest.fixture
def reader(path: Path) -> Iterator[Reader]:
    inline(path).close_now()
    opened_reader = open_reader(path)
    yield opened_reader
    opened_reader.close()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM fills",
        "INSERT INTO flags VALUES ('a', 'b', 'c', 1)",
        "DROP TABLE fills",
        "CREATE TEMP TABLE t (a)",
        "ATTACH ':memory:' AS other",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode = DELETE",
        "BEGIN",
        "VACUUM INTO '/tmp/copy'",
        "SELECT load_extension('x')",
    ],
)
def test_a_reader_can_do_nothing_but_read(reader: Reader, sql: str) -> None:
    with pytest.raises(QueryFailed):
        reader.query(sql)


def test_a_wrong_name_is_answered_with_the_views(reader: Reader) -> None:
    with pytest.raises(QueryFailed, match=r"no such table: v_trade\. Views: v_orders, v_fills, v_trades"):
        reader.query("SELECT * FROM v_trade")
    with pytest.raises(QueryFailed, match="one statement at a time"):
        reader.query("SELECT 1; SELECT 2")


def test_an_endless_query_is_ended(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradingd.journal.reading.TIME_LIMIT_S", 0.05)
    with pytest.raises(QueryFailed, match=r"longer than 0\.05 s"):
        reader.query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
    assert reader.query("SELECT 1").rows == ((1,),)


def test_columns_of_one_name_are_told_apart(reader: Reader) -> None:
    assert reader.query("SELECT 1 AS a, 2 AS a, x'ff' AS b").objects() == [{"a": 1, "a_2": 2, "b": "ff"}]


def test_a_missing_journal_and_a_foreign_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="`tradingd run` makes one"):
        open_reader(tmp_path / "nothing.sqlite")
    (tmp_path / "diary").write_text("no database, only a diary\n" * 300)
    with pytest.raises(JournalError, match="is not an SQLite database: name the right file") as told:
        open_reader(tmp_path / "diary")
    assert "permission" not in str(told.value)
    with pytest.raises(JournalError, match="is a directory: name the file"):
        open_reader(tmp_path)
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE t (a)").connection.close()
    with pytest.raises(JournalError, match="is not a journal"):
        open_reader(tmp_path / "other")


def test_a_damaged_journal_is_told_with_the_way_out_and_no_word_of_permissions(path: Path) -> None:
    opened(path).close_now()
    whole = bytearray(path.read_bytes())
    whole[100:4096] = b"\xa5" * 3996  # the page that names all tables
    path.write_bytes(whole)
    with pytest.raises(JournalError, match=r"is corrupt: .*Restore a backup \(\*\.backup beside it\)") as told:
        open_reader(path)
    assert "permission" not in str(told.value)


def test_a_write_lock_that_shuts_readers_out_is_told_as_such(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradingd.journal.reading.BUSY_MS", 50)
    opened(path).close_now()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = DELETE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JournalError, match="is locked by another program") as told:
        open_reader(path)
    assert "permission" not in str(told.value)
    other.close()
