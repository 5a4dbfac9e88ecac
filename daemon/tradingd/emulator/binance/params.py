"""Parameters of one request: decoded once, signature checked over the exact bytes, read with the venue's own errors."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import parse_qsl

from tradingd.emulator.binance.errors import VenueError, illegal, missing
from tradingd.emulator.core.records import BUY, SELL
from tradingd.emulator.wire import HttpRequest

_NUMBER = re.compile(r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
_INTEGER = re.compile(r"^-?[0-9]{1,18}$")
_CLIENT_ID = re.compile(r"^[\.A-Z\:/a-z0-9_-]*$")
MAX_RECV_WINDOW_MS = 60_000
AHEAD_MS = 1_000


class Params:
    """Decoded query and form body of one request."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    @classmethod
    def of(cls, request: HttpRequest) -> Params:
        """Decode query and body."""
        pairs = parse_qsl(request.query, keep_blank_values=True)
        if request.body:
            pairs += parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        return cls(dict(pairs))

    def text(self, name: str) -> str | None:
        """An optional text; empty counts as missing."""
        return self._values.get(name) or None

    def need(self, name: str) -> str:
        """A mandatory text."""
        value = self.text(name)
        if value is None:
            raise missing(name)
        return value

    def integer(self, name: str) -> int | None:
        """An optional whole number."""
        value = self.text(name)
        if value is None:
            return None
        if not _INTEGER.match(value):
            raise illegal(name, "^[0-9]{1,20}$")
        return int(value)

    def need_integer(self, name: str) -> int:
        """A mandatory whole number."""
        value = self.integer(name)
        if value is None:
            raise missing(name)
        return value

    def number(self, name: str) -> Decimal | None:
        """An optional decimal; scientific notation, signs and words are illegal characters."""
        value = self.text(name)
        if value is None:
            return None
        if not _NUMBER.match(value):
            raise illegal(name, "^([0-9]{1,20})(\\.[0-9]{1,20})?$")
        return Decimal(value)

    def need_number(self, name: str) -> Decimal:
        """A mandatory decimal."""
        value = self.number(name)
        if value is None:
            raise missing(name)
        return value

    def flag(self, name: str) -> bool:
        """A boolean that is false when missing."""
        value = (self.text(name) or "false").lower()
        if value not in ("true", "false"):
            raise missing(name)
        return value == "true"

    def side(self) -> int:
        """BUY or SELL, in capitals as the venue wants them."""
        value = self.need("side")
        if value not in ("BUY", "SELL"):
            raise VenueError(-1117)
        return BUY if value == "BUY" else SELL

    def client_id(self, name: str) -> str | None:
        """A client id of legal length and characters."""
        value = self.text(name)
        if value is None:
            return None
        if len(value) > 36:
            raise VenueError(-4015, "Client order id length should be less than 36 chars.")
        if not _CLIENT_ID.match(value):
            raise illegal(name, "^[\\.A-Z\\:/a-z0-9_-]{1,36}$")
        return value

    def limit(self, default: int, most: int) -> int:
        """Number of rows asked for."""
        value = self.integer("limit")
        if value is None:
            return default
        if value < 1:
            raise VenueError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(value, most)

    def sorted_text(self) -> str:
        """All parameters but the signature, by name."""
        return "&".join(f"{name}={self._values[name]}" for name in sorted(self._values) if name != "signature")

    def visible(self) -> str:
        """All parameters but the signature, for the ledger."""
        return "&".join(f"{name}={value}" for name, value in self._values.items() if name != "signature")


def check_signature(request: HttpRequest, params: Params, secret: str) -> None:
    """HMAC-SHA256 over query and body exactly as sent, without the signature itself."""
    given = params.need("signature")
    total = _unsigned(request.query) + _unsigned(request.body.decode("utf-8", "replace"))
    wanted = hmac.new(secret.encode(), total.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise VenueError(-1022)


def check_message(params: Params, secret: str) -> None:
    """HMAC-SHA256 over the parameters of a message, sorted by name, without the signature itself."""
    given = params.need("signature")
    wanted = hmac.new(secret.encode(), params.sorted_text().encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise VenueError(-1022)


def _unsigned(text: str) -> str:
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))


def check_engine_window(params: Params, engine_ms: int, scale: float) -> None:
    """The receive window once more, when a new order has reached the matching engine."""
    timestamp, window_ms = params.need_integer("timestamp"), params.integer("recvWindow")
    if engine_ms - timestamp > (5_000 if window_ms is None else window_ms) * scale:
        raise VenueError(-5028)


def check_timestamp(params: Params, now_ms: int, scale: float) -> None:
    """The receive window, and how far ahead a clock may be, both stretched with the speed of venue time."""
    timestamp = params.need_integer("timestamp")
    window_ms = params.integer("recvWindow")
    window_ms = 5_000 if window_ms is None else window_ms
    if not 0 < window_ms <= MAX_RECV_WINDOW_MS:
        raise VenueError(-1131, "recvWindow must be less than 60000.")
    if timestamp >= now_ms + AHEAD_MS * scale:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - timestamp > window_ms * scale:
        raise VenueError(-1021)
