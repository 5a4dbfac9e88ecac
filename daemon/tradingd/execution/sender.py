"""The order protocol of one leg, in its fixed order: budget, id, commit, send, classify."""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from tradingd.domain.account import SubmitOutcome, SubmitVerdict
from tradingd.domain.errors import VenueBanned, VenueError
from tradingd.domain.ids import IntentId, StrategyId
from tradingd.domain.intents import Denial, DenyReason
from tradingd.domain.orders import Order, OrderRequest
from tradingd.domain.records import Record
from tradingd.execution.exchange_router import ExchangeRouter
from tradingd.execution.idempotency_manager import IdempotencyManager
from tradingd.execution.limits import Limits
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.execution.state import TradingState
from tradingd.ports import Approved, Priority


class Leg(msgspec.Struct, frozen=True):
    """What the journal must know of an order beside its request."""

    strategy: StrategyId | None
    intent_id: IntentId | None
    reference_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    expire_ms: int | None = None
    reason: str = ""


class Sent(msgspec.Struct, frozen=True):
    """What became of a leg: the order as now known, and the reply's outcome where one came in time."""

    order: Order
    outcome: SubmitOutcome | None

    @property
    def refused(self) -> bool:
        """Whether the venue definitely did not take it."""
        return self.outcome is not None and self.outcome.verdict is SubmitVerdict.NOT_EXECUTED


class Sender:
    """Carries approved requests over the wire, one leg each, never twice."""

    def __init__(
        self,
        state: TradingState,
        idempotency: IdempotencyManager,
        limiter: RateLimiter,
        router: ExchangeRouter,
        limits: Limits,
    ) -> None:
        self._state = state
        self._idempotency = idempotency
        self._limiter = limiter
        self._router = router
        self._limits = limits

    def name(self, request: OrderRequest) -> OrderRequest:
        """The request under a new client order id."""
        return msgspec.structs.replace(request, client_order_id=self._idempotency.next_id(request.purpose))

    async def reserve(self, request: OrderRequest, priority: Priority, timeout_s: float | None = None) -> Denial | None:
        """Take the rate budget of one submit, before anything is signed; waits `timeout_s` real seconds at most.

        Without one an entry does not wait long, and nobody longer than for an answer: whoever holds the lane must come
        back to see that the position is naked for too long, or that what it wanted is out of date.
        """
        venue = self._router.venue(request.instrument)
        endpoint = venue.submit_endpoint(request)
        usual_s = self._limits.budget_wait_s if priority >= Priority.ENTRY else self._limits.submit_timeout_s
        wait_s = usual_s if timeout_s is None else timeout_s
        try:
            if not self._limiter.take_now(venue.id, endpoint, priority):
                async with asyncio.timeout(wait_s):
                    await self._limiter.acquire(venue.id, endpoint, priority)
        except TimeoutError:
            return Denial(DenyReason.RATE_BUDGET, f"no rate budget at {venue.id} within {wait_s:g} s")
        except VenueBanned as error:
            return Denial(DenyReason.RATE_BUDGET if error.orders_only else DenyReason.BANNED, str(error))
        except VenueError as error:
            return Denial(DenyReason.RATE_BUDGET, str(error))
        return None

    async def send(
        self,
        approved: Approved,
        leg: Leg,
        priority: Priority,
        records: Callable[[Order], Sequence[Record]] = lambda order: (),
        veto: Callable[[], Denial | None] = lambda: None,
        timeout_s: float | None = None,
    ) -> Sent | Denial:
        """Write the leg ahead with `records` in one commit, send it once, wait for the first evidence. The request is
        built and signed while the commit is on its way, and leaves behind it (P2).

        Waits `timeout_s` at most, else the limit for submits. The budget must have been reserved. `veto` is asked
        between commit and send. A denial: nothing was sent.
        """
        venue = self._router.venue(approved.request.instrument)
        order = Order(
            request=approved.request,
            strategy=leg.strategy,
            intent_id=leg.intent_id,
            reference_price=leg.reference_price,
            stop_loss=leg.stop_loss,
            take_profit=leg.take_profit,
            expire_ms=leg.expire_ms,
            reason=leg.reason,
        )
        clearance = self._idempotency.write_ahead(order, records(order), venue, veto)
        await clearance.until_applied()
        wait_s = self._limits.submit_timeout_s if timeout_s is None else timeout_s
        outcome = await self._router.submit(clearance, approved, priority, wait_s)
        if clearance.denial is not None:
            return clearance.denial
        return Sent(self._state.orders[order.client_order_id], outcome)
