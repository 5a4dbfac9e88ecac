"""The errors that the domain raises, and the incidents that an operator is told of."""

import re
from enum import StrEnum

QUOTED_CHARACTERS = 80

_NOT_CONNECTED = re.compile(r"Cannot connect to host (\S+) ssl:\S+ \[(.*)\]")


class TradingdError(Exception):
    """Base of every error that the daemon raises on purpose; its text says what, where and what is allowed."""


class BadInstrument(TradingdError, ValueError):
    """An instrument that is not written `BASE/QUOTE:SETTLE@venue`, or that the venue does not list."""


class BadNumber(TradingdError, ValueError):
    """A number that no price or quantity can be: NaN, infinite, out of range, or not a number at all."""


class IllegalTransition(TradingdError):
    """An order event that cannot happen in the order's status; the caller turns it into an incident."""


class VenueError(TradingdError):
    """A venue call failed; `code` is the venue's raw code or None, `transient` says whether a new try may help.

    `advice` is what the user can do about this very code at the venue, a sentence without its full stop; `about_key`:
    the code says that the key, its signature or one of its rights was refused.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        transient: bool = False,
        advice: str = "",
        about_key: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.transient = transient
        self.advice = advice
        self.about_key = about_key


class VenueUnreachable(VenueError):
    """No readable answer came: timeout, reset, rubbish. Never evidence of anything (P3, P11)."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code, transient=True)


class VenueBanned(VenueError):
    """The venue refuses requests until `until_ms` (venue time); nothing may be sent before (P13).

    `orders_only`: its limit of orders is used up, and all other requests go on.
    """

    def __init__(self, message: str, *, until_ms: int, code: str | None = None, orders_only: bool = False) -> None:
        super().__init__(message, code=code, transient=True)
        self.until_ms = until_ms
        self.orders_only = orders_only


class Withheld(TradingdError):
    """A request that was built must not leave after all, and has not: its commit failed, or something spoke against
    it meanwhile."""


class JournalError(TradingdError):
    """The journal could not commit or read; entries stop until it can (P2)."""


class JournalUnitRefused(JournalError):
    """The journal works and cannot store this very unit (a constraint, a value it cannot hold), however often tried."""


class JournalRefused(JournalError):
    """The journal at this path must not be opened: other mode, newer schema, corrupt, not ours (exit 78)."""


class JournalUnavailable(JournalRefused):
    """The journal is whole, but its disk is full, failing or not writable (exit 74): a new start may succeed."""

    exit_status = 74


class PluginError(TradingdError):
    """A strategy plugin cannot be loaded or run; names the file, the line where known, and the remedy."""


def plain_failure(text: str) -> str:
    """A failed connection as people say it: aiohttp's text names the same host twice. Other texts stay as they are."""
    return _NOT_CONNECTED.sub(_plain_connection, text)


def _plain_connection(match: re.Match[str]) -> str:
    host, why = match[1], match[2]
    return f"{host} does not answer" if "Connect call failed" in why else f"{host} cannot be reached: {why}"


def quoted(answer: bytes | str) -> str:
    """The begin of an answer that nobody understands, on one line and safe for a terminal."""
    text = answer[: 4 * QUOTED_CHARACTERS]
    text = " ".join((text.decode(errors="replace") if isinstance(text, bytes) else text).split())
    if not text:
        return "an empty answer"
    return repr(text if len(text) <= QUOTED_CHARACTERS else f"{text[:QUOTED_CHARACTERS]}…")


class Severity(StrEnum):
    """How urgently an incident needs a human."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"
