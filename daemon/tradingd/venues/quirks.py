"""A venue's departures from the common model, each with its reason, its source and the test that guards it."""

from typing import Generic, TypeVar

import msgspec

from tradingd.execution.rate_budget import RatePlan
from tradingd.execution.rolling_window import RollingHeaders, RollingLimit
from tradingd.ports import VenueLimits

T = TypeVar("T")


class Quirk(msgspec.Struct, Generic[T], frozen=True):
    """One entry: the value, why it is so, where that is known from, and the test that fails without it."""

    value: T
    why: str
    source: str
    test: str


class Quirks(msgspec.Struct, frozen=True):
    """One venue as data. Times are ms of venue time unless the name ends in `_s` (real seconds)."""

    ccxt_id: str
    stream_kinds: Quirk[dict[str, str]]
    options: Quirk[dict[str, object]]
    receive_window_ms: Quirk[int]
    visibility_margin_ms: Quirk[int]
    order_books: Quirk[tuple[str, ...]]
    ack_is_acceptance: Quirk[bool]
    close_position_stops: Quirk[bool]
    conditional_orders: Quirk[int | None]
    orders_kept_ms: Quirk[int]
    http_keepalive_s: Quirk[float]
    read_hedge_s: Quirk[float]
    read_limit_s: Quirk[float]
    ping_interval_ms: Quirk[int]
    ws_message_interval_s: Quirk[float]
    connection_is_subscription: Quirk[bool]
    protection_by_state: Quirk[bool]
    account_key_interval_ms: Quirk[int]
    fills_window_ms: Quirk[int]
    fills_retention_ms: Quirk[int]
    page_limit: Quirk[int]
    candles_limit: Quirk[int]
    rate_windows: Quirk[tuple[tuple[str, int, int, str, bool], ...]]
    weights: Quirk[dict[str, int]]
    order_endpoints: Quirk[frozenset[str]]
    rolling_limits: Quirk[tuple[RollingLimit, ...]]
    rolling_headers: Quirk[RollingHeaders | None]

    def limits(self, *, receive_window_ms: int | None, window_scale: float) -> VenueLimits:
        """What the fence needs; `window_scale` multiplies venue times of a built-in venue that runs faster."""
        window_ms = receive_window_ms or self.receive_window_ms.value
        return VenueLimits(
            receive_window_ms=round(window_ms * window_scale),
            visibility_margin_ms=round(self.visibility_margin_ms.value * window_scale),
            order_books=self.order_books.value,
            ack_is_acceptance=self.ack_is_acceptance.value,
            close_position_stops=self.close_position_stops.value,
            conditional_orders=self.conditional_orders.value,
            orders_kept_ms=self.orders_kept_ms.value,
        )

    def rate_plan(self) -> RatePlan:
        """The venue's budget for the RateLimiter."""
        return RatePlan(
            self.rate_windows.value,
            self.weights.value,
            self.order_endpoints.value,
            rolling=self.rolling_limits.value,
            headers=self.rolling_headers.value,
        )
