"""How one log event looks: a JSON object for machines, an aligned line for people. One line each, whatever is in it."""

import json
import traceback
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import Any

import orjson

from tradingd.domain import jsonsafe
from tradingd.domain.instruments import InstrumentId

FIRST_FIELDS = ("venue", "instrument", "strategy", "client_order_id", "cause")
"""The fields that say whom it concerns; they come first, in this order."""
MAX_LINE = 16_384
MAX_VALUE = 2_000
"""Characters that one value may take in a line that is too long."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_RESET, _DIM, _BOLD = "\x1b[0m", "\x1b[2m", "\x1b[1m"
_LEVELS = {
    "debug": ("debug", "\x1b[2m"),
    "info": ("info ", "\x1b[32m"),
    "warning": ("WARN ", "\x1b[1;33m"),
    "error": ("ERROR", "\x1b[1;31m"),
    "critical": ("CRIT ", "\x1b[1;97;41m"),
}
_NEEDS_QUOTES = frozenset(' ="\\')
_INT64 = 2**63
_EVENT_WIDTH = 21
_PLACE_WIDTH = 22
_PLAIN = frozenset({str, bool, type(None)})


class IsoTime:
    """Milliseconds UTC as `2026-11-22T18:03:11.123Z`; the second is formatted once."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, time_ms: int) -> str:
        """The text; a time that no calendar has is shown as its number."""
        second, rest_ms = divmod(time_ms, 1000)
        if second != self._second:
            try:
                self._text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            except (ValueError, OverflowError, OSError):
                return f"{time_ms}ms"
            self._second = second
        return f"{self._text}.{rest_ms:03d}Z"


def ordered(fields: dict[str, Any]) -> dict[str, Any]:
    """`fields` with FIRST_FIELDS in front; those without a value are left out."""
    out = {name: fields[name] for name in FIRST_FIELDS if fields.get(name) is not None}
    for name, value in fields.items():
        if name not in out and not (value is None and name in FIRST_FIELDS):
            out[name] = value
    return out


def traceback_text(exc_info: ExcInfo) -> str:
    """The traceback without local variables, deep recursions shortened."""
    shown = traceback.TracebackException(*exc_info, limit=-40, compact=True)
    return "".join(shown.format()).rstrip("\n")


def plain_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """`fields` out of types that JSON has."""
    return {
        name if type(name) is str else str(name): value if type(value) in _PLAIN else _plain(value)
        for name, value in fields.items()
    }


def _plain(value: object) -> object:
    if type(value) is int and -_INT64 <= value < _INT64:
        return value
    if type(value) is Decimal and value.is_finite() and -20 <= value.adjusted() <= 20:
        return format(value, "f")  # 0.00001, where str() says 1E-5
    if type(value) is InstrumentId:
        return str(value)
    return jsonsafe.plain(value)


def json_line(fields: dict[str, Any]) -> str:
    """`fields`, already plain, as one JSON object."""
    try:
        line = orjson.dumps(fields).decode()
    except (TypeError, ValueError, RecursionError):
        # A lone surrogate or an integer beyond 64 bits, in a value that was taken for plain.
        line = jsonsafe.dumps(fields)
    if not line.isascii():
        line = line.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")
    return line


class ConsoleLine:
    """Time, level, event and place stand in columns; then the other fields as `name=value`, cause last."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, time: str, level: str, event: str, fields: dict[str, Any]) -> str:
        """One line without a line feed. `fields` are plain; instrument, or else venue, is the place."""
        place = fields.get("instrument") or fields.get("venue") or ""
        shown_level, level_style = _LEVELS.get(level, (level[:5].ljust(5), ""))
        rest = [
            f"{self._styled(name + '=', _DIM)}{_value(value)}"
            for name, value in fields.items()
            if name not in ("instrument", "venue", "cause")
        ]
        if "cause" in fields:
            # Long and for looking up: behind what is read first.
            rest.append(f"{self._styled('cause=', _DIM)}{_value(fields['cause'])}")
        event_style = level_style if level in ("error", "critical") else _BOLD
        parts = [
            self._styled(time, _DIM),
            self._styled(shown_level, level_style),
            self._styled(visible(event), event_style) + " " * (_EVENT_WIDTH - len(event)),
        ]
        parts.append(visible(str(place)).ljust(_PLACE_WIDTH if rest else 0))
        return " ".join([*parts, *rest]).rstrip()

    def block(self, text: str) -> str:
        """Text of several lines (a traceback) below a line, indented so that it is not taken for lines of its own."""
        lines = text.split("\n")
        return "".join(f"\n  {self._styled('|', _DIM)} {visible(line)}" for line in lines)

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_RESET}" if self._colour and style else text


def visible(text: str) -> str:
    """`text` with everything that could move a cursor, break a line or reorder characters as its escape."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _value(value: Any) -> str:
    if isinstance(value, str):
        if value.isprintable() and value and not _NEEDS_QUOTES.intersection(value):
            return value
        # Quoted as JSON quotes: that form of a secret is known to the scrubber.
        return visible(json.dumps(value, ensure_ascii=False))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, Decimal | int | float):
        return str(value)
    return visible(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
