"""The venue port on the engine: no ccxt, no wire, no signature; time is the Clock's, as slow or fast as that is."""

from __future__ import annotations

import asyncio
from decimal import Decimal

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
)
from tradingd.domain.candles import Candle
from tradingd.domain.errors import BadInstrument, VenueBanned, VenueError, VenueUnreachable, Withheld
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.orders import Fill, Order, OrderRequest
from tradingd.domain.records import LedgerRecord
from tradingd.emulator.core.market import interval_end
from tradingd.emulator.direct import rows
from tradingd.emulator.direct.meaning import REFUSALS
from tradingd.emulator.direct.model import INTERVALS, VENUE, DirectModel, Push
from tradingd.emulator.direct.orders import NO_PERMISSION, cancel_in_book, execute
from tradingd.emulator.faults.script import Fate
from tradingd.emulator.faults.spoil import needs_venue
from tradingd.emulator.wire import HttpRequest
from tradingd.ports import Approved, Clear, Clock, Priority, StreamKey, VenueLimits, VenueSink, at_once

LIMITS = VenueLimits(
    receive_window_ms=3_000,
    visibility_margin_ms=1_000,
    order_books=(rows.PLAIN, rows.CONDITIONAL),
    ack_is_acceptance=True,
    close_position_stops=True,
)
_READS = 3
_NO_ANSWER_S = 2.0
_LONGEST_WAIT_S = 3_600.0
_HARMLESS = ("", "arrive_late", "reply_late", "read_lag", "end_order")


class DirectVenue:
    """One client of the account. What a fault script plays is felt as an answer that is lost, late, or a refusal."""

    def __init__(self, model: DirectModel, clock: Clock) -> None:
        self.id, self.limits, self.state_protection = VENUE, LIMITS, None
        self._model, self._clock = model, clock
        self._sink: VenueSink | None = None
        self._instruments: dict[InstrumentId, Instrument] = {}
        self._streams: set[StreamKey] = set()
        self._muted_ms = {"account": 0, "candles": 0}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # life

    async def open(self, sink: VenueSink) -> None:
        """Read the rules, and let the venue's time run."""
        self._sink = sink
        self._model.clients.append(self)
        self._task = asyncio.create_task(self._run(), name="direct venue")
        await self.load_instruments()

    async def close(self) -> None:
        """Nothing is heard any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._model.clients.remove(self)
            self._task = None
        self._streams.clear()
        self._want()

    async def _run(self) -> None:
        """Bring the venue to each moment at which something happens."""
        while True:
            self._model.run(self._clock.now_ms())
            wait_s = (self._model.next_due_ms() - self._clock.now_ms()) / 1000 / self._clock.speed
            self._wake.clear()
            try:
                async with asyncio.timeout(min(max(wait_s, 0.001), _LONGEST_WAIT_S)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    # rules and modes

    @property
    def instruments(self) -> dict[InstrumentId, Instrument]:
        """The rules as last read."""
        return self._instruments

    async def load_instruments(self) -> dict[InstrumentId, Instrument]:
        """Read the rules anew."""
        await self._read("markets")
        listed, account = self._model.exchange.instruments, self._model.exchange.account
        names = {symbol: self._model.name(symbol) for symbol in self._model.exchange.feeds}
        self._instruments = {name: rows.rules(listed[symbol], name, account) for symbol, name in names.items()}
        return self._instruments

    async def server_time_ms(self, priority: Priority = Priority.RECONCILE) -> int:
        """The venue's clock."""
        await self._read("time")
        return self._model.now_ms + self._model.skew_ms

    async def preflight(self) -> AccountMode:
        """The position mode and what the key may do are all that can be wrong."""
        await self._read("settings")
        hedged = self._model.exchange.account.is_hedged
        problems = ("the account is in hedge mode: set it to one-way",) if hedged else ()
        may_trade = not self._model.is_read_only
        return AccountMode(self.id, self._model.account_id, hedged, can_trade=may_trade, problems=problems)

    async def prepare(self, instrument: InstrumentId, leverage: int, margin_mode: str) -> None:
        """Set leverage and margin mode; where orders or a position stand, the mode stays."""
        symbol, exchange = self._symbol(instrument), self._model.exchange
        await self._read("settings", symbol)
        if self._model.is_read_only:
            raise VenueError(NO_PERMISSION)
        held, isolated = exchange.account, margin_mode == "isolated"
        if held.isolated[symbol] != isolated:
            if exchange.is_watched(symbol):
                raise VenueError(f"{instrument}: its margin mode cannot change under orders or a position")
            held.isolated[symbol] = isolated
            self._model.ledger.set_meta(f"isolated/{symbol}", str(int(isolated)))
        worth = abs(held.positions[symbol].quantity) * exchange.mark_price(symbol)
        most = exchange.instruments[symbol].bracket(worth).leverage
        if not 1 <= leverage <= most:
            raise VenueError(f"{instrument}: leverage {leverage} is not within 1 and {most}")
        former, held.leverage[symbol] = held.leverage[symbol], leverage
        totals = exchange.totals()
        if leverage < former and totals.bound > totals.free_equity:
            held.leverage[symbol] = former
            raise VenueError(f"{instrument}: margin does not suffice for leverage {leverage}")
        self._model.ledger.set_meta(f"leverage/{symbol}", str(leverage))

    # streams

    async def watch(self, stream: StreamKey) -> None:
        """Subscribe."""
        if stream.kind not in self._muted_ms:
            raise VenueError(f"{self.id}: stream kind {stream.kind!r} is not known")
        if stream.kind == "candles":
            self._symbol(InstrumentId(self.id, stream.symbol))
            if stream.timeframe not in INTERVALS:
                raise VenueError(f"{self.id}: timeframe {stream.timeframe!r} is not known")
        self._model.run(self._clock.now_ms())
        if self._model.script.refuses_dial(self._model.now_ms, stream.kind, ""):
            raise VenueUnreachable(f"{self.id}: the stream was refused")
        self._streams.add(stream)
        self._muted_ms[stream.kind] = 0
        self._want()

    async def reset_stream(self, kind: str, reason: str) -> None:
        """Its streams end, as if their connection had."""
        self.cut(kind, reason)

    def cut(self, kind: str, reason: str) -> None:
        """See model.Client."""
        gone = {stream for stream in self._streams if stream.kind == kind}
        self._streams -= gone
        self._want()
        if gone and self._sink is not None:
            self._sink.on_disconnect(self.id, kind, reason)

    def mute(self, kind: str, until_ms: int) -> None:
        """See model.Client."""
        if kind in self._muted_ms:
            self._muted_ms[kind] = until_ms

    def wake(self) -> None:
        """See model.Client."""
        self._wake.set()

    def hear(self, push: Push, candles: tuple[str, str] | None) -> None:
        """See model.Client."""
        kind, sink = "candles" if isinstance(push, Candle) else "account", self._sink
        stream = StreamKey(self.id, kind)
        if isinstance(push, Candle):
            stream = StreamKey(self.id, kind, push.instrument.symbol, push.timeframe)
        if stream not in self._streams or sink is None or self._model.now_ms < self._muted_ms[kind]:
            return
        sink.on_alive(self.id, kind)
        match push:
            case Candle():
                sink.on_candle(push)
            case Fill():
                sink.on_fill(push)
            case VenueOrder():
                sink.on_order(push)
            case VenueBalance():
                sink.on_balance(push)
            case _:
                sink.on_position(push)

    def _want(self) -> None:
        mine = {
            stream
            for client in self._model.clients
            if isinstance(client, DirectVenue)
            for stream in client._streams
            if stream.kind == "candles"
        }
        self._model.wanted = {(self._symbol(InstrumentId(self.id, each.symbol)), each.timeframe) for each in mine}
        self._model.changed()

    # market data

    async def candles(self, instrument: InstrumentId, timeframe: str, since_ms: int, limit: int) -> list[Candle]:
        """Candles from `since_ms` on, ascending; the last may still be forming."""
        symbol = self._symbol(instrument)
        await self._read("candles", symbol)
        exchange, now_ms = self._model.exchange, self._model.now_ms
        listed = exchange.instruments[symbol]
        found = exchange.feeds[symbol].candles(timeframe, since_ms, None, limit, now_ms)
        return [
            rows.candle(each, listed, instrument, timeframe, interval_end(timeframe, each.open_ms) <= now_ms)
            for each in found
            if each.open_ms >= since_ms
        ]

    async def mark_price(self, instrument: InstrumentId, priority: Priority = Priority.ENTRY) -> Decimal:
        """The price that triggers protective orders."""
        symbol = self._symbol(instrument)
        await self._read("markets", symbol)
        return self._model.exchange.mark_price(symbol)

    # orders

    def submit_endpoint(self, request: OrderRequest) -> str:
        """There is no wire, and no budget: the purpose."""
        return "create_conditional" if request.kind.is_conditional else "create"

    async def submit(
        self, approved: Approved, signed_ms: int, priority: Priority, clear: Clear = at_once
    ) -> SubmitOutcome:
        """Send one order, once."""
        request = approved.request
        try:
            symbol = self._symbol(request.instrument)
            await clear()
        except (BadInstrument, Withheld) as error:
            return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=RejectKind.NOT_SENT, message=str(error), sent=False)
        fate = await self._arrive(self.submit_endpoint(request), symbol)
        if fate.kind == "ban":
            return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=RejectKind.BANNED, message="banned")
        outcome = SubmitOutcome(SubmitVerdict.AMBIGUOUS, message=fate.kind)
        if needs_venue(fate):
            outcome = execute(self._model, request, symbol, signed_ms, self.limits.receive_window_ms, fate)
            self._after(fate)
        await self._leave(fate)
        if fate.kind == "answer" and fate.rule is not None:
            kind = REFUSALS.get(str(fate.rule.get("reply")))
            verdict = SubmitVerdict.AMBIGUOUS if kind is None else SubmitVerdict.NOT_EXECUTED
            return SubmitOutcome(verdict, kind=kind or RejectKind.OTHER, message=str(fate.rule.get("reply")))
        if fate.kind not in _HARMLESS:
            return SubmitOutcome(SubmitVerdict.AMBIGUOUS, message=f"no readable answer ({fate.kind})")
        return outcome

    async def cancel(self, order: VenueOrder | Order, priority: Priority, clear: Clear = at_once) -> CancelOutcome:
        """Cancel one order in its own book."""
        waits = order.book == rows.CONDITIONAL if isinstance(order, VenueOrder) else order.request.kind.is_conditional
        try:
            symbol = self._symbol(order.instrument)
            await clear()
        except (BadInstrument, Withheld) as error:
            return CancelOutcome(CancelVerdict.FAILED, message=str(error))
        fate = await self._arrive("cancel_conditional" if waits else "cancel", symbol)
        if fate.kind == "ban":
            return CancelOutcome(CancelVerdict.FAILED, message="banned")
        outcome = CancelOutcome(CancelVerdict.AMBIGUOUS, message=fate.kind)
        if needs_venue(fate):
            outcome = cancel_in_book(self._model, order, waits)
            self._after(fate)
        await self._leave(fate)
        return outcome if fate.kind in _HARMLESS else CancelOutcome(CancelVerdict.AMBIGUOUS, message=fate.kind)

    async def find_order(self, order: OrderRequest, priority: Priority) -> VenueOrder | None:
        """Look the order up by client order id in both books."""
        symbol = self._symbol(order.instrument)
        await self._read("look_up", symbol)
        views = self._model.views
        waiting = views.conditional(None, order.client_order_id)
        if waiting is not None and waiting.symbol == symbol:
            return rows.conditional(waiting, order.instrument)
        plain = views.order(symbol, None, order.client_order_id)
        return None if plain is None else rows.plain(plain, order.instrument)

    async def open_orders(self, instrument: InstrumentId | None, priority: Priority) -> list[VenueOrder]:
        """All open orders in both books."""
        symbol = None if instrument is None else self._symbol(instrument)
        await self._read("open_orders", symbol or "")
        views, name = self._model.views, self._model.name
        plain = [rows.plain(each, name(each.symbol)) for each in views.open_orders(symbol)]
        return plain + [rows.conditional(each, name(each.symbol)) for each in views.open_conditionals(symbol)]

    async def fills(self, instrument: InstrumentId, since_ms: int, priority: Priority) -> list[Fill]:
        """All executions since `since_ms`, ascending."""
        symbol = self._symbol(instrument)
        await self._read("history", symbol)
        return [rows.fill(each, instrument) for each in self._model.views.fills(symbol) if each.time_ms >= since_ms]

    async def account(self, priority: Priority) -> AccountSnapshot:
        """Balance and all positions."""
        requested_ms = self._clock.now_ms()
        await self._read("balance")
        model, exchange = self._model, self._model.exchange
        totals = model.seen()
        balance = VenueBalance(
            self.id, "USDT", totals.wallet, totals.equity, totals.available, totals.initial, self._clock.now_ms()
        )
        held = [
            rows.position(
                model.views.position(symbol), model.name(symbol), exchange.mark_price(symbol), exchange.account
            )
            for symbol in exchange.feeds
        ]
        return AccountSnapshot(self.id, balance, tuple(held), requested_ms, self._clock.now_ms())

    async def bookings(self, since_ms: int, priority: Priority) -> list[LedgerRecord]:
        """All that was booked on the wallet since `since_ms`, ascending."""
        await self._read("history")
        model = self._model
        found = model.ledger.income(None, None, since_ms, model.now_ms, 1 << 31)
        return [rows.booking(row, self.id, model.name(row[2]) if row[2] else None) for row in found]

    # the door

    def _symbol(self, instrument: InstrumentId) -> str:
        for symbol in self._model.exchange.feeds:
            if self._model.name(symbol) == instrument:
                return symbol
        raise BadInstrument(f"{self.id} does not list {instrument}")

    async def _arrive(self, purpose: str, symbol: str) -> Fate:
        """A call is at the venue's door, perhaps later than it was made."""
        model = self._model
        model.run(self._clock.now_ms())
        fate = model.script.request(model.now_ms, HttpRequest("CALL", purpose, symbol))
        if fate.kind == "arrive_late":
            await self._clock.sleep(fate.delay_ms / 1000)
            model.run(self._clock.now_ms())
        model.views.now_ms = model.now_ms - fate.lag_ms
        return fate

    def _after(self, fate: Fate) -> None:
        self._model.save()
        self._model.play(fate.then)

    async def _leave(self, fate: Fate) -> None:
        """An answer leaves, perhaps late; one that is lost is waited for in vain."""
        if fate.kind == "reply_late":
            await self._clock.sleep(fate.delay_ms / 1000)
        elif fate.kind in ("lose_request", "lose_reply"):
            await self._clock.sleep(_NO_ANSWER_S)

    async def _read(self, purpose: str, symbol: str = "") -> None:
        """A read at the door: asked again where its answer is lost; raises VenueError where it stays so."""
        for _ in range(_READS):
            fate = await self._arrive(purpose, symbol)
            self._model.play(fate.then)
            await self._leave(fate)
            if fate.kind == "ban":
                raise VenueBanned(f"{self.id}: banned", until_ms=fate.ban_ms)
            if fate.kind in _HARMLESS:
                return
        raise VenueUnreachable(f"{self.id} {purpose}: no readable answer ({fate.kind})")
