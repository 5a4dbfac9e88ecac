"""One log event as a line for people: columns, then words, then `name=value`; what the journal can be asked for is left
out. The JSON line has every field, under its full name.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

_RESET, _DIM, _BOLD = "\x1b[0m", "\x1b[2m", "\x1b[1m"
_LEVELS = {
    "debug": ("debug", "\x1b[2m"),
    "info": ("info ", "\x1b[32m"),
    "warning": ("WARN ", "\x1b[1;33m"),
    "error": ("ERROR", "\x1b[1;31m"),
    "critical": ("CRIT ", "\x1b[1;97;41m"),
}
_NEEDS_QUOTES = frozenset(' ="\\')
_EVENT_WIDTH = 22
_PLACE_WIDTH = 21
_WIDEST_PLACE = 30

_WORDS = ("strategy", "timeframe", "open_time", "intent", "purpose", "side", "kind")
"""Fields whose value says itself what it is: shown first, in this order, without their name."""
_SHORT = {
    "client_order_id": "order",
    "trigger_price": "trigger",
    "limit_price": "limit",
    "average_price": "average",
    "candles_not_shown": "not_shown",
    "denials_not_shown": "not_shown",
    "venues_not_ready": "not_ready",
}
_EVERYDAY = {"source": ("local", "reply", "stream"), "unknown_orders": (0,)}
"""Values that say what is always so."""
_LOOKED_UP = ("venue_order_id", "cause")
_LAST = ("order", "cause")
_WHOLE = "whole position"
_ON_THE_MINUTE = re.compile(r"^\d{4}-(\d\d-\d\dT\d\d:\d\d):00\.000Z$")
"""A candle's time, of which the year goes without saying."""


class ConsoleLine:
    """Time of day, level, event and place stand in columns, then come the fields that a person reads."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour
        self._place_width = _PLACE_WIDTH
        self._day = ""

    def __call__(self, time: str, level: str, event: str, fields: dict[str, Any]) -> str:
        """One line without a line feed. `fields` are plain; instrument, or else venue, is the place."""
        place = visible(str(fields.get("instrument") or fields.get("venue") or ""))
        shown_level, level_style = _LEVELS.get(level, (level[:5].ljust(5), ""))
        event_style = level_style if level in ("error", "critical") else _BOLD
        shown = sorted(_shown(level, fields), key=lambda pair: _LAST.index(pair[0]) + 1 if pair[0] in _LAST else 0)
        rest = [f"{self._styled(f'{name}=', _DIM)}{value}" if name else value for name, value in shown]
        parts = [
            self._styled(time.partition("T")[2] or time, _DIM),
            self._styled(shown_level, level_style),
            self._styled(visible(event), event_style) + " " * (_EVENT_WIDTH - len(event)),
        ]
        if place:
            # the column is as wide as the longest place so far
            self._place_width = max(self._place_width, min(len(place), _WIDEST_PLACE))
            parts.append(place.ljust(self._place_width if rest else 0))
        return " ".join([*parts, *rest]).rstrip()

    def new_day(self, time: str) -> str:
        """A line of its own when the date has changed since the last call, or none: the other lines have no date."""
        day, _, clock_time = time.partition("T")
        if not clock_time or day == self._day:
            return ""
        self._day = day
        return self._styled(f"{day}, times in UTC", _DIM)

    def block(self, text: str) -> str:
        """Text of several lines (a traceback) below a line, indented so that it is not taken for lines of its own."""
        lines = text.split("\n")
        return "".join(f"\n  {self._styled('|', _DIM)} {visible(line)}" for line in lines)

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_RESET}" if self._colour and style else text


def _shown(level: str, fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of each field that a person reads, words first; a word has no name."""
    for name in _WORDS:
        if fields.get(name) is not None and not _told_already(name, fields):
            yield "", _value(_ON_THE_MINUTE.sub(r"\1Z", str(fields[name])))
    quiet = level in ("debug", "info")
    for name, value in fields.items():
        if name in ("venue", "instrument", *_WORDS) or _told_already(name, fields):
            continue
        if (quiet and name in _LOOKED_UP) or value in _EVERYDAY.get(name, ()):
            continue
        if name == "cause" and fields.get("client_order_id"):
            continue  # the order's id finds it: `tradingd journal why ID`
        if name == "stream_ages_s" and isinstance(value, dict):
            if value:
                yield "oldest_stream_s", str(max(value.values()))
        elif name == "quantity" and value == _WHOLE:
            yield "", _WHOLE
        else:
            yield visible(_SHORT.get(name, name)), _value(_joined(value))


def _told_already(name: str, fields: dict[str, Any]) -> bool:
    if name == "kind":  # a stop is a stop_market
        return bool(fields.get("purpose")) and str(fields["kind"]).startswith(f"{fields['purpose']}_")
    if name == "quantity" and fields.get("filled"):
        return fields["quantity"] in (fields["filled"], _WHOLE)
    return name == "delta_s" and not fields.get("late")


def _joined(value: Any) -> Any:
    """A short list or table of texts as people write it: `a, b` and `name text, name text`."""
    if isinstance(value, dict) and value and all(isinstance(each, str) for each in value.values()):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return value


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
