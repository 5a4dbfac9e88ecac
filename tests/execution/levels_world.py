"""A world whose venue keeps stop and take profit as a state of the position: what its tests begin and look with."""

import asyncio
from decimal import Decimal

from tests.execution.fakes import BTC
from tradingd.domain.account import POSITION_BOOK, VenueOrder
from tradingd.domain.ids import VenueOrderId
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderKind, OrderStatus

OLD, NEW = Decimal(49_000), Decimal(49_500)
TARGET, FURTHER = Decimal(52_000), Decimal(53_000)




async def held(make_levels, side=Side.BUY, **fields):
    """A world with a covered position."""
    world = await make_levels().boot()
    await world.open_position(side, **fields)
    await asyncio.sleep(0.1)
    return world


def watch(world):
    """Each moment from now on at which the position carries no stop."""
    seen, carry = [], world.levels._carry

    def looking(instrument, levels):
        carry(instrument, levels)
        if world.venue.positions.get(instrument) and levels[0] is None:
            seen.append(levels)

    world.levels._carry = looking
    return seen


def carried(world):
    return world.levels.carried.get(BTC, (None, None))


def child(world, status=OrderStatus.ACCEPTED, **changes):
    """What the venue shows of a level that the whole position carries."""
    shown = {
        "instrument": BTC, "book": POSITION_BOOK, "venue_order_id": VenueOrderId("sl1"), "client_order_id": None,
        "status": status, "side": Side.SELL, "kind": OrderKind.STOP_MARKET, "quantity": None, "trigger_price": OLD,
        "close_position": True, "updated_ms": world.clock.now_ms(),
    }  # fmt: skip
    return VenueOrder(**(shown | changes))
