"""In whatever order ack, order pushes and fills arrive, once or twice: the journal ends the same."""

import asyncio
import shutil
import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.execution.fakes import BTC
from tests.execution.virtual_time import VirtualLoop
from tests.execution.world import World
from tradingd.domain.account import SubmitOutcome, SubmitVerdict, VenueOrder
from tradingd.domain.ids import ClientOrderId, Purpose, TradeId, VenueOrderId
from tradingd.domain.intents import Side
from tradingd.domain.orders import Fill, OrderKind, OrderStatus

S = OrderStatus
PARTS = (Decimal("0.04"), Decimal("0.06"))
PUSHES = ("new", "part", "filled", "filled again")
MESSAGES = ("ack", *PUSHES, "fill 0", "fill 1", "fill 0", "fill 1")


def _keeps_order(order: tuple[str, ...]) -> bool:
    """Order pushes come in their order; the ack, and each topic beside, when it likes."""
    return [each for each in order if each in PUSHES] == list(PUSHES)


class Told:
    """What a venue says of one market order that fills in two parts."""

    def __init__(self, key: ClientOrderId, names_client: bool) -> None:
        self.key = key
        self.names_client = names_client

    def order(self, status: OrderStatus, filled: str = "0") -> VenueOrder:
        quantity = sum(PARTS, Decimal(0))
        return VenueOrder(
            instrument=BTC,
            book="plain",
            venue_order_id=VenueOrderId("plain1"),
            client_order_id=self.key,
            status=status,
            side=Side.BUY,
            kind=OrderKind.MARKET,
            quantity=quantity,
            filled_quantity=Decimal(filled),
            average_price=Decimal(50_000) if filled != "0" else None,
            updated_ms=1_767_225_600_500,
        )

    def fill(self, part: int) -> Fill:
        return Fill(
            BTC,
            TradeId(f"t{part}"),
            VenueOrderId("plain1"),
            self.key if self.names_client else None,
            Side.BUY,
            Decimal(50_000),
            PARTS[part],
            Decimal(1),
            "USDT",
            Decimal(0),
            False,
            1_767_225_600_500 + part,
        )

    def tell(self, world: World, message: str) -> None:
        sink = world.venue.sink
        if message.startswith("fill "):
            sink.on_fill(self.fill(int(message[-1])))
        elif message == "new":
            sink.on_order(self.order(S.ACCEPTED))
        elif message == "part":
            sink.on_order(self.order(S.PARTIALLY_FILLED, "0.04"))
        else:
            sink.on_order(self.order(S.FILLED, "0.1"))


async def play(world: World, order: tuple[str, ...], names_client: bool):
    await world.boot()
    acked = asyncio.get_running_loop().create_future()

    async def submit(approved, signed_ms, priority, clear):
        await clear()
        world.venue.submitted.append(approved.request)
        if approved.request.purpose is not Purpose.ENTRY:
            return SubmitOutcome(SubmitVerdict.SUBMITTED, order=None)
        return await acked

    world.venue.submit = submit
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    told = Told(world.sent(Purpose.ENTRY)[0].client_order_id, names_client)
    world.venue.positions[BTC] = Decimal("0.1")
    for message in order:
        if message == "ack":
            acked.set_result(SubmitOutcome(SubmitVerdict.SUBMITTED, order=told.order(S.SUBMITTED)))
            await asyncio.sleep(0)
        else:
            told.tell(world, message)
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.2)
    entry = world.order(told.key)
    journal = world.rows(
        "SELECT o.status, o.venue_order_id, o.filled_quantity, o.booked_quantity, o.average_price FROM orders o"
        " WHERE o.purpose = 'entry'"
    )
    fills = world.rows("SELECT trade_id, client_order_id = ?, quantity FROM fills ORDER BY trade_id", told.key)
    position = world.rows("SELECT quantity FROM positions")
    # a fill that names nobody, before anything else did, is told of as another hand's until it has an owner
    expected = {"stop_not_placed"} if names_client else {"stop_not_placed", "foreign_position"}
    wrong = [each for each in world.incidents() if each not in expected]
    return journal, fills, position, str(entry.status), wrong, world.faults


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(MESSAGES).map(tuple).map(lambda each: _sorted_pushes(each)),
    names_client=st.booleans(),
)
def test_every_order_of_arrival_ends_in_the_same_journal(empty_journal, order, names_client):
    assert _keeps_order(order)
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        shutil.copy(empty_journal, Path(directory) / "journal.db")

        async def run():
            world = World(Path(directory), acks_first=True)
            try:
                return await play(world, order, names_client)
            finally:
                world.close_reader()

        ended = runner.run(run())
    assert ended == (
        [("FILLED", "plain1", 0.1, 0.1, 50_000.0)],
        [("t0", 1, 0.04), ("t1", 1, 0.06)],
        [(0.1,)],
        "FILLED",
        [],
        [],
    )


def _sorted_pushes(order: tuple[str, ...]) -> tuple[str, ...]:
    """The same places, with the pushes of the order stream in the order in which the venue sends them."""
    pushes = iter(PUSHES)
    return tuple(next(pushes) if each in PUSHES else each for each in order)
