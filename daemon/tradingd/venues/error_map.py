"""What an answer proves, by our own table of the venue's numeric codes; ccxt's exception classes are not that table."""

import re

import msgspec

from tradingd.domain.account import (
    CancelOutcome,
    CancelVerdict,
    RejectKind,
    SubmitOutcome,
    SubmitVerdict,
    VenueOrder,
)
from tradingd.domain.errors import VenueBanned, VenueError, VenueUnreachable
from tradingd.domain.orders import OrderStatus
from tradingd.venues.reply import Reply

_MINUTE_MS = 60_000


class Meaning(msgspec.Struct, frozen=True):
    """What one code says of a submit. `kind` None: the order may have been executed, or exists already."""

    kind: RejectKind | None
    why: str


class ErrorTable(msgspec.Struct, frozen=True):
    """One venue's codes and the few texts and time rules that its HTTP statuses need.

    `order_limit`: with HTTP 429, too many orders, not too many requests. `unknown_order`: the look-up found nothing.
    `not_open`: the cancel found nothing to cancel. `unchanged`: success. `refused_texts`: bodies of an HTTP 5xx that
    promise that nothing was done. `short_window`: a text that names the venue's window of ten seconds.
    `refused_statuses`: HTTP statuses of a gate that lets nothing through, and what each asks of us. `ban_statuses`:
    those after which nothing may be sent for a while, `ban_codes` likewise; `long_ban`: a text, and for how many ms of
    real time it means that, as those codes do. `too_many`: one more than the endpoint takes, and nothing was done.
    `blocked`: the text of a gate that shuts out whole countries. `by_text`: what a refusal by a code for whatever is
    wrong with a request says beside it, and what that asks of us. `advice`: what the user can do about a refused key.
    """

    submit: dict[str, Meaning]
    unknown_order: frozenset[str]
    not_open: frozenset[str]
    unchanged: frozenset[str]
    transient: frozenset[str]
    order_limit: frozenset[str]
    ban_until: re.Pattern[str]
    refused_texts: frozenset[str]
    short_window: re.Pattern[str]
    refused_statuses: dict[int, RejectKind]
    ban_statuses: frozenset[int]
    long_ban: tuple[re.Pattern[str], int] | None = None
    ban_codes: frozenset[str] = frozenset()
    too_many: frozenset[str] = frozenset()
    blocked: re.Pattern[str] | None = None
    by_text: tuple[tuple[re.Pattern[str], RejectKind], ...] = ()
    advice: dict[str, str] = {}


def classify_submit(table: ErrorTable, reply: Reply, order: VenueOrder | None) -> SubmitOutcome:
    """The outcome of a submit; `order` is the accepted order as read from the body, if it could be read."""
    if not reply.wrote:
        message = reply.message or "the request never left"
        return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=RejectKind.NOT_SENT, message=message, sent=False)
    if reply.ok and reply.code is None and order is not None:
        told = order.status is not OrderStatus.SUBMITTED  # else it is only queued for the checks
        return SubmitOutcome(SubmitVerdict.ACCEPTED if told else SubmitVerdict.SUBMITTED, order=order)
    kind = _refusal(table, reply)
    verdict = SubmitVerdict.AMBIGUOUS if kind is None else SubmitVerdict.NOT_EXECUTED
    message = _message(reply) or "the answer is empty"
    return SubmitOutcome(verdict, kind=kind or RejectKind.OTHER, code=reply.code, message=message)


def _refusal(table: ErrorTable, reply: Reply) -> RejectKind | None:
    if reply.status in table.refused_statuses:
        return table.refused_statuses[reply.status]
    if reply.code is not None and reply.code in table.submit:
        kind = table.submit[reply.code].kind
        told = (each for pattern, each in table.by_text if pattern.search(_text(reply)))
        return next(told, kind) if kind is RejectKind.CONFIGURATION else kind
    if reply.status is not None and reply.status >= 500 and _text(reply) in table.refused_texts:
        return RejectKind.THROTTLED
    return None


def _message(reply: Reply) -> str:
    """What a reply says; a bare status says nothing of a body that never came."""
    empty = reply.status is not None and reply.code is None and not reply.body.strip()
    return f"{reply.message}, an empty answer" if empty and reply.message else reply.message


def _text(reply: Reply) -> str:
    match = re.search(r'"(?:msg|retMsg)"\s*:\s*"([^"]*)"', reply.body[:4096])
    return (match[1] if match else reply.body).strip()


def classify_cancel(table: ErrorTable, reply: Reply, *, cancelled: bool) -> CancelOutcome:
    """The outcome of a cancel; `cancelled` says that the body names the order as cancelled."""
    if reply.ok and reply.code is None and cancelled:
        return CancelOutcome(CancelVerdict.CANCELED)
    code, message = reply.code, reply.message
    if not reply.wrote:
        return CancelOutcome(CancelVerdict.FAILED, code, message or "the request never left")
    if code in table.not_open:
        return CancelOutcome(CancelVerdict.GONE, code, message)
    if _refusal(table, reply) is not None:
        return CancelOutcome(CancelVerdict.FAILED, code, message)
    return CancelOutcome(CancelVerdict.AMBIGUOUS, code, message)


def read_error(table: ErrorTable, reply: Reply, what: str, now_ms: int) -> VenueError:
    """The error of a read that did not succeed."""
    text = f"{what}: {_message(reply)}".rstrip(": ")
    if reply.status in table.refused_statuses:
        until_ms = ban_until_ms(table, reply.status, reply.headers, reply.body, now_ms) or now_ms
        return VenueBanned(text, until_ms=until_ms, code=reply.code)
    if reply.code is None or reply.status is None:
        return VenueUnreachable(text)
    if reply.code in table.transient or reply.status >= 500:
        return VenueUnreachable(text, code=reply.code)
    about_key = _refusal(table, reply) is RejectKind.AUTHENTICATION
    return VenueError(text, code=reply.code, advice=table.advice.get(reply.code, ""), about_key=about_key)


def bans_orders_only(table: ErrorTable, status: int, body: str) -> bool:
    """Whether a ban is for having placed too many orders: that counter belongs to the account, and cancels and look-ups
    are not counted by it. A 418 is of the address whatever its code."""
    return status == 429 and Reply(body=body.strip()).code in table.order_limit


def is_one_too_many(table: ErrorTable, body: str) -> bool:
    """Whether an answer refuses its request for the rate of its endpoint."""
    return bool(table.too_many) and Reply(body=body.strip()).code in table.too_many


def ban_reason(table: ErrorTable, status: int, body: str) -> str:
    """What a ban is for, in words."""
    if bans_orders_only(table, status, body):
        return "HTTP 429, too many orders"
    if table.blocked is not None and table.blocked.search(body[:4096]):
        return f"HTTP {status}: it does not serve the country of this address"
    return f"HTTP {status}"


def ban_until_ms(
    table: ErrorTable, status: int, headers: dict[str, str], body: str, now_ms: int, speed: float = 1.0
) -> int | None:
    """Until when (venue time) nothing may be sent after an answer; None when it bans nothing.

    The header counts first, then the time in the text, then the end of the window that is used up. A 403 comes from
    the firewall in front: it looks like an outage and must not be hammered.
    """
    by_code = bool(table.ban_codes) and Reply(body=body.strip()).code in table.ban_codes
    if status not in table.ban_statuses and not by_code:
        return None
    retry_after = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    if retry_after.strip().isdigit():
        return now_ms + int(retry_after) * 1000
    if (match := table.ban_until.search(body[:4096])) is not None and int(match[1]) > now_ms:
        return int(match[1])
    if table.long_ban is not None and (by_code or table.long_ban[0].search(body[:4096])):
        return now_ms + round(table.long_ban[1] * speed)
    window_ms = 10_000 if status == 429 and table.short_window.search(body[:4096]) else _MINUTE_MS
    return now_ms - now_ms % window_ms + window_ms
