"""The budget of a handler call: a call that does not end is made to raise (P12)."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn, Protocol, TypeVar

T = TypeVar("T")


class HandlerOverran(BaseException):
    """Raised inside a handler whose time is up. Not an Exception, so that `except Exception` cannot swallow it."""


class HandlerTimer(Protocol):
    """Runs plugin code under a limit."""

    def run(self, call: Callable[[], T], limit_ms: int, whose: str = "") -> T:
        """The result of `call`, or HandlerOverran when it took longer than `limit_ms` of real time; `whose` code it is
        is told when it does not even let go of that."""
        ...


class NoTimer:
    """For deterministic simulation, where time does not pass inside a call."""

    def run(self, call: Callable[[], T], limit_ms: int, whose: str = "") -> T:
        """The result of `call`."""
        return call()


_AGAIN_S = 0.05
"""A handler that swallows the exception gets it again at this interval, until it lets go."""
SWALLOWED_LIMIT = 20
"""One that swallowed it so often does not let go: the process ends, since it has only this one thread to trade with."""
_SHOWN_FRAMES = 6
_NEEDS_CORRECTION = 78


def end_process(whose: str, where: str) -> NoReturn:
    """What happens to a handler that never lets go, unless somebody knows better: say whose it is, and end."""
    text = f"tradingd: {whose} does not end, and caught the exception that ends it {SWALLOWED_LIMIT} times:\n{where}"
    try:
        os.write(2, text.encode("utf-8", "backslashreplace"))
    finally:
        os._exit(_NEEDS_CORRECTION)


class SignalTimer:
    """ITIMER_REAL and SIGALRM on the main thread; code in C without signal checks is interrupted only at its end.

    The signal handler raises only if the frame it interrupts is below the call to the plugin: a signal that arrives
    a moment too late, in the daemon's own code, finds no such frame and does nothing.

    `on_stubborn` is given whose handler it is that never lets go, and its frames as text; it must end the process.
    """

    def __init__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("SignalTimer needs the main thread: only there Python runs signal handlers")
        self._guard: FrameType | None = None
        self._overran = False
        self._raised = 0
        self._whose = ""
        self.on_stubborn: Callable[[str, str], NoReturn] = end_process
        signal.signal(signal.SIGALRM, self._on_alarm)

    def run(self, call: Callable[[], T], limit_ms: int, whose: str = "") -> T:
        """The result of `call`, or HandlerOverran; not to be nested."""
        if self._guard is not None:
            raise RuntimeError("a handler is running already")
        self._overran = False
        self._raised, self._whose = 0, whose
        self._guard = sys._getframe()
        try:
            signal.setitimer(signal.ITIMER_REAL, limit_ms / 1000, _AGAIN_S)
            result = call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._guard = None
        if self._overran:
            raise HandlerOverran
        return result

    def _on_alarm(self, _number: int, frame: FrameType | None) -> None:
        guard = self._guard
        if guard is None:
            return
        self._overran = True
        below = frame
        while below is not None and below is not guard:
            if below.f_code is SignalTimer._on_alarm.__code__:
                return  # an alarm within an alarm: the first one is about to decide
            below = below.f_back
        # in the guard's own frame nothing may raise: its clean-up must run to the end
        if below is guard and frame is not guard:
            self._raised += 1
            if self._raised > SWALLOWED_LIMIT:
                signal.setitimer(signal.ITIMER_REAL, 0)
                self.on_stubborn(self._whose, "".join(traceback.format_stack(frame, _SHOWN_FRAMES)))
            raise HandlerOverran
