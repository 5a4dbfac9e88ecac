"""One log event as data: which fields, in which order, out of types that JSON has; and as the JSON line of it."""

import traceback
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import Any

import orjson

from tradingd.domain import jsonsafe
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.numbers import plain_text

FIRST_FIELDS = ("venue", "instrument", "strategy", "client_order_id", "cause")
"""The fields that say whom it concerns; they come first, in this order."""
MAX_LINE = 16_384
MAX_VALUE = 2_000
"""Characters that one value may take in a line that is too long."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_INT64 = 2**63
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
        return plain_text(value)
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
