"""The spool file: ids of orders sent although the journal cannot commit, fsynced before their request leaves (P2)."""

import os
from pathlib import Path


class Spool:
    """Appends lines beside the journal, each on the disk before `append` returns; raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: str) -> None:
        """Write one line and wait for the disk."""
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            os.write(handle, line.encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)

    def lines(self) -> list[str]:
        """What was spooled; a torn last line is left out."""
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return []
        return [line for line in text.split("\n")[:-1] if line]

    def clear(self) -> None:
        """What was spooled is in the journal now."""
        self.path.unlink(missing_ok=True)
