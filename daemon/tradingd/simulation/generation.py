"""One run of the daemon in a world, and its death."""

import asyncio
from typing import Any

from tradingd.app.core import Core
from tradingd.simulation.clock import SimHostClock
from tradingd.simulation.loop import SimLoop, Timeline
from tradingd.simulation.store import SimStore
from tradingd.venues.ccxt_venue import CcxtVenue


class Crash(SystemExit):
    """The daemon was killed here. A SystemExit, which asyncio lets out of the loop at once."""


class Generation:
    """One run of the daemon: its loop, its core, its store. Once dead it is kept, and never run again."""

    def __init__(self, timeline: Timeline, number: int, skew_ms: int) -> None:
        self.number = number
        self.loop = SimLoop(timeline)
        self.loop.set_exception_handler(self._on_loop_exception)
        self.clock = SimHostClock(timeline, skew_ms)
        self.is_dead = False
        self.boot: asyncio.Task[None] | None = None
        self.core: Core | None = None
        self.store: SimStore | None = None
        self.venues: list[CcxtVenue] = []
        self.faults: list[str] = []
        self.started_us = timeline.now_us
        self.ended_us: int | None = None

    def fence(self) -> None:
        """Nothing of a dead daemon reaches store or wire."""
        if self.is_dead:
            raise Crash("a dead daemon acted")

    def lay_to_rest(self) -> None:
        """ccxt's object complains of its session when the process ends; the dead have none."""
        for venue in self.venues:
            if venue._exchange is not None:
                venue._exchange.session = None

    def _on_loop_exception(self, _loop: Any, context: dict[str, Any]) -> None:
        if not self.is_dead:
            self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")
