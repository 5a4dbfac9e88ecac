"""A venue in memory, behind the `Venue` port, that answers as the test says."""

import asyncio
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from tests.execution.fake_levels import FakeLevels
from tests.execution.virtual_time import START_MS as START_MS
from tests.execution.virtual_time import MiddleRandom as MiddleRandom
from tests.execution.virtual_time import VirtualClock as VirtualClock
from tradingd.domain.account import (
    AccountMode,
    AccountSnapshot,
    CancelOutcome,
    CancelVerdict,
    RejectKind,
    SubmitOutcome,
    SubmitVerdict,
    VenueBalance,
    VenueOrder,
    VenuePosition,
)
from tradingd.domain.candles import Candle
from tradingd.domain.errors import VenueUnreachable, Withheld
from tradingd.domain.ids import ClientOrderId, Purpose, TradeId, VenueId, VenueOrderId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import Fill, Order, OrderKind, OrderRequest, OrderStatus
from tradingd.domain.records import LedgerRecord
from tradingd.ports import Approved, Clear, Priority, StreamKey, VenueLimits, VenueSink, at_once

BINANCE = VenueId("binance")
BTC = InstrumentId(BINANCE, "BTC/USDT:USDT")
ETH = InstrumentId(BINANCE, "ETH/USDT:USDT")
MARK = Decimal(50_000)
FEE_FRACTION = Decimal("0.0005")


def rules_of(instrument: InstrumentId, **changes: Any) -> Instrument:
    rules = Instrument(
        id=instrument,
        market_id=f"{instrument.base}USDT",
        tick_size=Decimal("0.1"),
        lot_size=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        max_quantity=Decimal(1000),
        max_market_quantity=Decimal(120),
        min_notional=Decimal(100),
        max_leverage=Decimal(125),
    )
    return msgspec.structs.replace(rules, **changes)


# --- answers ---------------------------------------------------------------------------------------------------------


class Accept(msgspec.Struct, frozen=True):
    """Taken; the answer comes after `delay_s`. Silent: taken, and no answer ever."""

    delay_s: float = 0.02
    silent: bool = False


class Reject(msgspec.Struct, frozen=True):
    """Definitely not executed."""

    kind: RejectKind = RejectKind.OTHER
    code: str = "-1000"
    delay_s: float = 0.02


class Lose(msgspec.Struct, frozen=True):
    """The answer is unreadable; the order was taken, or never arrived."""

    taken: bool = False
    delay_s: float = 0.02


class Silence(msgspec.Struct, frozen=True):
    """Never arrived, and no answer ever."""


Answer = Accept | Reject | Lose | Silence


class FakeVenue:
    """Plain and conditional orders, fills at the mark price, positions and a wallet; its pushes go to `sink`."""

    def __init__(self, clock: VirtualClock) -> None:
        self.id = BINANCE
        self.limits = VenueLimits(
            receive_window_ms=3_000,
            visibility_margin_ms=2_000,
            order_books=("plain", "algo"),
            ack_is_acceptance=True,
            close_position_stops=True,
        )
        self.instruments: dict[InstrumentId, Instrument] = {each: rules_of(each) for each in (BTC, ETH)}
        self.clock = clock
        self.sink: VenueSink | None = None
        self.mark = MARK
        self.orders: dict[str, VenueOrder] = {}
        self.executions: list[Fill] = []
        self.positions: dict[InstrumentId, Decimal] = {}
        self.wallet = Decimal(10_000)
        self.booked: list[LedgerRecord] = []
        self.margin_used = Decimal(0)
        self.unlisted: tuple[str, ...] = ()
        # what the test scripts
        self.answers: dict[Purpose, deque[Answer]] = {purpose: deque() for purpose in Purpose}
        self.always: dict[Purpose, Answer] = {}
        self.unreachable: set[str] = set()
        self.hanging: set[str] = set()
        self.hidden: set[str] = set()
        self.mute = False
        self.owners_stale = False
        self.fill_fraction = Decimal(1)
        self.push_delay_s = 0.01
        self.read_delay_s = 0.005
        self.cancel_answer: CancelVerdict | None = None
        self.on_submit: Callable[[OrderRequest], None] = lambda request: None
        self.shown_account: Callable[[AccountSnapshot], AccountSnapshot] = lambda snapshot: snapshot
        # what happened
        self.submitted: list[OrderRequest] = []
        self.priorities: list[Priority] = []
        self.cancelled: list[VenueOrder | Order] = []
        self.calls: list[str] = []
        self.prepared: list[InstrumentId] = []
        self.state_protection: FakeLevels | None = None
        self._number = 0
        self._pushes: deque[tuple[Callable[[VenueSink], None], VenueSink]] = deque()

    # --- life -----------------------------------------------------------------------------------------------------

    async def open(self, sink: VenueSink) -> None:
        await self._io("open")
        self.sink = sink

    async def close(self) -> None:
        self.calls.append("close")

    async def load_instruments(self) -> dict[InstrumentId, Instrument]:
        return self.instruments

    async def server_time_ms(self, priority: Priority = Priority.RECONCILE) -> int:
        await self._io("server_time_ms")
        return self.clock.now_ms()

    async def preflight(self) -> AccountMode:
        await self._io("preflight")
        return AccountMode(self.id, "account-1", hedge_mode=False, can_trade=True)

    async def prepare(self, instrument: InstrumentId, leverage: int, margin_mode: str) -> None:
        await self._io("prepare")
        self.prepared.append(instrument)

    async def watch(self, stream: StreamKey) -> None:
        await self._io(f"watch {stream}")

    async def reset_stream(self, kind: str, reason: str) -> None:
        self.calls.append(f"reset_stream {kind}")

    async def candles(self, instrument: InstrumentId, timeframe: str, since_ms: int, limit: int) -> list[Candle]:
        await self._io("candles")
        return []

    async def mark_price(self, instrument: InstrumentId, priority: Priority = Priority.ENTRY) -> Decimal:
        await self._io("mark_price")
        return self.mark

    async def _io(self, name: str) -> None:
        self.calls.append(name)
        kind = name.partition(" ")[0]
        if kind in self.hanging:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(self.read_delay_s)
        if kind in self.unreachable or "*" in self.unreachable:
            raise VenueUnreachable(f"{name}: connection reset")

    def keep_levels(self) -> FakeLevels:
        """From now on stop and take profit are a state of the position."""
        self.limits = msgspec.structs.replace(self.limits, close_position_stops=False)
        self.state_protection = FakeLevels(self)
        return self.state_protection

    # --- orders ---------------------------------------------------------------------------------------------------

    def submit_endpoint(self, request: OrderRequest) -> str:
        return "POST algo" if request.kind.is_conditional else "POST order"

    async def submit(
        self, approved: Approved, signed_ms: int, priority: Priority, clear: Clear = at_once
    ) -> SubmitOutcome:
        request = approved.request
        if (withheld := await self._withheld(clear)) is not None:
            return withheld
        self.on_submit(request)
        self.submitted.append(request)
        self.priorities.append(priority)
        answer = self._next_answer(request)
        if isinstance(answer, Silence):
            await asyncio.get_running_loop().create_future()
        if isinstance(answer, Lose):
            if answer.taken and self._refusal(request) is None:
                self.take(request)
            await asyncio.sleep(answer.delay_s)
            return SubmitOutcome(SubmitVerdict.AMBIGUOUS, message="the body was cut")
        refusal = answer if isinstance(answer, Reject) else self._refusal(request)
        if refusal is not None:
            await asyncio.sleep(refusal.delay_s)
            return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=refusal.kind, code=refusal.code, message="refused")
        shown = self.take(request)
        if isinstance(answer, Accept) and answer.silent:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(answer.delay_s if isinstance(answer, Accept) else 0)
        return SubmitOutcome(SubmitVerdict.ACCEPTED, order=shown)

    async def _withheld(self, clear: Clear) -> SubmitOutcome | None:
        try:
            await clear()
        except Withheld as error:
            return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=RejectKind.NOT_SENT, message=str(error), sent=False)
        return None

    def _next_answer(self, request: OrderRequest) -> Answer:
        queue = self.answers[request.purpose]
        return queue.popleft() if queue else self.always.get(request.purpose, Accept())

    def _refusal(self, request: OrderRequest) -> Reject | None:
        held = self.positions.get(request.instrument, Decimal(0))
        if request.reduce_only and held * request.side.sign >= 0:
            return Reject(RejectKind.REDUCE_ONLY, "-2022")
        if request.close_position and any(
            each.close_position and each.kind is request.kind and each.side is request.side
            for each in self.open_now(request.instrument)
        ):
            return Reject(RejectKind.DUPLICATE_PROTECTION, "-4130")
        return None

    def take(self, request: OrderRequest) -> VenueOrder:
        """Accept an order; a market order fills at once. Returns it as the answer shows it."""
        return self._take(request, self._made(request))

    def _made(self, request: OrderRequest) -> VenueOrder:
        self._number += 1
        book = "algo" if request.kind.is_conditional else "plain"
        return VenueOrder(
            instrument=request.instrument,
            book=book,
            venue_order_id=VenueOrderId(f"{book}{self._number}"),
            client_order_id=request.client_order_id,
            status=OrderStatus.ACCEPTED,
            side=request.side,
            kind=request.kind,
            quantity=request.quantity,
            limit_price=request.limit_price,
            trigger_price=request.trigger_price,
            reduce_only=request.reduce_only,
            close_position=request.close_position,
            updated_ms=self.clock.now_ms(),
        )

    def _take(self, request: OrderRequest, order: VenueOrder) -> VenueOrder:
        self._show(order)
        if request.kind is OrderKind.MARKET and request.quantity is not None:
            lots = request.quantity * self.fill_fraction
            held = abs(self.positions.get(request.instrument, Decimal(0)))
            return self.fill(request.client_order_id, min(lots, held) if request.reduce_only else lots)
        return order

    def _show(self, order: VenueOrder) -> VenueOrder:
        self.orders[str(order.client_order_id or order.venue_order_id)] = order
        self._push(lambda sink: sink.on_order(order))
        return order

    def _push(self, tell: Callable[[VenueSink], None]) -> None:
        if self.mute:
            return
        if self.sink is not None:
            # first in, first out: timers that are due together would run in any order
            self._pushes.append((tell, self.sink))
            asyncio.get_running_loop().call_later(self.push_delay_s, self._deliver)

    def _deliver(self) -> None:
        tell, sink = self._pushes.popleft()
        tell(sink)

    def fill(self, client_order_id: str, quantity: Decimal, price: Decimal | None = None) -> VenueOrder:
        """Execute a part of an order."""
        order = self.orders[client_order_id]
        filled = order.filled_quantity + quantity
        whole = order.quantity is None or filled >= order.quantity or order.reduce_only
        status = OrderStatus.FILLED if whole else OrderStatus.PARTIALLY_FILLED
        order = msgspec.structs.replace(
            order,
            status=status,
            filled_quantity=filled,
            average_price=price or self.mark,
            updated_ms=self.clock.now_ms(),
        )
        self.execute(order.instrument, order.side, quantity, price, order)
        return self._show(order)

    def execute(
        self,
        instrument: InstrumentId,
        side: Side,
        quantity: Decimal,
        price: Decimal | None = None,
        order: VenueOrder | None = None,
        reason: str = "",
    ) -> Fill:
        """Move position and wallet; without an order it is somebody else's hand."""
        price = price or self.mark
        fee = price * quantity * FEE_FRACTION
        self._number += 1
        fill = Fill(
            instrument,
            TradeId(str(self._number)),
            VenueOrderId(f"plain{self._number}") if order is None else (order.venue_order_id or VenueOrderId("")),
            None if order is None else order.client_order_id,
            side,
            price,
            quantity,
            fee,
            "USDT",
            Decimal(0),
            False,
            self.clock.now_ms(),
            reason,
        )
        self.executions.append(fill)
        before = self.positions.get(instrument, Decimal(0))
        self.positions[instrument] = before + fill.signed_quantity
        if self.state_protection is not None and before * self.positions[instrument] <= 0:
            self.state_protection.clear(instrument)
        self.wallet -= fee
        self._push(lambda sink: sink.on_fill(fill))
        return fill

    def trigger(self, client_order_id: str, price: Decimal | None = None) -> None:
        """A close-position stop fires: its child closes what is held."""
        order = self.orders[client_order_id]
        held = abs(self.positions.get(order.instrument, Decimal(0)))
        self._show(msgspec.structs.replace(order, status=OrderStatus.TRIGGERED))
        self.fill(client_order_id, held, price)

    def end(self, client_order_id: str, status: OrderStatus) -> None:
        """An order ends by itself."""
        order = self.orders[client_order_id]
        self._show(msgspec.structs.replace(order, status=status, updated_ms=self.clock.now_ms()))

    def foreign_order(self, instrument: InstrumentId, **changes: Any) -> VenueOrder:
        """Somebody else's stop."""
        self._number += 1
        order = VenueOrder(
            instrument=instrument,
            book="algo",
            venue_order_id=VenueOrderId(f"foreign{self._number}"),
            client_order_id=ClientOrderId(f"web_{self._number}"),
            status=OrderStatus.ACCEPTED,
            side=Side.SELL,
            kind=OrderKind.STOP_MARKET,
            quantity=Decimal(1),
            trigger_price=Decimal(40_000),
            updated_ms=self.clock.now_ms(),
        )
        return self._show(msgspec.structs.replace(order, **changes))

    async def cancel(self, order: VenueOrder | Order, priority: Priority, clear: Clear = at_once) -> CancelOutcome:
        await clear()
        self.cancelled.append(order)
        self.calls.append("cancel")
        if "cancel" in self.hanging:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(self.read_delay_s)
        if self.cancel_answer is not None:
            return CancelOutcome(self.cancel_answer)
        key = str(order.client_order_id or order.venue_order_id)
        known = self.orders.get(key)
        if known is None or known.status.is_final:
            return CancelOutcome(CancelVerdict.GONE, code="-2011")
        self.end(key, OrderStatus.CANCELED)
        return CancelOutcome(CancelVerdict.CANCELED)

    # --- reading --------------------------------------------------------------------------------------------------

    def open_now(self, instrument: InstrumentId | None = None) -> list[VenueOrder]:
        return [
            order
            for order in self.orders.values()
            if not order.status.is_final and (instrument is None or order.instrument == instrument)
        ]

    async def find_order(self, order: OrderRequest, priority: Priority) -> VenueOrder | None:
        await self._io("find_order")
        return None if order.client_order_id in self.hidden else self.orders.get(order.client_order_id)

    async def open_orders(self, instrument: InstrumentId | None, priority: Priority) -> list[VenueOrder]:
        shown = self.open_now(instrument)
        await self._io("open_orders")
        return [order for order in shown if order.client_order_id not in self.hidden]

    async def fills(self, instrument: InstrumentId, since_ms: int, priority: Priority) -> list[Fill]:
        """The venue's rows name the venue order id alone; whose an order is its list of orders tells, unless stale."""
        await self._io("fills")
        return [
            msgspec.structs.replace(fill, client_order_id=None) if self.owners_stale else fill
            for fill in self.executions
            if fill.instrument == instrument
            and fill.time_ms >= since_ms
            and (self.owners_stale or fill.client_order_id not in self.hidden)
        ]

    async def account(self, priority: Priority) -> AccountSnapshot:
        requested_ms = self.clock.now_ms()
        positions = tuple(
            VenuePosition(instrument, quantity, entry_price=self.mark, mark_price=self.mark)
            for instrument, quantity in self.positions.items()
            if quantity
        )
        balance = VenueBalance(self.id, "USDT", self.wallet, self.wallet, self.wallet - self.margin_used)
        await self._io("account")
        shown = AccountSnapshot(self.id, balance, positions, requested_ms, self.clock.now_ms(), self.unlisted)
        return self.shown_account(shown)

    async def bookings(self, since_ms: int, priority: Priority) -> list[LedgerRecord]:
        """The fees of all executions, and what the test booked beside."""
        await self._io("bookings")
        fees = [
            LedgerRecord(self.id, "fee", fill.trade_id, fill.instrument, -fill.fee, "USDT", fill.time_ms)
            for fill in self.executions
        ]
        return sorted((row for row in fees + self.booked if row.time_ms >= since_ms), key=lambda row: row.time_ms)

    def book(self, kind: str, amount: Decimal, instrument: InstrumentId | None = None) -> LedgerRecord:
        """Move the wallet by no fill."""
        self.wallet += amount
        row = LedgerRecord(self.id, kind, f"b{len(self.booked)}", instrument, amount, "USDT", self.clock.now_ms())
        self.booked.append(row)
        return row
