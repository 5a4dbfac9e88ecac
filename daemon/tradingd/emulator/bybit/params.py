"""Parameters of one request: query or JSON body, signed over timestamp, key, window and the exact text."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import parse_qsl

import msgspec

from tradingd.emulator.bybit.errors import VenueError, invalid
from tradingd.emulator.core.records import BUY, SELL
from tradingd.emulator.wire import HttpRequest

_NUMBER = re.compile(r"^-?[0-9]{1,20}(\.[0-9]{1,20})?$")
_INTEGER = re.compile(r"^-?[0-9]{1,18}$")
_LINK_ID = re.compile(r"^[A-Za-z0-9_-]*$")
MAX_LINK_ID = 36
AHEAD_MS = 1_000
DEFAULT_WINDOW_MS = 5_000
WEEK_MS = 7 * 86_400_000


class Params:
    """Decoded query or body."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    @classmethod
    def of(cls, request: HttpRequest) -> Params:
        """Decode the query of a GET, the JSON body of anything else; a body that is no JSON object has no values."""
        if request.method == "GET":
            return cls(dict(parse_qsl(request.query, keep_blank_values=True)))
        try:
            return cls(msgspec.json.decode(request.body or b"{}", type=dict[str, object]))
        except msgspec.DecodeError:
            return cls({})

    def text(self, name: str) -> str | None:
        """An optional text; empty and null count as missing."""
        value = self._values.get(name)
        if value is None or value == "":
            return None
        return str(value).lower() if isinstance(value, bool) else str(value)

    def need(self, name: str) -> str:
        """A mandatory text."""
        value = self.text(name)
        if value is None:
            raise invalid(name)
        return value

    def has(self, name: str) -> bool:
        """Whether it was sent with a value."""
        return self.text(name) is not None

    def integer(self, name: str) -> int | None:
        """An optional whole number."""
        value = self.text(name)
        if value is None:
            return None
        if not _INTEGER.match(value):
            raise invalid(name)
        return int(value)

    def number(self, name: str) -> Decimal | None:
        """An optional decimal."""
        value = self.text(name)
        if value is None:
            return None
        if not _NUMBER.match(value):
            raise invalid(name)
        return Decimal(value)

    def need_number(self, name: str) -> Decimal:
        """A mandatory decimal."""
        value = self.number(name)
        if value is None:
            raise invalid(name)
        return value

    def flag(self, name: str) -> bool:
        """A boolean that is false when missing."""
        return (self.text(name) or "false").lower() == "true"

    def side(self) -> int:
        """Buy or Sell; any other spelling is refused."""
        value = self.need("side")
        if value not in ("Buy", "Sell"):
            raise VenueError(10001, "Side invalid")
        return BUY if value == "Buy" else SELL

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """One of several words."""
        value = self.text(name) or default
        if value not in allowed:
            raise invalid(name)
        return value

    def link_id(self) -> str:
        """A client id of legal length and characters, or none."""
        value = self.text("orderLinkId") or ""
        if len(value) > MAX_LINK_ID:
            raise VenueError(10001, f"The orderLinkId is longer than {MAX_LINK_ID}")
        if not _LINK_ID.match(value):
            raise VenueError(10001, "OrderLinkId invalid")
        return value

    def limit(self, default: int, most: int) -> int:
        """Rows asked for, cut down to what a page holds."""
        value = self.integer("limit")
        if value is None:
            return default
        if value < 1:
            raise invalid("limit")
        return min(value, most)

    def check_category(self) -> None:
        """Everything here is linear; other categories are not traded with this account."""
        category = self.need("category")
        if category not in ("linear", "spot", "inverse", "option"):
            raise VenueError(10001, "Illegal category")
        if category != "linear":
            raise VenueError(10001, f"Not supported symbols: the built-in venue has no category {category}")

    def span(self, now_ms: int) -> tuple[int, int]:
        """startTime and endTime, seven days at most."""
        start_ms, end_ms = self.integer("startTime"), self.integer("endTime")
        if start_ms is None and end_ms is None:
            return now_ms - WEEK_MS, now_ms
        if start_ms is None:
            assert end_ms is not None
            return end_ms - WEEK_MS, end_ms
        end_ms = start_ms + WEEK_MS if end_ms is None else end_ms
        if end_ms < start_ms or end_ms - start_ms > WEEK_MS:
            raise VenueError(10001, "The time range between startTime and endTime cannot exceed 7 days")
        return start_ms, end_ms

    def visible(self) -> str:
        """All parameters, for the ledger."""
        return "&".join(f"{name}={value}" for name, value in self._values.items())


def check_signature(request: HttpRequest, secret: str) -> None:
    """HMAC-SHA256 over timestamp, key, window, and the query or body exactly as sent."""
    headers = request.headers
    text = request.query if request.method == "GET" else request.body.decode("utf-8", "replace")
    signed = (
        headers.get("x-bapi-timestamp", "")
        + headers.get("x-bapi-api-key", "")
        + headers.get("x-bapi-recv-window", "")
        + text
    )
    if not is_signed(signed, headers.get("x-bapi-sign", ""), secret):
        raise VenueError(10004)


def is_signed(text: str, signature: str, secret: str) -> bool:
    """Whether the signature is the secret's."""
    wanted = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(signature.encode(), wanted.encode())


def check_window(timestamp: str, window: str, now_ms: int, scale: float) -> None:
    """The receive window, stretched with the speed of venue time; a second ahead is too early."""
    if not _INTEGER.match(timestamp):
        raise VenueError(10001, "req_timestamp invalid")
    window_ms = int(window) if _INTEGER.match(window) else DEFAULT_WINDOW_MS
    sent_ms = int(timestamp)
    if sent_ms >= now_ms + AHEAD_MS * scale or sent_ms < now_ms - window_ms * scale:
        raise VenueError(
            10002,
            f"invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{sent_ms}],server_timestamp[{now_ms}],recv_window[{window_ms}]",
        )
