"""Virtual time: a timeline of what happens outside the daemon, and an event loop whose waiting is that timeline.

Time is a whole number of microseconds from 0, so that no float decides what comes first. A daemon that was killed is a
loop that is never run again: nothing of it can act any more, not even a `finally`.
"""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

SECOND_US = 1_000_000


class Deadlock(RuntimeError):
    """Nothing is due, now or ever: whoever waits, waits for nothing."""


MAX_TURNS_AT_ONCE = 20_000


class Livelock(RuntimeError):
    """The daemon is busy for ever with nothing that takes time."""


class Timeline:
    """World time, and what is due outside of the daemon: packets on their way, the venue's own events, faults."""

    def __init__(self) -> None:
        self.now_us = 0
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        self._sources: list[tuple[Callable[[], int], Callable[[], None]]] = []

    @property
    def now(self) -> float:
        """Seconds."""
        return self.now_us / SECOND_US

    def at(self, when_us: int, call: Callable[[], None]) -> None:
        """Do something at a time; calls that are due together run in the order in which they were made."""
        self._number += 1
        heapq.heappush(self._due, (max(when_us, self.now_us), self._number, call))

    def after(self, delay_us: int, call: Callable[[], None]) -> None:
        """Do something after a while."""
        self.at(self.now_us + delay_us, call)

    def add_source(self, due_us: Callable[[], int], run: Callable[[], None]) -> None:
        """Something that knows itself when it is due: a venue with its market."""
        self._sources.append((due_us, run))

    def next_us(self) -> int | None:
        """When the next thing is due; None when nothing is."""
        first = self._due[0][0] if self._due else None
        for due_us, _ in self._sources:
            other = due_us()
            if first is None or other < first:
                first = other
        return first

    def run_to(self, until_us: int) -> None:
        """Let time pass to `until_us` and do what is due on the way."""
        while (due := self.next_us()) is not None and due <= until_us:
            self.step(due)
        self.now_us = max(self.now_us, until_us)

    def step(self, due_us: int) -> None:
        """Go to the next due time and do the first thing of it."""
        self.now_us = max(self.now_us, due_us)
        for source_us, run in self._sources:
            if source_us() <= self.now_us:
                run()
                return
        if self._due and self._due[0][0] <= self.now_us:
            heapq.heappop(self._due)[2]()


class _Selector:
    """What the loop asks when it has nothing to do: time passes here, and the world acts."""

    def __init__(self, loop: "SimLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> Sequence[Any]:
        self._loop.pass_time(timeout)
        return ()


class SimLoop(asyncio.BaseEventLoop):
    """An event loop in virtual time, without sockets, pipes and threads."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline
        self._selector = _Selector(self)
        self._clock_resolution = 1e-6
        self._deadline_us: int | None = None
        self.turns = 0
        self._last_us = 0
        self._idle_turns = 0

    def time(self) -> float:
        """World time."""
        return self._timeline.now

    def pass_time(self, timeout: float | None) -> None:
        """Wait as `select` would: until the loop's next timer, or until the world did something."""
        self.turns += 1
        timeline = self._timeline
        self._idle_turns = self._idle_turns + 1 if timeline.now_us == self._last_us else 0
        self._last_us = timeline.now_us
        if self._idle_turns > MAX_TURNS_AT_ONCE:
            raise Livelock(f"{self._idle_turns} turns of the loop at {timeline.now} s, and time does not pass")
        if timeout is not None and timeout <= 0:
            return
        mine = None if timeout is None else timeline.now_us + ceil(timeout * SECOND_US)
        due = [each for each in (mine, timeline.next_us(), self._deadline_us) if each is not None]
        if not due:
            raise Deadlock("no timer is set and nothing is on its way")
        until = min(due)
        timeline.now_us = max(timeline.now_us, until)
        while (next_us := timeline.next_us()) is not None and next_us <= until:
            timeline.step(next_us)
        if self._deadline_us is not None and timeline.now_us >= self._deadline_us:
            self.stop()

    def run_to(self, until_us: int) -> None:
        """Run until a time."""
        self._deadline_us = until_us
        try:
            self.run_forever()
        finally:
            self._deadline_us = None

    def _process_events(self, event_list: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def call_soon_threadsafe(self, *_args: Any, **_kwargs: Any) -> Any:  # type: ignore[override]
        """No thread may exist here."""
        raise RuntimeError("a thread would make the simulation depend on chance")

    def run_in_executor(self, *_args: Any, **_kwargs: Any) -> Any:  # type: ignore[override]
        """No thread may exist here."""
        raise RuntimeError("a thread would make the simulation depend on chance")
