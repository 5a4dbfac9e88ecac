"""One call to a venue: who goes first, what lets it out, and whose budget it takes."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from enum import IntEnum
from typing import Protocol

import msgspec

from tradingd.domain.ids import VenueId


class Priority(IntEnum):
    """Who goes first, everywhere the same (P13)."""

    PROTECT = 0
    EXIT = 1
    CANCEL = 2
    RECONCILE = 3
    ENTRY = 4
    DATA = 5


Clear = Callable[[], Awaitable[None]]
"""Awaited right before a request leaves: returns once it may, raises Withheld when it must not."""


async def at_once() -> None:
    """Nothing keeps the request back."""


class CallContext(msgspec.Struct):
    """What the caller of a venue method wants, seen by the layers below ccxt through a ContextVar.

    `prepaid`: the budget of the next request was taken already. `signed_ms`: the journalled time to sign with.
    `clear` is awaited by the transport right before the first request leaves.
    `posted` is set by the transport once a request of this call may have reached the wire.
    """

    priority: Priority = Priority.DATA
    prepaid: bool = False
    signed_ms: int | None = None
    clear: Clear | None = None
    posted: bool = False


call_context: ContextVar[CallContext | None] = ContextVar("call_context", default=None)


class RateBudget(Protocol):
    """The request budget of the venues, owned by the RateLimiter."""

    async def acquire(self, venue: VenueId, endpoint: str, priority: Priority) -> None:
        """Wait for the budget of one request to `endpoint` ("POST fapi/v1/order"); raises VenueBanned."""
        ...

    def refuse_banned(self, venue: VenueId, endpoint: str) -> None:
        """Raise VenueBanned while a request to `endpoint` may not leave, whatever was taken for it before."""
        ...

    def adopt(self, venue: VenueId, windows: tuple[tuple[str, int, int, str, bool], ...]) -> None:
        """Take the windows that the venue publishes (see RatePlan) instead of those that we know of; raises
        ValueError where one of our requests could never leave."""
        ...

    def observe(
        self,
        venue: VenueId,
        status: int,
        headers: dict[str, str],
        sent_ms: int,
        endpoint: str,
        *,
        is_refusal: bool = False,
    ) -> None:
        """Learn from the headers of the answer to a request that left at `sent_ms` (venue time): used weight, order
        counts, other processes on the IP. `is_refusal`: nothing was done, it was one too many for its endpoint."""
        ...

    def ban(self, venue: VenueId, until_ms: int, reason: str) -> None:
        """Let nothing out to `venue` before `until_ms` (venue time)."""
        ...

    def close_orders(self, venue: VenueId, until_ms: int, reason: str) -> None:
        """Let no new order out to `venue` before `until_ms`; everything else goes on."""
        ...
