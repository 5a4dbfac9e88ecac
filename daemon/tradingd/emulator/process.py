"""A built-in venue as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec

from tradingd.emulator.server import VenueServer
from tradingd.emulator.venues import VenueOptions, open_venue

READY_FILE = "venue.json"


async def serve_venue(options: VenueOptions, port: int, speed: float, now_ms: int,
                      on_ready: Callable[[int], None], version: str = "0") -> None:
    """Serve until SIGTERM, SIGINT or `POST /_venue/stop`; the ledger is kept.

    `on_ready` gets the port. Raises ValueError (MarketFault, LedgerFault) for input it cannot use and OSError for a
    port that is taken.
    """
    loop = asyncio.get_running_loop()
    model = open_venue(options, now_ms)
    try:
        server = VenueServer(model, loop.time, speed, version)
        await server.start(port)
    except (OSError, ValueError):
        model.close()
        raise
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stopped.set)
    try:
        if options.state_dir is not None:
            _announce(options.state_dir, options.venue, server.port)
        on_ready(server.port)
        await server.stopped.wait()
    finally:
        await server.stop()


def run_venue(options: VenueOptions, port: int, speed: float, now_ms: int, on_ready: Callable[[int], None],
              version: str = "0") -> None:
    """`serve_venue` on a loop of its own; `now_ms` is the real time at which a new synthetic market starts."""
    asyncio.run(serve_venue(options, port, speed, now_ms, on_ready, version))


def _announce(state_dir: Path, venue: str, port: int) -> None:
    """Leave a note with port and pid beside the ledger, for whoever wants to attach."""
    note = state_dir / READY_FILE
    draft = note.with_suffix(".tmp")
    draft.write_bytes(msgspec.json.encode({"venue": venue, "port": port, "pid": os.getpid(),
                                           "endpoint": f"http://127.0.0.1:{port}"}))
    draft.replace(note)
