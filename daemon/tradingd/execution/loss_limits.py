"""How much may be lost: in one day, and from the highest equity. What was once beyond stays so across restarts.

Transfers are neither loss nor gain. Funding, fees and unrealised profit and loss are part of the equity, and count.
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
TOTAL = "total"
DRAWDOWN = "drawdown of "
"""Begins the reason of a halt that `resume` lifts by counting from the equity then."""
DAY_MS = 86_400_000


class LossLimits:
    """Keeps equity at 00:00 UTC and at its peak by venue, and says when too much of it is gone."""

    def __init__(self, state: TradingState, limits: Limits) -> None:
        self._state = state
        self._limits = limits
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
        day = utc_day(now_ms)
        for name, denial in self._day_losses(venue, day):
            if self._beyond.get(name, ("",))[0] != day:
                self._beyond[name] = (day, denial.detail)
                self.on_reached(venue, denial.reason, denial.detail)
                most = plain_text(self._limits.max_daily_loss_fraction)
                records.append(FlagRecord(f"{DAY_FLAG}{name}", f"{day} {most}", denial.detail, now_ms))
        return records

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

    def check_day(self, venue: VenueId, now_ms: int) -> Denial | None:
        """(equity at 00:00 UTC − equity now) ÷ equity at 00:00, transfers left out, per venue and in total; once it
        was beyond the limit, until midnight."""
        day = utc_day(now_ms)
        for name in (venue, TOTAL):
            since, why = self._beyond.get(name, ("", ""))
            if since == day:
                return Denial(DenyReason.DAILY_LOSS, why)
        return next((denial for _, denial in self._day_losses(venue, day)), None)

    def _day_losses(self, venue: VenueId, day: str) -> list[tuple[str, Denial]]:
        most = self._limits.max_daily_loss_fraction
        found: list[tuple[str, Denial]] = []
        base_total = started_total = equity_total = ZERO
        for each, account in self._state.accounts.items():
            base = self.day_equities.get((each, day))
            equity = account.balance.equity
            if base is None or equity is None or base.equity <= 0:
                continue
            started = base.equity + base.transfers
            base_total += base.equity
            started_total += started
            equity_total += equity
            if each == venue and (started - equity) / base.equity > most:
                found.append((each, self._loss(f"on {venue}", started, equity)))
        if base_total > 0 and (started_total - equity_total) / base_total > most:
            found.append((TOTAL, self._loss("in total", started_total, equity_total)))
        return found

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
