"""What is left of a reply that a fault befalls; the sockets here and the network of the simulation use the same."""

from __future__ import annotations

import msgspec

from tradingd.emulator.faults.script import Fate
from tradingd.emulator.wire import HttpResponse, Meaning

SILENCE, RESET = "silence", "reset"
NEVER_ARRIVES = ("lose_request", "reset_before")
"""Kinds whose request the venue never sees."""

_JSON = {"Content-Type": "application/json"}
_HTML = {"Content-Type": "text/html"}
_TITLES = {403: "403 Forbidden", 502: "502 Bad Gateway", 504: "504 Gateway Time-out", 503: "503 Service Unavailable"}


class Spoilt(msgspec.Struct, frozen=True):
    """What the client feels: a response, of which only `sent` bytes of the body come before the connection ends (None:
    all of it), or no response at all, by `trouble` (SILENCE or RESET)."""

    response: HttpResponse | None = None
    trouble: str = ""
    sent: int | None = None


def needs_venue(fate: Fate) -> bool:
    """Whether the venue handles the request at all."""
    if fate.kind == "answer":
        return fate.rule is not None and bool(fate.rule.get("executed"))
    return fate.kind not in (*NEVER_ARRIVES, "ban")


def spoil(fate: Fate, response: HttpResponse | None, real_ms_to_ban_end: float = 0.0) -> Spoilt:
    """The venue's response, None where it was not asked (`needs_venue`), as it reaches the client."""
    kind = fate.kind
    if kind in ("lose_request", "lose_reply"):
        return Spoilt(trouble=SILENCE)
    if kind in ("reset_before", "reset_after"):
        return Spoilt(trouble=RESET)
    if kind == "ban":
        return Spoilt(_banned(fate, real_ms_to_ban_end))
    if kind == "answer":
        return Spoilt(_answer(fate))
    if response is None:
        raise ValueError(f"the venue was to be asked: {kind}")
    if kind == "cut_body":
        return Spoilt(response, sent=_cut(fate, response.body))
    if kind == "truncate_body":
        return Spoilt(msgspec.structs.replace(response, body=response.body[: _cut(fate, response.body)]))
    if kind == "empty_body":
        return Spoilt(msgspec.structs.replace(response, body=b""))
    if kind == "html_body":
        page = b"<html><head><title>200 OK</title></head><body>Please try again later.</body></html>"
        return Spoilt(HttpResponse(response.status, page, {**response.headers, **_HTML}))
    return Spoilt(response)


def _cut(fate: Fate, body: bytes) -> int:
    """After how many bytes: as the rule says, else drawn; never all of them."""
    most = max(0, len(body) - 1)
    given = fate.rule.get("at_byte") if fate.rule else None
    return min(most, int(fate.draw * len(body)) if given is None else int(given))


def _banned(fate: Fate, real_ms: float) -> HttpResponse:
    assert fate.meaning is not None, "a ban is spoken in a dialect"
    status, code, text = fate.meaning.banned(fate.ban_ms)
    told = str(fate.ban_ms) in text  # a dialect that does not say until when has no header for it either
    headers = {"Retry-After": str(max(1, -int(-real_ms // 1000)))} if told else {}
    return _written(fate.meaning, status, code, text, headers)


def _answer(fate: Fate) -> HttpResponse:
    rule = fate.rule
    assert rule is not None and fate.meaning is not None, "an answer has a rule and a dialect"
    reply = rule.get("reply")
    if reply is not None:
        status, code, text = fate.meaning.reply(str(reply))
    else:
        status, code, text = rule.integer("status"), int(rule.get("code") or 0), str(rule.get("text") or "")
    headers: dict[str, str] = {}
    if rule.get("retry_after_s") is not None:
        headers["Retry-After"] = str(rule.integer("retry_after_s"))
    return _written(fate.meaning, status, code, text, headers)


def _written(meaning: Meaning, status: int, code: int, text: str, headers: dict[str, str]) -> HttpResponse:
    if code:
        return HttpResponse(status, meaning.error(code, text), {**_JSON, **headers})
    if text:
        return HttpResponse(status, text.encode(), {"Content-Type": "text/plain", **headers})
    title = _TITLES.get(status, str(status))
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>".encode()
    return HttpResponse(status, page, {**_HTML, **headers})
