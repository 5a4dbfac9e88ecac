"""What each open position wants for its protection, and what stands for it at the venue."""

from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec

from tradingd.domain.ids import ClientOrderId, IntentId, Purpose, StrategyId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.numbers import ZERO, plain_text
from tradingd.domain.orders import Order, OrderStatus
from tradingd.domain.records import IntentRecord, ProtectionRecord
from tradingd.execution.state import TradingState

LIVE = (OrderStatus.ACCEPTED, OrderStatus.TRIGGERED, OrderStatus.PARTIALLY_FILLED)


TAKE_PROFIT_TRIES = 5


class Carried(msgspec.Struct, frozen=True):
    """The levels that a position carries, where the venue keeps them as its state."""

    stop: Decimal | None
    take_profit: Decimal | None

    def serves(self, wanted: "Carried") -> bool:
        """Whether what is wanted stands. A level that nobody here wants may be another hand's."""
        return wanted.stop in (None, self.stop) and wanted.take_profit in (None, self.take_profit)

    def told(self) -> str:
        """Both in words."""
        levels = (("stop", self.stop), ("take profit", self.take_profit))
        return ", ".join(f"{name} {plain_text(level)}" if level is not None else f"no {name}" for name, level in levels)


class Move(msgspec.Struct):
    """A `Protect` intent under way: the levels that it wants are the cover's; `began` is monotonic. `before`: what the
    position carried until then."""

    record: IntentRecord
    began: float
    before: Carried | None = None


class Cover(msgspec.Struct):
    """What an instrument's position wants, and what stands for it at the venue.

    `loaded_at`: when a start read it from the journal (monotonic), until it was first compared with the venue.
    `wait`: a step of a move that failed, and from when on (monotonic) it may be tried again; any other may go at once.
    `move_tries`: how often that step has failed in a row.

    Where levels are a state of the position: `carries` is what it was last known to carry, `sure` unless a set has had
    no answer since; `era` counts the times that it was flat, `sets` the settings; `set_ms`: when the last one ended
    (venue time); `look_at`: when it is read next (monotonic); `why`: what calls for the next setting; `changed`: what
    another hand seems to have changed, told once the venue has set it again. `told_gone`: when the stream told of the
    end of the stop that was set last (monotonic, and venue time), until it is known to stand.
    `unread`: an earlier run wanted it, and no reading of this run has told yet what its position carries.
    """

    instrument: InstrumentId
    strategy: StrategyId | None = None
    intent_id: IntentId | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    stop_order: ClientOrderId | None = None
    take_profit_order: ClientOrderId | None = None
    unprotected_since: float | None = None
    loaded_at: float | None = None
    tries: int = 0
    take_profit_tries: int = 0
    retry_at: float = 0.0
    take_profit_retry_at: float = 0.0
    told_covered: bool = False
    closing: bool = False
    move: Move | None = None
    wait: tuple[str, float] = ("", 0.0)
    move_tries: int = 0
    carries: Carried | None = None
    sure: bool = False
    era: int = 0
    sets: int = 0
    set_ms: int = 0
    look_at: float = 0.0
    why: str = ""
    changed: str = ""
    told_gone: tuple[float, int] | None = None
    unread: bool = False

    def record(self, state: str, now_ms: int) -> ProtectionRecord:
        """The journal's row."""
        return ProtectionRecord(
            self.instrument,
            self.strategy,
            self.intent_id,
            self.stop_loss,
            self.take_profit,
            self.stop_order,
            self.take_profit_order,
            state,
            now_ms,
        )


class Covers(dict[InstrumentId, Cover]):
    """The cover of each instrument, and how much of it stands. Reads are cheap; nothing here waits or sends."""

    def __init__(
        self, state: TradingState, by_state: Callable[[InstrumentId], bool] = lambda instrument: False
    ) -> None:
        super().__init__()
        self._state = state
        self.by_state = by_state

    def load(self, records: tuple[ProtectionRecord, ...]) -> None:
        """Take over what the journal knows."""
        for record in records:
            if record.state == "ended":
                continue  # a late fill revives what its entry wanted; an ended wish would hide that it is naked
            self[record.instrument] = Cover(
                record.instrument,
                record.strategy,
                record.intent_id,
                record.stop_loss,
                record.take_profit,
                record.stop_order,
                record.take_profit_order,
            )

    def stop(self, cover: Cover) -> Order | None:
        """The stop as last placed, whatever became of it."""
        return self._state.orders.get(cover.stop_order) if cover.stop_order else None

    def take_profit(self, cover: Cover) -> Order | None:
        """The take profit as last placed, whatever became of it."""
        return self._state.orders.get(cover.take_profit_order) if cover.take_profit_order else None

    def bridges(self, instrument: InstrumentId) -> Iterator[Order]:
        """The stops that stand in, or may, while the stop is being replaced."""
        orders = self._state.open_orders(instrument)
        return (order for order in orders if order.request.purpose is Purpose.BRIDGE)

    def closes(self, order: Order) -> bool:
        """Whether the order works against what is held: after a flip an old stop would add to the position."""
        return order.request.side.sign * self._state.expected_quantity(order.instrument) <= 0

    def is_whole(self, order: Order | None) -> bool:
        """Whether this stop alone stands for all that is held."""
        if order is None or order.status not in LIVE or not self.closes(order):
            return False
        size = abs(self._state.expected_quantity(order.instrument))
        return order.request.close_position or (order.request.quantity or ZERO) >= size

    def bridged(self, instrument: InstrumentId) -> Decimal:
        """For how many contracts bridges stand. One whose cancel was asked for may be gone."""
        standing = (
            order.request.quantity or ZERO
            for order in self.bridges(instrument)
            if order.status in LIVE and order.cancel_requested_ms is None and self.closes(order)
        )
        return sum(standing, ZERO)

    def is_bridged(self, instrument: InstrumentId) -> bool:
        """Whether bridges stand for all that is held."""
        size = abs(self._state.expected_quantity(instrument))
        return size > 0 and self.bridged(instrument) >= size

    def is_firm(self, cover: Cover) -> bool:
        """Whether the stop stands for the whole, and nobody here asked for its end: then a bridge is left over."""
        order = self.stop(cover)
        return order is not None and self.is_whole(order) and order.cancel_requested_ms is None

    def is_covered(self, instrument: InstrumentId) -> bool:
        """Whether the whole position stands behind a live stop or its bridge, or wants none."""
        cover = self.get(instrument)
        if cover is None or cover.stop_loss is None:
            return True
        if self.by_state(instrument):
            return self._is_carried(cover)
        return self.is_whole(self.stop(cover)) or self.is_bridged(instrument)

    # --- levels as a state of the position ------------------------------------------------------------------------

    def wanted(self, cover: Cover) -> Carried:
        """The levels to set, on the tick. One that nobody here wants stays as it was last seen: it is another hand's. A
        take profit that the venue refused too often is not wanted any more."""
        rules, seen = self._state.instruments[cover.instrument], cover.carries or Carried(None, None)
        given_up = cover.take_profit_tries >= TAKE_PROFIT_TRIES
        return Carried(
            seen.stop if cover.stop_loss is None else rules.round_price(cover.stop_loss),
            seen.take_profit if cover.take_profit is None or given_up else rules.round_price(cover.take_profit),
        )

    def _is_carried(self, cover: Cover) -> bool:
        """Whether the position carries its stop; while it is moved the old one serves as well as the new one."""
        if cover.carries is None or cover.carries.stop is None:
            return False
        return cover.move is not None or cover.carries.stop == self.wanted(cover).stop

    def stands(self, cover: Cover) -> bool:
        """Whether the position surely carries all that is wanted."""
        return cover.sure and cover.carries is not None and cover.carries.serves(self.wanted(cover))

    def keep_ids(self, instrument: InstrumentId) -> frozenset[ClientOrderId]:
        """The protective orders that belong to the open position: a sweep leaves them. A bridge is kept as long as it
        may be all that stands."""
        cover = self.get(instrument)
        ids = [cover.stop_order, cover.take_profit_order] if cover else []
        if cover is not None and (cover.move is not None or not self.is_firm(cover)):
            ids += [order.client_order_id for order in self.bridges(instrument)]
        ids += [
            order.client_order_id
            for order in self._state.unknown_orders(instrument)
            if order.request.purpose.is_protective
        ]
        own = (each for each in ids if each is not None)
        return frozenset(each for each in own if (order := self._state.orders.get(each)) and self.closes(order))


def is_ending(order: Order | None) -> bool:
    """Whether its cancel was asked for, and nothing is known of it yet."""
    return order is not None and order.cancel_requested_ms is not None


def is_firing(order: Order | None) -> bool:
    """Whether the venue is executing it: then it is waited for."""
    return order is not None and order.status in (OrderStatus.TRIGGERED, OrderStatus.PARTIALLY_FILLED)
