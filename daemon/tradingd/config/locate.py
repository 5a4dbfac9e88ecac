"""Where each key and value of a TOML text stands. tomllib gives none of it, and an error without a line is no help.

The text must already have passed tomllib (newlines as `\\n`): this walks it and remembers offsets, it judges nothing.
"""

import re
import tomllib
from dataclasses import dataclass, field

Path = tuple[str | int, ...]
"""Keys, and indices into arrays and arrays of tables, from the root."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_FILLER = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_REST_OF_SCALAR = re.compile(r"[^,\]}#\n]*")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
# A multi-line string may end in up to two quotes of its own before the closing three.
_LONG_BASIC = re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}")


@dataclass(frozen=True)
class Span:
    """Half-open range of character offsets."""

    start: int
    end: int


@dataclass
class Located:
    """The spans of every key and value of one text; a table's key is its header's last part."""

    keys: dict[Path, Span] = field(default_factory=dict)
    values: dict[Path, Span] = field(default_factory=dict)


def locate(text: str) -> Located:
    """The spans of all keys and values in a valid TOML text."""
    walker = _Walker(text)
    walker.document()
    return walker.found


class _Walker:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found = Located()
        self.last_index: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while True:
            self.skip(_FILLER)
            if self.at >= len(self.text):
                return
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.assignment(table)

    def header(self) -> Path:
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        parts = self.key()
        self.skip(_BLANK)
        self.at += 2 if many else 1
        path: Path = ()
        for position, (part, span) in enumerate(parts):
            path = (*path, part)
            if many and position == len(parts) - 1:
                self.last_index[path] = self.last_index.get(path, -1) + 1
            self.remember_key(path, span)
            if path in self.last_index:
                path = (*path, self.last_index[path])
                self.remember_key(path, span)
        return path

    def assignment(self, table: Path) -> None:
        path = table
        for part, span in self.key():
            path = (*path, part)
            self.remember_key(path, span)
        self.skip(_BLANK)
        self.at += 1  # the equals sign
        self.skip(_BLANK)
        self.value(path)

    def key(self) -> list[tuple[str, Span]]:
        parts = []
        while True:
            self.skip(_BLANK)
            start = self.at
            quoted = {'"': _BASIC, "'": _LITERAL}.get(self.text[start])
            self.take(quoted or _BARE_KEY)
            raw = self.text[start : self.at]
            parts.append((str(tomllib.loads(f"key = {raw}")["key"]) if quoted else raw, Span(start, self.at)))
            self.skip(_BLANK)
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def value(self, path: Path) -> None:
        start = self.at
        first = self.text[start]
        if first == "[":
            self.array(path)
        elif first == "{":
            self.inline_table(path)
        elif first in "\"'":
            long = self.text.startswith(first * 3, start)
            self.take({'"': _LONG_BASIC if long else _BASIC, "'": _LONG_LITERAL if long else _LITERAL}[first])
        else:
            self.take(_REST_OF_SCALAR)
            while self.text[self.at - 1] in " \t":
                self.at -= 1
        self.found.values[path] = Span(start, self.at)

    def array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while True:
            self.skip(_FILLER)
            if self.text[self.at] == "]":
                self.at += 1
                return
            self.value((*path, index))
            index += 1
            self.skip(_FILLER)
            if self.text[self.at] == ",":
                self.at += 1

    def inline_table(self, path: Path) -> None:
        self.at += 1
        while True:
            self.skip(_FILLER)
            if self.text[self.at] == "}":
                self.at += 1
                return
            self.assignment(path)
            self.skip(_FILLER)
            if self.text[self.at] == ",":
                self.at += 1

    def remember_key(self, path: Path, span: Span) -> None:
        """Keeps the first place of a key, which for a table is where it is opened."""
        self.found.keys.setdefault(path, span)

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()

    def take(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match is None or match.end() == self.at:
            raise ValueError(f"not a TOML text that tomllib accepts: stuck at offset {self.at}")
        self.at = match.end()
