"""A lane runs the steps of one instrument strictly one after another, the most urgent first (P13)."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tradingd.domain.instruments import InstrumentId
from tradingd.ports import Priority

StepRun = Callable[[], Awaitable[None]]
MAX_WAITING_STEPS = 1_000
"""Entries beyond this are refused by the caller; the other kinds of step are coalesced by name and stay few."""


class _Step(NamedTuple):
    name: str
    run: StepRun
    coalesce: bool
    yields: bool


class Lane:
    """The serial executor of one (venue, instrument): close-and-reopen on one candle cannot be written."""

    def __init__(self, instrument: InstrumentId, on_fault: Callable[[InstrumentId, str, BaseException], None]) -> None:
        self.instrument = instrument
        self._on_fault = on_fault
        self._steps: list[tuple[Priority, int, _Step]] = []
        self._names: set[str] = set()
        self._yielding: asyncio.Task[None] | None = None
        self._turn = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.running: str | None = None
        self.begun = 0

    def start(self) -> None:
        """Begin to run steps."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"lane {self.instrument}")

    def add(self, priority: Priority, name: str, run: StepRun, *, coalesce: bool = True, yields: bool = False) -> bool:
        """Queue a step; with `coalesce` a waiting step of the same name stands for both. False: the lane is full.

        A step that `yields` may be broken off anywhere: when protection or an exit comes while it waits for the venue,
        it is, and begins anew behind them. Otherwise a look-up that hangs would keep a position without its stop (P5).
        """
        if coalesce and name in self._names:
            return True
        if len(self._steps) >= MAX_WAITING_STEPS and priority >= Priority.ENTRY:
            return False
        self._push(priority, _Step(name, run, coalesce, yields))
        if self._yielding is not None and priority <= Priority.EXIT:
            self._yielding.cancel()
        return True

    def _push(self, priority: Priority, step: "_Step") -> None:
        self._turn += 1
        heapq.heappush(self._steps, (priority, self._turn, step))
        if step.coalesce:
            self._names.add(step.name)
        self._idle.clear()
        self._wake.set()

    @property
    def waiting(self) -> int:
        """How many steps wait."""
        return len(self._steps)

    @property
    def busy(self) -> bool:
        """Whether a step runs or waits."""
        return not self._idle.is_set()

    async def idle(self) -> None:
        """Wait until no step runs or waits."""
        await self._idle.wait()

    async def _run(self) -> None:
        while True:
            while not self._steps:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            priority, _, step = heapq.heappop(self._steps)
            self._names.discard(step.name)
            self.running = step.name
            self.begun += 1
            try:
                if not step.yields:
                    await step.run()
                elif not await self._run_yielding(step) and not (step.coalesce and step.name in self._names):
                    self._push(priority, step)
            except Exception as error:
                # a fault of ours in one step must not end the lane: its stop would never be placed
                self._on_fault(self.instrument, step.name, error)
            finally:
                self.running = None

    async def _run_yielding(self, step: "_Step") -> bool:
        """Run a step that may be broken off; False when it was."""

        async def run() -> None:
            await step.run()

        task = asyncio.get_running_loop().create_task(run(), name=f"{step.name} of {self.instrument}")
        self._yielding = task
        try:
            await asyncio.wait({task})
        finally:
            self._yielding = None
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if task.cancelled():
            return False
        task.result()
        return True

    async def stop(self) -> None:
        """End the lane where it stands; what was sent stays in doubt in the journal."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
