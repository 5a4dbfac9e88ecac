"""Opening a journal at start: every reason not to is found here, before anything is written, and told in one sentence
that says what is wrong, where, and what to do (JournalRefused, exit status 78; where the disk is to blame and the
journal is not, JournalUnavailable, 74).
"""

import fcntl
import os
import sqlite3
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tradingd.config.resources import migrations_path
from tradingd.domain.errors import JournalRefused
from tradingd.journal.identity import APPLICATION_ID, SCHEMA_VERSION
from tradingd.journal.migrate import FILE_MODE, migrate, schema_version
from tradingd.journal.pins import check_pins, pin, read_pins
from tradingd.journal.refusals import RESTORE, refusal
from tradingd.journal.store import CACHED_STATEMENTS, InlineStore, SqliteStore

DIRECTORY_MODE = 0o750

CHECKED_BYTES = 64 * 1024 * 1024
"""Up to this size every page is checked at start, in a fraction of a second; a larger file only where it is read."""


async def open_journal(path: Path, *, mode: str, now_ms: int, expected: Mapping[str, str] | None = None) -> SqliteStore:
    """Check, migrate and open the journal for writing; raises JournalRefused.

    `expected`: `endpoint.<venue>` and the like, refused where they are pinned otherwise; what is not pinned yet is
    pinned through `store.pin`, once the venue has answered: a typo must not be kept.
    """
    release = prepare(path, mode=mode, now_ms=now_ms, expected=expected)
    try:
        return await SqliteStore.connect(path, release)
    except BaseException:
        release()
        raise


def open_inline(path: Path, *, mode: str, now_ms: int, pins: Mapping[str, str] | None = None) -> InlineStore:
    """The same checks and the same file, without a thread: for simulation and tests."""
    release = prepare(path, mode=mode, now_ms=now_ms, pins=pins)
    try:
        return InlineStore(sqlite3.connect(path, isolation_level=None, cached_statements=CACHED_STATEMENTS), release)
    except BaseException:
        release()
        raise


def prepare(
    path: Path,
    *,
    mode: str,
    now_ms: int,
    pins: Mapping[str, str] | None = None,
    expected: Mapping[str, str] | None = None,
    scripts: Path | None = None,
) -> Callable[[], None]:
    """Lock, check, migrate and pin the journal at `path`; returns what releases the lock. Raises JournalRefused.

    `pins` are checked and, with the mode, written; `expected` are checked only.
    """
    wanted = {"mode": mode, **(pins or {})}
    _check_place(path)
    release = _lock(path)
    try:
        _create(path)
        _check_content(path, {**wanted, **(expected or {})})
        migrate(path, scripts or migrations_path(), now_ms)
        _pin(path, wanted, now_ms)
    except BaseException:
        release()
        raise
    return release


def _check_place(path: Path) -> None:
    """The directory can be written, and what stands at `path` is a file or nothing."""
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
            path.parent.chmod(DIRECTORY_MODE)  # whatever the umask: the group is to read
        status = path.stat() if path.exists() else None
    except OSError as error:
        otherwise = "Set daemon.state_dir, or [journal] path, to a place that this user can write."
        raise refusal(path, "cannot be made", error, otherwise) from error
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise JournalRefused(
            f"journal {path} is not a file. Set [journal] path to a file, such as {path / 'journal.sqlite'}."
        )
    for place, what in ((path.parent, "directory"), (path, "file")):
        if place.exists() and not os.access(place, os.W_OK):
            raise JournalRefused(
                f"journal {path}: its {what} cannot be written by user {os.geteuid()}."
                f" Give that user write permission on {place}, or set [journal] path to another place."
            )


def _lock(path: Path) -> Callable[[], None]:
    """Take the journal for this process. The lock dies with the process; the file stays, naming who had it last."""
    lock_path = path.with_name(f"{path.name}.lock")
    try:
        handle = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        otherwise = f"Give this user write permission on {path.parent}."
        raise refusal(path, f"needs the lock file {lock_path}, which cannot be opened", error, otherwise) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(handle, 0)
        if os.fstat(handle).st_uid == os.geteuid():
            os.fchmod(handle, FILE_MODE)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise JournalRefused(
            f"journal {path} is in use by another tradingd, process {holder}."
            " Stop that one first, or set [journal] path to another file."
        ) from None
    except OSError as error:
        os.close(handle)
        otherwise = "Look at its owner and permissions."
        raise refusal(path, f"needs the lock file {lock_path}, which cannot be used", error, otherwise) from error
    return lambda: os.close(handle)


def _create(path: Path) -> None:
    """Make the file with the mode that -wal and -shm then inherit, whatever the umask."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise refusal(path, "cannot be opened", error, "Look at its owner and permissions.") from error
    try:
        if os.fstat(handle).st_uid == os.geteuid() and stat.S_IMODE(os.fstat(handle).st_mode) != FILE_MODE:
            os.fchmod(handle, FILE_MODE)
    finally:
        os.close(handle)


def _check_content(path: Path, wanted: Mapping[str, str]) -> None:
    """A whole SQLite database, ours, not newer than this code, and pinned to what is wanted."""
    if path.stat().st_size == 0:
        _check_wal_possible(path)
        return
    with path.open("rb") as file:
        if not file.read(16).startswith(b"SQLite format 3\0"):
            raise JournalRefused(
                f"journal {path} is not an SQLite database. Set [journal] path to another file, or move this one away."
            )
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA busy_timeout = 10000")
        _check_identity(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        _check_pages(connection, path)
        check_pins(str(path), read_pins(connection), wanted)
    except sqlite3.Error as error:
        raise refusal(path, "cannot be read", error) from error
    finally:
        connection.close()


def _check_wal_possible(path: Path) -> None:
    """Make an empty file a database in WAL mode, or say that the disk or the file system will not have it."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA busy_timeout = 10000")
        (journal_mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.Error as error:
        raise refusal(path, "cannot be written", error) from error
    finally:
        connection.close()
    if journal_mode != "wal":
        raise JournalRefused(
            f"journal {path} lies on a file system without shared memory. Set [journal] path to a local disk."
        )


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application_id != APPLICATION_ID and tables:
        raise JournalRefused(
            f"journal {path} is an SQLite database of another program. Set [journal] path to another file."
        )
    version = schema_version(connection)
    if version > SCHEMA_VERSION:
        raise JournalRefused(
            f"journal {path} has schema {version}, this tradingd knows up to {SCHEMA_VERSION}."
            " Install the newer tradingd again, or set [journal] path to another file."
        )


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size > CHECKED_BYTES:
        return
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise JournalRefused(f"journal {path} is corrupt: {str(verdict).splitlines()[-1]}. {RESTORE}")


def _pin(path: Path, wanted: Mapping[str, str], now_ms: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("PRAGMA synchronous = FULL")
        pin(connection, wanted, now_ms)
    except sqlite3.Error as error:
        raise refusal(path, "cannot be written", error) from error
    finally:
        with suppress(sqlite3.Error):
            connection.close()


def discard_journal(path: Path) -> None:
    """Forget the journal at `path` and everything beside it; for a fresh start in simulation only."""
    release = _lock(path) if path.parent.exists() else None
    try:
        for suffix in ("", "-wal", "-shm", ".spool", ".spool.bad", ".refused"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    finally:
        if release is not None:
            release()
