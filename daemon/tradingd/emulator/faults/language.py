"""The words of a fault script: what can go wrong (KINDS), where (PURPOSES, PUSHES, STREAMS), and a rule that says when.

Times in a script are real: `_ms` and `_s` last as long at every speed of the venue, like its receive windows and lags.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

Value = bool | int | str | Decimal

PURPOSES = (
    "create",
    "create_conditional",
    "amend",
    "cancel",
    "cancel_conditional",
    "look_up",
    "positions",
    "balance",
    "open_orders",
    "history",
    "settings",
    "listen_key",
    "time",
    "markets",
    "candles",
    "other",
)
"""What a request is for; `any` and `METHOD /path` are understood too."""
READS = ("look_up", "positions", "balance", "open_orders", "history")
"""What is read of the account, and can therefore lag behind it."""
PUSHES = ("order", "fill", "account", "candle", "other")
STREAMS = ("account", "candles", "other")
ANY = "any"

REQUEST, PUSH, STREAM, VENUE = "request", "push", "stream", "venue"


class Key(msgspec.Struct, frozen=True):
    """One key of a rule. `kind`: ms, s, integer, number, text, bool; numbers keep to `least` and `most`."""

    kind: str
    default: Value | None = None
    least: int | Decimal = 0
    most: int = 10**12
    choices: tuple[str, ...] = ()
    needed: bool = False

    @property
    def allowed(self) -> str:
        """What may stand there, in words."""
        if self.choices:
            return ", ".join(self.choices)
        if self.kind == "bool":
            return "true, false"
        if self.kind == "text":
            return "a string that is not empty"
        what = {"ms": "milliseconds", "s": "seconds"}.get(self.kind, "a number")
        whole = "whole " if self.kind in ("ms", "integer") else ""
        what = f"a {whole}number" if what == "a number" else f"{whole}{what}"
        return f"{what} from {self.least} to {self.most}"


class Kind(msgspec.Struct, frozen=True):
    """One thing that can go wrong: whom it befalls, and its own keys."""

    befalls: str
    keys: Mapping[str, Key] = {}
    only_on: tuple[str, ...] = ()
    """The purposes of the requests that it can befall, if not all."""

    @property
    def default_on(self) -> tuple[str, ...]:
        """The requests that it befalls where the rule names none."""
        return (self.only_on or (ANY,)) if self.befalls == REQUEST else ()


_HOUR_MS, _YEAR_S = 3_600_000, 31_536_000
_DELAY = Key("ms", needed=True, least=1, most=_HOUR_MS)
_SYMBOL = Key("text", needed=True)
_HOW_LONG = Key("s", needed=True, least=Decimal("0.001"), most=_YEAR_S)

REPLIES = (
    "rate_limited",
    "too_many_orders",
    "waf",
    "request_timeout",
    "bad_gateway",
    "gateway_timeout",
    "unknown",
    "unexpected_response",
    "backend_timeout",
    "overloaded",
    "unavailable",
    "disconnected",
    "clock",
    "engine_clock",
    "bad_key",
    "would_trigger",
    "reduce_only",
    "too_many_conditionals",
)
"""Ready answers; each dialect has its own status, code and text for them (`Meaning.reply`)."""

HUMAN_ACTS = ("open", "close", "flip", "cancel_orders", "cancel_conditionals")

KINDS: Mapping[str, Kind] = {
    "lose_request": Kind(REQUEST),
    "reset_before": Kind(REQUEST),
    "lose_reply": Kind(REQUEST),
    "reset_after": Kind(REQUEST),
    "cut_body": Kind(REQUEST, {"at_byte": Key("integer", most=1 << 20)}),
    "truncate_body": Kind(REQUEST, {"at_byte": Key("integer", most=1 << 20)}),
    "empty_body": Kind(REQUEST),
    "html_body": Kind(REQUEST),
    "answer": Kind(
        REQUEST,
        {
            "reply": Key("text", choices=REPLIES),
            "status": Key("integer", least=200, most=599),
            "code": Key("integer", least=-99_999, most=9_999_999),
            "text": Key("text"),
            "executed": Key("bool", default=False),
            "retry_after_s": Key("integer", most=_YEAR_S),
        },
    ),
    "ban": Kind(REQUEST, {"for_s": _HOW_LONG}),
    "arrive_late": Kind(REQUEST, {"delay_ms": _DELAY}),
    "reply_late": Kind(REQUEST, {"delay_ms": _DELAY}),
    "read_lag": Kind(REQUEST, {"lag_ms": Key("ms", needed=True, least=1, most=60_000)}, READS),
    "end_order": Kind(REQUEST, {"delay_ms": Key("ms", default=300, least=0, most=_HOUR_MS)}, ("create",)),
    "lose_push": Kind(PUSH),
    "repeat_push": Kind(PUSH, {"count": Key("integer", default=1, least=1, most=100)}),
    "delay_push": Kind(PUSH, {"delay_ms": _DELAY}),
    "mute": Kind(STREAM, {"for_s": _HOW_LONG}),
    "half_open": Kind(STREAM, {"for_s": Key("s", default=Decimal(600), least=Decimal("0.001"), most=_YEAR_S)}),
    "cut_streams": Kind(STREAM, {"how": Key("text", default="rst", choices=("rst", "fin"))}),
    "refuse_streams": Kind(STREAM, {"for_s": _HOW_LONG}),
    "shift_clock": Kind(
        VENUE,
        {
            "offset_ms": Key("ms", needed=True, least=-_HOUR_MS, most=_HOUR_MS),
            "for_s": Key("s", least=Decimal("0.001"), most=_YEAR_S),
        },
    ),
    "expire_listen_key": Kind(VENUE),
    "expire_conditionals": Kind(VENUE, {"symbol": Key("text")}),
    "change_filters": Kind(
        VENUE,
        {
            "symbol": _SYMBOL,
            "lot_size": Key("number", least=Decimal("0.000001"), most=1_000_000),
            "min_notional_usdt": Key("number", least=Decimal("0.01"), most=1_000_000),
            "max_quantity": Key("number", least=Decimal("0.000001"), most=10**9),
        },
    ),
    "liquidate": Kind(VENUE, {"symbol": _SYMBOL}),
    "deleverage": Kind(VENUE, {"symbol": _SYMBOL}),
    "charge_funding": Kind(
        VENUE,
        {
            "symbol": _SYMBOL,
            "rate_fraction": Key("number", needed=True, least=Decimal("-0.05"), most=1),
        },
    ),
    "human": Kind(
        VENUE,
        {
            "act": Key("text", needed=True, choices=HUMAN_ACTS),
            "symbol": _SYMBOL,
            "side": Key("text", choices=("buy", "sell"), default="buy"),
            "quantity": Key("number", least=Decimal("0.000001"), most=10**9),
        },
    ),
}
"""Everything that can be done."""

WHEN_KEYS: Mapping[str, Key] = {
    "nth": Key("integer", least=1),
    "every": Key("integer", least=1),
    "chance": Key("number", least=Decimal(0), most=1),
    "times": Key("integer", least=1),
    "after_s": Key("s", most=_YEAR_S),
    "before_s": Key("s", least=Decimal("0.001"), most=_YEAR_S),
    "every_s": Key("s", least=Decimal("0.1"), most=_YEAR_S),
}
"""When a rule fires; `since` and `until` are venue times and stand beside them."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong, where and when; `what` holds the keys of its kind that the script gave, sorted.

    `since_ms` and `until_ms` are venue time; all others are as the script has them.
    """

    do: str
    name: str = ""
    on: tuple[str, ...] = ()
    push: tuple[str, ...] = ()
    stream: str = ANY
    symbol: str | None = None
    nth: int | None = None
    every: int | None = None
    chance: Decimal | None = None
    times: int | None = None
    after_s: Decimal | None = None
    before_s: Decimal | None = None
    every_s: Decimal | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    what: tuple[tuple[str, Value], ...] = ()

    @property
    def befalls(self) -> str:
        """request, push, stream or venue."""
        return KINDS[self.do].befalls

    @property
    def is_timed(self) -> bool:
        """Whether the clock alone sets it off."""
        return not self.on and not self.push

    def get(self, key: str) -> Value | None:
        """A key of its kind, or that key's default."""
        return dict(self.what).get(key, KINDS[self.do].keys[key].default)

    @property
    def values(self) -> dict[str, Value]:
        """The keys of its kind, with their defaults; without those that have neither."""
        found = {key: self.get(key) for key in KINDS[self.do].keys}
        return {key: value for key, value in found.items() if value is not None}

    def integer(self, key: str) -> int:
        """A whole number that is there."""
        value = self.get(key)
        assert isinstance(value, int), f"{self.do} without {key}"
        return value

    def seconds(self, key: str) -> float:
        """Seconds that are there."""
        value = self.get(key)
        assert isinstance(value, Decimal | int), f"{self.do} without {key}"
        return float(value)


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A whole script; another seed is other chance."""

    seed: int = 1
    rules: tuple[Rule, ...] = ()
