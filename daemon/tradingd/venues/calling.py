"""How a dialect's requests leave: once, or for reads as often and as soon as a stop that waits for them needs."""

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

import aiohttp

from tradingd.domain.account import RejectKind
from tradingd.domain.errors import TradingdError, VenueError, VenueUnreachable, plain_failure
from tradingd.domain.ids import VenueId
from tradingd.execution.retry_policy import RetryPolicy
from tradingd.ports import Clock, Priority, call_context
from tradingd.venues.dialect import Params
from tradingd.venues.error_map import ErrorTable, read_error
from tradingd.venues.quirks import Quirks
from tradingd.venues.reply import Reply, current_reply, redact

READ_TRIES = 3
"""Copies of one read at most: one fault is common, two in a row are rare, and each costs the venue's weight."""
KEY_PAUSE_S = 60.0
"""So long a reading that was refused for its key is not tried again (real time)."""


class Calls:
    """Sends a dialect's requests through ccxt's client; `client` is None while the venue is not open."""

    def __init__(
        self,
        venue: VenueId,
        quirks: Quirks,
        errors: ErrorTable,
        secrets: Collection[str],
        clock: Clock,
        retry: RetryPolicy,
    ) -> None:
        self.client: Any = None
        self._refused: dict[str, tuple[float, VenueError]] = {}
        self._venue = venue
        self._hedge_s = quirks.read_hedge_s.value
        self._limit_s = quirks.read_limit_s.value
        self._errors = errors
        self._secrets = secrets
        self._clock = clock
        self._retry = retry

    def now_ms(self) -> int:
        """Venue time by our clock."""
        return self._clock.now_ms()

    def open_client(self) -> Any:
        """The client; raises VenueUnreachable while there is none."""
        if self.client is None:
            raise VenueUnreachable(f"{self._venue} is not open")
        return self.client

    async def call(self, endpoint: str, params: Params) -> Reply:
        """One request, and all that came of it: the only way for what changes something at the venue."""
        return await self.note(Reply(), getattr(self.open_client(), endpoint), params)

    async def ask(self, endpoint: str, params: Params) -> Reply:
        """A request that changes nothing, until the venue has answered it, a refusal included; raises VenueError.

        A lost answer would keep a position without its stop for as long as the timeout of a request: a second copy
        leaves long before that, and the first good answer counts. A copy that still waits for its budget, or whose
        answer has begun to arrive, gets no company. Market data stands between no position and its stop: its callers
        have all the time they want.
        """
        refused = self._refused.get(endpoint)
        if refused is not None and self._clock.monotonic() < refused[0]:
            raise refused[1]
        reply = await self._asked(partial(getattr(self.open_client(), endpoint), params), endpoint, self._limit_s)
        self._note_refused(endpoint, reply)
        return reply

    def _note_refused(self, endpoint: str, reply: Reply) -> None:
        """A key that was refused is not tried on the same reading for a while, whoever asks: a venue bans who does. Of
        one reading only, since a key may lack the right to that one; orders are never kept back here."""
        meaning = None if reply.code is None else self._errors.submit.get(reply.code)
        if meaning is None or meaning.kind is not RejectKind.AUTHENTICATION:
            self._refused.pop(endpoint, None)
            return
        error = read_error(self._errors, reply, f"{self._venue} {endpoint}", self.now_ms())
        self._refused[endpoint] = (self._clock.monotonic() + KEY_PAUSE_S, error)

    async def ask_long(self, call: Callable[[], Awaitable[Any]], what: str) -> Reply:
        """As `ask`, for a call of ccxt's whose answer is long: on a slow line it may take as long as any request."""
        return await self._asked(call, what, None)

    async def _asked(self, call: Callable[[], Awaitable[Any]], what: str, limit_s: float | None) -> Reply:
        context = call_context.get()
        if context is None or context.priority is Priority.DATA:
            return await self._judged(Reply(), call, what)
        latest = [Reply()]

        def copy() -> Awaitable[Reply]:
            latest[0] = Reply(limit_s=limit_s)
            return self._judged(latest[0], call, what)

        def is_out() -> bool:
            return latest[0].tried and not latest[0].began

        return await self._retry.hedge(copy, attempts=READ_TRIES, after_s=self._hedge_s, is_out=is_out)

    async def read(self, endpoint: str, params: Params) -> Any:
        """The body of one request that must succeed."""
        reply = await self.ask(endpoint, params)
        if not reply.ok or reply.code is not None:
            raise read_error(self._errors, reply, f"{self._venue} {endpoint}", self.now_ms())
        return reply.value

    async def _judged(self, reply: Reply, call: Callable[[], Awaitable[Any]], what: str) -> Reply:
        """One copy of a read: what another copy may mend is raised, what the venue has decided is returned."""
        await self.note(reply, call)
        if not reply.ok or reply.code is not None:
            error = read_error(self._errors, reply, f"{self._venue} {what}", self.now_ms())
            if error.transient:
                raise error
        return reply

    async def note(self, reply: Reply, call: Callable[..., Awaitable[Any]], *args: object) -> Reply:
        """Run a ccxt call with a record of its request; ccxt's own errors name urls with signatures, so none leaves."""
        token = current_reply.set(reply)
        try:
            reply.value = await call(*args)
        except TradingdError:
            raise
        except Exception as error:
            reply.failure = _why_not(error)
        finally:
            current_reply.reset(token)
        reply.body = redact(reply.body, self._secrets)
        return reply


def _why_not(error: Exception) -> str:
    """Why a call failed. Of ccxt's errors only the class: their texts are urls with signatures; aiohttp names hosts."""
    cause = error.__cause__
    return plain_failure(str(cause)) if isinstance(cause, aiohttp.ClientConnectorError) else type(error).__name__
