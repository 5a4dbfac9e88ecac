"""How much may be lost: in one day, and from the highest equity. What was once beyond stays so across restarts.

Transfers are neither loss nor gain. Funding, fees and unrealised profit and loss are part of the equity, and count.
A day is that of the venue's own clock. The clocks of two venues pass midnight apart, so the total adds what each lost
in its own day, and each is denied by it until its own midnight.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from tradingd.domain.account import AccountSnapshot
from tradingd.domain.ids import VenueId
from tradingd.domain.intents import Denial, DenyReason
from tradingd.domain.numbers import ZERO, plain_text
from tradingd.domain.records import DayEquityRecord, FlagRecord, Record
from tradingd.execution.limits import Limits
from tradingd.execution.state import TradingState

PEAK_FLAG = "peak_equity:"
DAY_FLAG = "daily_loss:"
TOTAL = "total:"
DRAWDOWN = "drawdown of "
"""Begins the reason of a halt that `resume` lifts by counting from the equity then."""
DAY_MS = 86_400_000


class _Share(msgspec.Struct, frozen=True):
    """A venue's part in the losses of its day: the base, the same with transfers since, and equity now."""

    base: Decimal
    started: Decimal
    equity: Decimal

    @property
    def lost(self) -> Decimal:
        return self.started - self.equity


class LossLimits:
    """Keeps equity at 00:00 UTC and at its peak by venue, and says when too much of it is gone."""

    def __init__(self, state: TradingState, limits: Limits, now_ms: Callable[[VenueId], int]) -> None:
        """`now_ms` tells the time of a venue."""
        self._state = state
        self._limits = limits
        self._now_ms = now_ms
        self.day_equities: dict[tuple[VenueId, str], DayEquityRecord] = {}
        self.peaks: dict[VenueId, Decimal] = {}
        self._beyond: dict[str, tuple[str, str]] = {}
        self._told: set[VenueId] = set()
        self.on_reached: Callable[[VenueId, DenyReason, str], None] = lambda venue, which, why: None

    def load(self, days: tuple[DayEquityRecord, ...], flags: tuple[FlagRecord, ...]) -> None:
        """Take over what earlier runs have seen. A day's limit that was reached counts while the limit is the same:
        whoever raises it wants to go on."""
        self.day_equities.update({(each.venue, each.day): each for each in days})
        for flag in flags:
            if flag.name.startswith(PEAK_FLAG):
                self.peaks[VenueId(flag.name.removeprefix(PEAK_FLAG))] = Decimal(flag.value)
            elif flag.name.startswith(DAY_FLAG):
                day, _, most = flag.value.partition(" ")
                if most == plain_text(self._limits.max_daily_loss_fraction):
                    self._beyond[flag.name.removeprefix(DAY_FLAG)] = (day, flag.reason)

    # --- readings -------------------------------------------------------------------------------------------------

    def begin_day(self, snapshot: AccountSnapshot) -> list[Record]:
        """The first reading of a day is its base, until the venue's bookings since midnight are known."""
        key = (snapshot.venue, utc_day(snapshot.received_ms))
        if key in self.day_equities or snapshot.balance.equity is None:
            return []
        return [self.keep_day(DayEquityRecord(*key, snapshot.balance.equity, ZERO, snapshot.received_ms))]

    def keep_day(self, base: DayEquityRecord) -> DayEquityRecord:
        """Replace the base of a day."""
        self.day_equities[(base.venue, base.day)] = base
        return base

    def transferred(self, venue: VenueId, amount: Decimal, time_ms: int) -> list[Record]:
        """Money that came or went without being won or lost: base and peak move with it."""
        records: list[Record] = []
        base = self.day_equities.get((venue, utc_day(time_ms)))
        if base is not None and time_ms > base.time_ms:
            records.append(self.keep_day(msgspec.structs.replace(base, transfers=base.transfers + amount)))
        if venue in self.peaks:
            records.append(self._peak(venue, self.peaks[venue] + amount, time_ms))
        return records

    def judge(self, snapshot: AccountSnapshot) -> list[Record]:
        """Learn from a reading whose wallet is explained: a new peak, or a limit that is reached, told once."""
        venue, equity, now_ms = snapshot.venue, snapshot.balance.equity, snapshot.received_ms
        if equity is None:
            return []
        records: list[Record] = []
        if equity > self.peaks.get(venue, ZERO):
            records.append(self._peak(venue, equity, now_ms))
        drawdown = self.check_drawdown(venue)
        if drawdown is None:
            self._told.discard(venue)
        elif venue not in self._told:
            self._told.add(venue)
            self.on_reached(venue, drawdown.reason, drawdown.detail)
        return records + self._mark_day(venue)

    def _mark_day(self, venue: VenueId) -> list[Record]:
        """What is beyond a day's limit is told once, and stays beyond it until midnight; in total, for every venue."""
        records: list[Record] = []
        shares = self._shares()
        own = self._own_loss(venue, shares)
        if own is not None and not self._is_marked(venue, venue):
            self.on_reached(venue, own.reason, own.detail)
            records.append(self._mark(venue, venue, own.detail))
        total = self._total_loss(shares)
        if total is not None and self._is_news(shares):
            self.on_reached(venue, total.reason, total.detail)
            # one that was not read yet is denied as well
            everywhere = {*self._state.accounts, *(instrument.venue for instrument in self._state.owners)}
            records += [self._mark(f"{TOTAL}{each}", each, total.detail) for each in sorted(everywhere)]
        return records

    def _is_marked(self, name: str, venue: VenueId) -> bool:
        return self._beyond.get(name, ("",))[0] == self._today(venue)

    def _mark(self, name: str, venue: VenueId, why: str) -> FlagRecord:
        day, most = self._today(venue), plain_text(self._limits.max_daily_loss_fraction)
        self._beyond[name] = (day, why)
        return FlagRecord(f"{DAY_FLAG}{name}", f"{day} {most}", why, self._now_ms(venue))

    def _peak(self, venue: VenueId, equity: Decimal, now_ms: int) -> FlagRecord:
        self.peaks[venue] = equity
        return FlagRecord(f"{PEAK_FLAG}{venue}", plain_text(equity), "the highest equity so far", now_ms)

    def lift(self, now_ms: int) -> list[Record]:
        """The operator goes on after a drawdown: every peak is the equity as it is now."""
        self._told.clear()
        return [
            self._peak(venue, account.balance.equity, now_ms)
            for venue, account in self._state.accounts.items()
            if account.balance.equity is not None
        ]

    # --- verdicts -------------------------------------------------------------------------------------------------

    def check_drawdown(self, venue: VenueId) -> Denial | None:
        """(peak of equity − equity now) ÷ peak, transfers left out."""
        account, peak = self._state.accounts.get(venue), self.peaks.get(venue, ZERO)
        equity = None if account is None else account.balance.equity
        if equity is None or peak <= 0 or (peak - equity) / peak <= self._limits.max_drawdown_fraction:
            return None
        return Denial(
            DenyReason.DRAWDOWN,
            f"{DRAWDOWN}{(peak - equity) / peak:.2%} on {venue}: equity {equity:.2f} USDT, {peak:.2f} at its peak; "
            f"risk.max_drawdown_fraction is {plain_text(self._limits.max_drawdown_fraction)}; `tradingd resume` lifts "
            "it and counts from the equity then",
        )

    def check_day(self, venue: VenueId) -> Denial | None:
        """(equity at 00:00 UTC − equity now) ÷ equity at 00:00, transfers left out, per venue and in total; once it
        was beyond the limit, until midnight."""
        for name in (venue, f"{TOTAL}{venue}"):
            if self._is_marked(name, venue):
                return Denial(DenyReason.DAILY_LOSS, self._beyond[name][1])
        shares = self._shares()
        return self._own_loss(venue, shares) or self._total_loss(shares)

    def _today(self, venue: VenueId) -> str:
        return utc_day(self._now_ms(venue))

    def _shares(self) -> dict[VenueId, _Share]:
        """Every venue's own day, where it was read in that day."""
        shares: dict[VenueId, _Share] = {}
        for venue, account in self._state.accounts.items():
            base, equity = self.day_equities.get((venue, self._today(venue))), account.balance.equity
            if base is not None and equity is not None and base.equity > 0:
                shares[venue] = _Share(base.equity, base.equity + base.transfers, equity)
        return shares

    def _own_loss(self, venue: VenueId, shares: dict[VenueId, _Share]) -> Denial | None:
        share = shares.get(venue)
        if share is None or not self._is_beyond(share.lost, share.base):
            return None
        return self._loss(f"on {venue}", share.started, share.equity)

    def _total_loss(self, shares: dict[VenueId, _Share]) -> Denial | None:
        started = sum((share.started for share in shares.values()), ZERO)
        equity = sum((share.equity for share in shares.values()), ZERO)
        if not self._is_beyond(started - equity, sum((share.base for share in shares.values()), ZERO)):
            return None
        return self._loss("in total", started, equity)

    def _is_news(self, shares: dict[VenueId, _Share]) -> bool:
        """Whether the total is beyond the limit by what was lost in days that bear no mark of it. What one venue lost
        in a day that does stands until its midnight, and must not cost another venue the whole of its next day."""
        lost = sum(
            (
                min(share.lost, ZERO) if self._is_marked(f"{TOTAL}{venue}", venue) else share.lost
                for venue, share in shares.items()
            ),
            ZERO,
        )
        return self._is_beyond(lost, sum((share.base for share in shares.values()), ZERO))

    def _is_beyond(self, lost: Decimal, base: Decimal) -> bool:
        return base > 0 and lost / base > self._limits.max_daily_loss_fraction

    def _loss(self, where: str, started: Decimal, equity: Decimal) -> Denial:
        return Denial(
            DenyReason.DAILY_LOSS,
            f"equity {where} went from {started:.2f} to {equity:.2f} USDT today; risk.max_daily_loss_fraction is "
            f"{plain_text(self._limits.max_daily_loss_fraction)}; entries resume at 00:00 UTC, or after a restart with "
            "another limit",
        )


def utc_day(now_ms: int) -> str:
    """The UTC day of a time in ms, YYYY-MM-DD."""
    return datetime.fromtimestamp(now_ms / 1000, tz=UTC).date().isoformat()


def midnight_ms(now_ms: int) -> int:
    """00:00 UTC of the day of a time."""
    return now_ms - now_ms % DAY_MS
