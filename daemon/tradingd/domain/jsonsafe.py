"""Any value as JSON text, whatever a plugin or a library hands over: one function for the journal and for the logs."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice

import msgspec

MAX_NODES = 5_000
"""So many values are written of one structure; what follows is left out and said so."""
MAX_DEPTH = 20
MAX_TEXT = 10_000
"""Characters of one string that are kept."""
_EXACT_INT = 2**63


def dumps(value: object) -> str:
    """`value` as JSON text that every strict parser reads; never raises, never NaN.

    Decimals become strings (exact), NaN and infinities the strings "NaN", "Infinity", "-Infinity", times ISO strings,
    numpy and pandas values what they hold, objects of unknown types their repr. Integers beyond 64 bit become strings.
    """
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def plain(value: object) -> object:
    """`value` made of None, bool, int, finite float, str, list and dict only."""
    return _Walk().convert(value, 0)


class _Walk:
    def __init__(self) -> None:
        self.nodes = 0
        self.path: set[int] = set()

    def convert(self, value: object, depth: int) -> object:
        self.nodes += 1
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is int:
            return _integer(value)  # type: ignore[arg-type]
        if kind is float:
            return _number(value)  # type: ignore[arg-type]
        if kind is str:
            return _text(value)  # type: ignore[arg-type]
        try:
            return self._compound(value, depth)
        except Exception as error:  # foreign __iter__, __repr__, properties: whatever they raise is only worth a word
            return f"<{kind.__name__}: unreadable, {type(error).__name__}>"

    def _compound(self, value: object, depth: int) -> object:
        scalar = _scalar(value)
        if scalar is not None:
            return scalar
        if id(value) in self.path:
            return "<cycle>"
        if depth >= MAX_DEPTH:
            return f"<{type(value).__name__}: too deep>"
        self.path.add(id(value))
        try:
            return self._container(value, depth)
        finally:
            self.path.discard(id(value))

    def _container(self, value: object, depth: int) -> object:
        if isinstance(value, Mapping):
            return self._object(value.items(), depth)
        if isinstance(value, msgspec.Struct):
            return self._object(((name, getattr(value, name)) for name in value.__struct_fields__), depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._object(((f.name, getattr(value, f.name)) for f in dataclasses.fields(value)), depth)
        library = _library_value(value)
        if library is not value:
            return self.convert(library, depth + 1)
        if isinstance(value, (set, frozenset)):
            # sorted, since the order of a set differs from run to run
            return sorted(self._array(value, depth), key=lambda item: json.dumps(item, sort_keys=True))
        if isinstance(value, Iterable) and hasattr(value, "__len__"):
            return self._array(value, depth)
        return _unknown(value)

    def _object(self, items: Iterable[tuple[object, object]], depth: int) -> dict[str, object]:
        result: dict[str, object] = {}
        for key, item in items:
            if self.nodes >= MAX_NODES:
                result["…"] = "left out"
                break
            result[self._key(key)] = self.convert(item, depth + 1)
        return result

    def _key(self, key: object) -> str:
        if type(key) is str:
            return _text(key)
        text = _Walk().convert(key, MAX_DEPTH - 2)
        return text if isinstance(text, str) else _text(json.dumps(text, ensure_ascii=False, separators=(",", ":")))

    def _array(self, items: Iterable[object], depth: int) -> list[object]:
        result: list[object] = []
        for item in islice(items, MAX_NODES + 1):
            if self.nodes >= MAX_NODES:
                result.append("… left out")
                break
            result.append(self.convert(item, depth + 1))
        return result


def _integer(value: int) -> object:
    if -_EXACT_INT <= value < _EXACT_INT:
        return value
    # Python refuses to write integers of more than 4300 digits, and nobody would read them
    return str(value) if value.bit_length() < 4_000 else f"<int of {value.bit_length()} bits>"


def _number(value: float) -> object:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _text(value: str) -> str:
    # lone surrogates are legal in a str and in no UTF-8 file
    text = value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}…"
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _scalar(value: object) -> object | None:
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Decimal):
        return _text(str(value))
    if isinstance(value, bool | int):
        return _integer(int(value))
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, date | time):  # datetime is a date; so is pandas' Timestamp
        return _text(value.isoformat())
    if isinstance(value, timedelta):
        return _number(value.total_seconds())
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value))
    if isinstance(value, BaseException):
        return _text(f"{type(value).__name__}: {value}")
    if hasattr(type(value), "__fspath__") or type(value).__module__ == "uuid":
        return _text(str(value))
    return None


def _bytes(value: bytes) -> str:
    try:
        return _text(value.decode("utf-8"))
    except UnicodeDecodeError:
        return f"0x{value[: MAX_TEXT // 2].hex()}"


def _library_value(value: object) -> object:
    """What a numpy or pandas object holds, without importing either; any other value is returned as it is."""
    library = type(value).__module__.partition(".")[0]
    if library == "numpy":
        if type(value).__name__ in ("datetime64", "timedelta64"):
            return str(value)
        size = getattr(value, "size", 1)
        if isinstance(size, int) and size > MAX_NODES:
            return f"<{type(value).__name__} of shape {getattr(value, 'shape', '?')}>"
        to_list = getattr(value, "tolist", None)
        held = to_list() if callable(to_list) else value
        return str(value) if type(held) is type(value) else held  # a longdouble gives itself back
    if library == "pandas":
        for name in ("to_dict", "tolist", "isoformat"):
            method = getattr(value, name, None)
            if callable(method):
                return _shortened(value, method)
        return str(value)
    return value


def _shortened(value: object, method: "object") -> object:
    head = getattr(value, "head", None)
    if callable(head) and hasattr(value, "to_dict"):
        return head(MAX_NODES).to_dict()
    return method() if callable(method) else str(value)


def _unknown(value: object) -> str:
    if type(value).__repr__ is object.__repr__:
        # without the address, which differs from run to run
        return f"<{type(value).__qualname__}>"
    return _text(repr(value))
