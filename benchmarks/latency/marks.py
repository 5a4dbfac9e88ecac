"""Time stamps that two processes write and one reads: lines of kind and CLOCK_MONOTONIC nanoseconds."""

import os
import time
from pathlib import Path
from typing import NamedTuple

import aiohttp

WANTED = "wanted"
"""The mark of an order that is wanted from now on: an intent enters the pipeline, or `create_order` is called."""

CLOSING = '"x":true'
"""How a closing candle frame of Binance's dialect is told from all others, on the raw text."""


class Mark(NamedTuple):
    """Something happened at a time, ns of the clock that all processes of the machine share."""

    kind: str
    at_ns: int


class Marks:
    """Appends marks to a file; each is one write, so that a killed process loses none."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def put(self, kind: str) -> None:
        """It happened now."""
        at_ns = time.perf_counter_ns()
        os.write(self._file, f"{kind} {at_ns}\n".encode())


def read(path: Path) -> list[Mark]:
    """All marks, in the order of their times."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return sorted((Mark(kind, int(at_ns)) for kind, at_ns in (line.split() for line in lines)),
                  key=lambda mark: mark.at_ns)


def mark_closing_frames(marks: Marks) -> None:
    """From now on every closing candle frame is marked when aiohttp hands it out, below everything of ccxt."""
    receive = aiohttp.ClientWebSocketResponse.receive

    async def marked(self: aiohttp.ClientWebSocketResponse, timeout: float | None = None) -> aiohttp.WSMessage:
        message = await receive(self, timeout)
        if message.type is aiohttp.WSMsgType.TEXT and CLOSING in message.data:
            marks.put("closing")
        return message

    aiohttp.ClientWebSocketResponse.receive = marked  # type: ignore[assignment, method-assign]
