"""In whatever order money moves, is told, is read and is forgotten by a crash: the bookings make the wallet."""

import asyncio
import shutil
import tempfile
from decimal import Decimal
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.execution.fakes import BTC
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import World
from tradingd.domain.account import AccountSnapshot
from tradingd.domain.intents import Side
from tradingd.domain.records import LedgerRecord

SECONDS = st.sampled_from([0.0, 0.05, 0.4, 1.0, 2.5, 6.0, 12.0])
STEP = st.one_of(
    st.tuples(st.just("fill"), st.sampled_from([1, 2, 5]), st.booleans()),
    st.tuples(st.just("fill"), st.sampled_from([1, 2, 5]), st.booleans()),
    st.tuples(st.just("funding"), st.sampled_from([-7, -1, 3]), SECONDS),
    st.tuples(st.just("transfer"), st.sampled_from([-900, 400]), SECONDS),
    st.tuples(st.just("lag"), SECONDS, st.just(0)),
    st.tuples(st.just("wait"), SECONDS, st.just(0)),
    st.tuples(st.just("reconcile"), st.just(0), st.just(0)),
    st.tuples(st.just("restart"), SECONDS, st.just(0)),
    st.tuples(st.just("restart"), SECONDS, st.just(0)),
)


class Money:
    """A venue whose account lags and whose bookings show up late, and a daemon that is killed now and then."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.opening = world.venue.wallet
        self.late: list[tuple[float, LedgerRecord]] = []
        self._past: list[tuple[float, Decimal]] = [(0.0, self.opening)]
        self._lag_s, self._lag_until = 0.0, 0.0
        world.venue.shown_account = self._show

    def note(self) -> None:
        self._past.append((self.world.clock.monotonic(), self.world.venue.wallet))

    def _show(self, snapshot: AccountSnapshot) -> AccountSnapshot:
        """While it lags, the wallet as it was; positions as they are."""
        now, venue = self.world.clock.monotonic(), self.world.venue
        for due, row in [each for each in self.late if each[0] <= now]:
            self.late.remove((due, row))
            venue.booked.append(row)
        if now >= self._lag_until:
            return snapshot
        wallet = [amount for at, amount in self._past if at <= now - self._lag_s][-1]
        return msgspec.structs.replace(snapshot, balance=msgspec.structs.replace(snapshot.balance, wallet=wallet))

    async def step(self, kind: str, first: float, second: float) -> None:
        world, venue = self.world, self.world.venue
        if kind == "fill":
            # somebody's hand: in, and out again; told at once, or only by the venue's history
            side = Side.SELL if venue.positions.get(BTC) else Side.BUY
            quantity = abs(venue.positions.get(BTC, Decimal(0))) or Decimal(int(first)) / 10
            venue.mute = not second
            venue.execute(BTC, side, quantity)
            venue.mute = False
        elif kind in ("funding", "transfer"):
            row = venue.book(kind, Decimal(int(first)))
            if second:
                venue.booked.pop()
                self.late.append(
                    (
                        world.clock.monotonic() + second,
                        msgspec.structs.replace(row, reference=f"l{row.time_ms}:{len(self.late)}"),
                    )
                )
        elif kind == "lag":
            self._lag_s, self._lag_until = float(first), world.clock.monotonic() + 2 * float(first)
        elif kind == "wait":
            await asyncio.sleep(first)
        elif kind == "reconcile":
            await world.reconcile()
        else:
            await world.crash()
            await asyncio.sleep(first)
            await world.boot()
        self.note()

    async def end(self) -> None:
        """Everything is told, and read twice by runs of their own."""
        for _ in range(2):
            await asyncio.sleep(30)
            await self.world.restart()
            await asyncio.sleep(7)
            await self.world.reconcile()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=1, max_size=9))
def test_the_bookings_make_the_wallet_in_whatever_order_money_moves_and_is_told(empty_journal, steps):
    @in_virtual_time
    async def play(directory: Path) -> None:
        shutil.copy(empty_journal, directory / "journal.db")
        world = await World(directory).boot()
        money = Money(world)
        for step in steps:
            await money.step(*step)
        await money.end()
        rows = world.rows("SELECT kind, amount FROM ledger")
        booked = sum((Decimal(repr(amount)) for _, amount in rows), Decimal(0))
        profit = sum((Decimal(repr(each)) for (each,) in world.rows("SELECT realized_pnl FROM fills")), Decimal(0))
        assert abs(money.opening + booked + profit - world.venue.wallet) <= Decimal("0.01"), rows
        left = sum((Decimal(repr(amount)) for kind, amount in rows if kind == "unexplained"), Decimal(0))
        assert abs(left) <= Decimal("0.01"), rows
        assert len(world.rows("SELECT 1 FROM ledger WHERE kind IN ('funding', 'transfer')")) == len(world.venue.booked)
        await world.crash()

    with tempfile.TemporaryDirectory() as directory:
        play(Path(directory))
