"""What a case works with: a venue behind the port, and the hands that move the venue behind its back.

Cases speak domain types and the words of fault scripts; nothing here names a venue or knows how one is wired.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple, Protocol

from tests.venues.doubles import Sink
from tradingd.domain.account import AccountSnapshot, SubmitOutcome, SubmitVerdict, VenueOrder
from tradingd.domain.ids import ClientOrderId, Purpose, VenueId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import Fill, OrderKind, OrderRequest, OrderStatus
from tradingd.emulator.core.exchange import Exchange
from tradingd.emulator.faults.language import ANY, Rule
from tradingd.ports import Approved, Clear, Clock, Priority, StreamKey, Venue, at_once

PATIENCE_S = 5.0
"""Virtual seconds in which a fact must be shown."""


def fault(do: str, *on: str, push: str = "", stream: str = ANY, times: int | None = 1, **what: Any) -> Rule:
    """One rule of a fault script; `times=None`: for as long as it is in force."""
    pushes = (push,) if push else ()
    return Rule(do=do, on=on, push=pushes, stream=stream, times=times, what=tuple(sorted(what.items())))


class Toll(NamedTuple):
    """One request: what our budget took for it, and what the venue counted, both by the name of the counter."""

    endpoint: str
    taken: dict[str, int]
    counted: dict[str, int]


class Face(Protocol):
    """One implementation in one world. `exchange` is the truth that the venue's answers are held against."""

    venue_id: VenueId
    clock: Clock
    exchange: Exchange

    def make(self) -> Venue:
        """A client of the account that is not open yet, on connections of its own."""
        ...

    async def pay(self, venue: Venue, request: OrderRequest, priority: Priority) -> None:
        """Take the budget of one order, as whoever submits must."""
        ...

    def tolls(self) -> "list[Toll] | None":
        """What each request cost, from the first on; None where nothing is counted."""
        ...

    def begin(self, *rules: Rule) -> None:
        """Let these faults befall the venue from now on, and no others."""
        ...

    def act(self, kind: str, **values: object) -> str:
        """Let the venue, or a human, do something without being asked."""
        ...

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a case in virtual time."""
        ...


class Bench:
    """One open venue, and how a case asks for things."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self.sink = Sink()
        self.venue = face.make()
        self.clock = face.clock
        self.exchange = face.exchange
        self.btc = InstrumentId(face.venue_id, "BTC/USDT:USDT")
        self.eth = InstrumentId(face.venue_id, "ETH/USDT:USDT")
        self.lacking = InstrumentId(face.venue_id, "NONE/USDT:USDT")
        self._open: list[Venue] = []
        self._numbers = count(1)

    # life

    async def open(self) -> None:
        await self.venue.open(self.sink)
        self._open.append(self.venue)

    async def close(self) -> None:
        for venue in self._open:
            await venue.close()

    async def second(self) -> Venue:
        """Another client of the same account."""
        venue = self.face.make()
        await venue.open(Sink())
        self._open.append(venue)
        return venue

    async def listen(self) -> None:
        """The account stream stands."""
        await self.venue.watch(self.account_stream)

    @property
    def account_stream(self) -> StreamKey:
        return StreamKey(self.face.venue_id, "account")

    def candle_stream(self, timeframe: str = "1m") -> StreamKey:
        return StreamKey(self.face.venue_id, "candles", self.btc.symbol, timeframe)

    # the hands

    def begin(self, *rules: Rule) -> None:
        self.face.begin(*rules)

    def act(self, kind: str, **values: object) -> None:
        self.face.act(kind, **values)

    def symbol(self, instrument: InstrumentId | None = None) -> str:
        return self.rules(instrument).market_id

    async def move(self, by: str) -> None:
        """Move the price by a fraction, and wait until it has moved."""
        self.act("move_price", symbol=self.symbol(), by_fraction=by)
        await asyncio.sleep(5)

    # the truth

    def accepted(self, client_order_id: ClientOrderId) -> int:
        """How many orders of that id the engine ever took; what a conditional order became is not another one."""
        plain = [order for order in self.exchange.orders.values() if not order.parent_id]
        waiting = self.exchange.triggers.orders.values()
        ids = [order.client_order_id for order in plain] + [order.client_order_id for order in waiting]
        return ids.count(client_order_id)

    def held(self, instrument: InstrumentId | None = None) -> Decimal:
        return self.exchange.account.positions[self.symbol(instrument)].quantity

    # orders

    def rules(self, instrument: InstrumentId | None = None) -> Instrument:
        return self.venue.instruments[instrument or self.btc]

    async def price(self, factor: str) -> Decimal:
        """The mark price times a factor, on the tick."""
        return self.rules().round_price(await self.venue.mark_price(self.btc) * Decimal(factor))

    def order(self, quantity: str | None = "0.010", **changes: Any) -> OrderRequest:
        """A market buy, or whatever the changes make of it."""
        purpose = changes.setdefault("purpose", Purpose.ENTRY)
        values: dict[str, Any] = {
            "client_order_id": ClientOrderId(f"td-conformity-{next(self._numbers)}{purpose}"),
            "instrument": self.btc,
            "side": Side.BUY,
            "kind": OrderKind.MARKET,
            "quantity": None if quantity is None else Decimal(quantity),
        }
        return OrderRequest(**(values | changes))

    async def resting(self, factor: str = "0.97", **changes: Any) -> OrderRequest:
        """A limit buy below the market."""
        return self.order(kind=OrderKind.LIMIT, limit_price=await self.price(factor), **changes)

    async def stop(self, factor: str = "0.98", **changes: Any) -> OrderRequest:
        """A stop below a long position."""
        values: dict[str, Any] = {"purpose": Purpose.STOP, "side": Side.SELL, "kind": OrderKind.STOP_MARKET}
        values |= {"reduce_only": True, "trigger_price": await self.price(factor)}
        return self.order(**(values | changes))

    async def send(
        self, request: OrderRequest, venue: Venue | None = None, *, ago_ms: int = 0, clear: Clear = at_once
    ) -> SubmitOutcome:
        """Submit once; `ago_ms`: as if it had been signed so long ago; `clear` is asked before it leaves."""
        venue, priority = venue or self.venue, Priority.ENTRY
        await self.face.pay(venue, request, priority)
        return await venue.submit(Approved(request, ()), self.clock.now_ms() - ago_ms, priority, clear)

    async def placed(self, request: OrderRequest, venue: Venue | None = None) -> VenueOrder:
        """Submit, and the order as soon as a look-up shows it."""
        outcome = await self.send(request, venue)
        assert outcome.verdict in (SubmitVerdict.ACCEPTED, SubmitVerdict.SUBMITTED), outcome
        return await self.shown(request)

    async def find(self, request: OrderRequest) -> VenueOrder | None:
        return await self.venue.find_order(request, Priority.RECONCILE)

    async def shown(self, request: OrderRequest, *statuses: OrderStatus) -> VenueOrder:
        """The order, as soon as a look-up shows it, in one of these statuses where some are given."""

        async def look() -> VenueOrder | None:
            order = await self.find(request)
            return order if order is not None and (not statuses or order.status in statuses) else None

        found = await self.until(look)
        assert isinstance(found, VenueOrder)
        return found

    async def bought(self, quantity: str = "0.010", side: Side = Side.BUY) -> OrderRequest:
        """A market order that has filled."""
        request = self.order(quantity, side=side)
        await self.send(request)
        await self.shown(request, OrderStatus.FILLED)
        return request

    async def account(self) -> AccountSnapshot:
        return await self.venue.account(Priority.RECONCILE)

    async def position(self, quantity: str) -> None:
        """The account shows this position in BTC."""

        async def look() -> bool:
            return (await self.account()).position(self.btc).quantity == Decimal(quantity)

        await self.until(look)

    async def fills(self, since_ms: int = 0) -> list[Fill]:
        return await self.venue.fills(self.btc, since_ms or self.clock.now_ms() - 3_600_000, Priority.RECONCILE)

    async def open_ids(self) -> set[str | None]:
        orders = await self.venue.open_orders(self.btc, Priority.RECONCILE)
        return {order.client_order_id for order in orders}

    async def until(self, check: Callable[[], Awaitable[Any]], patience_s: float = PATIENCE_S) -> Any:
        """The first true answer: what a venue shows lags behind what it did."""
        deadline = self.clock.monotonic() + patience_s
        while not (found := await check()):
            assert self.clock.monotonic() < deadline, f"not so within {patience_s:g} s"
            await asyncio.sleep(0.05)
        return found

    async def pushed(self, name: str, match: Callable[[Any], bool], patience_s: float = PATIENCE_S) -> Any:
        """The first push of that name that matches."""
        return await self.sink.wait_for(name, 1, patience_s, match)
