"""The settings in force, each with where it came from: as TOML for people, as rows for programs."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from tradingd.config.locate import Path
from tradingd.config.problems import MASK, is_secret_name, redact
from tradingd.config.settings import Settings
from tradingd.domain.instruments import InstrumentId

_COMMENT_COLUMN = 48


def rows(settings: Settings) -> Iterator[tuple[Path, Any, str]]:
    """(path, value, origin) of every setting, in the order of the sections; values are plain JSON types, or None."""
    for section in type(settings).model_fields:
        yield from _rows(settings, getattr(settings, section), (section,))


def as_toml(settings: Settings) -> str:
    """TOML that means the same settings, with the origin of each value as its comment."""
    lines: list[str] = []
    table: Path = ()
    for path, value, origin in rows(settings):
        if path[:-1] != table:
            table = path[:-1]
            lines += ["", f"[{'.'.join(str(part) for part in table)}]"]
        text = f"# {path[-1]} is not set" if value is None else f"{_key(path[-1])} = {_toml(value)}"
        lines.append(text if value is None else f"{text:<{_COMMENT_COLUMN}} # {origin}")
    return "\n".join(lines).lstrip("\n")


def _rows(settings: Settings, value: Any, path: Path) -> Iterator[tuple[Path, Any, str]]:
    if isinstance(value, BaseModel):
        names = [*type(value).model_fields, *(value.model_extra or {})]
        for name in names:
            yield from _rows(settings, getattr(value, name), (*path, name))
    elif isinstance(value, MappingProxyType):  # venues, strategies; a plugin's own table is a value
        for name, inner in value.items():
            yield from _rows(settings, inner, (*path, name))
    else:
        yield path, _plain(value, str(path[-1])), settings.origin(path)


def _plain(value: Any, name: str) -> Any:
    if is_secret_name(name):
        return MASK
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 10**15 else float(value)
    if isinstance(value, tuple | list):
        return [_plain(item, name) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item, key) for key, item in value.items()}
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, InstrumentId | FilePath):
        return str(value)
    return value.isoformat()  # TOML's dates and times are the only other values


def _key(name: str | int) -> str:
    text = str(name)
    return text if text.replace("_", "").replace("-", "").isalnum() and text.isascii() else json.dumps(text)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)} = {_toml(item)}' for key, item in value.items())}}}"
    # JSON's strings, numbers and booleans are TOML's too, but for a character that TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
