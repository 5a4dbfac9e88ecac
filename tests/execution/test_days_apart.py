"""The daily loss of two venues whose clocks are apart: each has its own day, and both one total."""

from decimal import Decimal

import msgspec

from tests.execution.fakes import BTC, START_MS
from tradingd.domain.account import AccountSnapshot, VenueBalance
from tradingd.domain.ids import StrategyId, VenueId
from tradingd.domain.records import FlagRecord
from tradingd.execution.limits import Limits
from tradingd.execution.loss_limits import LossLimits
from tradingd.execution.state import TradingState

DAY_MS = 86_400_000
BYBIT = VenueId("bybit")
IN_TOTAL = ("bybit", "equity in total")


class TwoVenues:
    """The loss limits of two venues with 1,000 USDT each at 00:00, whose clocks are apart."""

    def __init__(self, **clocks: int) -> None:
        self.clocks = {VenueId(venue): START_MS + at_ms for venue, at_ms in clocks.items()}
        self.state = TradingState()
        self.losses = self._limits()
        self.told: list[tuple[str, str]] = []
        self.kept: dict[str, FlagRecord] = {}
        for venue in self.clocks:
            self.shows(venue, 1_000)

    def _limits(self) -> LossLimits:
        made = LossLimits(self.state, Limits(max_daily_loss_fraction=Decimal("0.05")), self.clocks.__getitem__)
        made.on_reached = lambda venue, which, why: self.told.append((venue, why.split(" went")[0]))
        return made

    def shows(self, venue: str, equity: int) -> None:
        """A reading whose wallet is explained."""
        at_ms = self.clocks[VenueId(venue)]
        balance = VenueBalance(VenueId(venue), "USDT", Decimal(equity), Decimal(equity), Decimal(equity))
        snapshot = self.state.accounts[VenueId(venue)] = AccountSnapshot(VenueId(venue), balance, (), at_ms, at_ms)
        for record in [*self.losses.begin_day(snapshot), *self.losses.judge(snapshot)]:
            if isinstance(record, FlagRecord):
                self.kept[record.name] = record

    def restart(self) -> None:
        """A later run, with what the journal kept."""
        days = tuple(self.losses.day_equities.values())
        self.losses = self._limits()
        self.losses.load(days, tuple(self.kept.values()))

    def later(self, ms: int) -> None:
        for venue in self.clocks:
            self.clocks[venue] += ms

    def denied(self) -> dict[str, bool]:
        return {str(venue): self.losses.check_day(venue) is not None for venue in self.clocks}


def test_the_day_of_each_venue_counts_for_its_share_of_the_total():
    both = TwoVenues(binance=0, bybit=-2 * DAY_MS)
    both.shows("binance", 960)
    assert both.denied() == {"binance": False, "bybit": False}
    both.shows("bybit", 920)
    assert both.denied() == {"binance": True, "bybit": True}
    assert both.told == [("bybit", "equity on bybit"), IN_TOTAL]


def test_a_total_loss_is_told_once_though_the_days_of_the_venues_differ():
    both = TwoVenues(binance=0, bybit=-2 * DAY_MS)
    both.shows("bybit", 890)
    for _ in range(3):
        both.shows("binance", 999)
        both.shows("bybit", 890)
    both.restart()
    both.shows("binance", 999)
    both.shows("bybit", 890)
    assert both.told.count(IN_TOTAL) == 1 and len(both.told) == 2


def test_a_total_loss_that_is_made_good_stops_each_venue_until_its_own_midnight_across_a_restart():
    both = TwoVenues(binance=0, bybit=-DAY_MS // 2)
    both.shows("binance", 955)
    both.shows("bybit", 940)
    both.shows("bybit", 1_000)
    both.shows("binance", 1_000)
    both.restart()
    assert both.denied() == {"binance": True, "bybit": True}
    both.later(DAY_MS // 2)
    assert both.denied() == {"binance": True, "bybit": False}
    both.later(DAY_MS // 2)
    assert both.denied() == {"binance": False, "bybit": False}


def test_what_one_venue_lost_in_its_old_day_does_not_stop_the_other_for_its_new_one():
    both = TwoVenues(binance=DAY_MS - 5_000, bybit=DAY_MS - 15_000)
    both.shows("bybit", 890)
    both.later(10_000)
    both.shows("binance", 1_000)
    assert both.denied() == {"binance": True, "bybit": True}, "the day of one still counts"
    both.later(10_000)
    assert both.denied() == {"binance": False, "bybit": False}
    assert both.told == [("bybit", "equity on bybit"), IN_TOTAL]
    both.shows("bybit", 890)
    both.shows("binance", 880)
    assert both.denied() == {"binance": True, "bybit": True}
    assert both.told[2:] == [("binance", "equity on binance"), ("binance", "equity in total")]


def test_a_venue_that_was_not_read_yet_is_stopped_by_the_total_too():
    both = TwoVenues(binance=0, bybit=0)
    del both.state.accounts[BYBIT]
    both.state.owners[msgspec.structs.replace(BTC, venue=BYBIT)] = StrategyId("trend")
    both.shows("binance", 900)
    both.shows("binance", 1_000)
    assert both.denied() == {"binance": True, "bybit": True}


def test_yesterdays_loss_stops_nobody_after_midnight_though_nothing_was_read_since():
    both = TwoVenues(binance=0, bybit=0)
    both.shows("binance", 800)
    assert both.denied() == {"binance": True, "bybit": True}
    both.later(DAY_MS - 1)
    assert both.denied() == {"binance": True, "bybit": True}
    both.later(1)
    assert both.denied() == {"binance": False, "bybit": False}
