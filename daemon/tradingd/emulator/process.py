"""A built-in venue as a process of its own."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec

from tradingd.emulator.core.ledger import LedgerFault
from tradingd.emulator.faults.language import Script
from tradingd.emulator.faults.script import Played
from tradingd.emulator.server import VenueServer
from tradingd.emulator.venues import VenueOptions, open_model

READY_FILE = "venue.json"
LOCK_FILE = "venue.lock"
LOCK_PATIENCE_S = 3.0
"""How long a venue that is on its way out may take; a daemon that waits for us meanwhile finds one that stays."""


async def serve_venue(
    options: VenueOptions,
    port: int,
    speed: float,
    now_ms: int,
    on_ready: Callable[[int], None],
    version: str = "0",
    faults: Script | None = None,
    on_fault: Callable[[Played], None] = lambda played: None,
) -> None:
    """Serve until SIGTERM, SIGINT or `POST /_venue/stop`; the ledger is kept.

    `on_ready` gets the port, `on_fault` each fault of the script that was played. Raises ValueError (MarketFault,
    LedgerFault) for input it cannot use and OSError for a port that is taken.
    """
    lock = None if options.state_dir is None else await _lock(options.state_dir)
    try:
        model = open_model(options, now_ms)
        try:
            server = VenueServer(model, asyncio.get_running_loop().time, speed, version, faults, on_fault)
            await server.start(port)
        except (OSError, ValueError):
            model.close()
            raise
        await _serve(options, server, on_ready)
    finally:
        if lock is not None:
            os.close(lock)


async def _serve(options: VenueOptions, server: VenueServer, on_ready: Callable[[int], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stopped.set)
    try:
        if options.state_dir is not None:
            _announce(options.state_dir, options.venue, server.port)
        on_ready(server.port)
        await server.stopped.wait()
    finally:
        await server.stop()


def run_venue(
    options: VenueOptions,
    port: int,
    speed: float,
    now_ms: int,
    on_ready: Callable[[int], None],
    version: str = "0",
    faults: Script | None = None,
    on_fault: Callable[[Played], None] = lambda played: None,
) -> None:
    """`serve_venue` on a loop of its own; `now_ms` is the real time at which a new synthetic market starts."""
    asyncio.run(serve_venue(options, port, speed, now_ms, on_ready, version, faults, on_fault))


async def _lock(state_dir: Path) -> int:
    """Keep a second venue off the ledger: each would go on from its own memory, and the file would hold both."""
    handle = _open_lock(state_dir)
    patience = round(LOCK_PATIENCE_S / 0.05)
    while not _take(handle):
        patience -= 1
        if not patience:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise LedgerFault(
                f"{state_dir}: another built-in venue, process {holder}, keeps its ledger there; stop "
                "that one first, or use another directory"
            )
        await asyncio.sleep(0.05)
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _open_lock(state_dir: Path) -> int:
    state_dir.mkdir(parents=True, exist_ok=True)
    return os.open(state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _announce(state_dir: Path, venue: str, port: int) -> None:
    """Leave a note with port and pid beside the ledger, for whoever wants to attach."""
    note = state_dir / READY_FILE
    draft = note.with_suffix(".tmp")
    draft.write_bytes(
        msgspec.json.encode({"venue": venue, "port": port, "pid": os.getpid(), "endpoint": f"http://127.0.0.1:{port}"})
    )
    draft.replace(note)
