"""The one writer of order facts: applies them, commits them, and only then lets the bus tell them."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from tradingd.bus import Bus
from tradingd.domain.account import CancelOutcome, CancelVerdict, VenueOrder
from tradingd.domain.errors import IllegalTransition, JournalError, Severity, VenueError
from tradingd.domain.events import Event, Filled, ForeignOrderSeen, OrderChanged, PositionChanged, incident
from tradingd.domain.ids import ClientOrderId, Purpose, StrategyId, TradeId, VenueId, parse_client_order_id
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import LATE, Fill, Order, OrderEvent, OrderStatus, next_status
from tradingd.domain.positions import Position, PositionChange, apply_fill
from tradingd.domain.records import LastCloseRecord, OrderEventRecord, Record
from tradingd.domain.text import storable
from tradingd.execution.fact_queue import FactQueue
from tradingd.execution.fill_facts import cause_of, fee_of
from tradingd.execution.foreign import opened_by_others, turned
from tradingd.execution.order_facts import EVENT_OF, is_child_of, is_refusal, learn
from tradingd.execution.state import TradingState
from tradingd.execution.unowned_fills import UnownedFills
from tradingd.ports import Clock, Store

_VERDICTS = (OrderEvent.REJECT, OrderEvent.NOT_FOUND)


class Recorder:
    """Applies facts to the state at once, commits them in order, publishes them after their commit (durable before
    visible). `on_fact` hears of an instrument as soon as its state changed, so that protection never waits for a disk.
    """

    def __init__(
        self,
        state: TradingState,
        store: Store,
        bus: Bus,
        clock: Clock,
        order_prefix: str,
        on_fact: Callable[[InstrumentId], None],
    ) -> None:
        self._state = state
        self._store = store
        self._bus = bus
        self._clock = clock
        self._prefix = order_prefix
        self._on_fact = on_fact
        self._evidence: dict[ClientOrderId, asyncio.Event] = {}
        self.queue = FactQueue(store, bus)
        self.unowned = UnownedFills(order_prefix)
        self._recalled_ms: dict[InstrumentId, int] = {}
        self._refused_ms: dict[ClientOrderId, int] = {}
        self.on_unknown: Callable[[VenueOrder], None] = lambda shown: None
        self.on_state_order: Callable[[VenueOrder], None] = lambda shown: None
        self.on_refused: Callable[[Order, VenueOrder], None] = lambda order, shown: None
        self.on_fill: Callable[[Fill], Sequence[Record]] = lambda fill: ()

    # --- commit and publish ---------------------------------------------------------------------------------------

    @property
    def journal_writable(self) -> bool:
        """Whether the last commit succeeded and no fact is held in memory."""
        return self.queue.writable

    def submit(self, records: Sequence[Record], *, durable: bool = True) -> "asyncio.Future[None]":
        """Queue one unit for those who have nothing to tell: what the journal cannot take now is held, as order facts
        are, and written once it can."""
        return self.queue.submit(records, durable=durable)

    def commit(
        self,
        records: Sequence[Record],
        events: Sequence[Event] = (),
        *,
        durable: bool = True,
        applied: Callable[[], None] | None = None,
    ) -> "asyncio.Future[None]":
        """Queue one unit; `events` are published once it is committed. The future fails with JournalError."""
        return self.queue.submit(records, events, durable=durable, applied=applied)

    async def save_held(self) -> bool:
        """Try to write what is held, in order; True when the journal is whole again."""
        return await self.queue.save()

    async def find_order(self, client_order_id: ClientOrderId) -> Order | None:
        """An order by our id, from the journal. Raises VenueError when that cannot be read: who compares with the venue
        then learned nothing, and tries again."""
        try:
            return await self._store.find_order(client_order_id)
        except JournalError as error:
            raise VenueError(f"{client_order_id} cannot be looked up: {error}", transient=True) from error

    # --- evidence -------------------------------------------------------------------------------------------------

    def evidence(self, client_order_id: ClientOrderId) -> asyncio.Event:
        """An event that is set once anything but silence is known of the order."""
        return self._evidence.setdefault(client_order_id, asyncio.Event())

    def forget_evidence(self, client_order_id: ClientOrderId) -> None:
        """The step that waited has ended."""
        self._evidence.pop(client_order_id, None)

    async def ended_within(self, client_order_id: ClientOrderId, seconds: float) -> bool:
        """Whether an order has ended by now, or is told to have ended within so long (real time)."""
        evidence = self.evidence(client_order_id)
        try:
            async with asyncio.timeout(seconds):
                while (order := self._state.orders.get(client_order_id)) is not None and not order.status.is_final:
                    evidence.clear()
                    await evidence.wait()
        except TimeoutError:
            return False
        finally:
            self.forget_evidence(client_order_id)
        return order is not None

    # --- orders ---------------------------------------------------------------------------------------------------

    def add_order(
        self, order: Order, records: Sequence[Record], applied: Callable[[], None] | None = None
    ) -> "asyncio.Future[None]":
        """Write a new leg ahead: SUBMITTED with its id, time and window, in one unit with `records`."""
        submitted = msgspec.structs.replace(order, status=OrderStatus.SUBMITTED, updated_ms=order.signed_ms)
        self._state.put_order(submitted)
        step = OrderEventRecord(
            order.client_order_id,
            OrderEvent.SUBMIT,
            OrderStatus.INITIALIZED,
            OrderStatus.SUBMITTED,
            order.signed_ms,
            "local",
        )
        event = OrderChanged(submitted, OrderStatus.INITIALIZED, OrderEvent.SUBMIT, "local", order.signed_ms)
        return self.commit((*records, submitted, step), (event,), applied=applied)

    def apply_event(
        self,
        client_order_id: ClientOrderId,
        event: OrderEvent,
        source: str,
        *,
        code: str | None = None,
        detail: str = "",
        shown: VenueOrder | None = None,
    ) -> bool:
        """Move an order by one event; False when the event was stale or impossible (then an incident is raised)."""
        order = self._state.orders[client_order_id]
        try:
            status = next_status(order.status, event)
        except IllegalTransition as error:
            self.incident("illegal_order_event", Severity.WARNING, f"{client_order_id}: {error}", order)
            return False
        learned = learn(order, shown)
        if status is None:
            if learned != order:
                self._state.put_order(learned)
                self.commit((learned,))
                self._on_fact(order.instrument)
            return False
        if status is order.status and learned == order:
            return False  # told before: a part filled, seen again by a look-up or after the order's end
        now, told = self._clock.at(order.instrument.venue).now_ms(), storable(detail)
        # a lost answer ends nothing: what the order was sent for is still what its trade will say
        ended_by = "" if event is OrderEvent.TIME_OUT else told
        changed = msgspec.structs.replace(
            learned,
            status=status,
            updated_ms=now,
            reject_code=code if shown or event in _VERDICTS else learned.reject_code,
            reason=ended_by or learned.reason,
        )
        self._state.put_order(changed)
        if (order.status, event) in LATE:
            self.incident(
                "late_order_event", Severity.CRITICAL, f"{client_order_id}: {event} after {order.status}", order
            )
        if event is not OrderEvent.TIME_OUT and (waiting := self._evidence.get(client_order_id)) is not None:
            waiting.set()
        step = OrderEventRecord(client_order_id, event, order.status, status, now, source, code, told)
        self.commit((changed, step), (OrderChanged(changed, order.status, event, source, now, told),))
        self._on_fact(order.instrument)
        return True

    def note_cancel(self, client_order_id: ClientOrderId | None, outcome: CancelOutcome) -> None:
        """A cancel without success, with the venue's raw code: a step that changes nothing."""
        order = self._state.orders.get(client_order_id) if client_order_id else None
        if order is None or outcome.verdict in (CancelVerdict.CANCELED, CancelVerdict.ASKED):
            return
        key, status, now = order.client_order_id, order.status, self._clock.at(order.instrument.venue).now_ms()
        told = storable(outcome.told())
        self.commit((OrderEventRecord(key, OrderEvent.CANCEL, status, status, now, "reply", outcome.code, told),))

    def apply_shown(self, shown: VenueOrder, source: str) -> Order | None:
        """Take in what the venue shows of an order; returns our order, or None when it is not in memory."""
        order = self._state.order_by_any_id(shown.instrument, shown.client_order_id, shown.venue_order_id, shown.book)
        if order is None:
            if parse_client_order_id(shown.client_order_id, self._prefix) is not None:
                if source == "stream":
                    self.on_unknown(shown)
            elif shown.is_state:
                self.on_state_order(shown)
            else:
                self._bus.publish(ForeignOrderSeen(shown))
            return None
        order = self._own_fills(order, shown, source)
        event = EVENT_OF.get(shown.status)
        if event is None:
            return self._learn_ids(order, shown)
        if is_child_of(shown, order) and event is OrderEvent.ACCEPT:
            event = OrderEvent.TRIGGER
        key = order.client_order_id
        if order.status is OrderStatus.REJECTED and 0 < shown.updated_ms <= self._refused_ms.get(key, 0):
            return order  # read before it was refused, answered after that
        self._state.note_end(order, shown)
        moved = self.apply_event(key, event, source, code=shown.reject_code, detail=shown.reject_reason, shown=shown)
        if moved and source != "reply" and is_refusal(order, shown):
            self._refused_ms = {each: at for each, at in self._refused_ms.items() if each in self._state.orders}
            self._refused_ms[key] = shown.updated_ms
            self.on_refused(self._state.orders[key], shown)
        return self._state.orders[key]

    def _learn_ids(self, order: Order, shown: VenueOrder) -> Order:
        """The venue has it, and has not judged it. Nothing moves, and who waits for evidence goes on waiting: losing
        this costs a look-up."""
        learned = learn(order, shown)
        if learned == order:
            return order
        self._state.put_order(learned)
        self.commit((learned,), durable=False)
        return learned

    # --- fills ----------------------------------------------------------------------------------------------------

    async def recall_trades(self, instrument: InstrumentId, since_ms: int) -> None:
        """Know again which executions since `since_ms` the journal holds, before the venue's history is read from
        there: a start brings back those of the last days only. Raises VenueError when the journal cannot be read."""
        if since_ms >= self._recalled_ms.get(instrument, since_ms + 1):
            return
        try:
            known = await self._store.seen_trades(instrument, since_ms)
        except JournalError as error:
            raise VenueError(f"the fills of {instrument} cannot be compared: {error}", transient=True) from error
        self._state.seen_trades.setdefault(instrument, set()).update(map(TradeId, known))
        self._recalled_ms[instrument] = since_ms

    def apply_fill(self, fill: Fill, source: str) -> bool:
        """Book one execution, once; False when its trade id is known."""
        seen = self._state.seen_trades.setdefault(fill.instrument, set())
        order = self._state.order_by_any_id(fill.instrument, fill.client_order_id, fill.venue_order_id)
        if fill.trade_id in seen:
            if order is not None and (unowned := self.unowned.known(fill)) is not None:
                self._own(order, unowned, source)
                self._on_fact(fill.instrument)
            return False
        seen.add(fill.trade_id)
        if order is not None and fill.client_order_id != order.client_order_id:
            fill = msgspec.structs.replace(fill, client_order_id=order.client_order_id)
        owner = self._state.position(fill.instrument).strategy if fill.reason else None  # the venue's own doing
        change = self._change_position(fill, order)
        records: list[Record] = [fill, change.position]
        events: list[Event] = []
        is_unknown = order is None and self.unowned.remember(fill, is_new=True)
        if order is not None:
            order = self._book(order, fill, change.position, source, records, events)
        if order is None and change.opened and not is_unknown:
            self._bus.publish(turned(fill, change, None) if change.flipped else opened_by_others(fill, change))
        if fill.fee:
            records.append(fee_of(fill))
        if change.closed:
            close = self._close(fill, order.strategy if order else owner, order, change)
            self._state.last_closes[fill.instrument] = close
            records.append(close)
        strategy = change.position.strategy or (order.strategy if order else owner)
        events.append(Filled(fill, order, strategy, change.position, is_unknown))
        events.append(PositionChanged(change.position, change.realized_pnl, change.closed, fill.trade_id))
        records += self.on_fill(fill)
        self.commit(records, events)
        if change.flipped and order is not None:
            expected = self._state.expected_quantity(fill.instrument)
            if expected * change.position.quantity > 0:  # else fills of an entry come behind those of its exit
                self._bus.publish(turned(fill, change, order))
        self._on_fact(fill.instrument)
        return True

    def remember_unowned(self, fills: Sequence[Fill]) -> None:
        """Fills of earlier runs whose order is not known."""
        for fill in fills:
            if fill.client_order_id is None or ClientOrderId(fill.client_order_id) not in self._state.orders:
                self.unowned.remember(fill, is_new=False)

    def adopt(self, order: Order) -> None:
        """Take back an order that memory had forgotten, with the new fills that came for it meanwhile."""
        key = order.client_order_id
        if key not in self._state.orders:
            self._state.put_order(order)
        for fill in self.unowned.ownerless_of(key):
            self._own(self._state.orders[key], fill, "journal")
            self._on_fact(fill.instrument)

    def _own_fills(self, order: Order, shown: VenueOrder, source: str) -> Order:
        """Give an order the fills that came before the venue told that they are of it; before its own filled quantity
        is believed, or they would be expected a second time."""
        learned = learn(order, shown)
        ids = (learned.venue_order_id, learned.child_venue_order_id, shown.venue_order_id)
        for fill in self.unowned.of(order, ids):
            self._own(self._state.orders[order.client_order_id], fill, source)
        return self._state.orders[order.client_order_id]

    def _own(self, order: Order, fill: Fill, source: str) -> None:
        """Book a known fill on its order. The position has it already, and so has who listens to fills."""
        self.unowned.take(fill)
        fill = msgspec.structs.replace(fill, client_order_id=order.client_order_id)
        position = self._state.position(fill.instrument)
        records: list[Record] = [fill]
        events: list[Event] = []
        self._book(order, fill, position, source, records, events)
        if order.request.purpose is Purpose.ENTRY and position.opened_ms == fill.time_ms and position.strategy is None:
            position = msgspec.structs.replace(position, strategy=order.strategy)
            self._state.positions[fill.instrument] = position
            records.append(position)
        close = self._state.last_closes.get(fill.instrument)
        if close is not None and close.trade_id == fill.trade_id:
            close = msgspec.structs.replace(close, cause=cause_of(fill, order), strategy=order.strategy)
            self._state.last_closes[fill.instrument] = close
            records.append(close)
        self.commit(records, events)

    def _change_position(self, fill: Fill, order: Order | None) -> PositionChange:
        rules = self._state.instruments.get(fill.instrument)
        strategy = order.strategy if order is not None and order.request.purpose is Purpose.ENTRY else None
        position = self._state.position(fill.instrument)
        change = (
            apply_fill(position, fill, rules.contract_size, strategy)
            if rules is not None
            else apply_fill(position, fill, strategy=strategy)
        )
        self._state.positions[fill.instrument] = change.position
        self._state.last_fill_ms[fill.instrument] = max(self._state.last_fill_ms.get(fill.instrument, 0), fill.time_ms)
        return change

    def _book(
        self,
        order: Order,
        fill: Fill,
        position: Position,
        source: str,
        records: list[Record],
        events: list[Event],
    ) -> Order:
        booked = order.booked_quantity + fill.quantity
        wanted = order.request.quantity
        whole = booked >= wanted if wanted is not None else position.is_flat
        event = OrderEvent.FILL_ALL if whole else OrderEvent.FILL_PART
        # an order for the whole position was called filled when the position that we knew was flat
        ended = order.status.is_final and not (wanted is None and order.status is OrderStatus.FILLED)
        if (ended and booked > order.filled_quantity) or (wanted is not None and booked > wanted):
            self.incident(
                "late_fill", Severity.CRITICAL, f"fill {fill.trade_id} of {fill.quantity} after {order.status}", order
            )
        paid = (order.average_price or fill.price) * order.booked_quantity + fill.price * fill.quantity
        status = next_status(order.status, event) or order.status
        changed = msgspec.structs.replace(
            order,
            status=status,
            booked_quantity=booked,
            filled_quantity=max(order.filled_quantity, booked),
            average_price=paid / booked,
            updated_ms=max(order.updated_ms, fill.time_ms),
        )
        self._state.put_order(changed)
        if (waiting := self._evidence.get(order.client_order_id)) is not None:
            waiting.set()
        records.append(changed)
        # a reply may have told the whole before its parts are booked: then they change nothing about the order's status
        if status is not order.status or status is OrderStatus.PARTIALLY_FILLED:
            records.append(
                OrderEventRecord(
                    order.client_order_id, event, order.status, status, fill.time_ms, source, trade_id=fill.trade_id
                )
            )
            events.append(OrderChanged(changed, order.status, event, source, fill.time_ms))
        return changed

    def _close(
        self, fill: Fill, strategy: StrategyId | None, order: Order | None, change: PositionChange
    ) -> LastCloseRecord:
        before = self._state.last_closes.get(fill.instrument)
        close_ms = max(change.position.updated_ms, before.close_ms if before else 0)
        cause = cause_of(fill, order, self.unowned.name_of(fill))
        return LastCloseRecord(fill.instrument, close_ms, cause, fill.trade_id, strategy)

    def incident(
        self, kind: str, severity: Severity, detail: str, about: Order | InstrumentId | VenueId | None = None
    ) -> None:
        """Tell the operator."""
        self._bus.publish(incident(kind, severity, detail, about))
