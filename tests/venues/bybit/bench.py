"""The adapter before a built-in Bybit, and the orders that tests send."""

from decimal import Decimal
from typing import Any

from tests.venues.doubles import CREDENTIALS, Budget, MachineClock, SeededRandom, Sink, until
from tests.venues.faulty_proxy import FaultyProxy
from tradingd.domain.account import SubmitOutcome, VenueOrder
from tradingd.domain.ids import ClientOrderId, Purpose, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderKind, OrderRequest, OrderStatus
from tradingd.emulator.bybit.model import BybitVenue
from tradingd.emulator.server import VenueServer
from tradingd.ports import Approved, Priority
from tradingd.venues.ccxt_venue import CcxtVenue, ClientSettings

BYBIT_ID = VenueId("bybit")
BTC = InstrumentId.parse("BTC/USDT:USDT@bybit")


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
        "reduce_only": True,
        "trigger_price": trigger,
    }
    return request(number, **(values | changes))


class BybitBench:
    """Everything that one test needs, and what came out of it."""

    def __init__(self, clock: MachineClock, model: BybitVenue, server: VenueServer, proxy: FaultyProxy) -> None:
        self.clock = clock
        self.model = model
        self.server = server
        self.proxy = proxy
        self.budget = Budget()
        self.sink = Sink()
        self._venues: list[CcxtVenue] = []

    def build(self, **settings: Any) -> CcxtVenue:
        """An adapter that is not open yet."""
        venue = CcxtVenue(
            BYBIT_ID,
            CREDENTIALS,
            self.clock,
            SeededRandom(),
            self.budget,
            endpoint=f"http://127.0.0.1:{self.proxy.port}",
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

    async def send(self, venue: CcxtVenue, order: OrderRequest) -> SubmitOutcome:
        return await venue.submit(Approved(order, ()), self.clock.now_ms(), Priority.ENTRY)

    async def shown(self, venue: CcxtVenue, order: OrderRequest, status: OrderStatus | None = None) -> VenueOrder:
        """The order, as soon as the venue's look-up shows it, with that status where one is given."""

        async def look() -> VenueOrder | None:
            found = await venue.find_order(order, Priority.RECONCILE)
            return found if found is not None and status in (None, found.status) else None

        found = await until(look, 5.0)
        assert isinstance(found, VenueOrder)
        return found

    async def close(self) -> None:
        for venue in self._venues:
            await venue.close()


async def mark(venue: CcxtVenue, factor: str) -> Decimal:
    return venue.instruments[BTC].round_price(await venue.mark_price(BTC) * Decimal(factor))
