"""What each venue's wallet should hold: what the first reading ever showed, and every fill and booking since.

The sum is kept in the journal, in one unit with what changes it. So no run has to take a reading on trust: it may be
older than what was booked before the start, or show what is booked only later.
Funding, transfers and rebates are told by no fill. They are read from the venue's own bookings: rarely, for that is
dear, and whenever a wallet differs from what is expected.
"""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from tradingd.domain.account import AccountSnapshot
from tradingd.domain.errors import Severity, VenueError
from tradingd.domain.events import incident
from tradingd.domain.ids import VenueId
from tradingd.domain.numbers import ZERO, plain_text
from tradingd.domain.orders import Fill
from tradingd.domain.records import DayEquityRecord, FlagRecord, LedgerRecord, Record
from tradingd.execution.desk import Desk
from tradingd.execution.loss_limits import LossLimits, midnight_ms, utc_day
from tradingd.ports import Priority

WALLET_TOLERANCE = Decimal("0.01")
"""USDT by which the wallet may differ from what is expected: the venues round fees to 8 digits."""
BALANCE_LAG_S = 2.0
"""A balance read so long after a fill shows it; positions are seen earlier. Real time."""
BOOKED_FLAG = "bookings:"
WALLET_FLAG = "wallet:"
BY_FILLS = frozenset({"realized_pnl", "fee"})
"""Bookings that the fills tell, each by itself."""
TRANSFER = "transfer"
BOOKINGS_LAG_MS = 300_000
"""Bookings are read again this far back, venue time: they may show up late."""
FIRST_BOOKING_S, BOOKING_EVERY_S, ASK_AGAIN_S = 5.0, 600.0, 5.0
"""The first reading leaves a start alone; the next ones are rare; a difference asks anew no faster than this."""
LATE_BASE_MS = 60_000
"""A day's base that was read later than this after midnight is worked out from the bookings since, at speed 1."""


class Sum(msgspec.Struct, frozen=True):
    """What a venue's wallet should hold, USDT; persisted. Nothing before its first reading, asked for at `since_ms`.

    `unexplained`: how much of it neither fill nor booking explains, `unexplained_ms` when that was last found,
    `read_ms` the last reading that agreed. Not exact: a fee in another coin, or a profit that was not told, is missing.
    """

    wallet: Decimal | None = None
    since_ms: int = 0
    read_ms: int = 0
    exact: bool = True
    unexplained: Decimal = ZERO
    unexplained_ms: int = 0


class Expected(msgspec.Struct):
    """A venue's expected wallet in this run. `odd`: by how much a reading differed, and when it was asked for
    (monotonic)."""

    sum: Sum = Sum()
    fills: int = 0
    last_fill_ms: int = 0
    seen_at: float = float("-inf")
    settled: bool = True
    odd: tuple[Decimal, float] | None = None


class _Booked(msgspec.Struct):
    """Up to when bookings are in the ledger, and which later ones are; persisted, so that none counts twice."""

    until_ms: int
    keys: list[str] = []


class Wallets:
    """Explains each venue's wallet, and tells the loss limits of what they must know."""

    def __init__(self, desk: Desk, losses: LossLimits) -> None:
        self._state = desk.state
        self._recorder = desk.recorder
        self._router = desk.router
        self._bus = desk.bus
        self._clock = desk.clock
        self._losses = losses
        self._expected: dict[VenueId, Expected] = {}
        self._booked: dict[VenueId, _Booked] = {}
        self._read: set[VenueId] = set()
        self._due_at: dict[VenueId, float] = {}
        self._asked_at: dict[VenueId, float] = {}
        self._failed: set[VenueId] = set()

    def of(self, venue: VenueId) -> Expected:
        """What is expected of a venue."""
        return self._expected.setdefault(venue, Expected())

    def load(self, flags: Iterable[FlagRecord]) -> None:
        """Take over what earlier runs expected, before anything can be booked: a stream may tell fills before the first
        recovery has begun, and the sum is committed with each."""
        for flag in flags:
            if flag.name.startswith(WALLET_FLAG):
                self.of(VenueId(flag.name.removeprefix(WALLET_FLAG))).sum = msgspec.json.decode(flag.value, type=Sum)

    def begin(self, venue: VenueId, history_start_ms: int, flags: Iterable[FlagRecord]) -> None:
        """Go on where an earlier run left the bookings, or at the first start at this venue."""
        known = next((flag.value for flag in flags if flag.name == f"{BOOKED_FLAG}{venue}"), None)
        self._booked[venue] = _Booked(history_start_ms) if known is None else msgspec.json.decode(known, type=_Booked)
        self._due_at[venue] = self._clock.monotonic() + FIRST_BOOKING_S

    # --- what changes it ------------------------------------------------------------------------------------------

    def note_fill(self, fill: Fill) -> list[Record]:
        """An own account's fill: its profit and its fee are expected in the wallet. What is to be committed with it."""
        venue = fill.instrument.venue
        expected = self.of(venue)
        expected.fills += 1
        expected.last_fill_ms = max(expected.last_fill_ms, fill.time_ms)
        expected.seen_at = self._clock.monotonic()
        expected.settled = False
        exact = fill.realized_pnl is not None and (not fill.fee or fill.fee_currency == "USDT")
        amount = (fill.realized_pnl or ZERO) - (fill.fee if fill.fee_currency == "USDT" else ZERO)
        if expected.sum.wallet is None:
            return []  # the first reading shows it
        expected.sum = _changed(expected.sum, amount, exact=exact)
        reference = f"fill:{fill.instrument.symbol}:{fill.trade_id}"
        return [*self._take_back(venue, amount, fill.time_ms, reference), self._flag(venue)]

    def doubt(self, venue: VenueId) -> None:
        """What the venue shows is not explained: only a reading from now on proves anything."""
        expected = self.of(venue)
        expected.last_fill_ms = max(expected.last_fill_ms, self._clock.at(venue).now_ms())
        expected.seen_at = self._clock.monotonic()
        expected.settled = False

    # --- readings -------------------------------------------------------------------------------------------------

    def _difference(self, snapshot: AccountSnapshot) -> Decimal:
        expected = self.of(snapshot.venue)
        if expected.sum.wallet is None or not expected.sum.exact:
            return ZERO
        return snapshot.balance.wallet - expected.sum.wallet

    def agrees(self, snapshot: AccountSnapshot, asked_at: float) -> bool:
        """Whether the wallet is as expected; where nothing is, whether it was read late enough to show all fills."""
        expected = self.of(snapshot.venue)
        if expected.sum.wallet is None or not expected.sum.exact:
            return asked_at - expected.seen_at >= BALANCE_LAG_S
        return abs(self._difference(snapshot)) <= WALLET_TOLERANCE

    def persists(self, snapshot: AccountSnapshot, asked_at: float) -> bool:
        """Whether readings have shown the same difference for longer than they lag: one alone may be older than the
        last that agreed."""
        expected, amount = self.of(snapshot.venue), self._difference(snapshot)
        if expected.odd is None or expected.odd[0] != amount:
            expected.odd = (amount, asked_at)
        return asked_at - expected.odd[1] >= BALANCE_LAG_S

    def asked_since(self, venue: VenueId) -> bool:
        """Whether the venue's bookings were asked for since the difference showed; an earlier answer explains none."""
        odd = self.of(venue).odd
        return odd is None or self._asked_at.get(venue, float("-inf")) >= odd[1]

    def judged(self, snapshot: AccountSnapshot) -> list[Record]:
        """What a reading tells the loss limits, to be committed: the day's base, and once the wallet is explained by
        the venue's bookings, peak and limits. Before, a withdrawal would look like a loss."""
        records = self._losses.begin_day(snapshot)
        explained = self.of(snapshot.venue).settled and abs(self._difference(snapshot)) <= WALLET_TOLERANCE
        return records + self._losses.judge(snapshot) if explained and snapshot.venue in self._read else records

    def settle(self, snapshot: AccountSnapshot) -> None:
        """Take a reading for true; what nothing explains is told."""
        venue, expected = snapshot.venue, self.of(snapshot.venue)
        before, amount = expected.sum, self._difference(snapshot)
        records = self._unexplained(snapshot, amount) if abs(amount) > WALLET_TOLERANCE else []
        if before.wallet is None or not before.exact:
            expected.sum = Sum(snapshot.balance.wallet, snapshot.requested_ms)
        expected.sum = msgspec.structs.replace(expected.sum, read_ms=snapshot.requested_ms)
        expected.settled, expected.odd = True, None
        if (before.wallet, before.exact) != (expected.sum.wallet, expected.sum.exact):
            records.append(self._flag(venue))
        records += self.judged(snapshot)
        if records:
            self._recorder.commit(records)

    def _unexplained(self, snapshot: AccountSnapshot, amount: Decimal) -> list[Record]:
        """Money that neither fill nor booking explains; it is taken for a transfer, which is no loss. What takes back
        an earlier such amount, since its reason was booked meanwhile, is not told as another."""
        venue, now_ms = snapshot.venue, snapshot.received_ms
        expected, currency = self.of(venue), snapshot.balance.currency
        left = expected.sum.unexplained + amount
        if abs(left) > WALLET_TOLERANCE:
            why = f"the wallet moved by {amount} {currency}, and neither a fill nor a booking of the venue says why"
            self._bus.publish(incident("balance_unexplained", Severity.WARNING, why, venue))
        expected.sum = msgspec.structs.replace(_changed(expected.sum, amount), unexplained=left, unexplained_ms=now_ms)
        row = LedgerRecord(venue, "unexplained", str(now_ms), None, amount, currency, now_ms)
        return [row, *self._losses.transferred(venue, amount, now_ms)]

    def _take_back(self, venue: VenueId, amount: Decimal, time_ms: int, reference: str) -> list[Record]:
        """A reason that is booked late, for money that readings showed before and nothing explained then."""
        expected = self.of(venue)
        shown_ms = expected.sum.read_ms - round(BALANCE_LAG_S * 1000 * self._clock.at(venue).speed)
        if abs(expected.sum.unexplained) <= WALLET_TOLERANCE or time_ms > shown_ms:
            return []
        left = expected.sum.unexplained - amount
        expected.sum = msgspec.structs.replace(_changed(expected.sum, -amount), unexplained=left)
        row = LedgerRecord(venue, "unexplained", reference, None, -amount, "USDT", time_ms)
        return [row, *self._losses.transferred(venue, -amount, time_ms)]

    def _flag(self, venue: VenueId) -> FlagRecord:
        value = msgspec.json.encode(self.of(venue).sum).decode()
        return FlagRecord(f"{WALLET_FLAG}{venue}", value, "what the wallet should hold", self._clock.at(venue).now_ms())

    # --- bookings -------------------------------------------------------------------------------------------------

    async def book_if_due(self, venue: VenueId) -> None:
        """Read the venue's bookings now and then."""
        if self._clock.monotonic() >= self._due_at.get(venue, 0.0):
            await self.explain(venue)

    async def explain(self, venue: VenueId) -> None:
        """Read the venue's bookings, unless that was done a moment ago; a venue that does not answer is told once."""
        now = self._clock.monotonic()
        every_s = max(60.0, BOOKING_EVERY_S / self._clock.at(venue).speed)
        if now < self._due_at.get(venue, 0.0) - every_s + ASK_AGAIN_S and venue in self._read:
            return
        self._due_at[venue], self._asked_at[venue] = now + every_s, now
        try:
            await self._book(venue)
        except VenueError as error:
            self._due_at[venue] = now + 60.0
            if venue not in self._failed:
                why = f"funding and transfers cannot be read, and are missing in the journal until they can: {error}"
                self._bus.publish(incident("bookings_unread", Severity.WARNING, why, venue))
            self._failed.add(venue)
        else:
            self._failed.discard(venue)

    async def _book(self, venue: VenueId) -> None:
        """Write down what is new since the last time, each once."""
        booked, now_ms = self._booked[venue], self._clock.at(venue).now_ms()
        late = self._base_is_late(venue, now_ms)
        since_ms = min(booked.until_ms, midnight_ms(now_ms)) if late else booked.until_ms
        rows = await self._router.venues[venue].bookings(since_ms, Priority.RECONCILE)
        told = [row for row in rows if row.kind not in BY_FILLS and row.time_ms >= booked.until_ms]
        records: list[Record] = []
        for row in told:
            if _key(row) not in booked.keys:
                records += [row, *self._apply(row)]
        if records and self.of(venue).sum.wallet is not None:
            records.append(self._flag(venue))
        until_ms = max(booked.until_ms, now_ms - BOOKINGS_LAG_MS)
        after = _Booked(until_ms, sorted(_key(row) for row in told if row.time_ms >= until_ms))
        self._booked[venue] = after
        records.append(FlagRecord(f"{BOOKED_FLAG}{venue}", msgspec.json.encode(after).decode(), "", now_ms))
        records += self._work_out_base(venue, rows, now_ms) if late else []
        self._read.add(venue)
        if (account := self._state.accounts.get(venue)) is not None:
            records += self.judged(account)
        self._recorder.commit(records)

    def _apply(self, row: LedgerRecord) -> list[Record]:
        """What a new booking changes: it explains the wallet from now on, or what was found unexplained before. What
        the first reading ever showed holds what was booked before it."""
        expected = self.of(row.venue)
        records = self._losses.transferred(row.venue, row.amount, row.time_ms) if row.kind == TRANSFER else []
        if expected.sum.wallet is None or row.time_ms <= expected.sum.since_ms or row.currency != "USDT":
            return records
        expected.sum = _changed(expected.sum, row.amount)
        return records + self._take_back(row.venue, row.amount, row.time_ms, f"{row.kind}:{row.reference}")

    # --- the base of the day --------------------------------------------------------------------------------------

    def _base_is_late(self, venue: VenueId, now_ms: int) -> bool:
        base = self._losses.day_equities.get((venue, utc_day(now_ms)))
        return base is not None and base.time_ms - midnight_ms(now_ms) > LATE_BASE_MS * self._clock.at(venue).speed

    def _work_out_base(self, venue: VenueId, rows: list[LedgerRecord], now_ms: int) -> list[Record]:
        """Equity at 00:00 UTC of a day whose first reading came late: equity now, less all that was booked since, less
        the unrealised profit of positions opened since. What a position held at midnight was worth then, nobody tells:
        it is taken at its value now. Nothing while the last reading may lack a booking: the next time will do."""
        account, expected, start_ms = self._state.accounts[venue], self.of(venue), midnight_ms(now_ms)
        today = [row for row in rows if row.time_ms >= start_ms]
        newest_ms = max((row.time_ms for row in today), default=start_ms)
        newest_ms = max(newest_ms + round(BALANCE_LAG_S * 1000 * self._clock.at(venue).speed), expected.last_fill_ms)
        if account.balance.equity is None or not expected.settled or account.requested_ms <= newest_ms:
            return []
        unexplained = expected.sum.unexplained if expected.sum.unexplained_ms >= start_ms else ZERO
        won = sum((row.amount for row in today), ZERO) + unexplained
        moved = sum((row.amount for row in today if row.kind == TRANSFER), ZERO) + unexplained
        fresh = sum(
            (
                position.unrealized_pnl
                for position in account.positions
                if (self._state.position(position.instrument).opened_ms or 0) >= start_ms
            ),
            ZERO,
        )
        equity = account.balance.equity - won - fresh
        return [self._losses.keep_day(DayEquityRecord(venue, utc_day(now_ms), equity, moved, start_ms))]


def _key(row: LedgerRecord) -> str:
    return f"{row.kind}:{row.reference}:{plain_text(row.amount)}"


def _changed(before: Sum, amount: Decimal, *, exact: bool = True) -> Sum:
    wallet = None if before.wallet is None else before.wallet + amount
    return msgspec.structs.replace(before, wallet=wallet, exact=before.exact and exact)
