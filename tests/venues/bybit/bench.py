"""The adapter before a built-in Bybit, and the orders that tests send."""

from decimal import Decimal
from typing import Any

from tests.venues import bench
from tests.venues.doubles import MachineClock
from tests.venues.faulty_proxy import FaultyProxy
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import OrderRequest
from tradingd.emulator.bybit.model import BybitVenue
from tradingd.emulator.server import VenueServer
from tradingd.venues.ccxt_venue import CcxtVenue

BYBIT_ID = VenueId("bybit")
BTC = InstrumentId.parse("BTC/USDT:USDT@bybit")


def request(number: int = 1, **changes: Any) -> OrderRequest:
    return bench.request(number, **({"instrument": BTC} | changes))


def stop(number: int, trigger: Decimal, **changes: Any) -> OrderRequest:
    values = {"instrument": BTC, "quantity": Decimal("0.010"), "close_position": False, "reduce_only": True}
    return bench.stop(number, trigger, **(values | changes))


async def mark(venue: CcxtVenue, factor: str) -> Decimal:
    return await bench.mark(venue, factor, BTC)


class BybitBench(bench.Bench):
    """Everything that one test needs, and what came out of it."""

    venue_id = BYBIT_ID

    def __init__(self, clock: MachineClock, model: BybitVenue, server: VenueServer, proxy: FaultyProxy) -> None:
        super().__init__(clock, server, proxy)
        self.model = model
