"""What a start says of an error of SQLite or of the system: a damaged journal is for its backup, a disk that is full or
failing is not, and who mixes them up moves a good journal away.
"""

import errno
import sqlite3
from pathlib import Path

from tradingd.domain.errors import JournalRefused, JournalUnavailable

RESTORE = "Restore a backup (*.backup beside it), or move the file away and start with an empty journal."
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_WHOLE = "The journal itself is not damaged: leave it where it is"
_ADVICE = {
    sqlite3.SQLITE_FULL: "The disk is full. {whole}, free some space and start again.",
    sqlite3.SQLITE_IOERR: "The disk is full or failing. {whole}, look at the disk and the kernel's log.",
    sqlite3.SQLITE_CANTOPEN: "{whole}, look at the permissions of {path} and of {directory}, and at the disk.",
    sqlite3.SQLITE_READONLY: "{whole}, look at the permissions of {path}* and at how its disk is mounted.",
    sqlite3.SQLITE_PERM: "{whole}, look at the permissions of {path} and of {directory}.",
    sqlite3.SQLITE_BUSY: "Another program holds its write lock. {whole}, end that program and start again.",
    sqlite3.SQLITE_NOMEM: "The machine is out of memory. {whole} and start again.",
}
_OF_ERRNO = {
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
    errno.EIO: sqlite3.SQLITE_IOERR,
    errno.EROFS: sqlite3.SQLITE_READONLY,
}


def code_of(error: BaseException | None) -> int | None:
    """SQLite's primary code of an error or of what it was raised from; None for an error of something else."""
    while error is not None:
        extended = getattr(error, "sqlite_errorcode", None)
        if isinstance(extended, int):
            return extended & 0xFF
        if isinstance(error, OSError):
            return _OF_ERRNO.get(error.errno or 0)
        error = error.__cause__
    return None


def advice(path: Path, error: BaseException) -> str | None:
    """What to do when it is the disk, permissions or another program; None when it is not."""
    text = _ADVICE.get(code_of(error) or 0)
    return None if text is None else text.format(whole=_WHOLE, path=path, directory=path.parent)


def refusal(path: Path, what: str, error: BaseException, otherwise: str = RESTORE) -> JournalRefused:
    """`journal PATH WHAT: ERROR. REMEDY`; JournalUnavailable where the journal itself is not to blame."""
    remedy = advice(path, error)
    if remedy is not None:
        return JournalUnavailable(f"journal {path} {what}: {describe(error)}. {remedy}")
    if code_of(error) in DAMAGED:
        what, otherwise = "is corrupt", RESTORE
    return JournalRefused(f"journal {path} {what}: {describe(error)}. {otherwise}")


def describe(error: BaseException) -> str:
    """The error's text with SQLite's own code name, where there is one."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    name = getattr(error, "sqlite_errorname", None)
    return f"{text} ({name})" if name else text
