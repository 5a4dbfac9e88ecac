"""The JSON schema of the settings, and what it says in words about one key."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from tradingd.config.locate import Path
from tradingd.config.settings import Settings


@cache
def json_schema() -> dict[str, Any]:
    """The JSON schema of config.toml."""
    schema = Settings.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def known_keys(path: Path) -> Iterable[str]:
    """The keys that the table at `path` declares."""
    return tuple(_at(path).get("properties", {}))


def allowed_at(path: Path) -> str | None:
    """What a value at `path` may be, in words."""
    return _words(_at(path)) or None


def choices_at(path: Path) -> tuple[str, ...]:
    """The words among which a value at `path` chooses; empty when it is not a choice."""
    return tuple(map(str, _at(path).get("enum", ())))


def _at(path: Path) -> dict[str, Any]:
    node = _resolved(json_schema())
    for part in path:
        if isinstance(part, int):
            inner = node.get("items", {})
        elif part in node.get("properties", {}):
            inner = node["properties"][part]
        else:
            inner = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
        node = _resolved(inner if isinstance(inner, dict) else {})
    return node


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    """A node without indirection: references followed, and of "X or null" the X, since TOML has no null."""
    while True:
        if "$ref" in node:
            node = json_schema()["$defs"][node["$ref"].rsplit("/", 1)[1]]
        elif "anyOf" in node:
            node = next(choice for choice in node["anyOf"] if choice.get("type") != "null")
        else:
            return node


_NOUNS = {
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "object": "a table",
}


def _words(node: dict[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(map(str, node["enum"]))
    if "const" in node:
        return str(node["const"])
    kind = str(node.get("type", ""))
    if kind == "array":
        return f"an array of one or more: {_words(_resolved(node.get('items', {})))}"
    if kind == "string" and "description" in node:
        return str(node["description"])
    if node.get("format") == "path":
        return "a path in quotes"
    if kind == "string" and "pattern" in node:
        return f"a string that matches {node['pattern']}"
    noun = _NOUNS.get(kind, "")
    if kind in ("integer", "number"):
        above = f" above {_exact(node['exclusiveMinimum'])}" if "exclusiveMinimum" in node else ""
        lower = f" from {_exact(node['minimum'])}" if "minimum" in node else above
        return f"{noun}{lower} to {_exact(node['maximum'])}" if "maximum" in node else f"{noun}{lower}"
    return noun


def _exact(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else f"{bound:g}"
