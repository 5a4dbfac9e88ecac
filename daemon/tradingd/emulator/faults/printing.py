"""From a Script back to a text that reads as the same script."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tradingd.emulator.faults.language import ANY, WHEN_KEYS, Rule, Script

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def print_script(script: Script) -> str:
    """TOML; what a rule leaves open is left out."""
    blocks = [f"seed = {script.seed}\n"]
    blocks += [
        "[[rule]]\n" + "".join(f"{key} = {_text(value)}\n" for key, value in _entries(rule)) for rule in script.rules
    ]
    return "\n".join(blocks)


def _entries(rule: Rule) -> list[tuple[str, object]]:
    entries: list[tuple[str, object]] = [("name", rule.name)] if rule.name else []
    entries.append(("do", rule.do))
    entries += [
        (key, names[0] if len(names) == 1 else list(names))
        for key, names in (("on", rule.on), ("push", rule.push))
        if names
    ]
    if rule.stream != ANY:
        entries.append(("stream", rule.stream))
    if rule.symbol is not None:
        entries.append(("symbol", rule.symbol))
    entries += rule.what
    entries += [(key, getattr(rule, key)) for key in WHEN_KEYS if getattr(rule, key) is not None]
    entries += [
        (key, _EPOCH + timedelta(milliseconds=ms))
        for key, ms in (("since", rule.since_ms), ("until", rule.until_ms))
        if ms is not None
    ]
    return entries


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}" if value != value.to_integral_value() else str(int(value))
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list):
        return f"[{', '.join(_text(each) for each in value)}]"
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for DEL, and surrogates, which no file can hold."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
