"""Who may read: a member of the group without write permission, in every state of the file; and none may write."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.journal.making import inline, make_fill
from tests.journal.test_opening import as_user
from tradingd.domain.errors import JournalError
from tradingd.journal.reading import QueryFailed, Reader, open_reader
from tradingd.journal.store import InlineStore

READER, STRANGER, GROUP = 12345, 12346, 4242
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def shared(migrated: Path) -> Iterator[Path]:
    """A journal whose directory belongs to GROUP, which may read and not write; below /tmp, where others may pass."""
    directory = Path(tempfile.mkdtemp())
    os.chown(directory, 0, GROUP)
    directory.chmod(0o2750)
    path = directory / "journal.sqlite"
    shutil.copyfile(migrated, path)
    yield path
    shutil.rmtree(directory)


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


@needs_root
@pytest.mark.parametrize("state", [running, stopped, killed, tidied])
def test_a_member_of_the_group_reads_the_journal(shared: Path, state: Callable[[Path], Callable[[], None]]) -> None:
    end = state(shared)
    try:
        assert as_user(READER, GROUP, lambda: str(open_reader(shared).query("SELECT trade_id FROM v_fills").rows)) == (
            "(('1',),)"
        )
    finally:
        end()


@needs_root
@pytest.mark.parametrize("state", [running, stopped, killed])
def test_any_sqlite_program_of_the_group_reads_it_with_mode_ro(
    shared: Path, state: Callable[[Path], Callable[[], None]]
) -> None:
    def plain() -> str:
        connection = sqlite3.connect(f"file:{shared}?mode=ro", uri=True)
        return str(connection.execute("SELECT trade_id FROM v_fills").fetchall())

    end = state(shared)
    try:
        assert as_user(READER, GROUP, plain) == "[('1',)]"
    finally:
        end()


@needs_root
def test_a_group_reader_in_a_transaction_does_not_hold_up_the_writer(shared: Path) -> None:
    store = opened(shared)

    def read_while_written() -> str:
        connection = sqlite3.connect(f"file:{shared}?mode=ro", uri=True, isolation_level=None)
        connection.execute("BEGIN")
        before = connection.execute("SELECT count(*) FROM fills").fetchone()[0]
        os.write(told[1], b"x")
        os.read(go[0], 1)
        return f"{before} {connection.execute('SELECT count(*) FROM fills').fetchone()[0]}"

    told, go = os.pipe(), os.pipe()
    result, answer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(answer, as_user(READER, GROUP, read_while_written).encode())
        os._exit(0)
    os.close(answer)
    os.read(told[0], 1)
    for number in range(2, 3000):
        store.submit_now([make_fill(number)], durable=False)
    os.write(go[1], b"x")
    with os.fdopen(result) as pipe:
        assert pipe.read() == "1 1"
    os.waitpid(child, 0)
    store.close_now()


@needs_root
def test_the_group_cannot_write_and_strangers_cannot_read(shared: Path) -> None:
    store = opened(shared)

    def write() -> str:
        sqlite3.connect(shared).execute("DELETE FROM fills")
        return "deleted"

    assert as_user(READER, GROUP, write).startswith("OperationalError")
    assert "its owner's group may read it" in as_user(STRANGER, STRANGER, lambda: str(open_reader(shared)))
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
    with pytest.raises(JournalError, match="not a database"):
        open_reader(tmp_path / "diary")
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE t (a)").connection.close()
    with pytest.raises(JournalError, match="is not a journal"):
        open_reader(tmp_path / "other")
