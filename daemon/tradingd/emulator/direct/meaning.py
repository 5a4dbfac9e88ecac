"""The words of fault scripts at the direct face: a call names its purpose, a push its kind, and there is no wire."""

from __future__ import annotations

from collections.abc import Mapping

from tradingd.domain.account import RejectKind
from tradingd.emulator.wire import HttpRequest

REFUSALS: Mapping[str, RejectKind] = {
    "rate_limited": RejectKind.THROTTLED,
    "too_many_orders": RejectKind.THROTTLED,
    "overloaded": RejectKind.THROTTLED,
    "clock": RejectKind.CLOCK,
    "engine_clock": RejectKind.CLOCK,
    "bad_key": RejectKind.AUTHENTICATION,
    "would_trigger": RejectKind.WOULD_TRIGGER,
    "reduce_only": RejectKind.REDUCE_ONLY,
    "too_many_conditionals": RejectKind.OTHER,
}
"""What a ready answer proves; those that are not here prove nothing."""


class DirectMeaning:
    """A `wire.Meaning` of calls instead of requests: the path is the purpose, the query the symbol."""

    def purpose(self, request: HttpRequest) -> str:
        """As the call says."""
        return request.path

    def symbol_of(self, request: HttpRequest) -> str | None:
        """As the call says."""
        return request.query or None

    def stream(self, path: str, query: str) -> str:
        """The kind of stream that is watched."""
        return path

    def push(self, frame: str) -> tuple[str, str | None]:
        """`KIND SYMBOL`."""
        kind, _, symbol = frame.partition(" ")
        return kind, symbol or None

    def reply(self, name: str) -> tuple[int, int, str]:
        """There are no status and no code."""
        return 200, 0, name

    def error(self, code: int, text: str) -> bytes:
        """There is no body."""
        return text.encode()

    def banned(self, until_ms: int) -> tuple[int, int, str]:
        """There are no status and no code."""
        return 418, 0, f"banned until {until_ms}"
