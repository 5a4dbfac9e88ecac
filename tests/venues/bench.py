"""The adapter before a built-in venue, and the orders that tests send."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, ClassVar

from tests.emulator.helpers import serving
from tests.venues.doubles import BINANCE_ID, BTC, CREDENTIALS, Budget, MachineClock, SeededRandom, Sink, until
from tests.venues.faulty_proxy import FaultyProxy
from tradingd.domain.account import SubmitOutcome, VenueOrder
from tradingd.domain.ids import ClientOrderId, Purpose, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderKind, OrderRequest, OrderStatus
from tradingd.emulator.binance.model import BinanceVenue
from tradingd.emulator.bybit.model import BybitVenue
from tradingd.emulator.server import VenueServer
from tradingd.ports import Approved, Priority
from tradingd.venues.ccxt_venue import CcxtVenue, ClientSettings

ORDER, ALGO = "POST /fapi/v1/order", "POST /fapi/v1/algoOrder"


class Bench:
    """Everything that one test needs, and what came out of it."""

    venue_id: ClassVar[VenueId] = BINANCE_ID

    def __init__(self, clock: MachineClock, server: VenueServer, proxy: FaultyProxy) -> None:
        self.clock = clock
        self.server = server
        self.proxy = proxy
        self.budget = Budget()
        self.sink = Sink()
        self._venues: list[CcxtVenue] = []

    def build(self, *, window_scale: float = 1.0, port: int | None = None, **settings: Any) -> CcxtVenue:
        """An adapter that is not open yet."""
        venue = CcxtVenue(
            self.venue_id,
            CREDENTIALS,
            self.clock,
            SeededRandom(),
            self.budget,
            endpoint=f"http://127.0.0.1:{port or self.proxy.port}",
            window_scale=window_scale,
            settings=ClientSettings(**settings),
        )
        self._venues.append(venue)
        return venue

    async def open(self, **settings: Any) -> CcxtVenue:
        """An open adapter whose clock agrees with the venue's."""
        venue = self.build(**settings)
        await venue.open(self.sink)
        self.clock.offset_ms += await venue.server_time_ms() - self.clock.now_ms()
        self.proxy.seen.clear()
        self.budget.acquired.clear()
        return venue

    async def close(self) -> None:
        for venue in self._venues:
            await venue.close()


@asynccontextmanager
async def behind_a_proxy(
    model: BinanceVenue | BybitVenue, speed: float = 1.0
) -> AsyncIterator[tuple[VenueServer, FaultyProxy]]:
    """A model behind a real socket, and a proxy before it that can spoil things."""
    async with serving(model, speed) as server:
        proxy = FaultyProxy(server.port)
        await proxy.start()
        try:
            yield server, proxy
        finally:
            await proxy.stop()


def request(number: int = 1, **changes: Any) -> OrderRequest:
    values: dict[str, Any] = {
        "client_order_id": ClientOrderId(f"td-abcdefgh1-{number}e"),
        "instrument": BTC,
        "purpose": Purpose.ENTRY,
        "side": Side.BUY,
        "kind": OrderKind.MARKET,
        "quantity": Decimal("0.010"),
    }
    return OrderRequest(**(values | changes))


def stop(number: int, trigger: Decimal, **changes: Any) -> OrderRequest:
    values: dict[str, Any] = {
        "client_order_id": ClientOrderId(f"td-abcdefgh1-{number}s"),
        "purpose": Purpose.STOP,
        "side": Side.SELL,
        "kind": OrderKind.STOP_MARKET,
        "quantity": None,
        "close_position": True,
        "trigger_price": trigger,
    }
    return request(number, **(values | changes))


async def send(bench: Bench, venue: CcxtVenue, order: OrderRequest) -> SubmitOutcome:
    return await venue.submit(Approved(order, ()), bench.clock.now_ms(), Priority.ENTRY)


async def mark(venue: CcxtVenue, factor: str, instrument: InstrumentId = BTC) -> Decimal:
    return venue.instruments[instrument].round_price(await venue.mark_price(instrument) * Decimal(factor))


async def shown(venue: CcxtVenue, order: OrderRequest, status: OrderStatus | None = None) -> VenueOrder:
    """The order, as soon as the venue's look-up shows it, with that status where one is given."""

    async def look() -> VenueOrder | None:
        found = await venue.find_order(order, Priority.RECONCILE)
        return found if found is not None and status in (None, found.status) else None

    found = await until(look)
    assert isinstance(found, VenueOrder)
    return found
