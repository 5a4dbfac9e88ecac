"""Clocks whose venue times are set by the venues' answers."""

from typing import Protocol

from tradingd.domain.ids import VenueId
from tradingd.ports import Clock


class SyncedClock(Clock, Protocol):
    """A Clock whose venue time is set by the venue's answers."""

    def synchronise(self, venue_ms: float, at: float, error_s: float = 0.0) -> float:
        """Venue time was `venue_ms` at monotonic `at`, give or take; returns by how many ms we were ahead of it."""
        ...


class SyncedClocks(Clock, Protocol):
    """The clock of the process, with one for each venue."""

    def at(self, venue: VenueId) -> SyncedClock:
        """The clock in the time of one venue."""
        ...
