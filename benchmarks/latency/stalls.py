"""What keeps an event loop from everything else: each call that it makes, timed in the process itself."""

import asyncio
import gc
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

LEAST_MS = 1.0
"""Shorter calls are not written."""


class Stall(NamedTuple):
    """One call of the loop: when it began (ns, CLOCK_MONOTONIC), how long it kept the loop, how much of that this
    thread computed (the rest: another process had the CPU, or another thread the interpreter), and what it was.
    """

    at_ns: int
    took_ms: float
    cpu_ms: float
    what: str


def write_stalls(path: Path) -> None:
    """From now on each call of any loop in this process, and each collection of garbage in it, is timed."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    call = asyncio.Handle._run
    collected: list[str] = []

    def timed(self: asyncio.Handle) -> None:
        what = _name(self)
        collected.clear()
        at_ns, cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
        call(self)
        took_ms = (time.perf_counter_ns() - at_ns) / 1e6
        if took_ms >= LEAST_MS:
            cpu_ms = (time.thread_time_ns() - cpu_ns) / 1e6
            what = " ".join([what, *collected])
            os.write(file, f"{at_ns}\t{took_ms:.3f}\t{cpu_ms:.3f}\t{what}\n".encode())

    began_ns = 0

    def collecting(phase: str, info: dict[str, int]) -> None:
        nonlocal began_ns
        if phase == "start":
            began_ns = time.perf_counter_ns()
        elif (took_ms := (time.perf_counter_ns() - began_ns) / 1e6) >= LEAST_MS:
            collected.append(f"(garbage of generation {info['generation']}: {took_ms:.1f} ms)")

    asyncio.Handle._run = timed  # type: ignore[method-assign]
    gc.callbacks.append(collecting)


def _name(handle: asyncio.Handle) -> str:
    callback: Any = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return f"task {owner.get_name()}"
    return str(getattr(callback, "__qualname__", callback))


def read(path: Path) -> list[Stall]:
    """All that were written."""
    stalls = []
    for line in path.read_text().split("\n")[:-1] if path.exists() else []:
        at_ns, took_ms, cpu_ms, what = line.split("\t")
        stalls.append(Stall(int(at_ns), float(took_ms), float(cpu_ms), what))
    return stalls
