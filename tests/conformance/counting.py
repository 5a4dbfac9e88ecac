"""Both sides of the counter: what our budget takes for a request, and what the built-in venue counts when it comes."""

from typing import Any

from tests.conformance.bench import Toll
from tradingd.domain.ids import VenueId
from tradingd.execution.rate_budget import VenueBudget
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.ports import Clock, Priority


class Counter:
    """Listens to the limits of one built-in venue; requests are told apart by their order."""

    def __init__(self, venue: str, limits: Any) -> None:
        self.budget: VenueBudget | None = None
        self._taken: list[str] = []
        self._counted: list[dict[str, int]] = []
        getattr(self, f"_listen_to_{venue}")(limits)

    def take(self, endpoint: str) -> None:
        """Our side: a request may leave. Dials are counted apart, by no answer."""
        if not endpoint.startswith("DIAL "):
            self._taken.append(endpoint)

    def tolls(self) -> list[Toll]:
        """Each request that both sides have seen; raises where one side saw more."""
        pairs = zip(self._taken, self._counted, strict=True)
        return [Toll(endpoint, self._cost(endpoint), counted) for endpoint, counted in pairs]

    def _cost(self, endpoint: str) -> dict[str, int]:
        budget = self.budget
        assert budget is not None
        found = {window.name: cost for window, cost in zip(budget.windows, budget.costs(endpoint), strict=True)}
        found |= {window.plan.name: window.costs(endpoint) for window in budget.rolling}
        return {name: cost for name, cost in found.items() if cost}

    def _listen_to_binance(self, limits: Any) -> None:
        charge, charge_orders = limits.charge, limits.charge_orders

        def weigh(weight: int, now_ms: int) -> None:
            self._counted.append({"weight 1m": weight} if weight else {})
            charge(weight, now_ms)

        def count(orders: int, now_ms: int) -> None:
            self._counted[-1] |= {"orders 10s": orders, "orders 1m": orders}
            charge_orders(orders, now_ms)

        limits.charge, limits.charge_orders = weigh, count

    def _listen_to_bybit(self, limits: Any) -> None:
        charge_address, charge = limits.charge_address, limits.charge

        def arrive(now_ms: int) -> None:
            self._counted.append({"address": 1})
            charge_address(now_ms)

        def count(group: str, most: int, now_ms: int) -> Any:
            self._counted[-1][group.removeprefix("/v5/")] = 1
            return charge(group, most, now_ms)

        limits.charge_address, limits.charge = arrive, count


class NotedBudget(RateLimiter):
    """The daemon's own limiter; each request that it lets out is noted."""

    def __init__(self, clock: Clock, counter: Counter) -> None:
        super().__init__(clock)
        self._counter = counter

    def of(self, venue: VenueId) -> VenueBudget:
        """The budget of one venue."""
        return self._venues[venue]

    async def acquire(self, venue: VenueId, endpoint: str, priority: Priority) -> None:
        """Let it out, and note it."""
        await super().acquire(venue, endpoint, priority)
        self._counter.take(endpoint)
