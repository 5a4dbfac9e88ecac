"""What the client tells as it goes: answers to the budget, websockets to the streams."""

from tradingd.domain.ids import VenueId
from tradingd.ports import Clock, Priority, RateBudget
from tradingd.venues.error_map import ErrorTable, ban_reason, ban_until_ms, bans_orders_only, is_one_too_many
from tradingd.venues.streams import Streams


class ClientHooks:
    """One client's hooks."""

    def __init__(
        self, venue: VenueId, errors: ErrorTable, budget: RateBudget, clock: Clock, streams: Streams
    ) -> None:
        self._venue = venue
        self._errors = errors
        self._budget = budget
        self._clock = clock
        self.connected = streams.connected
        self.ended = streams.ended
        self.received = streams.received
        self.frame = streams.frame
        self.bad_frame = streams.bad_frame

    def answered(self, status: int, headers: dict[str, str], body: str, sent_ms: int, endpoint: str) -> None:
        """Tell the budget what an answer says of our use, and of a ban."""
        errors = self._errors
        self._budget.observe(self._venue, status, headers, sent_ms, endpoint, is_refusal=is_one_too_many(errors, body))
        until_ms = ban_until_ms(errors, status, headers, body, self._clock.now_ms(), self._clock.speed)
        if until_ms is None:
            return
        orders_only = bans_orders_only(errors, status, body)
        close = self._budget.close_orders if orders_only else self._budget.ban
        close(self._venue, until_ms, ban_reason(errors, status, body))

    async def acquire(self, endpoint: str, priority: Priority) -> None:
        """Wait for the budget of one request."""
        await self._budget.acquire(self._venue, endpoint, priority)

    def refuse_banned(self, endpoint: str) -> None:
        """Raise VenueBanned while no request to `endpoint` may leave."""
        self._budget.refuse_banned(self._venue, endpoint)
