"""Journal and venue made to agree, the venue wins (P8); and no entry before they do after an own fill (P17)."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

import msgspec

from tradingd.domain.account import AccountSnapshot, VenueOrder, VenuePosition
from tradingd.domain.errors import Severity, VenueError
from tradingd.domain.events import AccountRead, PositionChanged, incident
from tradingd.domain.ids import Purpose, StrategyId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Denial, DenyReason
from tradingd.domain.numbers import ZERO, plain_text
from tradingd.domain.orders import Fill
from tradingd.domain.positions import Position
from tradingd.domain.records import (
    BalanceRecord,
    FlagRecord,
    LastCloseRecord,
    Record,
)
from tradingd.execution.desk import Desk
from tradingd.execution.history_marks import HistoryMarks
from tradingd.execution.idempotency_manager import IdempotencyManager
from tradingd.execution.leftover_sweeper import LeftoverSweeper
from tradingd.execution.risk_guard import RiskGuard
from tradingd.execution.wallets import Wallets
from tradingd.ports import Priority

HISTORY_FLAG = "history_start:"
READ_TRIES = 2
"""One lost answer must not cost a whole recovery: each of its readings is tried so often."""
LISTED_APART = 10
"""Up to so many instruments the open orders of each are asked for: the list of all weighs 40 times that of one."""
ODD_AGAIN_S = 1.0
"""Between two readings of a wallet that nothing explains; real time."""
CORRECT_AFTER_MS = 10_000
"""So long after the last own fact a reading is trusted against the journal; venue time at speed 1."""


class BalanceReconciler:
    """Reads accounts, compares them with the expected ledger, books what is missing, corrects what cannot be booked."""

    def __init__(
        self,
        desk: Desk,
        idempotency: IdempotencyManager,
        sweeper: LeftoverSweeper,
        risk: RiskGuard,
    ) -> None:
        self._state = desk.state
        self._recorder = desk.recorder
        self._router = desk.router
        self._idempotency = idempotency
        self._sweeper = sweeper
        self._wallets = Wallets(desk, risk.losses)
        self._retry = desk.retry
        self._bus = desk.bus
        self._clock = desk.clock
        self._limits = desk.limits
        self._history_start_ms: dict[VenueId, int] = {}
        self._marks = HistoryMarks(desk.recorder)
        self._unlisted_told: dict[VenueId, tuple[str, ...]] = {}
        self.learn_levels: Callable[[InstrumentId], Awaitable[None]] = _nothing_to_learn
        self.on_reconciled: Callable[[VenueId], None] = lambda venue: None

    def load(self, flags: tuple[FlagRecord, ...]) -> None:
        """Take over what earlier runs expected of the wallets."""
        self._wallets.load(flags)

    def begin_history(self, venue: VenueId, flags: tuple[FlagRecord, ...]) -> None:
        """From when on the journal holds every execution of the venue: its first start there, kept for ever."""
        name = f"{HISTORY_FLAG}{venue}"
        for flag in flags:
            if flag.name == name:
                self._history_start_ms[venue] = int(flag.value)
        if venue not in self._history_start_ms:
            now_ms = self._clock.at(venue).now_ms()
            self._history_start_ms[venue] = now_ms
            self._recorder.commit((FlagRecord(name, str(now_ms), "first start at this venue", now_ms),))
        self._marks.begin(venue, self._history_start_ms[venue], flags)
        self._wallets.begin(venue, self._history_start_ms[venue], flags)

    # --- readings -------------------------------------------------------------------------------------------------

    async def read(self, venue: VenueId, priority: Priority) -> AccountSnapshot:
        """Read balance and positions; the newest reading wins. Raises VenueError."""
        snapshot = await self._router.venues[venue].account(priority)
        known = self._state.accounts.get(venue)
        if known is None or snapshot.requested_ms >= known.requested_ms:
            self._state.accounts[venue] = snapshot
            for position in snapshot.positions:
                if position.mark_price is not None:
                    self._state.note_price(position.instrument, position.mark_price, self._clock.monotonic())
            self._keep(snapshot)
            self._tell_unlisted(snapshot)
            self._bus.publish(AccountRead(snapshot))
        return snapshot

    def _tell_unlisted(self, snapshot: AccountSnapshot) -> None:
        """Positions on markets that are not in our table: they take margin, and nobody here can look after them."""
        markets = tuple(sorted(each.partition(" ")[0] for each in snapshot.unlisted))
        if markets == self._unlisted_told.get(snapshot.venue, ()):
            return
        self._unlisted_told[snapshot.venue] = markets
        if markets:
            held = ", ".join(snapshot.unlisted)
            why = f"held on markets that are not traded here: {held}; left alone, and their margin is not available"
            self._raise("unlisted_position", Severity.WARNING, why, snapshot.venue)

    def _keep(self, snapshot: AccountSnapshot) -> None:
        balance = snapshot.balance
        if balance.equity is None or balance.available is None:
            return
        now_ms = snapshot.received_ms
        records: list[Record] = [
            BalanceRecord(snapshot.venue, balance.currency, balance.wallet, balance.equity, balance.available, now_ms)
        ]
        records += self._wallets.judged(snapshot)
        self._recorder.commit(records)

    # --- convergence (P17) ----------------------------------------------------------------------------------------

    def note_fill(self, fill: Fill) -> list[Record]:
        """An own account's fill: entries wait until a reading newer than it agrees. What is committed with it."""
        return self._wallets.note_fill(fill)

    def doubt(self, venue: VenueId) -> None:
        """The venue shows what the journal does not explain: entries wait until a reading from now on agrees."""
        self._wallets.doubt(venue)

    def check(self, venue: VenueId) -> Denial | None:
        """The denial while the account has not converged since the last fill."""
        expected = self._wallets.of(venue)
        if venue not in self._state.accounts:
            return Denial(DenyReason.ACCOUNT_NOT_CONVERGED, "the account has not been read yet")
        if any(self._state.lacks_fills(each) for each in self._state.instruments_of(venue)):
            return Denial(DenyReason.ACCOUNT_NOT_CONVERGED, "a reported fill is not booked yet")
        if self._recorder.unowned.keys(venue):
            return Denial(DenyReason.ACCOUNT_NOT_CONVERGED, "a fill's id is ours, and whose order it is is looked up")
        if expected.settled:
            return None
        return Denial(DenyReason.ACCOUNT_NOT_CONVERGED, "no reading newer than the last fill agrees yet")

    async def converge(self, venue: VenueId) -> None:
        """Poll until a reading newer than the last fill agrees with the expected ledger, or the deadline passes.

        Past the deadline positions that differ are reconciled; a wallet alone that differs (a transfer, funding) is
        told, written to the ledger, and taken as the new base.
        """
        expected = self._wallets.of(venue)
        started, attempt = self._clock.monotonic(), 0
        while not expected.settled or self._recorder.unowned.keys(venue):
            attempt += 1
            fills_before, asked_at = expected.fills, self._clock.monotonic()
            # a fill of later than now is of a clock that was ahead: no reading would ever be newer
            expected.last_fill_ms = min(expected.last_fill_ms, self._clock.at(venue).now_ms())
            try:
                await self._sweeper.look_up_owners(venue)
                snapshot = await self.read(venue, Priority.RECONCILE)
            except VenueError:
                await self._clock.sleep(self._retry.delay_s(attempt))
                continue
            fresh = expected.fills == fills_before and snapshot.requested_ms > expected.last_fill_ms
            differing = self._differing(snapshot)
            overdue = self._clock.monotonic() - max(started, expected.seen_at) > self._limits.converge_timeout_s
            agrees = self._wallets.agrees(snapshot, asked_at)
            if fresh and not differing and (agrees or overdue):
                self._wallets.settle(snapshot)
                return
            if fresh and not differing and attempt > 2:
                await self._wallets.explain(venue)
            if fresh and differing and overdue:
                await self.reconcile(venue)
                return
            await self._clock.sleep(min(1.0, self._retry.delay_s(attempt) / 2))

    def _differing(self, snapshot: AccountSnapshot) -> list[InstrumentId]:
        """Instruments where the journal's position is not the venue's, or where reported fills are not booked yet."""
        return [
            instrument
            for instrument in self._compared(snapshot)
            if snapshot.position(instrument).quantity != self._state.position(instrument).quantity
            or self._state.lacks_fills(instrument)
        ]

    def _compared(self, snapshot: AccountSnapshot) -> list[InstrumentId]:
        """Ours, and whatever the venue shows beside: what a human holds elsewhere is kept account of too, or the close
        of it would look like a position."""
        held = [position.instrument for position in snapshot.positions if position.quantity]
        return list(dict.fromkeys([*self._state.instruments_of(snapshot.venue), *held]))

    async def _settle_if_shown(self, snapshot: AccountSnapshot, asked_at: float) -> None:
        """Positions agree. While fills are awaited, a wallet that does not is left to `converge` up to its deadline;
        else it is read anew until it has differed for longer than readings lag, orders and fills looked at again then
        included: the wallet may show a fill first."""
        venue, began, is_learned = snapshot.venue, self._clock.monotonic(), False
        expected = self._wallets.of(venue)
        while True:
            if expected.settled and not self._wallets.agrees(snapshot, asked_at):
                await self._wallets.explain(venue)
            agrees = self._wallets.agrees(snapshot, asked_at)
            if not expected.settled:
                overdue = asked_at - expected.seen_at > self._limits.converge_timeout_s
                if agrees or overdue:
                    self._wallets.settle(snapshot)
                return
            if agrees:
                self._wallets.settle(snapshot)
                return
            persists = self._wallets.persists(snapshot, asked_at)
            instruments = list(self._state.instruments_of(venue))
            lacking = [each for each in instruments if self._state.lacks_fills(each)]
            overdue = asked_at - began > self._limits.converge_timeout_s
            asked = self._wallets.asked_since(venue)
            if persists and (overdue or (asked and is_learned and not lacking)):
                self._wallets.settle(snapshot)
                return
            await self._clock.sleep(ODD_AGAIN_S)
            if persists:
                await self._learn_all(venue, lacking if is_learned else instruments)
                is_learned = True
            asked_at = self._clock.monotonic()
            snapshot = await self._retry.run(lambda: self.read(venue, Priority.RECONCILE), attempts=READ_TRIES)

    # --- reconcile ------------------------------------------------------------------------------------------------

    async def reconcile(self, venue: VenueId, on_known: Callable[[InstrumentId], None] = lambda each: None) -> None:
        """Orders, fills, positions, balance, in this order. Raises VenueError; then nothing is proved (P11).

        Legs in doubt that are not past their fence stay in doubt; everything else agrees when this returns. Instruments
        are read side by side; `on_known` is told of each as soon as its orders and fills are, whatever holds up others.
        """
        instruments = list(self._state.instruments_of(venue))
        await self._learn_all(venue, instruments, on_known)
        await self._agree(venue, instruments)
        self.on_reconciled(venue)
        await self._wallets.book_if_due(venue)

    async def _learn_all(
        self,
        venue: VenueId,
        instruments: list[InstrumentId],
        on_known: Callable[[InstrumentId], None] = lambda each: None,
    ) -> None:
        """Orders and fills of instruments of one venue, side by side; raises the first failure once all have ended."""
        listed = await self._open_orders(venue, None) if len(instruments) > LISTED_APART else None

        async def learn(instrument: InstrumentId) -> None:
            shown = await self._open_orders(venue, instrument) if listed is None else listed
            await self._learn(instrument, [each for each in shown if each.instrument == instrument])
            on_known(instrument)

        outcomes = await asyncio.gather(*map(learn, instruments), return_exceptions=True)
        for failure in (each for each in outcomes if each is not None):
            raise failure

    async def book_if_due(self, venue: VenueId) -> None:
        """Read the venue's funding and transfers when it is time: drawdown is judged by what they explain."""
        await self._wallets.book_if_due(venue)

    async def _open_orders(self, venue: VenueId, instrument: InstrumentId | None) -> list[VenueOrder]:
        adapter = self._router.venues[venue]
        return await self._retry.run(lambda: adapter.open_orders(instrument, Priority.RECONCILE), attempts=READ_TRIES)

    async def _learn(self, instrument: InstrumentId, shown: list[VenueOrder]) -> None:
        """What the venue shows of one instrument: open orders first, then those that it no longer shows, then fills."""
        await self._sweeper.take_in(instrument, shown)
        adapter = self._router.venue(instrument)
        open_keys = {each.client_order_id for each in shown}
        for order in list(self._state.open_orders(instrument)):
            if order.client_order_id in open_keys:
                continue
            if order.status.is_unknown:
                await self._idempotency.settle(order, adapter)
            else:
                await self._idempotency.refresh(order, adapter)
        await self._retry.run(partial(self.book_missing, instrument), attempts=READ_TRIES)
        await self._retry.run(partial(self.learn_levels, instrument), attempts=READ_TRIES)

    async def book_missing(self, instrument: InstrumentId) -> int:
        """Read the venue's executions since shortly before the last one read so, and book those that are new."""
        asked_ms = self._clock.at(instrument.venue).now_ms()
        since_ms = self._marks.since_ms(instrument, asked_ms)
        await self._recorder.recall_trades(instrument, since_ms)
        fills = await self._router.venue(instrument).fills(instrument, since_ms, Priority.RECONCILE)
        booked = sum(self._recorder.apply_fill(fill, "lookup") for fill in fills)
        self._marks.note(instrument, asked_ms, fills)
        return booked

    async def _agree(self, venue: VenueId, instruments: list[InstrumentId]) -> None:
        """Fills are booked: book more until positions agree; correct only what two agreeing readings, newer than any
        fact, show."""
        last: dict[InstrumentId, Decimal] = {}
        for attempt in range(1, 7):
            for instrument in instruments if attempt > 1 else ():
                await self._retry.run(partial(self.book_missing, instrument), attempts=READ_TRIES)
            await self._sweeper.look_up_owners(venue)
            fills_before, asked_at = self._wallets.of(venue).fills, self._clock.monotonic()
            snapshot = await self._retry.run(lambda: self.read(venue, Priority.RECONCILE), attempts=READ_TRIES)
            differing = self._differing(snapshot)
            if not differing:
                await self._settle_if_shown(snapshot, asked_at)
                return
            instruments = list(dict.fromkeys([*instruments, *differing]))
            shown = {each: snapshot.position(each).quantity for each in differing}
            same = shown == last and attempt >= 3 and self._wallets.of(venue).fills == fills_before
            if same and all(self._is_quiet(instrument, snapshot) for instrument in differing):
                for instrument in differing:
                    self._correct(snapshot.position(instrument))
                self._wallets.settle(snapshot)
                return
            last = shown
            await self._clock.sleep(min(1.0, self._retry.delay_s(attempt)))
        raise VenueError(f"{venue}: positions do not settle: {last}", transient=True)

    def _is_quiet(self, instrument: InstrumentId, snapshot: AccountSnapshot) -> bool:
        """Whether the last own fact is old enough for the reading to show it: a venue's positions and history lag.

        Correcting to a reading that lags would take a position for flat, and sweep its stop.
        """
        if self._state.unknown_orders(instrument):
            return False
        facts = [order.updated_ms for order in self._state.recent_orders(instrument)]
        last_ms = max([self._state.last_fill_ms.get(instrument, 0), *facts])
        return snapshot.requested_ms > last_ms + CORRECT_AFTER_MS * self._clock.at(instrument.venue).speed

    def _correct(self, shown: VenuePosition) -> None:
        """The venue wins: fills that its history does not show (too old, before our first start) are not invented."""
        before = self._state.position(shown.instrument)
        now_ms = self._clock.at(shown.instrument.venue).now_ms()
        same = before.quantity * shown.quantity > 0
        position = Position(
            shown.instrument,
            shown.quantity,
            shown.entry_price,
            (before.opened_ms if same else now_ms) if shown.quantity else None,
            now_ms,
            before.strategy if same else self._owner_of(shown),
        )
        self._state.positions[shown.instrument] = position
        records: list[Record] = [position]
        for order in list(self._state.orders.values()):
            if order.instrument == shown.instrument and order.filled_quantity > order.booked_quantity:
                settled = msgspec.structs.replace(order, filled_quantity=order.booked_quantity)
                self._state.put_order(settled)
                # written down, or the next start would expect those contracts again
                records.append(settled)
        closed = not before.is_flat and position.is_flat
        if closed:
            close = LastCloseRecord(shown.instrument, now_ms, "correction", None, before.strategy)
            self._state.last_closes[shown.instrument] = close
            records.append(close)
        self._recorder.commit(records, (PositionChanged(position, ZERO, closed, "correction"),))
        self._tell_correction(before, position)

    def _owner_of(self, shown: VenuePosition) -> StrategyId | None:
        """Whose a corrected position is: of the entry that the venue reported as filled and whose fills its history
        lacks, else nobody's."""
        for order in self._state.recent_orders(shown.instrument):
            lacks = order.filled_quantity > order.booked_quantity and order.request.purpose is Purpose.ENTRY
            if lacks and order.request.side.sign * shown.quantity > 0:
                return order.strategy
        return None

    def _tell_correction(self, before: Position, position: Position) -> None:
        instrument = position.instrument
        if before.is_flat and instrument not in self._state.owners:
            held = plain_text(position.quantity)
            why = f"{instrument}: {held} contracts that nobody here ordered, where no strategy trades; left alone"
            self._raise("foreign_position", Severity.WARNING, why, instrument.venue)
            return
        why = f"{instrument}: journal {before.quantity}, venue {position.quantity}; the venue wins"
        self._raise("position_corrected", Severity.CRITICAL, why, instrument.venue)

    def _raise(self, kind: str, severity: Severity, detail: str, venue: VenueId) -> None:
        self._bus.publish(incident(kind, severity, detail, venue))


async def _nothing_to_learn(instrument: InstrumentId) -> None:
    """Protection is made of orders, and those are looked up."""
