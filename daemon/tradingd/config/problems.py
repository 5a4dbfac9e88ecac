"""What is wrong with a configuration: every problem at once, with its place, what is allowed, and the nearest key."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tradingd.config.locate import Span
from tradingd.domain.errors import TradingdError

EXIT_STATUS = 78
"""EX_CONFIG of sysexits.h: the service manager must not restart what a human has to correct."""

MASK = "********"
SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:(?:api|secret|access|private)[_-]?key|key[_-]?id|(?:api)?secret|(?:api)?password|passwd|passphrase|pwd"
    r"|token|credentials?)$",
    re.IGNORECASE,
)
# Venues hand out runs of 32 to 64 letters and digits; nothing that a config needs looks like that.
_SECRET_VALUE = re.compile(
    r"(?<![A-Za-z0-9+=])(?=[A-Za-z+=]*[0-9])(?=[0-9+=]*[A-Za-z])[A-Za-z0-9+=]{32,}|-----BEGIN [A-Z ]+-----.*"
)
_ASSIGNMENT = re.compile(r"""(["']?)([A-Za-z0-9_.-]+)\1\s*=\s*""")


def is_secret_name(name: str) -> bool:
    """Whether a key of that name would hold a secret."""
    return SECRET_NAME.search(name) is not None


def is_secret_value(value: str) -> bool:
    """Whether a text looks like a key that a venue hands out."""
    return _SECRET_VALUE.search(value) is not None


def redact(text: str) -> str:
    """`text` without anything that looks like a secret, or that is assigned to a name that holds one."""
    for match in _ASSIGNMENT.finditer(text):
        if is_secret_name(match[2]):
            text = text[: match.end()] + MASK
            break
    return _SECRET_VALUE.sub(MASK, text)


@dataclass(frozen=True)
class Position:
    """A place in a file: `line` and `column` count from 1, `length` characters are meant.

    `source` is the whole line, secrets masked: a position may be printed, logged and raised.
    """

    file: str
    line: int
    column: int
    length: int
    source: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    @staticmethod
    def of(file: str, text: str, span: Span) -> "Position":
        """The place of a span; what goes beyond its first line is not underlined."""
        start = min(span.start, len(text))
        line_start = text.rfind("\n", 0, start) + 1
        line_end = text.find("\n", start)
        line_end = len(text) if line_end < 0 else line_end
        length = max(1, min(span.end, line_end) - start)
        line = text.count("\n", 0, start) + 1
        return Position(file, line, start - line_start + 1, length, redact(text[line_start:line_end]))


@dataclass(frozen=True)
class Problem:
    """One thing to correct. `place` is a position, or words such as "environment variable X"."""

    message: str
    place: Position | str
    allowed: str | None = None
    nearest: str | None = None

    def __post_init__(self) -> None:
        for name in ("message", "nearest"):
            object.__setattr__(self, name, redact(getattr(self, name) or "") or None)

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.message}"]
        if isinstance(self.place, Position):
            lines += self._underlined(self.place)
        if self.allowed:
            lines.append(f"      allowed: {self.allowed}")
        if self.nearest:
            lines.append(f"      nearest: {self.nearest}")
        return "\n".join(lines)

    @staticmethod
    def _underlined(place: Position) -> list[str]:
        # Tabs are kept, so that the caret stands under its character whatever their width.
        blank = "".join("\t" if character == "\t" else " " for character in place.source[: place.column - 1])
        length = max(1, min(place.length, len(place.source) - place.column + 1))
        return [f"{place.line:>5} | {place.source}", f"      | {blank}{'^' * length}"]


class ConfigError(TradingdError):
    """The configuration cannot be used; `problems` are all that was found, and the text shows each of them."""

    exit_status = EXIT_STATUS

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be, or None."""
    folded = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None
