"""What came back for one request: the raw facts that outcomes are classified by, apart from ccxt's exceptions."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from tradingd.domain.errors import BadNumber, VenueUnreachable

MAX_TEXT = 300
"""Characters of a venue's text that are kept: enough for its message, too few for a page of HTML."""

_LISTEN_KEY = re.compile(r"(listenKey[\"']?\s*[=:]\s*[\"']?)[^&\s\"',}]+")
_SIGNATURE = re.compile(r"(signature=)[0-9A-Za-z%+/=_-]+")
_CODE = re.compile(r'"(?:code|retCode)"\s*:\s*"?(-?\d+)')
_TEXT = re.compile(r'"(?:msg|retMsg)"\s*:\s*"((?:[^"\\]|\\.)*)"')


_WORDS = {
    "RequestTimeout": "no answer in time",
    "TimeoutError": "no answer in time",
    "ExchangeNotAvailable": "the connection failed",
    "NetworkError": "the connection failed",
    "BadResponse": "the answer is no JSON",
    "NullResponse": "the answer is empty",
}
"""The classes for a request without a value, ccxt's and asyncio's, as people say it."""


class Reply(msgspec.Struct):
    """One request and its answer. `tried`: it has its budget, and a connection is being made or stands. `wrote`: it
    may have reached the wire. `failure`: why no value was read.

    `began`: the answer's head has come, and only its body is waited for.
    `limit_s`: given up when the venue has not answered so long after it left; None: when the client gives up.
    `value` is the decoded body of a success; `code` the venue's own number in a body of a refusal.
    """

    limit_s: float | None = None
    tried: bool = False
    wrote: bool = False
    began: bool = False
    status: int | None = None
    headers: dict[str, str] = {}
    body: str = ""
    value: Any = None
    failure: str = ""

    @property
    def ok(self) -> bool:
        """Whether the answer is a success with a readable body."""
        return not self.failure and self.status is not None and 200 <= self.status < 300 and self.is_json

    @property
    def is_json(self) -> bool:
        """Whether the body was decoded: a truncated or HTML body stays text."""
        return isinstance(self.value, dict | list)

    @property
    def code(self) -> str | None:
        """The venue's code in a refusal ("-2019"), from the body alone; None when there is none."""
        if isinstance(self.value, dict) or (self.body.startswith("{") and self.body.endswith("}")):
            match = _CODE.search(self.body[:MAX_TEXT])
            if match is not None and match[1] not in ("0", "200"):
                return match[1]
        return None

    @property
    def message(self) -> str:
        """The venue's text where it wrote one, else what went wrong below it."""
        match = _TEXT.search(self.body[:4096])
        text = match[1] if match else self.body
        parts = [
            _WORDS.get(self.failure, self.failure) if not text else "",
            f"HTTP {self.status}" if self.status else "",
            text,
        ]
        return redact(" ".join(part for part in parts if part))[:MAX_TEXT]


current_reply: ContextVar[Reply | None] = ContextVar("current_reply", default=None)
"""The record that the transport fills for the request of this task."""


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without listen keys, signatures and the given secrets."""
    text = _SIGNATURE.sub(r"\1…", _LISTEN_KEY.sub(r"\1…", text))
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    return text


def lists_something(body: str) -> bool:
    """Whether `body` is a JSON object with a list or an object in it, even an empty one, as instruments come in."""
    try:
        table = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return False
    return isinstance(table, dict) and any(isinstance(value, list | dict) for value in table.values())


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn the failure to read an answer into VenueUnreachable: rubbish is no evidence of anything."""
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, BadNumber) as error:
        text = redact(f"{what}: the answer cannot be read ({type(error).__name__}: {error})")
        raise VenueUnreachable(text[:MAX_TEXT]) from None
