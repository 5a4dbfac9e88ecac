"""Stop and take profit where the venue keeps them as a state of the position: set, read, and compared with the wish.

Nothing is placed, so nothing can stand twice: what is wanted is committed, then set, and set again as often as needed.
An answer that was lost is no verdict; what the position carries is read. A reading may lag: what it shows as wanted
counts at once, what it lacks only if it began later than the visibility margin behind the last set.
What the stream tells of the end of a stop turns that round.
"""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

import msgspec

from tradingd.domain.account import PositionProtection, RejectKind, SubmitOutcome, SubmitVerdict, VenueOrder
from tradingd.domain.errors import JournalError, Severity, VenueError, VenueUnreachable
from tradingd.domain.events import incident
from tradingd.domain.ids import Purpose
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.orders import OrderStatus
from tradingd.domain.records import ProtectionSetRecord
from tradingd.execution.cover import Carried, Cover, Covers
from tradingd.execution.desk import Desk
from tradingd.execution.exchange_router import within
from tradingd.execution.idempotency_manager import COMMIT_WAIT_S, IdempotencyManager
from tradingd.execution.lanes import Lane
from tradingd.ports import Priority, StateProtection

AGAIN_S = 0.5
"""After a look that brought no answer the next one comes so soon, and the levels are set again no sooner; real time."""
_OUTCOMES = {SubmitVerdict.ACCEPTED: "accepted", SubmitVerdict.NOT_EXECUTED: "refused"}


class Levels:
    """Sets and reads the levels that a position carries; who calls decides what is wanted."""

    def __init__(
        self,
        desk: Desk,
        covers: Covers,
        idempotency: IdempotencyManager,
        book_missing: Callable[[InstrumentId], Awaitable[int]],
    ) -> None:
        self._state = desk.state
        self._recorder = desk.recorder
        self._router = desk.router
        self._bus = desk.bus
        self._clock = desk.clock
        self._limits = desk.limits
        self._covers = covers
        self._idempotency = idempotency
        self._book_missing = book_missing
        self.on_look: Callable[[InstrumentId], None] = lambda instrument: None

    def _adapter(self, instrument: InstrumentId) -> StateProtection | None:
        return self._router.venue(instrument).state_protection

    # --- setting --------------------------------------------------------------------------------------------------

    async def set(self, cover: Cover, timeout_s: float, *, target: bool = True) -> SubmitOutcome:
        """Commit what is wanted, then set it once; without the take profit when `target` is false."""
        instrument = cover.instrument
        adapter, wanted = self._adapter(instrument), self._covers.wanted(cover)
        if adapter is None:
            raise ValueError(f"{instrument.venue} keeps no protection with the position")
        if cover.unread:
            await self._read_first(cover)
            if self._covers.get(instrument) is not cover or not self._is_watched(cover):
                return SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=RejectKind.NOT_SENT, message="nothing is held")
            wanted = self._covers.wanted(cover)
        take_profit = wanted.take_profit if target else None
        written = self._record(cover, wanted.stop, take_profit)
        await self._write_ahead(cover, written)
        # a refusal changes nothing: neither what stands, nor what an earlier setting without an answer left in doubt
        sure, era = cover.sure, cover.era
        cover.sure = False
        try:
            outcome = await within(timeout_s, adapter.set(instrument, wanted.stop, take_profit, Priority.PROTECT))
        except VenueUnreachable as error:
            outcome = SubmitOutcome(SubmitVerdict.AMBIGUOUS, message=str(error))
        self._note(cover, written, outcome)
        if cover.era == era and outcome.verdict is SubmitVerdict.ACCEPTED:
            cover.carries, cover.sure, cover.told_gone = Carried(wanted.stop, take_profit), True, None
            cover.unread = False
            self._tell_changed(cover)
            if cover.told_covered and self._covers.get(instrument) is cover:
                self._recorder.commit((cover.record("covered", cover.set_ms),))
        elif cover.era == era and outcome.verdict is SubmitVerdict.NOT_EXECUTED:
            cover.sure = sure
        return outcome

    async def _read_first(self, cover: Cover) -> None:
        """What a position of an earlier run carries may be another hand's in part, and a setting would clear that. Not
        for long: a stop that is missing goes out all the same (P5)."""
        for pause_s in (0.0, AGAIN_S):
            await self._clock.sleep(pause_s)
            try:
                await within(AGAIN_S, self.look(cover.instrument, Priority.PROTECT))
            except VenueError:
                continue
            if not cover.unread:
                return

    def _record(self, cover: Cover, stop: Decimal | None, take_profit: Decimal | None) -> ProtectionSetRecord:
        why, cover.why = cover.why or "wanted", ""
        return ProtectionSetRecord(
            self._idempotency.next_id(Purpose.STOP),
            cover.instrument,
            cover.strategy,
            cover.intent_id,
            stop,
            take_profit,
            why,
            self._clock.at(cover.instrument.venue).now_ms(),
        )

    async def _write_ahead(self, cover: Cover, written: ProtectionSetRecord) -> None:
        """FULL, before the request leaves. A journal that cannot commit holds no stop up: what was wanted stands with
        the entry in the journal, what is set can be read from the venue, and the rows are held and written later."""
        future = self._recorder.commit((cover.record("placing", written.time_ms), written))
        done, _ = await asyncio.wait({future}, timeout=COMMIT_WAIT_S)
        if done:
            try:
                future.result()
            except JournalError:
                return

    def _note(self, cover: Cover, written: ProtectionSetRecord, outcome: SubmitOutcome) -> None:
        cover.sets += 1
        cover.set_ms = self._clock.at(cover.instrument.venue).now_ms()
        cover.look_at = self._clock.monotonic() + self._limits.look_every_s
        told = msgspec.structs.replace(
            written,
            outcome=_OUTCOMES.get(outcome.verdict, "unknown"),
            raw_code=outcome.code,
            detail="" if outcome.verdict is SubmitVerdict.ACCEPTED else outcome.told(),
            answered_ms=cover.set_ms,
        )
        self._recorder.commit((told,))
        if outcome.sent and outcome.verdict is not SubmitVerdict.AMBIGUOUS:
            self._router.note_answer(cover.instrument.venue)
        if outcome.verdict is not SubmitVerdict.ACCEPTED:
            self._router.on_trouble(cover.instrument, outcome)

    # --- reading --------------------------------------------------------------------------------------------------

    def look_if_due(self, instrument: InstrumentId, lane: Lane) -> None:
        """Queue a look every `execution.look_every_s`: what a stream did not tell, and what another hand changed."""
        cover = self._covers.get(instrument)
        if cover is None or not self._is_watched(cover) or self._clock.monotonic() < cover.look_at:
            return
        cover.look_at = self._clock.monotonic() + self._limits.look_every_s

        async def look() -> None:
            try:
                await within(self._limits.submit_timeout_s, self.look(instrument))
            except VenueError:
                cover.look_at = self._clock.monotonic() + AGAIN_S

        lane.add(Priority.RECONCILE, "look at protection", look, yields=True)

    def _is_watched(self, cover: Cover) -> bool:
        return self._covers.by_state(cover.instrument) and self._state.expected_quantity(cover.instrument) != 0

    def note_shown(self, shown: VenueOrder) -> None:
        """The stream told of what the venue makes of the levels: worth a look where it is not what is wanted."""
        cover = self._covers.get(shown.instrument)
        if cover is None or not self._is_watched(cover):
            return
        wanted = self._covers.wanted(cover)
        clock = self._clock.at(cover.instrument.venue)
        if self._is_end_of_stop(cover, shown):
            cover.told_gone = clock.monotonic(), clock.now_ms()
            cover.look_at = 0.0
        elif shown.status.is_final or shown.trigger_price not in (wanted.stop, wanted.take_profit):
            margin_s = max(0, cover.set_ms + self._margin_ms(cover) - clock.now_ms()) / 1000 / clock.speed
            cover.look_at = min(cover.look_at, self._clock.monotonic() + margin_s)

    def _is_end_of_stop(self, cover: Cover, shown: VenueOrder) -> bool:
        """Whether this is the end of the stop that stands, not of one before it; that it fired, the fills tell."""
        ended = shown.status.is_final and shown.status is not OrderStatus.FILLED
        standing = cover.carries is not None and shown.trigger_price == cover.carries.stop
        return ended and standing and shown.updated_ms >= cover.set_ms

    async def look(self, instrument: InstrumentId, priority: Priority = Priority.RECONCILE) -> None:
        """Read what the position carries, and believe it as far as it may be believed. Raises VenueError."""
        cover, adapter = self._covers.get(instrument), self._adapter(instrument)
        if cover is None or adapter is None or not self._is_watched(cover):
            return
        sets, era, asked_ms = cover.sets, cover.era, self._clock.at(instrument.venue).now_ms()
        # asked behind the setting, so a setting of later than now is of a clock that was ahead: the margin begins anew
        cover.set_ms = min(cover.set_ms, asked_ms)
        if cover.told_gone is not None:
            cover.told_gone = cover.told_gone[0], min(cover.told_gone[1], asked_ms)
        shown = await adapter.read(instrument, priority)
        held = self._state.expected_quantity(instrument)
        if self._covers.get(instrument) is not cover or (cover.sets, cover.era) != (sets, era) or held == 0:
            return  # of a time that is over
        if shown.quantity * held > 0:
            self._take_in(cover, shown, asked_ms)
        elif asked_ms > self._state.last_fill_ms.get(instrument, 0) + self._margin_ms(cover):
            # gone, or turned: the fills say how; a stop may have fired unheard
            await self._book_missing(instrument)

    def _take_in(self, cover: Cover, shown: PositionProtection, asked_ms: int) -> None:
        now, wanted = Carried(shown.stop, shown.take_profit), self._covers.wanted(cover)
        stands, gone = now.serves(wanted), cover.told_gone
        if gone is not None and stands and asked_ms <= gone[1] + self._margin_ms(cover):
            # the reading is older than what the stream told
            cover.look_at = self._clock.monotonic() + AGAIN_S
            return
        if gone is None and not stands and asked_ms <= cover.set_ms + self._margin_ms(cover):
            # it may lag behind the last setting, and proves nothing; but to set the same again costs a request, and to
            # wait until it would be believed as much time as a position may be bare (P5)
            if asked_ms >= cover.set_ms + AGAIN_S * 1000 * self._clock.at(cover.instrument.venue).speed:
                cover.sure, cover.why = False, f"a reading that may lag showed {now.told()}"
                self.on_look(cover.instrument)
            return
        if cover.sure and cover.carries is not None and cover.carries.serves(wanted) and not now.serves(wanted):
            self._note_changed(cover, now, wanted)
        if stands and not cover.sure:
            self._tell_changed(cover)  # a setting that had no answer put it right
        cover.changed = "" if stands else cover.changed
        cover.carries, cover.sure, cover.unread = now, True, False
        cover.told_gone = None if stands else gone
        self.on_look(cover.instrument)

    def _note_changed(self, cover: Cover, now: Carried, wanted: Carried) -> None:
        """A level that fires takes the other one away a moment before its fill: that there was a hand is certain only
        when the venue has set them again, for a position that it still has."""
        cover.why = f"the venue showed {now.told()}"
        cover.changed = f"{cover.instrument}: the position carried {now.told()} where {wanted.told()} is wanted; "
        cover.changed += "somebody else changed it, and it was set again"

    def _tell_changed(self, cover: Cover) -> None:
        why, cover.changed = cover.changed, ""
        if why:
            self._bus.publish(incident("protection_changed", Severity.WARNING, why, cover.instrument, cover.strategy))

    def _margin_ms(self, cover: Cover) -> int:
        limits = self._router.venue(cover.instrument).limits
        return max(limits.visibility_margin_ms, self._limits.visibility_margin_ms)
