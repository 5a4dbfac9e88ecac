"""Scripts drawn from the language's own tables, for property tests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import strategies as st

from tradingd.emulator.faults.language import (
    ANY,
    KINDS,
    PURPOSES,
    PUSH,
    PUSHES,
    REQUEST,
    STREAM,
    STREAMS,
    WHEN_KEYS,
    Key,
    Rule,
    Script,
)

SYMBOLS = ("BTCUSDT", "ETHUSDT")
ENDPOINTS = ("POST /fapi/v1/order", "GET /fapi/v3/positionRisk", "DELETE /fapi/v1/algoOrder")
TEXTS = st.text(min_size=1, max_size=20).filter(lambda text: "\r" not in text and text.isprintable())


def values(key: Key, most: int | None = None) -> st.SearchStrategy[Any]:
    """What a key may hold."""
    if key.choices:
        return st.sampled_from(key.choices)
    if key.kind == "bool":
        return st.booleans()
    if key.kind == "text":
        return st.sampled_from(SYMBOLS)
    highest = key.most if most is None else min(key.most, most)
    if key.kind in ("ms", "integer"):
        return st.integers(int(key.least), highest)
    return st.decimals(Decimal(key.least), highest, places=3).filter(lambda number: number >= key.least)


@st.composite
def rules(draw: st.DrawFn, *, soon: bool = False) -> Rule:
    """A rule that the language accepts; `soon`: with times that a short run reaches."""
    do = draw(st.sampled_from(sorted(KINDS)))
    kind = KINDS[do]
    most = 5_000 if soon else None
    what = {key: draw(values(known, most)) for key, known in kind.keys.items() if known.needed or draw(st.booleans())}
    if do == "answer":
        for key in ("status", "code", "text") if "reply" in what else ():
            what.pop(key, None)
        if "reply" not in what:
            what["status"] = draw(values(kind.keys["status"]))
    if do == "human" and what["act"] == "open":
        what["quantity"] = Decimal("0.01")
    if do == "change_filters" and len(what) == 1:
        what["min_notional_usdt"] = Decimal(50)
    on: tuple[str, ...] = ()
    push: tuple[str, ...] = ()
    trigger = draw(st.sampled_from(("on", "push", "clock")))
    if kind.befalls == REQUEST or (kind.befalls != PUSH and trigger == "on"):
        names = kind.only_on or (ANY, *PURPOSES, *ENDPOINTS)
        on = tuple(draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)))
    elif kind.befalls == PUSH or trigger == "push":
        push = tuple(draw(st.lists(st.sampled_from((ANY, *PUSHES)), min_size=1, max_size=3, unique=True)))
    when = {
        key: draw(values(known, 60 if soon else None))
        for key, known in WHEN_KEYS.items()
        if draw(st.integers(0, 3)) == 0
    }
    if on or push:
        when.pop("every_s", None)
    else:
        when.pop("nth", None)
        when.pop("every", None)
    if "nth" in when:
        when.pop("every", None)
    if "before_s" in when and when["before_s"] <= when.get("after_s", 0):
        when["after_s"] = when["before_s"] / 2
    since = draw(st.none() | st.integers(0, 4_000_000_000_000))
    until = draw(st.none() | st.integers(1, 1_000_000_000)) if not soon else None
    return Rule(
        do=do,
        on=on,
        push=push,
        stream=draw(st.sampled_from((ANY, *STREAMS))) if kind.befalls == STREAM else ANY,
        symbol=draw(st.none() | st.sampled_from(SYMBOLS)) if (on or push) and "symbol" not in kind.keys else None,
        since_ms=None if soon else since,
        until_ms=None if until is None else (since or 0) + until,
        what=tuple(sorted(what.items())),
        **when,
    )


@st.composite
def scripts(draw: st.DrawFn, *, soon: bool = False) -> Script:
    """A script that the language accepts; names are given to some rules, each its own."""
    drawn = draw(st.lists(rules(soon=soon), max_size=6))
    names = draw(st.lists(TEXTS, min_size=len(drawn), max_size=len(drawn), unique=True))
    named = [
        msgspec.structs.replace(rule, name=name) if draw(st.booleans()) else rule
        for rule, name in zip(drawn, names, strict=True)
    ]
    return Script(seed=draw(st.integers(0, 2**53)), rules=tuple(named))
