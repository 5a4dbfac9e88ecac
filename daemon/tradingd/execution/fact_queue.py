"""Facts on their way to the journal, in order: held while it cannot commit, written again in order, told once."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice, takewhile

import msgspec

from tradingd.bus import Bus
from tradingd.domain.errors import JournalError, JournalUnitRefused, Severity
from tradingd.domain.events import Event, JournalChanged, incident
from tradingd.domain.records import IncidentRecord, Record
from tradingd.ports import Store

MAX_UNSAVED_UNITS = 10_000
"""So many units may wait for the journal. Past it entries halt until an operator resumes; none is dropped: those
that come then are of exits, protection and other hands."""
SAVE_TOGETHER = 64
"""Held units written again in one commit."""
TURNS_BEFORE_TELLING = 10
"""Turns of the loop between a commit and the events that tell of it: who waited for the commit goes first, and an order
has left before plugins and log lines hear that it was submitted."""
REFUSED = "journal_unit_refused"


class _Unit(msgspec.Struct, eq=False):
    """Records that commit together, and what is published once they have. Settled: committed, or refused for good."""

    records: tuple[Record, ...]
    events: tuple[Event, ...]
    durable: bool
    future: "asyncio.Future[None]"
    handed_over: bool = False
    is_settled: bool = False


class FactQueue:
    """Keeps every unit until it is committed. The first that fails holds itself and all behind it, also those already
    on their way: they may commit before it, so that on the way back all of them are written again together, in order.
    Writing a unit twice is harmless (journal/rows.py). Events are published in the order of their units, once.
    """

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._units: deque[_Unit] = deque()
        self._holding = False
        self._is_overfull = False
        self._turns_to_tell = 0
        self._saving: asyncio.Task[None] | None = None
        self.trouble = ""
        self.on_halt: Callable[[str], None] = lambda why: None

    def look(self) -> None:
        """Find out, with a unit that has nothing in it, whether the journal is still there and can be written."""
        if self.writable:
            self.submit((), durable=False)

    @property
    def writable(self) -> bool:
        """Whether the last commit succeeded and nothing is held."""
        return not self._holding

    def submit(
        self,
        records: Sequence[Record],
        events: Sequence[Event] = (),
        *,
        durable: bool = True,
        applied: Callable[[], None] | None = None,
    ) -> "asyncio.Future[None]":
        """Queue one unit. The future ends with the commit, or with JournalError: then the unit is held, and written
        once the journal can; JournalUnitRefused: it never can be, and is kept in a file beside the journal."""
        unit = _Unit(tuple(records), tuple(events), durable, asyncio.get_running_loop().create_future())
        unit.future.add_done_callback(_take_notice)
        self._units.append(unit)
        if self._holding:
            unit.future.set_exception(JournalError("the journal cannot commit; the fact is held in memory"))
            self._check_size()
        else:
            unit.handed_over = True
            done = self._store.submit(unit.records, durable=durable, applied=applied)
            done.add_done_callback(lambda done: self._ended(done, unit))
        return unit.future

    def _ended(self, done: "asyncio.Future[None]", unit: _Unit) -> None:
        error = JournalError("the journal was stopped") if done.cancelled() else done.exception()
        if not unit.future.done():
            if error is None:
                unit.future.set_result(None)
            else:
                unit.future.set_exception(error)
        if unit.is_settled:
            return  # written again meanwhile, behind one that had failed
        if isinstance(error, JournalUnitRefused):
            self._set_aside(unit, error)
        elif error is not None:
            self._hold(error)
            return
        unit.is_settled = True
        if not self._holding:
            self._tell_soon()

    def _tell_soon(self) -> None:
        if self._turns_to_tell == 0:  # counted from the first commit: a stream of them puts nothing off for ever
            self._turns_to_tell = TURNS_BEFORE_TELLING
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turns_to_tell -= 1
        if self._turns_to_tell > 0:
            asyncio.get_running_loop().call_soon(self._turn)
        elif not self._holding:
            self._tell()

    def _tell(self) -> None:
        """Publish what is settled, up to the first unit that is not."""
        while self._units and self._units[0].is_settled:
            for event in self._units.popleft().events:
                self._bus.publish(event)

    def _set_aside(self, unit: _Unit, error: JournalUnitRefused) -> None:
        """A unit that no new try can store: kept for a human, and entries halt, for journal and memory differ now."""
        records, unit.records = unit.records, ()
        names = ", ".join(type(record).__name__ for record in records)
        try:
            where = f"kept in {self._store.set_aside(records, str(error))}"
        except OSError as problem:
            where = f"known to memory and this line alone ({problem}): {records}"
        if not any(isinstance(record, IncidentRecord) and record.kind == REFUSED for record in records):
            self._bus.publish(incident(REFUSED, Severity.CRITICAL, f"{error} ({names}); {where}"))
        self.on_halt(f"the journal refused a unit: {error}")

    # --- held -----------------------------------------------------------------------------------------------------

    def _hold(self, error: BaseException) -> None:
        if not self._holding:
            self._holding = True
            self._tell_trouble(error)
        self._check_size()

    def _tell_trouble(self, error: BaseException) -> None:
        self.trouble = str(error)
        self._bus.publish(incident("journal_not_writable", Severity.CRITICAL, self.trouble))
        self._bus.publish(JournalChanged(False, self.trouble, len(self._units)))

    def _check_size(self) -> None:
        if len(self._units) <= MAX_UNSAVED_UNITS or self._is_overfull:
            return
        self._is_overfull = True
        why = f"more than {MAX_UNSAVED_UNITS} order facts wait for the journal"
        self._bus.publish(incident("order_facts_overflow", Severity.CRITICAL, why))
        self.on_halt(why)

    def save_soon(self) -> None:
        """Begin to write what is held, unless that is under way. Never waits."""
        if self._holding and (self._saving is None or self._saving.done()):
            self._saving = asyncio.get_running_loop().create_task(self._save(), name="save held facts")
            self._saving.add_done_callback(self._saved)

    async def save(self) -> bool:
        """Try to write what is held; True when the journal is whole again."""
        self.save_soon()
        if self._saving is not None:
            await asyncio.wait({self._saving})
        return self.writable

    async def close(self, limit_s: float) -> None:
        """A last try, with a limit; what the journal does not have by then, the next start learns from the venue."""
        self.save_soon()
        if self._saving is not None and not self._saving.done():
            await asyncio.wait({self._saving}, timeout=limit_s)
            self._saving.cancel()
        if not self._holding:
            self._tell()
        else:
            why = f"{len(self._units)} facts are not in the journal at the stop; the next start reads the venue"
            self._bus.publish(incident("facts_not_saved", Severity.CRITICAL, why))

    def _saved(self, task: "asyncio.Task[None]") -> None:
        """The next tick tries again, whatever it was that ended this one."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bus.publish(incident("save_held_failed", Severity.CRITICAL, f"{error!r}"))

    async def _save(self) -> None:
        held = len(self._units)
        try:
            await self._store.check_writable()
            while self._units:
                await self._save_some()
        except JournalError as error:
            if str(error) != self.trouble:  # told when it began; now it is another one
                self._tell_trouble(error)
            return
        self._holding = self._is_overfull = False
        self.trouble = ""
        self._bus.publish(JournalChanged(True, held=held))

    async def _save_some(self) -> None:
        """Write the next units again in one commit; in it all that may have overtaken one another, so that no crash
        finds an older row in the place of a newer one."""
        together = max(SAVE_TOGETHER, len(list(takewhile(lambda unit: unit.handed_over, self._units))))
        units = list(islice(self._units, together))
        try:
            await self._write(units)
        except JournalUnitRefused as error:
            if len(units) == 1:
                self._set_aside(units[0], error)
            else:
                await self._save_each(units)
        for unit in units:
            unit.is_settled = True
        self._tell()

    async def _save_each(self, units: list[_Unit]) -> None:
        """One of them cannot be stored: each by itself."""
        for unit in units:
            try:
                await self._write([unit])
            except JournalUnitRefused as error:
                self._set_aside(unit, error)

    async def _write(self, units: list[_Unit]) -> None:
        records = [record for unit in units for record in unit.records]
        if records:
            await self._store.submit(records, durable=True)


def _take_notice(done: "asyncio.Future[None]") -> None:
    """Who does not wait for a unit hears of its failure through the incident."""
    if not done.cancelled():
        done.exception()
