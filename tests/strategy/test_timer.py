"""P12: a handler that does not end is made to raise, and nothing else ever is."""

import contextlib
import signal
import subprocess
import sys
import time

import pytest

from tradingd.strategy.timer import HandlerOverran, NoTimer, SignalTimer


@pytest.fixture
def timer():
    before = signal.getsignal(signal.SIGALRM)
    yield SignalTimer()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0), "no timer is left running"
    signal.signal(signal.SIGALRM, before)


def spin() -> None:
    while True:
        pass


def test_an_endless_loop_ends_at_the_limit(timer):
    began = time.monotonic()
    with pytest.raises(HandlerOverran):
        timer.run(spin, 50)
    assert time.monotonic() - began < 1


def test_a_call_in_time_returns_its_result(timer):
    assert timer.run(lambda: 7, 1_000) == 7


def test_an_exception_of_the_call_comes_through(timer):
    with pytest.raises(ZeroDivisionError):
        timer.run(lambda: 1 // 0, 1_000)


def test_catching_exception_does_not_swallow_the_end(timer):
    def stubborn() -> None:
        while True:
            with contextlib.suppress(Exception):
                spin()

    with pytest.raises(HandlerOverran):
        timer.run(stubborn, 30)


def test_catching_everything_only_delays_the_end(timer):
    def hostile() -> int:
        caught = 0
        while caught < 3:
            try:
                spin()
            except BaseException:
                caught += 1
        return caught

    with pytest.raises(HandlerOverran):
        timer.run(hostile, 30)


def test_a_sleeping_handler_is_woken(timer):
    began = time.monotonic()
    with pytest.raises(HandlerOverran):
        timer.run(lambda: time.sleep(30), 30)
    assert time.monotonic() - began < 5


def test_the_alarm_never_fires_outside_a_handler(timer):
    """Calls that end just when their time does: the late alarm finds no handler, thousands of times over."""
    overran = 0
    for number in range(2_000):
        end = time.perf_counter() + 0.001 + (number % 41 - 20) * 1e-6

        def until(end: float = end) -> None:
            while time.perf_counter() < end:
                pass

        try:
            timer.run(until, 1)
        except HandlerOverran:
            overran += 1
        # the daemon's own code between two handlers
        sum(range(50))
    assert overran > 0


def test_an_alarm_from_outside_does_nothing(timer):
    signal.raise_signal(signal.SIGALRM)
    assert timer.run(lambda: "well", 1_000) == "well"


def test_calls_are_not_nested(timer):
    with pytest.raises(RuntimeError, match="running already"):
        timer.run(lambda: timer.run(lambda: 1, 10), 1_000)


def test_a_plugin_in_a_loop_does_not_stop_an_event_loop():
    """In a process of its own: timers of asyncio go on after an overrun, and the process ends cleanly."""
    code = """
import asyncio
from tradingd.strategy.timer import HandlerOverran, SignalTimer

async def main():
    timer = SignalTimer()
    beats = 0
    for _ in range(3):
        try:
            timer.run(lambda: [0 for _ in iter(int, 1)], 20)
        except HandlerOverran:
            beats += 1
        await asyncio.sleep(0.01)
    print(beats)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "3\n"


def test_a_plugin_that_swallows_every_end_ends_the_process_and_is_named():
    code = """
import contextlib
from tradingd.strategy.timer import SignalTimer

def stubborn():
    while True:
        with contextlib.suppress(BaseException):
            while True:
                pass

SignalTimer().run(stubborn, 20, "mine")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 78
    assert done.stderr.startswith("tradingd: mine does not end")
    assert "in stubborn" in done.stderr


def test_the_timer_of_simulation_only_calls():
    assert NoTimer().run(lambda: 3, 1) == 3
