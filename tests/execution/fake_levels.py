"""Stop and take profit as a state of the position, in memory, answering as the test says."""

from __future__ import annotations

import asyncio
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tradingd.domain.account import PositionProtection, RejectKind, SubmitOutcome, SubmitVerdict
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.ports import Priority

if TYPE_CHECKING:
    from tests.execution.fakes import FakeVenue

Pair = tuple[Decimal | None, Decimal | None]
NONE: Pair = (None, None)


class FakeLevels:
    """What each position carries, every setting, and readings that may lag."""

    def __init__(self, venue: FakeVenue) -> None:
        self.venue = venue
        self.carried: dict[InstrumentId, Pair] = {}
        self.history: list[tuple[int, InstrumentId, Pair]] = []
        self.sets: list[tuple[InstrumentId, Decimal | None, Decimal | None, Priority]] = []
        self.reads: list[Priority] = []
        self.answers: deque[Any] = deque()
        self.always: Any = None
        self.lag_ms = 0
        self.on_set: Any = lambda: None

    async def set(
        self, instrument: InstrumentId, stop: Decimal | None, take_profit: Decimal | None, priority: Priority
    ) -> SubmitOutcome:
        self.sets.append((instrument, stop, take_profit, priority))
        self.on_set()
        name = type(answer := self.answers.popleft() if self.answers else self.always).__name__
        if name == "Silence":
            await asyncio.get_running_loop().create_future()
        refused = self._refusal(instrument, stop, take_profit) if name != "Reject" else (answer.kind, answer.code)
        if refused is None and (name != "Lose" or answer.taken):
            code = "34040" if self.carried.get(instrument, NONE) == (stop, take_profit) else None
            self._carry(instrument, (stop, take_profit))
        if getattr(answer, "silent", False):
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(getattr(answer, "delay_s", 0.02))
        if name == "Lose":
            return SubmitOutcome(SubmitVerdict.AMBIGUOUS, message="the body was cut")
        if refused is not None:
            return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=refused[0], code=refused[1], message="refused")
        return SubmitOutcome(SubmitVerdict.ACCEPTED, code=code)

    def _refusal(self, instrument: InstrumentId, stop: Decimal | None, target: Decimal | None) -> Any:
        held, mark = self.venue.positions.get(instrument, Decimal(0)), self.venue.mark
        if not held:
            return RejectKind.REDUCE_ONLY, "10001"
        if (stop is not None and (mark - stop) * held <= 0) or (target is not None and (target - mark) * held <= 0):
            return RejectKind.WOULD_TRIGGER, "10001"
        return None

    def _carry(self, instrument: InstrumentId, levels: Pair) -> None:
        self.carried[instrument] = levels
        self.history.append((self.venue.clock.now_ms(), instrument, levels))

    def clear(self, instrument: InstrumentId) -> None:
        """The position has ended, and its levels with it."""
        self._carry(instrument, NONE)

    def by_hand(self, instrument: InstrumentId, stop: Decimal | None, take_profit: Decimal | None = None) -> None:
        """Somebody changes the levels at the venue's own page."""
        self._carry(instrument, (stop, take_profit))

    async def read(self, instrument: InstrumentId, priority: Priority) -> PositionProtection:
        self.reads.append(priority)
        await self.venue._io("read_levels")
        seen_ms = self.venue.clock.now_ms() - self.lag_ms
        old = [levels for at_ms, each, levels in self.history if each == instrument and at_ms <= seen_ms]
        stop, target = old[-1] if old else NONE
        held = self.venue.positions.get(instrument, Decimal(0))
        return PositionProtection(instrument, held, stop, target, self.venue.clock.now_ms())

    def fire(self, instrument: InstrumentId, which: str = "stop_loss") -> Any:
        """The venue ends the position at one of its levels."""
        stop, target = self.carried[instrument]
        held = self.venue.positions[instrument]
        price = stop if which == "stop_loss" else target
        side = Side.SELL if held > 0 else Side.BUY
        return self.venue.execute(instrument, side, abs(held), price, reason=which)
