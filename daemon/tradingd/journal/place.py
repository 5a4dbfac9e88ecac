"""Whether the open journal is still what stands at its path: SQLite writes on into a file that was moved or deleted,
and says nothing.
"""

import os
from pathlib import Path

from tradingd.domain.errors import JournalError

SUFFIXES = ("", "-wal", "-shm")
"""The files of a journal that is open: what the -wal holds is not yet in the first."""

Identity = tuple[int, int]  # device, inode


class Place:
    """The files as they were when the connection opened them. Looking costs a few microseconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = {Path(f"{path}{suffix}"): _identity(Path(f"{path}{suffix}")) for suffix in SUFFIXES}

    def check(self) -> None:
        """Raise JournalError when a file of the journal is gone, or another one stands in its place."""
        for path, known in self._files.items():
            found = _identity(path)
            if found != known:
                raise JournalError(self._told(path, found))

    def _told(self, path: Path, found: Identity | None) -> str:
        state = "is gone" if found is None else "is another file now"
        if path == self._path:
            return (
                f"journal file was moved or deleted: {path} {state}. Move the same file back to {path} and entries go "
                "on by themselves; or stop tradingd, restore the journal there with what stands beside it, and start."
            )
        return (
            f"journal file was moved or deleted: {path} {state}, and it holds what {self._path.name} does not have yet."
            f" Move the same file back; or `tradingd stop`, which writes it into {self._path}, and start again."
        )


def _identity(path: Path) -> Identity | None:
    """None for nothing there, or nothing that can be seen."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
