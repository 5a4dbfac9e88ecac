"""One migrated journal, made once; each test takes a copy, so that Alembic runs once per process."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.journal.making import NOON, inline
from tests.journal.users import GROUP, IS_ROOT
from tradingd.journal.opening import open_journal
from tradingd.journal.store import InlineStore, SqliteStore


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty journal of mode sim, closed."""
    path = tmp_path_factory.mktemp("migrated") / "journal.sqlite"
    store = inline(path)
    store.close_now()
    return path


@pytest.fixture
def path(migrated: Path, tmp_path: Path) -> Path:
    """A journal of the test's own."""
    own = tmp_path / "journal.sqlite"
    shutil.copyfile(migrated, own)
    return own


@pytest.fixture
def shared(migrated: Path) -> Iterator[Path]:
    """A journal whose directory GROUP may read and not write (root can give it away); below /tmp, where others may
    pass."""
    directory = Path(tempfile.mkdtemp())
    if IS_ROOT:
        os.chown(directory, 0, GROUP)
    directory.chmod(0o2750)
    path = directory / "journal.sqlite"
    shutil.copyfile(migrated, path)
    yield path
    directory.chmod(0o700)
    shutil.rmtree(directory)


@pytest_asyncio.fixture(params=["thread", "inline"])
async def store(path: Path, request: pytest.FixtureRequest) -> AsyncIterator[SqliteStore | InlineStore]:
    """Each of the two adapters."""
    opened: SqliteStore | InlineStore
    if request.param == "thread":
        opened = await open_journal(path, mode="sim", now_ms=NOON)
    else:
        opened = inline(path)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def threaded(path: Path) -> AsyncIterator[SqliteStore]:
    """The production adapter."""
    opened = await open_journal(path, mode="sim", now_ms=NOON)
    yield opened
    await opened.close()
