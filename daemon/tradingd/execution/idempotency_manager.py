"""Ids before orders, commits before requests, verdicts only on evidence (P1, P2, P3)."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from tradingd.domain.account import VenueOrder
from tradingd.domain.errors import JournalError, Severity, VenueError
from tradingd.domain.ids import ClientOrderId, Epoch, Purpose, make_client_order_id
from tradingd.domain.intents import Denial, DenyReason
from tradingd.domain.orders import Fill, Order, OrderEvent, OrderStatus
from tradingd.domain.records import Record
from tradingd.domain.text import storable
from tradingd.execution.clearance import Clearance
from tradingd.execution.recorder import Recorder
from tradingd.execution.state import TradingState
from tradingd.ports import Clock, Priority, Venue

COMMIT_WAIT_S = 0.3
"""What closes or protects waits no longer for the journal than this (real time), then goes out by the spool (P5)."""
UNSEEN_AGAIN_MS = 10_000
"""An accepted order is taken for ended when two looks this far apart find it nowhere; venue time at speed 1."""
UNNAMED_MS = 60_000
"""So long after a fill the venue's list of orders may still not show whose it is; venue time at speed 1."""


class IdempotencyManager:
    """Makes each client order id once, writes it ahead of its request, and settles the legs whose answer was lost."""

    def __init__(
        self,
        prefix: str,
        epoch: Epoch,
        state: TradingState,
        recorder: Recorder,
        clock: Clock,
        spool: Callable[[str], None],
        visibility_margin_ms: int = 0,
    ) -> None:
        self.prefix = prefix
        self.epoch = epoch
        self._state = state
        self._recorder = recorder
        self._clock = clock
        self._spool = spool
        self._visibility_margin_ms = visibility_margin_ms
        self._unseen_since: dict[ClientOrderId, int] = {}
        self._sequence = 0

    def next_id(self, purpose: Purpose) -> ClientOrderId:
        """A client order id that no order ever had: epochs are never reused, sequences only grow."""
        self._sequence += 1
        return make_client_order_id(self.prefix, self.epoch, self._sequence, purpose)

    def write_ahead(
        self, order: Order, records: Sequence[Record], venue: Venue, veto: Callable[[], Denial | None]
    ) -> Clearance:
        """Put the leg on its way to the disk as SUBMITTED, signed now; what its request must ask before it leaves.

        `veto` is asked after the commit. An entry that the journal cannot commit is denied. An exit or a protective
        order goes out all the same when it cannot, or not soon, its id fsynced to the spool file first (P2), as
        SUBMITTED, so that a later start looks for it. What is committed after all is then in both, which is harmless.
        """
        signed_ms = self._clock.at(venue.id).now_ms()
        order = msgspec.structs.replace(
            order, created_ms=signed_ms, signed_ms=signed_ms, window_ms=venue.limits.receive_window_ms
        )
        applied = asyncio.Event()
        commit = self._recorder.add_order(order, records, applied.set)
        if commit.done():
            applied.set()
        else:
            commit.add_done_callback(lambda done: applied.set())

        async def prove() -> Denial | None:
            return await self._committed(order, commit) or self._vetoed(order, veto())

        return Clearance(self._state.orders[order.client_order_id], prove, self.void, self._clock, applied)

    async def _committed(self, order: Order, commit: "asyncio.Future[None]") -> Denial | None:
        """Wait for the commit of a leg, or for its id in the spool; the denial of an entry that has none."""
        may_wait = order.request.purpose.may_increase_exposure
        try:
            if not commit.done():
                # never cancelled, whatever cuts this step off: the future tells whether the leg was committed
                await asyncio.wait({commit}, timeout=None if may_wait else COMMIT_WAIT_S)
            if not commit.done():
                raise JournalError(f"no commit within {COMMIT_WAIT_S} s")
            commit.result()
        except JournalError as error:
            if may_wait:
                self.void(order, str(error))
                return Denial(DenyReason.JOURNAL_NOT_WRITABLE, str(error))
            self._spool_id(self._state.orders[order.client_order_id])
        return None

    def _vetoed(self, order: Order, denial: Denial | None) -> Denial | None:
        if denial is not None:
            self.void(order, denial.detail)
        return denial

    def void(self, order: Order, why: str) -> None:
        """End a written leg that was never sent; nothing may bring it back as sent."""
        self._recorder.apply_event(
            order.client_order_id, OrderEvent.REJECT, "local", code="not_sent", detail=f"not sent: {why}"
        )

    def _spool_id(self, order: Order) -> None:
        submitted = msgspec.structs.replace(order, status=OrderStatus.SUBMITTED, reason=storable(order.reason))
        try:
            self._spool(msgspec.json.encode(submitted).decode())
        except (OSError, ValueError) as error:
            # neither takes it: a position without its stop is worse than an order known to memory alone
            self._recorder.incident(
                "spool_not_writable",
                Severity.CRITICAL,
                f"{order.client_order_id} is known to memory only: {error}",
                order,
            )

    def doubt_submitted(self) -> None:
        """After a start: what was submitted by an earlier run, and never answered, is in doubt."""
        for order in list(self._state.open_orders()):
            if order.status is OrderStatus.SUBMITTED:
                self._recorder.apply_event(
                    order.client_order_id, OrderEvent.TIME_OUT, "local", detail="the daemon ended before the answer"
                )

    # --- legs in doubt --------------------------------------------------------------------------------------------

    def fence_ms(self, order: Order, venue: Venue) -> int:
        """Venue time after which a lost request can no longer execute: signed time + window + visibility margin."""
        margin_ms = max(venue.limits.visibility_margin_ms, self._visibility_margin_ms)
        return order.signed_ms + order.window_ms + margin_ms

    async def settle(self, order: Order, venue: Venue, priority: Priority = Priority.RECONCILE) -> bool:
        """Look for evidence of one leg; True once it is no longer in doubt. Raises VenueError when nothing was learned.

        Positive evidence is adopted at any time. "Not found" is a verdict only when both look-ups (the order by client
        id in every book, and the fills) were *started* past the fence in venue time, and neither knew the order.
        """
        key = order.client_order_id
        past_fence = await self._is_past_fence(order, venue, priority)
        shown = await venue.find_order(order.request, priority)
        if shown is not None:
            self._recorder.apply_shown(shown, "lookup")
            return not self._state.orders[key].status.is_unknown
        since_ms = order.signed_ms - 60_000
        await self._recorder.recall_trades(order.instrument, since_ms)
        fills = await venue.fills(order.instrument, since_ms, priority)
        mine = [fill for fill in fills if self._is_of(fill, order)]
        for fill in mine:
            self._recorder.apply_fill(fill, "lookup")
        current = self._state.orders[key]
        if not current.status.is_unknown:
            return True
        if mine or not past_fence or any(self._may_be_of(fill, order) for fill in fills):
            return False
        if current.status is OrderStatus.SUBMITTED:
            self._recorder.apply_event(key, OrderEvent.TIME_OUT, "local", detail="no answer before the fence")
        if self._clock.at(venue.id).now_ms() - order.signed_ms > venue.limits.orders_kept_ms:
            # "unknown" says nothing of an old one: it may have stood, and have ended without a fill
            why = "unknown, and older than the venue keeps orders without a fill"
            self._recorder.apply_event(key, OrderEvent.EXPIRE, "lookup", code="not_found", detail=why)
            return True
        self._recorder.apply_event(
            key, OrderEvent.NOT_FOUND, "lookup", code="not_found", detail="unknown in every order book past the fence"
        )
        return True

    async def _is_past_fence(self, order: Order, venue: Venue, priority: Priority) -> bool:
        """Whether the venue's own clock, asked now, is past the fence; ours only says when asking is worth it."""
        fence_ms = self.fence_ms(order, venue)
        return self._clock.at(venue.id).now_ms() > fence_ms and await venue.server_time_ms(priority) > fence_ms

    @staticmethod
    def _is_of(fill: Fill, order: Order) -> bool:
        if fill.client_order_id is not None:
            return fill.client_order_id == order.client_order_id
        return order.venue_order_id is not None and fill.venue_order_id in (
            order.venue_order_id,
            order.child_venue_order_id,
        )

    def _may_be_of(self, fill: Fill, order: Order) -> bool:
        """Whether a fill that nobody's order explains yet may be the order's: a venue's trades may name no client order
        id, and its list of orders lag behind them. For a while: what is not named then is another hand's, or the
        instrument would stay shut for good. What the position's own levels filled is no order's."""
        if fill.client_order_id is not None or fill.is_of_position or fill.side is not order.request.side:
            return False
        clock = self._clock.at(order.instrument.venue)
        if fill.time_ms < order.signed_ms or clock.now_ms() - fill.time_ms > UNNAMED_MS * clock.speed:
            return False
        return self._state.order_by_any_id(fill.instrument, None, fill.venue_order_id) is None

    async def refresh(self, order: Order, venue: Venue) -> None:
        """Bring an order that the venue accepted up to date; raises VenueError.

        The venue forgets ended orders after days (Binance: 3): an accepted order that no book knows, twice and a while
        apart since one look may lag, and that no list of open orders shows, has ended unseen; what it filled is read
        before that is written down.
        """
        shown: VenueOrder | None = await venue.find_order(order.request, Priority.RECONCILE)
        if shown is not None:
            self._unseen_since.pop(order.client_order_id, None)
            self._recorder.apply_shown(shown, "lookup")
            return
        if order.status.is_unknown:
            raise VenueError(f"{order.client_order_id} is in doubt and not found; the fence decides")
        key, clock = order.client_order_id, self._clock.at(venue.id)
        now_ms = clock.now_ms()
        first_ms = self._unseen_since.setdefault(key, now_ms)
        if now_ms - first_ms < UNSEEN_AGAIN_MS * clock.speed or now_ms <= self.fence_ms(order, venue):
            return
        for shown in await venue.open_orders(order.instrument, Priority.RECONCILE):
            if shown.client_order_id == key:
                self._unseen_since.pop(key, None)
                self._recorder.apply_shown(shown, "lookup")
                return
        since_ms = order.signed_ms - 60_000
        await self._recorder.recall_trades(order.instrument, since_ms)
        for fill in await venue.fills(order.instrument, since_ms, Priority.RECONCILE):
            if self._is_of(fill, order):
                self._recorder.apply_fill(fill, "lookup")
        if not self._state.orders[key].status.is_final:
            self._recorder.apply_event(key, OrderEvent.EXPIRE, "lookup", detail="the venue no longer knows the order")
