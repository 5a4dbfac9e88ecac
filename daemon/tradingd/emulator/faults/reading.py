"""From a file to a Script: every problem at once, each with its line, what is allowed, and the nearest name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tradingd.config.locate import locate
from tradingd.config.problems import ConfigError, Problem, nearest
from tradingd.config.resources import fault_scripts, find_fault_script
from tradingd.config.source import Problems, Source, parse_toml, read_text
from tradingd.emulator.faults.language import (
    ANY,
    KINDS,
    PURPOSES,
    PUSH,
    PUSHES,
    REQUEST,
    STREAM,
    STREAMS,
    VENUE,
    WHEN_KEYS,
    Key,
    Kind,
    Rule,
    Script,
    Value,
)

MAX_RULES = 1_000
_MAX_SEED = 2**53
_ENDPOINT = re.compile(r"(GET|POST|PUT|DELETE) /\S*")
_ALWAYS = ("do", "name", "chance", "times", "after_s", "before_s", "since", "until")
_BY_BEFALLS = {
    REQUEST: ("on", "symbol", "nth", "every"),
    PUSH: ("push", "symbol", "nth", "every"),
    STREAM: ("stream", "on", "push", "symbol", "nth", "every", "every_s"),
    VENUE: ("on", "push", "symbol", "nth", "every", "every_s"),
}
_MOMENT = "a date and time with its offset, e.g. 2026-11-22T21:00:00Z"
_BAD = object()


def find_script(given: Path) -> Path:
    """The file that was meant: the one of that path, or the shipped one of that name. Raises ConfigError."""
    found = find_fault_script(given)
    if found is not None or given.suffix:
        return found or given
    scripts = fault_scripts()
    allowed = f"the path of a TOML file, or a shipped script: {', '.join(scripts)}"
    raise ConfigError([Problem("there is no such fault script", str(given), allowed, nearest(given.name, scripts))])


def read_script(given: Path) -> Script:
    """The script in a file, or the shipped one of that name; raises ConfigError with everything that is wrong."""
    path = find_script(given)
    allowed = f"a readable TOML file, or a shipped script: {', '.join(fault_scripts())}"
    text = read_text(path, "the fault script", allowed)
    return parse_script(text, str(path))


def parse_script(text: str, name: str = "script") -> Script:
    """The script in a TOML text; `name` is what errors call the file."""
    source = Source(name, Path(), text, parse_toml(name, text), locate(text))
    problems = Problems(source)
    for key in source.raw:
        if key not in ("seed", "rule"):
            problems.unknown((key,), "key", ("seed", "rule"))
    seed = source.raw.get("seed", 1)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= _MAX_SEED:
        problems.at(("seed",), "the seed is not usable", allowed=f"a whole number from 0 to {_MAX_SEED}")
    tables = source.raw.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        problems.at(("rule",), "rules are written as an array of tables", allowed="[[rule]] above each of them")
        tables = []
    if len(tables) > MAX_RULES:
        problems.at(("rule",), f"{len(tables)} rules are too many", allowed=f"{MAX_RULES}")
    rules = [_RuleReader(table, ("rule", index), problems).read() for index, table in enumerate(tables[:MAX_RULES])]
    _unique_names(rules, problems)
    problems.raise_if_any()
    return Script(seed=seed, rules=tuple(rule for rule in rules if rule is not None))


def _unique_names(rules: Iterable[Rule | None], problems: Problems) -> None:
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        if rule is not None and rule.name:
            if rule.name in seen:
                problems.at(("rule", index, "name"), f"there is a rule {rule.name!r} already", allowed="another name")
            seen.add(rule.name)


class _RuleReader:
    """One table; what it cannot use it tells, and goes on."""

    def __init__(self, table: dict[str, Any], path: tuple[str | int, ...], problems: Problems) -> None:
        self._table = table
        self._path = path
        self._problems = problems

    def _tell(self, key: str, message: str, allowed: str, near: str | None = None, *, of_key: bool = False) -> None:
        self._problems.at((*self._path, key), message, allowed=allowed, nearest=near, of_key=of_key)

    def read(self) -> Rule | None:
        do = self._table.get("do")
        if not isinstance(do, str) or do not in KINDS:
            message = "the rule does not say what it does" if do is None else f"do = {_shown(do)} is no fault"
            self._tell("do", message, ", ".join(KINDS), nearest(str(do), KINDS) if do is not None else None)
            return None
        kind, before = KINDS[do], len(self._problems)
        self._refuse_unknown(do, kind)
        when = {key: self._value(key, known) for key, known in WHEN_KEYS.items()}
        what = {key: self._value(key, known) for key, known in kind.keys.items()}
        for key, known in kind.keys.items():
            if known.needed and key not in self._table:
                self._tell(key, f"{do} needs the key {key!r}", known.allowed)
        values: dict[str, Any] = {key: value for key, value in when.items() if value is not None}
        symbol = None if "symbol" in kind.keys else self._value("symbol", Key("text"))
        rule = dict(
            do=do,
            name=self._value("name", Key("text")) or "",
            on=self._names("on", PURPOSES) or kind.default_on,
            push=self._names("push", PUSHES) or ((ANY,) if kind.befalls == PUSH else ()),
            stream=self._value("stream", Key("text", choices=(ANY, *STREAMS))) or ANY,
            symbol=symbol,
            since_ms=self._moment("since"),
            until_ms=self._moment("until"),
            what=tuple(sorted((key, value) for key, value in what.items() if value is not None)),
            **values,
        )
        if len(self._problems) > before:
            return None
        made = Rule(**rule)
        self._check_when(made)
        self._check_what(made, kind)
        return made if len(self._problems) == before else None

    def _refuse_unknown(self, do: str, kind: Kind) -> None:
        known = tuple(dict.fromkeys((*_ALWAYS, *_BY_BEFALLS[kind.befalls], *kind.keys)))
        for key in self._table:
            if key not in known:
                self._tell(key, f"{do} takes no key {key!r}", ", ".join(known), nearest(key, known), of_key=True)

    def _value(self, key: str, known: Key) -> Any:
        """The value of a key, None where there is none, and None with a problem told where it is of no use."""
        if key not in self._table:
            return None
        found = self._table[key]
        value = _converted(found, known)
        if value is _BAD:
            near = nearest(str(found), known.choices) if known.choices else None
            self._tell(key, f"{key} is {_shown(found)}", known.allowed, near)
            return None
        return value

    def _moment(self, key: str) -> int | None:
        found = self._table.get(key)
        if found is None:
            return None
        if not isinstance(found, datetime) or found.tzinfo is None:
            self._tell(key, f"{key} is {_shown(found)}", _MOMENT)
            return None
        whole = found.replace(microsecond=0)
        return int(whole.timestamp()) * 1000 + found.microsecond // 1000

    def _names(self, key: str, known: tuple[str, ...]) -> tuple[str, ...]:
        """One name or an array of names."""
        found = self._table.get(key)
        if found is None:
            return ()
        names = found if isinstance(found, list) else [found]
        allowed = f"{ANY}, {', '.join(known)}"
        if key == "on":
            allowed += ', or an endpoint such as "POST /fapi/v1/order"'
        if not names:
            self._tell(key, f"{key} is empty", allowed)
        for index, name in enumerate(names):
            usable = isinstance(name, str) and (
                name in (ANY, *known) or (key == "on" and _ENDPOINT.fullmatch(name) is not None)
            )
            if not usable:
                place = (*self._path, key, index) if isinstance(found, list) else (*self._path, key)
                self._problems.at(
                    place, f"{key} names {_shown(name)}", allowed=allowed, nearest=nearest(str(name), (ANY, *known))
                )
        return tuple(str(name) for name in names)

    def _check_when(self, rule: Rule) -> None:
        if rule.on and rule.push:
            self._tell("push", "a rule waits for requests or for pushes", "on or push, not both", of_key=True)
        if rule.nth is not None and rule.every is not None:
            self._tell("every", "nth is one match, every is many", "nth or every, not both", of_key=True)
        if rule.is_timed:
            for key in ("nth", "every", "symbol"):
                if getattr(rule, key) is not None:
                    self._tell(key, f"{key} needs something to match", "on or push beside it, or every_s", of_key=True)
        elif rule.every_s is not None:
            self._tell(
                "every_s", "every_s is of rules that the clock sets off", "leave out on and push, or this", of_key=True
            )
        if rule.after_s is not None and rule.before_s is not None and rule.before_s <= rule.after_s:
            self._tell("before_s", f"before_s is not later than after_s = {rule.after_s}", "a later moment")
        if rule.since_ms is not None and rule.until_ms is not None and rule.until_ms <= rule.since_ms:
            self._tell("until", "until is not after since", "a later moment")

    def _check_what(self, rule: Rule, kind: Kind) -> None:
        given = dict(rule.what)
        wrong = [name for name in rule.on if kind.only_on and name not in kind.only_on]
        if wrong:
            self._tell("on", f"{rule.do} cannot befall {wrong[0]!r}", ", ".join(kind.only_on))
        if rule.do == "answer":
            if "reply" not in given and "status" not in given:
                self._tell("do", "an answer needs a reply or a status", "reply, or status with code and text")
            for key in ("status", "code", "text") if "reply" in given else ():
                if key in given:
                    self._tell(
                        key, f"the reply {given['reply']!r} has its own {key}", "reply, or status and code", of_key=True
                    )
        if rule.do == "human" and given["act"] == "open" and "quantity" not in given:
            self._tell("act", "a human who opens needs the key 'quantity'", kind.keys["quantity"].allowed)
        if rule.do == "change_filters" and len(given) == 1:
            self._tell("do", "change_filters changes nothing", ", ".join(key for key in kind.keys if key != "symbol"))


def _converted(found: object, known: Key) -> Value | object:
    if known.kind == "bool":
        return found if isinstance(found, bool) else _BAD
    if known.kind == "text":
        usable = isinstance(found, str) and bool(found) and (not known.choices or found in known.choices)
        return found if usable else _BAD
    if isinstance(found, bool) or not isinstance(found, int | Decimal):
        return _BAD
    if known.kind in ("ms", "integer"):
        return found if isinstance(found, int) and known.least <= found <= known.most else _BAD
    number = Decimal(found)
    if not number.is_finite() or not known.least <= number <= known.most:
        return _BAD
    return number


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, str) else "an array" if isinstance(value, list) else str(value)
    return "a table" if isinstance(value, dict) else text[:60]
