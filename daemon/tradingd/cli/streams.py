"""The standard streams as they really are: closed, broken, or not a terminal."""

import fcntl
import os
import sys
from collections.abc import Mapping
from typing import TextIO


def open_standard_streams() -> None:
    """Give descriptors 0 to 2 to /dev/null where they are closed.

    Otherwise the next file that is opened gets such a number: a traceback would then be written into the journal.
    """
    for descriptor in (0, 1, 2):
        try:
            fcntl.fcntl(descriptor, fcntl.F_GETFD)
        except OSError:
            # The lowest free number is given out, and that is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def discard_stdout() -> None:
    """Let what is still buffered for a reader that went away end in /dev/null, not in a complaint at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


class Paint:
    """Colours for people: only on a terminal, and not against NO_COLOR or TERM=dumb."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._on = stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"

    def bold(self, text: str) -> str:
        """A heading or a name."""
        return self._styled(text, "1")

    def good(self, text: str) -> str:
        """As it should be."""
        return self._styled(text, "32")

    def odd(self, text: str) -> str:
        """Worth a look."""
        return self._styled(text, "33")

    def bad(self, text: str) -> str:
        """Somebody should act."""
        return self._styled(text, "1;31")

    def faint(self, text: str) -> str:
        """Beside the point."""
        return self._styled(text, "2")

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._on and text else text
