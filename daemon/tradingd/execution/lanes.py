"""A lane runs the steps of one instrument strictly one after another, the most urgent first (P13)."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable

from tradingd.domain.instruments import InstrumentId
from tradingd.ports import Priority

StepRun = Callable[[], Awaitable[None]]
MAX_WAITING_STEPS = 1_000
"""Entries beyond this are refused by the caller; the other kinds of step are coalesced by name and stay few."""


class Lane:
    """The serial executor of one (venue, instrument): close-and-reopen on one candle cannot be written."""

    def __init__(self, instrument: InstrumentId, on_fault: Callable[[InstrumentId, str, BaseException], None]) -> None:
        self.instrument = instrument
        self._on_fault = on_fault
        self._steps: list[tuple[Priority, int, str, StepRun]] = []
        self._names: set[str] = set()
        self._turn = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.running: str | None = None

    def start(self) -> None:
        """Begin to run steps."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"lane {self.instrument}")

    def add(self, priority: Priority, name: str, run: StepRun, *, coalesce: bool = True) -> bool:
        """Queue a step; with `coalesce` a waiting step of the same name stands for both. False: the lane is full."""
        if coalesce and name in self._names:
            return True
        if len(self._steps) >= MAX_WAITING_STEPS and priority >= Priority.ENTRY:
            return False
        self._turn += 1
        heapq.heappush(self._steps, (priority, self._turn, name, run))
        if coalesce:
            self._names.add(name)
        self._idle.clear()
        self._wake.set()
        return True

    @property
    def waiting(self) -> int:
        """How many steps wait."""
        return len(self._steps)

    async def idle(self) -> None:
        """Wait until no step runs or waits."""
        await self._idle.wait()

    async def _run(self) -> None:
        while True:
            while not self._steps:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            _, _, name, run = heapq.heappop(self._steps)
            self._names.discard(name)
            self.running = name
            try:
                await run()
            except Exception as error:
                # a fault of ours in one step must not end the lane: its stop would never be placed
                self._on_fault(self.instrument, name, error)
            finally:
                self.running = None

    async def stop(self) -> None:
        """End the lane where it stands; what was sent stays in doubt in the journal."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
