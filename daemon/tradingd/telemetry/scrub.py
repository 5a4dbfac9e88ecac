"""Secrets are removed from text by value, in every form in which they travel, after the text is complete (P14)."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = "********"
MIN_LENGTH = 4
"""A shorter text occurs by chance everywhere; scrubbing it would hide the log, and it is no secret."""
MAX_PASSING = 8
"""How many short-lived secrets (listen keys) are remembered; a venue has one at a time, so older ones are dead."""

# Made anew for each request, so not known by value: what a signed URL, a header dump or a JSON body calls by name.
_NAMED = re.compile(
    r"""(?i)\b(signature|listenKey|X-MBX-APIKEY|X-BAPI-SIGN|X-BAPI-API-KEY|ACCESS-SIGN|ACCESS-KEY|ACCESS-PASSPHRASE)"""
    r"""(\\*["']?\s*(?:=|%3D|:|,)\s*\\*["']?)([A-Za-z0-9+/=_.%-]{8,})"""
)
_NAMES = ("signature", "listenkey", "apikey", "api-key", "-sign", "access-")


class Scrubber:
    """The secrets of this process. `scrub` takes them out of a text; nothing of them can be got back from here."""

    def __init__(self) -> None:
        self._lasting: dict[str, tuple[str, ...]] = {}
        self._passing: dict[str, tuple[str, ...]] = {}
        self._forms: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Scrubber of {len(self._lasting) + len(self._passing)} secrets>"

    def register(self, secret: str, *, passing: bool = False) -> None:
        """Never let `secret` out again. `passing` ones (listen keys) are forgotten once MAX_PASSING newer ones came.

        Raises ValueError for a text shorter than MIN_LENGTH, without showing it.
        """
        if len(secret) < MIN_LENGTH:
            raise ValueError(f"a secret of less than {MIN_LENGTH} characters cannot be kept out of the logs")
        known = self._passing if passing else self._lasting
        known[secret] = _forms(secret)
        while len(self._passing) > MAX_PASSING:
            del self._passing[next(iter(self._passing))]
        every = {form for forms in (*self._lasting.values(), *self._passing.values()) for form in forms}
        # Longest first, so that a form which contains another goes whole.
        self._forms = tuple(sorted(every, key=lambda form: (-len(form), form)))

    def scrub(self, text: str) -> str:
        """`text` with MASK wherever a secret stood."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        if "…" in text:
            text = self._without_cut_secrets(text)
        lowered = text.lower()
        for name in _NAMES:
            if name in lowered:
                return _NAMED.sub(rf"\1\2{MASK}", text)
        return text

    def _without_cut_secrets(self, text: str) -> str:
        """Half a secret is left where a long value was cut before it came here, at a '…'."""
        pieces = text.split("…")
        for number, piece in enumerate(pieces[:-1]):
            for form in self._forms:
                length = next((n for n in range(len(form) - 1, MIN_LENGTH - 1, -1) if piece.endswith(form[:n])), 0)
                if length:
                    pieces[number] = piece = piece[:-length] + MASK
        return "…".join(pieces)


def _forms(secret: str) -> tuple[str, ...]:
    return tuple({form for form in _every_form(secret) if len(form) >= MIN_LENGTH})


def _every_form(secret: str) -> Iterator[str]:
    yield secret
    data = secret.encode("utf-8", "surrogatepass")
    for text in (quote(data, safe=""), quote(data), quote_plus(data)):
        yield text
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), text)
        yield quote(text, safe="")
    yield data.hex()
    yield data.hex().upper()
    yield from _base64(data)
    # Quoting, once and twice: a repr inside JSON inside a repr is what an exception's text looks like.
    for once in _quoted(secret):
        yield once
        yield from _quoted(once)


def _quoted(text: str) -> Iterable[str]:
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]
    yield ascii(text)[1:-1]
    yield repr(text + "'\"")[1:-4]


def _base64(data: bytes) -> Iterator[str]:
    """What of `data` is visible in base64, wherever in a longer text it begins: whole groups only, at each offset."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(data).decode().rstrip("=")
        for offset, skipped in ((0, 0), (1, 2), (2, 3)):
            text = encode(b"\0" * offset + data).decode()
            spare = (offset + len(data)) % 3
            end = len(text) if spare == 0 else len(text) - 4 + spare
            yield text[skipped:end]
