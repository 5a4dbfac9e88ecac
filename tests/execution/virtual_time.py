"""An event loop whose waiting takes no time: asyncio's own timeouts and sleeps in virtual seconds."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class Deadlock(RuntimeError):
    """Everybody waits and nobody will come: the test would hang."""


class _JumpingSelector(selectors.DefaultSelector):
    """Where a loop would wait, its clock goes forward instead."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Deadlock("nothing is due, now or ever")
        self.loop.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 1,000 s, so that nothing can take 0 for "never"."""

    def __init__(self) -> None:
        self.now = 1_000.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.now


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs an async test on a loop of its own; what the test leaves behind is cancelled."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
