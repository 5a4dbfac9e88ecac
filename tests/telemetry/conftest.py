"""Logs into memory, on a clock that stands still."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tradingd.domain.ids import VenueId
from tradingd.telemetry.logs import Logs, Scrubber, configure

WALL_MS = 1_795_370_591_123  # 2026-11-22T18:03:11.123Z


class StillClock:
    """A Clock whose times are set by the test."""

    error_ms = 0

    def __init__(self) -> None:
        self.wall = WALL_MS
        self.now_s = 100.0

    def at(self, venue: VenueId) -> "StillClock":
        return self

    def wall_ms(self) -> int:
        return self.wall

    def now_ms(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.now_s

    @property
    def speed(self) -> float:
        return 1.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


class MemorySink:
    """A sink that keeps every byte."""

    def __init__(self) -> None:
        self.data = b""
        self.lost_lines = 0

    def write(self, line: bytes) -> None:
        self.data += line

    def take_lost(self) -> int:
        lost, self.lost_lines = self.lost_lines, 0
        return lost

    def close(self, wait_s: float = 0.5) -> None:
        self.data += b""

    @property
    def text(self) -> str:
        return self.data.decode()

    @property
    def events(self) -> list[dict[str, Any]]:
        assert self.data.endswith(b"\n")
        return [json.loads(line) for line in self.data.split(b"\n")[:-1]]


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def set_up(clock: StillClock, sink: MemorySink) -> Iterator[Callable[..., Logs]]:
    made: list[Logs] = []

    def set_up(**options: Any) -> Logs:
        options = {"scrubber": Scrubber(), "format": "json", "level": "debug", "sink": sink, **options}
        made.append(configure(clock, **options))
        return made[-1]

    yield set_up
    for logs in reversed(made):
        logs.close()
