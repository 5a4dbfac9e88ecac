"""One venue of a world: its model on its own ledger, the network to it, and what goes wrong there alone."""

from pathlib import Path
from random import Random
from typing import Any

from tradingd.domain.ids import VenueId
from tradingd.emulator.faults.language import Script
from tradingd.emulator.venues import LEDGER_FILE, VenueOptions, open_model
from tradingd.simulation.clock import START_MS
from tradingd.simulation.evidence import Span
from tradingd.simulation.faults import FaultPlan, Scheduled
from tradingd.simulation.loop import Timeline
from tradingd.simulation.network import Network

DEAF_MS = 65_000
"""A fact that the stream swallowed is found by the reconcile timer, a minute later at most."""


class Site:
    """`offset_ms`: how far the venue's clock is ahead of the world's. `plan` has the faults of this venue alone."""

    def __init__(
        self,
        timeline: Timeline,
        options: VenueOptions,
        plan: FaultPlan,
        seed: str,
        *,
        lag_factor: float = 1.0,
        offset_ms: int = 0,
    ) -> None:
        self.id = VenueId(options.venue)
        self.offset_ms = offset_ms
        self.plan = plan
        self.unable: list[Span] = []
        self.deaf: list[Span] = []
        self._timeline = timeline
        self._options = options
        self._lag_factor = lag_factor
        self._draw = Random(f"{seed}/world")
        self.network = Network(timeline, self._open(), plan, seed, START_MS + offset_ms)

    def _open(self) -> Any:
        """New, or as its ledger left it."""
        venue: Any = open_model(self._options, START_MS + self.offset_ms + self._timeline.now_us // 1000)
        if self._lag_factor != 1.0:
            lags, factor = venue._desk.lags, self._lag_factor
            drawn = lags._draw
            lags._draw = lambda least, mean, most: drawn(least * factor, mean * factor, most * factor)
        return venue

    @property
    def venue(self) -> Any:
        """The venue's model; another one after the venue was killed."""
        return self.network.venue

    @property
    def ledger_path(self) -> Path:
        """Where its truth is written down."""
        assert self._options.state_dir is not None
        return self._options.state_dir / LEDGER_FILE

    def at_ms(self, us: int) -> int:
        """World time as this venue's time."""
        return self.network.start_ms + us // 1000

    def apply(self, fault: Scheduled) -> None:
        """Let one fault of this venue's schedule happen now."""
        network = self.network
        now_us = self._timeline.now_us
        until_us = now_us + fault.for_us
        span = Span(self.at_ms(now_us), self.at_ms(until_us))
        kind, _, stream = fault.kind.partition("_")
        if fault.kind in ("outage", "ban", "killed"):
            self.unable.append(span)
        if fault.kind in ("outage", "killed"):
            self.plan.outage_until_us = max(self.plan.outage_until_us, until_us)
            for account in (True, False):
                network.drop(account=account)
        if fault.kind == "killed":
            network.kill_venue(self._open, until_us)
        elif fault.kind == "ban":
            self.plan.ban_until_us = until_us
        elif kind == "drop":
            network.drop(account=stream == "account")
        elif kind == "mute":
            if stream == "account":
                self.deaf.append(Span(span.start_ms, span.end_ms + DEAF_MS))
            network.mute(account=stream == "account", for_us=fault.for_us, half_open=self._draw.random() < 0.3)

    def heal(self) -> int:
        """No more faults from here on; returns for how many µs somebody is banned yet."""
        plan, network, now_us = self.plan, self.network, self._timeline.now_us
        plan.heal_us = plan.outage_until_us = plan.disk_full_until_us = 0
        banned_us = max(0, plan.ban_until_us - now_us, network.faults.ban_until_us - now_us)
        network.come_back(now_us)
        network.faults.begin(Script())
        return banned_us

    def save(self) -> None:
        """Let others read the ledger."""
        if not self.network.is_down:
            self.venue.save()

    def close(self) -> None:
        """The end of the world."""
        if not self.network.is_down:
            self.venue.close()
