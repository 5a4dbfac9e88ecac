"""A journal whose file is moved or deleted under the running daemon."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.journal.making import inline, make_fill
from tradingd.domain.errors import JournalError
from tradingd.ports import Store


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
async def test_nothing_is_committed_once_a_file_of_the_journal_is_gone(store: Store, path: Path, suffix: str) -> None:
    await store.submit([make_fill(1)])
    file = Path(f"{path}{suffix}")
    os.unlink(file)
    with pytest.raises(JournalError, match=f"journal file was moved or deleted: {file} is gone"):
        await store.submit([make_fill(2)])
    with pytest.raises(JournalError, match="was moved or deleted"):
        await store.check_writable()


async def test_a_unit_without_records_tells_that_the_file_is_gone(store: Store, path: Path) -> None:
    await store.submit([], durable=False)
    os.unlink(path)
    with pytest.raises(JournalError, match="was moved or deleted"):
        await store.submit([], durable=False)


async def test_a_journal_that_is_moved_back_is_written_again(store: Store, path: Path) -> None:
    away = path.with_name("away.sqlite")
    os.rename(path, away)
    with pytest.raises(JournalError, match="Move the same file back"):
        await store.submit([make_fill(1)])
    os.rename(away, path)
    await store.submit([make_fill(2)])
    await store.check_writable()


async def test_another_file_in_its_place_is_not_taken_for_the_journal(store: Store, path: Path, migrated: Path) -> None:
    away = path.with_name("away.sqlite")
    os.rename(path, away)
    shutil.copyfile(migrated, path)
    with pytest.raises(JournalError, match="is another file now"):
        await store.submit([make_fill(1)])


def test_a_journal_without_its_file_is_still_closed(path: Path) -> None:
    store = inline(path)
    path.unlink()
    store.close_now()
    held = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_link(name)]
    assert not [name for name in held if name.startswith(str(path))]


def test_what_a_deleted_wal_held_is_in_the_journal_after_the_stop(path: Path) -> None:
    store = inline(path)
    store.submit_now([make_fill(1)])
    Path(f"{path}-wal").unlink()
    store.close_now()
    assert sqlite3.connect(path).execute("SELECT trade_id FROM fills").fetchall() == [("1",)]


def _is_link(name: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{name}")
