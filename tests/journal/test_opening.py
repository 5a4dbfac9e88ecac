"""Every reason not to open a journal, told in a sentence, and nothing changed by the refusal."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journal.making import NOON, inline, make_fill, write
from tests.journal.users import IS_ROOT, READER, give_to_reader, said_by
from tradingd.domain.errors import JournalRefused, JournalUnavailable
from tradingd.journal import refusals
from tradingd.journal.identity import SCHEMA_VERSION
from tradingd.journal.opening import discard_journal, open_journal


def refusal(path: Path, mode: str = "sim", **pins: str) -> str:
    with pytest.raises(JournalRefused) as caught:
        inline(path, mode, **pins).close_now()
    text = str(caught.value)
    assert str(path) in text
    return text


def test_a_new_journal_is_readable_by_the_group_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        store = inline(tmp_path / "state" / "journal.sqlite")
        store.submit_now([make_fill(1)])
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "state").iterdir()}
        store.close_now()
    finally:
        os.umask(before)
    assert modes == {
        "journal.sqlite": 0o640,
        "journal.sqlite-wal": 0o640,
        "journal.sqlite-shm": 0o640,
        "journal.sqlite.lock": 0o640,
    }
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o750


@pytest.mark.fault(85)
def test_a_second_daemon_is_refused_with_the_first_ones_process_id(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tradingd.journal.opening import open_inline;"
        f"open_inline(Path({str(path)!r}), mode='sim', now_ms={NOON}); print('open', flush=True); sys.stdin.read()"
    )
    first = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "open\n"
    assert f"in use by another tradingd, process {first.pid}" in refusal(path)
    first.kill()
    first.communicate()
    inline(path).close_now()


@pytest.mark.fault(72)
def test_a_journal_of_another_mode_endpoint_or_account_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    pins = {"endpoint.binance": "http://localhost:1", "account.binance": "a1"}
    inline(path, "testnet", **pins).close_now()
    assert "belongs to mode 'testnet', but this run has 'live'" in refusal(path, "live", **pins)
    changed = {**pins, "endpoint.binance": "https://other"}
    told = refusal(path, "testnet", **changed)
    assert "endpoint of binance 'http://localhost:1', but this run has 'https://other'" in told
    changed = {**pins, "account.binance": "a2"}
    assert "account of binance 'a1'" in refusal(path, "testnet", **changed)
    inline(path, "testnet", **pins).close_now()


@pytest.mark.fault(83)
def test_a_newer_schema_is_refused_and_left_as_it_is(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    assert f"has schema {SCHEMA_VERSION + 1}, this tradingd knows up to {SCHEMA_VERSION}" in refusal(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_text("my diary, not a journal\n" * 100)
    assert "is not an SQLite database" in refusal(path)
    assert path.read_text().startswith("my diary")


def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    before = path.read_bytes()
    assert "another program" in refusal(path)
    assert path.read_bytes() == before


@pytest.mark.fault(82)
@pytest.mark.parametrize("damage", ["flipped page", "cut in half"])
def test_a_corrupt_journal_is_refused_with_the_way_out(path: Path, damage: str) -> None:
    connection = sqlite3.connect(path)
    write(connection, *[make_fill(number) for number in range(1, 2000)])
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    whole = bytearray(path.read_bytes())
    if damage == "cut in half":
        path.write_bytes(whole[: len(whole) // 2])
    else:
        middle = len(whole) // 2 // 4096 * 4096
        whole[middle : middle + 4096] = b"\xa5" * 4096
        path.write_bytes(whole)
    text = refusal(path)
    assert "corrupt" in text
    assert "Restore a backup" in text


def test_a_directory_in_the_journals_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.mkdir()
    assert "is not a file" in refusal(path)


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refusal(tmp_path / "file" / "journal.sqlite")


@pytest.mark.fault(81)
@pytest.mark.parametrize(("what", "file_mode", "directory_mode"), [("file", 0o444, 0o755), ("directory", 0o644, 0o555)])
def test_a_read_only_journal_is_refused(shared: Path, what: str, file_mode: int, directory_mode: int) -> None:
    give_to_reader(shared, file_mode, directory_mode)
    before = shared.stat()
    answer = said_by(READER, READER, shared, f"open_inline(path, mode='sim', now_ms={NOON})", "opening")
    assert answer.startswith("JournalRefused")
    assert f"its {what} cannot be written by user {READER if IS_ROOT else os.geteuid()}" in answer
    assert [file.name for file in shared.parent.iterdir()] == [shared.name]
    assert shared.stat() == before


async def test_a_refused_journal_is_not_left_locked(path: Path) -> None:
    with pytest.raises(JournalRefused):
        await open_journal(path, mode="live", now_ms=NOON)
    store = await open_journal(path, mode="sim", now_ms=NOON)
    await store.close()


@pytest.mark.fault(78)
def test_a_torn_wal_loses_only_what_was_torn(path: Path, tmp_path: Path) -> None:
    """A crash in the middle of a write: every whole commit before the tear is there at the next start."""
    store = inline(path)
    sizes = []
    wal = path.with_name("journal.sqlite-wal")
    for number in range(1, 11):
        store.submit_now([make_fill(number)])
        sizes.append(wal.stat().st_size)
    crashed = tmp_path / "crashed" / "journal.sqlite"
    crashed.parent.mkdir()
    shutil.copyfile(path, crashed)
    torn = wal.read_bytes()[: sizes[6] + 100]
    store.close_now()
    crashed.with_name("journal.sqlite-wal").write_bytes(torn)
    inline(crashed).close_now()
    connection = sqlite3.connect(crashed)
    assert connection.execute("SELECT count(*) FROM fills").fetchone() == (7,)
    connection.close()


def test_opening_a_current_journal_does_not_load_alembic(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tradingd.journal.opening import open_inline;"
        f"open_inline(Path({str(path)!r}), mode='sim', now_ms={NOON}).close_now(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_discarding_a_journal_leaves_nothing_and_spares_one_in_use(path: Path) -> None:
    store = inline(path)
    store.submit_now([make_fill(1)])
    with pytest.raises(JournalRefused, match="in use"):
        discard_journal(path)
    assert path.exists()
    store.close_now()
    discard_journal(path)
    assert [file.name for file in path.parent.iterdir()] == ["journal.sqlite.lock"]
    inline(path).close_now()


def test_a_write_lock_of_another_program_does_not_stop_the_start_of_a_current_journal(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    inline(path).close_now()
    other.close()


def limited(path: Path, bytes_allowed: int) -> subprocess.CompletedProcess[str]:
    """Open the journal in a process that may write no file beyond so many bytes: SQLite then sees a failing disk."""
    script = (
        "import resource, signal, sys; from pathlib import Path; from tradingd.journal.opening import open_inline\n"
        "from tradingd.domain.errors import JournalError; import alembic.command, sqlalchemy\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_allowed}, {bytes_allowed}))\n"
        f"try: open_inline(Path({str(path)!r}), mode='sim', now_ms={NOON})\n"
        "except JournalError as error: print(type(error).__name__, error.exit_status, error)"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("bytes_allowed", [100, 40_000])
def test_a_disk_that_takes_no_more_is_not_called_a_damaged_journal(tmp_path: Path, bytes_allowed: int) -> None:
    path = tmp_path / "journal.sqlite"
    told = limited(path, bytes_allowed).stdout
    assert told.startswith(f"JournalUnavailable 74 journal {path} ")
    assert "The disk is full or failing. The journal itself is not damaged" in told
    assert "Restore" not in told and "move the file away" not in told


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (sqlite3.SQLITE_FULL, JournalUnavailable, "The disk is full. The journal itself is not damaged"),
        (sqlite3.SQLITE_IOERR | 5 << 8, JournalUnavailable, "The disk is full or failing."),
        (sqlite3.SQLITE_CANTOPEN, JournalUnavailable, "look at the permissions"),
        (sqlite3.SQLITE_READONLY | 2 << 8, JournalUnavailable, "look at the permissions"),
        (sqlite3.SQLITE_PERM, JournalUnavailable, "look at the permissions"),
        (sqlite3.SQLITE_CORRUPT, JournalRefused, "is corrupt: broken. Restore a backup"),
        (sqlite3.SQLITE_NOTADB, JournalRefused, "is corrupt: broken. Restore a backup"),
    ],
)
def test_only_a_damaged_journal_is_to_be_replaced(code: int, kind: type[JournalRefused], said: str) -> None:
    error = sqlite3.DatabaseError("broken")
    error.sqlite_errorcode = code
    refused = refusals.refusal(Path("/j/journal.sqlite"), "cannot be read", error)
    assert type(refused) is kind
    assert said in str(refused)
    assert ("Restore" in str(refused)) == (kind is JournalRefused)
