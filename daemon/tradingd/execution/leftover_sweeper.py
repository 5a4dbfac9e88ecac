"""No protective order survives its position (P7): every order book swept, and entries denied without a proof."""

from collections.abc import Callable

from tradingd.domain.account import CancelVerdict, VenueOrder
from tradingd.domain.errors import Severity, VenueError
from tradingd.domain.events import incident
from tradingd.domain.ids import ClientOrderId, Epoch, VenueId, parse_client_order_id
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Denial, DenyReason
from tradingd.domain.orders import OrderStatus
from tradingd.execution.desk import Desk
from tradingd.execution.exchange_router import within
from tradingd.ports import Priority, Store

SWEEP_ROUNDS = 4
"""Cancel and read again, this often; a venue whose list lags a cancel needs more than one look."""
CHECK_LIMIT_S = 4.0
"""So long an entry waits for its sweep; real time."""
CANCEL_AGAIN_S = 2.0
"""A list may go on showing what was cancelled; so long after an answer it is not cancelled a second time."""

SECOND_DAEMON = "a second daemon trades this account: stop one of the two, then `tradingd resume`"


class LeftoverSweeper:
    """Sweeps leftovers and keeps, per instrument, the proof that none is left.

    A proof is worth something while the account stream has been unbroken since, silent about foreign orders, and no
    protective order of ours was placed since.
    """

    def __init__(
        self,
        desk: Desk,
        store: Store,
        keep: Callable[[InstrumentId], frozenset[ClientOrderId]],
    ) -> None:
        self._state = desk.state
        self._recorder = desk.recorder
        self._router = desk.router
        self._store = store
        self._bus = desk.bus
        self._clock = desk.clock
        self._limits = desk.limits
        self._keep = keep
        self._proofs: dict[InstrumentId, int] = {}
        self._voids: dict[InstrumentId | VenueId, int] = {}
        self._ended_at: dict[InstrumentId, dict[str, float]] = {}
        self.foreign: dict[InstrumentId, dict[str, VenueOrder]] = {}
        self.known_epochs: set[Epoch] = set()
        self.new_journal = ""
        self.on_stranger: Callable[[str], None] = lambda why: None

    # --- proofs ---------------------------------------------------------------------------------------------------

    def forget(self, instrument: InstrumentId) -> None:
        """The proof no longer stands: a protective order was placed, or a foreign order was seen."""
        self._proofs.pop(instrument, None)
        self._voids[instrument] = self._voids.get(instrument, 0) + 1

    def forget_venue(self, venue: VenueId) -> None:
        """The account stream broke: what happened meanwhile is unknown."""
        for instrument in [each for each in self._proofs if each.venue == venue]:
            del self._proofs[instrument]
        self._voids[venue] = self._voids.get(venue, 0) + 1

    def note_foreign(self, order: VenueOrder) -> None:
        """A foreign order was seen on the stream. One that ended, or fired, stands in nobody's way any more."""
        if order.status.is_final or order.status is OrderStatus.TRIGGERED:
            self.foreign.get(order.instrument, {}).pop(str(order.venue_order_id), None)
            return
        self.forget(order.instrument)
        if _is_conditional(order):
            self._add_foreign(order)

    def has_proof(self, instrument: InstrumentId) -> bool:
        """Whether a sweep proved the instrument clean, and nothing has put that in doubt since."""
        return instrument in self._proofs

    async def check(self, instrument: InstrumentId) -> Denial | None:
        """Prove the instrument clean before an entry; the denial says what stands in the way. A foreign order that
        stood is asked after anew: its end may have been missed."""
        stood = self._limits.deny_on_foreign_orders and bool(self.foreign.get(instrument))
        if self._limits.sweep_always or stood or not self.has_proof(instrument):
            try:
                # an entry holds the lane: the stop of a fill that comes late must not wait for it (P5)
                clean = await within(CHECK_LIMIT_S, self.sweep(instrument, Priority.CANCEL))
            except VenueError as error:
                return Denial(DenyReason.SWEEP_NOT_PROVED, f"the order books could not be read: {error}")
            if not clean:
                return Denial(DenyReason.SWEEP_NOT_PROVED, "own leftovers could not be cancelled")
        foreign = self.foreign.get(instrument)
        if foreign and self._limits.deny_on_foreign_orders:
            ids = ", ".join(sorted(foreign))
            return Denial(DenyReason.FOREIGN_ORDERS, f"conditional orders that are not ours: {ids}")
        return None

    # --- sweeping -------------------------------------------------------------------------------------------------

    async def sweep(self, instrument: InstrumentId, priority: Priority) -> bool:
        """Cancel own leftovers in every book until a fresh reading shows none. Raises VenueError when a book is silent.

        True: nothing is left over. It is a proof for later entries unless a position is held, or a protective order of
        ours is in doubt, which may yet arrive at the venue. Orders that are not ours are never touched.
        """
        venue = self._router.venue(instrument)
        for _ in range(SWEEP_ROUNDS):
            before = self._era(instrument)
            shown = await venue.open_orders(instrument, priority)
            leftovers = await self.take_in(instrument, shown)
            if not leftovers and self._state.expected_quantity(instrument) != 0:
                return True  # clean, but the stop that stands now will be a leftover: no proof for the next entry
            if not leftovers:
                await self._learn_ends(instrument, priority)
            if not leftovers and self._era(instrument) == before:
                self._ended_at.pop(instrument, None)
                if not any(order.request.purpose.is_protective for order in self._state.unknown_orders(instrument)):
                    self._proofs[instrument] = self._clock.at(instrument.venue).now_ms()
                return True
            for leftover in leftovers:
                await self._cancel(leftover)
        return False

    async def _learn_ends(self, instrument: InstrumentId, priority: Priority) -> None:
        """Nothing of ours stands while flat: what memory still holds as open ended while nobody listened."""
        for order in list(self._state.open_orders(instrument)):
            if not order.request.purpose.is_protective or order.status.is_unknown:
                continue
            shown = await self._router.venue(instrument).find_order(order.request, priority)
            if shown is not None:
                self._recorder.apply_shown(shown, "lookup")

    def _era(self, instrument: InstrumentId) -> tuple[int, int]:
        """Changes whenever a proof would be void: a reading during which it changed proves nothing either."""
        return self._voids.get(instrument, 0), self._voids.get(instrument.venue, 0)

    async def _cancel(self, leftover: VenueOrder) -> None:
        """Cancel one, unless the venue just said that it is no more and only its list lags behind."""
        ended_at = self._ended_at.setdefault(leftover.instrument, {})
        key = f"{leftover.client_order_id} {leftover.venue_order_id}"
        if self._clock.monotonic() - ended_at.get(key, -CANCEL_AGAIN_S) < CANCEL_AGAIN_S:
            return
        outcome = await self._router.cancel(leftover, Priority.CANCEL, self._limits.submit_timeout_s)
        if outcome.verdict in (CancelVerdict.CANCELED, CancelVerdict.ASKED, CancelVerdict.GONE):
            ended_at[key] = self._clock.monotonic()
            return
        self._raise(
            "leftover_not_cancelled",
            Severity.WARNING,
            f"{leftover.client_order_id} is left over and may stand: {outcome.told()}; tried again",
            leftover.instrument,
        )

    async def take_in(self, instrument: InstrumentId, shown: list[VenueOrder]) -> list[VenueOrder]:
        """Learn from a complete reading of an instrument's open orders; returns our leftovers among them."""
        foreign: dict[str, VenueOrder] = {}
        leftovers: list[VenueOrder] = []
        kept = self._keep(instrument)
        flat = self._state.expected_quantity(instrument) == 0
        for order in shown:
            ours = parse_client_order_id(order.client_order_id, self._limits.order_prefix)
            if ours is None:
                if _is_conditional(order) and not order.is_state:
                    foreign[str(order.venue_order_id)] = order
                continue
            known = await self._know(order)
            if (
                known
                and ours.purpose.is_protective
                and (flat or ClientOrderId(order.client_order_id or "") not in kept)
            ):
                leftovers.append(order)
        for order in foreign.values():
            if str(order.venue_order_id) not in self.foreign.get(instrument, {}):
                self._add_foreign(order)
        self.foreign[instrument] = foreign
        return leftovers

    async def _know(self, shown: VenueOrder) -> bool:
        """Whether the journal has the order; what memory forgot is fetched, what nobody wrote is an alarm."""
        if self._recorder.apply_shown(shown, "lookup") is not None:
            return True
        if not await self._recall(ClientOrderId(shown.client_order_id or ""), shown.instrument):
            return False
        self._recorder.apply_shown(shown, "lookup")
        return True

    async def look_up_owners(self, venue: VenueId) -> None:
        """Fills under our prefix whose order memory does not know: booked on it, or an alarm (P2). Raises VenueError
        when the journal cannot be read."""
        for key, instrument in self._recorder.unowned.keys(venue).items():
            if not await self._recall(key, instrument):
                self._recorder.unowned.give_up(key)

    async def _recall(self, key: ClientOrderId, instrument: InstrumentId) -> bool:
        order = await self._recorder.find_order(key)
        if order is not None:
            self._recorder.adopt(order)
            return True
        parsed = parse_client_order_id(key, self._limits.order_prefix)
        self._alarm(key, instrument, None if parsed is None or parsed.epoch in self.known_epochs else parsed.epoch)
        return False

    def note_unknown(self, shown: VenueOrder) -> bool:
        """An order under our prefix that memory does not know was told by the stream. True: a second daemon's; False:
        only the journal can tell, which a sweep asks."""
        parsed = parse_client_order_id(shown.client_order_id, self._limits.order_prefix)
        if parsed is None or parsed.epoch in self.known_epochs:
            return False
        self._alarm(str(shown.client_order_id), shown.instrument, parsed.epoch)
        return True

    def _alarm(self, key: str, instrument: InstrumentId, foreign: Epoch | None) -> None:
        # with a new journal an epoch may be an earlier one of ours; one that began behind us cannot
        stranger = foreign is not None and (not self.new_journal or foreign > max(self.known_epochs))
        why = SECOND_DAEMON if stranger else self.new_journal or "the journal lost an order"
        self._raise(
            "foreign_epoch" if stranger else "order_unknown_to_journal",
            Severity.CRITICAL,
            f"{key} is at the venue and not in the journal: {why}",
            instrument,
        )
        self.on_stranger(f"{key}: {why}")

    def _add_foreign(self, order: VenueOrder) -> None:
        self.foreign.setdefault(order.instrument, {})[str(order.venue_order_id)] = order
        if self._limits.deny_on_foreign_orders and order.instrument in self._state.owners:
            self._raise(
                "foreign_order",
                Severity.WARNING,
                f"order {order.venue_order_id} ({order.raw_type or order.kind}) is not ours; entries are denied "
                "while it stands (execution.foreign_orders)",
                order.instrument,
            )

    def _raise(self, kind: str, severity: Severity, detail: str, instrument: InstrumentId) -> None:
        self._bus.publish(incident(kind, severity, detail, instrument))


def _is_conditional(order: VenueOrder) -> bool:
    return order.trigger_price is not None or (order.kind is not None and order.kind.is_conditional)
