"""One venue in domain types, and who hears its pushes."""

from decimal import Decimal
from typing import Protocol

import msgspec

from tradingd.domain.account import (
    AccountMode,
    AccountSnapshot,
    CancelOutcome,
    PositionProtection,
    SubmitOutcome,
    VenueBalance,
    VenueOrder,
    VenuePosition,
)
from tradingd.domain.candles import Candle
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.orders import Fill, Order, OrderRequest
from tradingd.domain.records import LedgerRecord
from tradingd.ports.calls import Clear, Priority, at_once


class Approved(msgspec.Struct, frozen=True):
    """An order request that RiskGuard let pass: an unchecked order does not type-check."""

    request: OrderRequest
    checks: tuple[str, ...]


class StreamKey(msgspec.Struct, frozen=True, order=True):
    """A wanted stream: kind `candles` with symbol and timeframe, or kind `account`."""

    venue: VenueId
    kind: str
    symbol: str = ""
    timeframe: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.symbol, self.timeframe) if part)


class VenueSink(Protocol):
    """Who hears a venue's pushes; plain functions, called on the loop, never awaiting."""

    def on_candle(self, candle: Candle) -> None:
        """A forming or closed candle, by the venue's own flag."""
        ...

    def on_order(self, order: VenueOrder) -> None:
        """An order update."""
        ...

    def on_fill(self, fill: Fill) -> None:
        """One execution."""
        ...

    def on_position(self, position: VenuePosition) -> None:
        """A pushed position."""
        ...

    def on_balance(self, balance: VenueBalance) -> None:
        """A pushed balance."""
        ...

    def on_alive(self, venue: VenueId, stream: str) -> None:
        """Any frame arrived on `stream` (candles or account): a sign of life for staleness timers."""
        ...

    def on_disconnect(self, venue: VenueId, stream: str, reason: str) -> None:
        """A connection ended; every subscription on it is gone until watched again."""
        ...

    def on_bad_frame(self, venue: VenueId, stream: str, reason: str) -> None:
        """A frame on `stream` that could not be understood; recorded, never fatal. What it told is not known."""
        ...


class VenueLimits(msgspec.Struct, frozen=True):
    """What the fence and the protocol need of a venue; each constant's source stands in its Quirks.

    `order_books`: the first holds plain orders and what a conditional one becomes, and names the order of a fill; the
    last holds conditional orders. A venue may count its ids anew in each. `conditional_orders`: so many may wait at a
    time on the whole account; None where each instrument has room enough of its own. `ack_is_acceptance`: answers to
    submit and cancel come behind the venue's checks; where they do not, SUBMITTED and CANCELED say that the request
    arrived, and no more. `orders_kept_ms`: an order that ended without a fill may be unknown so long after.
    """

    receive_window_ms: int
    visibility_margin_ms: int
    order_books: tuple[str, ...]
    ack_is_acceptance: bool
    close_position_stops: bool
    conditional_orders: int | None = 200
    orders_kept_ms: int = 3 * 86_400_000


class StateProtection(Protocol):
    """Stop and take profit as a state of the whole position: it follows the size, and ends with the position."""

    async def set(
        self, instrument: InstrumentId, stop: Decimal | None, take_profit: Decimal | None, priority: Priority
    ) -> SubmitOutcome:
        """Set both by the mark price, none with None. The same again is success, and changes nothing: after an answer
        that was lost it is set or read again. Prices lie on the tick. Never raises but on cancel."""
        ...

    async def read(self, instrument: InstrumentId, priority: Priority) -> PositionProtection:
        """What the position carries; may lag by the visibility margin behind a set. Raises VenueError."""
        ...


class Venue(Protocol):
    """One venue in domain types. Reads raise VenueError (VenueUnreachable, VenueBanned); submit and cancel never raise.

    A method that takes `priority` waits for the rate budget at that priority; `open`, `preflight` and `prepare`, which
    a recovery needs, wait at RECONCILE, `watch` too; rules read anew and candles at DATA.
    """

    id: VenueId
    limits: VenueLimits

    @property
    def state_protection(self) -> StateProtection | None:
        """Where protection is a state of the position; None where it is made of orders."""
        ...

    async def open(self, sink: VenueSink) -> None:
        """Build the client and load the instruments' rules; raises VenueError."""
        ...

    async def close(self) -> None:
        """End all connections and tasks; the object is not used again."""
        ...

    async def load_instruments(self) -> dict[InstrumentId, Instrument]:
        """Read the venue's rules anew."""
        ...

    @property
    def instruments(self) -> dict[InstrumentId, Instrument]:
        """The rules as last read."""
        ...

    async def server_time_ms(self, priority: Priority = Priority.RECONCILE) -> int:
        """The venue's clock."""
        ...

    async def preflight(self) -> AccountMode:
        """Who the account is and whether its modes fit."""
        ...

    async def prepare(self, instrument: InstrumentId, leverage: int, margin_mode: str) -> None:
        """Set leverage and margin mode of the instrument; "already so" is success. Raises VenueError."""
        ...

    async def watch(self, stream: StreamKey) -> None:
        """Subscribe; returns once the subscription stands. Raises VenueError."""
        ...

    async def reset_stream(self, kind: str, reason: str) -> None:
        """Drop the connections of a kind of stream (candles, account), so that they are dialled again."""
        ...

    async def candles(self, instrument: InstrumentId, timeframe: str, since_ms: int, limit: int) -> list[Candle]:
        """Candles from `since_ms` on, ascending; the last one may still be forming (closed=False)."""
        ...

    async def mark_price(self, instrument: InstrumentId, priority: Priority = Priority.ENTRY) -> Decimal:
        """The price that triggers protective orders and liquidations."""
        ...

    async def submit(
        self, approved: Approved, signed_ms: int, priority: Priority, clear: Clear = at_once
    ) -> SubmitOutcome:
        """Send one order, once, signed with `signed_ms`. The budget was taken before. Never raises but on cancel.

        No byte of it leaves before `clear` has returned (P2); when that raises Withheld, the outcome is NOT_EXECUTED.
        """
        ...

    async def cancel(self, order: VenueOrder | Order, priority: Priority, clear: Clear = at_once) -> CancelOutcome:
        """Cancel one order in its own book; the request leaves behind `clear`, or never. Never raises but on cancel."""
        ...

    async def find_order(self, order: OrderRequest, priority: Priority) -> VenueOrder | None:
        """Look the order up by client order id in every book; None only when each book answered "unknown"."""
        ...

    async def open_orders(self, instrument: InstrumentId | None, priority: Priority) -> list[VenueOrder]:
        """All open orders in every book, ours and foreign; complete or an exception."""
        ...

    async def fills(self, instrument: InstrumentId, since_ms: int, priority: Priority) -> list[Fill]:
        """All executions since `since_ms`, every page, ascending; complete or an exception."""
        ...

    async def account(self, priority: Priority) -> AccountSnapshot:
        """Balance and all positions."""
        ...

    async def bookings(self, since_ms: int, priority: Priority) -> list[LedgerRecord]:
        """All that the venue has booked on the wallet since `since_ms`, ascending, complete or an exception. Kinds:
        `funding`, `transfer`, `fee`, `realized_pnl`, or the venue's own word; what the settle currency is not is left
        out. Dear: to be asked rarely."""
        ...

    def submit_endpoint(self, request: OrderRequest) -> str:
        """The endpoint name of the budget that a submit of `request` needs."""
        ...
