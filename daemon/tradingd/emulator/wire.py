"""What crosses the border of a venue model: requests, responses, frames, and the model's own shape.

A model does no IO, reads no clock and draws no randomness of its own: time arrives through `advance`, chance through a
seeded generator given to its constructor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec


class HttpRequest(msgspec.Struct, frozen=True):
    """One request as it arrived; `query` without the question mark, header names in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""


class HttpResponse(msgspec.Struct, frozen=True):
    """One answer, ready for the wire."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class Refusal(msgspec.Struct, frozen=True):
    """A websocket handshake that the venue does not accept."""

    status: int
    reason: str


class Close(msgspec.Struct, frozen=True):
    """The venue closes a session (websocket close code and reason)."""

    code: int
    reason: str = ""


Frame = str | Close
"""What the venue sends on a session: a text frame, or the end of it."""


def json_text(value: Any) -> str:
    """A message as the text of a frame."""
    return msgspec.json.encode(value).decode()


class Meaning(Protocol):
    """What a dialect's requests and frames are about, in the words of faults/language.py."""

    def purpose(self, request: HttpRequest) -> str:
        """One of PURPOSES."""

    def symbol_of(self, request: HttpRequest) -> str | None:
        """The symbol that a request names."""

    def stream(self, path: str, query: str) -> str:
        """One of STREAMS."""

    def push(self, frame: str) -> tuple[str, str | None]:
        """One of PUSHES, and the symbol."""

    def reply(self, name: str) -> tuple[int, int, str]:
        """Status, code and text of a ready answer, one of REPLIES; code 0: a page of HTML, or the bare text."""

    def error(self, code: int, text: str) -> bytes:
        """The body of an answer with that code."""

    def banned(self, until_ms: int) -> tuple[int, int, str]:
        """Status, code and text for an address that is banned until then."""


class VenueModel(Protocol):
    """A venue without sockets and clocks."""

    @property
    def meaning(self) -> Meaning:
        """What this dialect's requests and frames are about."""

    def handle(self, request: HttpRequest, lag_ms: int = 0, end_order_ms: int | None = None) -> HttpResponse:
        """Answer one REST request at the time of the last `advance`; both times are venue milliseconds.

        `lag_ms`: the account is shown as it looked so long ago. `end_order_ms`: an order that the request makes is
        accepted, and ended without a fill so much later.
        """

    def act(self, kind: str, values: Mapping[str, object]) -> str:
        """Do what a venue or a human does without being asked, a kind of faults/language.py that befalls the venue;
        says in the past tense what was done."""

    def open_session(self, path: str, query: str) -> int | Refusal:
        """Accept a websocket; the number identifies the session from now on."""

    def on_frame(self, session: int, frame: str) -> list[Frame]:
        """Take one text frame from a client and give the direct answers."""

    def close_session(self, session: int) -> None:
        """The client went away."""

    def advance(self, to_ms: int) -> list[tuple[int, Frame]]:
        """Let venue time run to `to_ms`: prices, triggers, fills, lags; the frames that became due, in order."""

    def settle(self) -> list[tuple[int, Frame]]:
        """Let everything that only lags behind become visible while market time stands still."""

    def next_event_ms(self) -> int:
        """Venue time at which `advance` next has something to do."""

    def set_time_scale(self, scale: float) -> None:
        """Venue milliseconds per real millisecond: receive windows and lags are multiplied by it."""

    @property
    def now_ms(self) -> int:
        """Venue time of the last `advance`."""

    @property
    def stands_still(self) -> bool:
        """Whether the market waits for somebody to listen (a market from a file does)."""

    def describe(self) -> Mapping[str, object]:
        """Name, version, account, market and seed, for the admin face."""

    def close(self) -> None:
        """Write what is pending and close the ledger."""
