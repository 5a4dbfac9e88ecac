"""The service manager's watchdog is fed only while the daemon moves: a real socket, the real core in virtual time."""

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.simulation.worlds import scripted
from tradingd.app.service import LANE_LIMIT_S, Service
from tradingd.ports import Priority
from tradingd.sd_notify import Notifier
from tradingd.simulation.world import World


def beats(world: World, manager: socket.socket, seconds: float) -> int:
    """How often the watchdog was fed while so much time passed; a socket's queue holds ten messages."""
    count = 0
    for _ in range(round(seconds / 10)):
        world.run_for(10)
        with suppress(BlockingIOError):
            while True:
                count += manager.recv(4096) == b"WATCHDOG=1"
    return count


@pytest.mark.fault(86)
def test_a_daemon_whose_lane_stands_still_is_not_alive_to_the_watchdog_until_it_moves(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        world = scripted(tmp_path, "9 exit")
        try:
            world.start()
            world.run_for(50)
            daemon, core = world.daemon, world.generations[0].core
            assert daemon is not None and core is not None
            environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
            service = Service(Notifier(environ, os.getpid()), core, core.jobs.clock)
            daemon.loop.call_soon(service.start)
            assert beats(world, manager, 120) >= 11, "each ten seconds"
            go_on = asyncio.Event()

            async def step() -> None:
                await go_on.wait()

            (lane,) = core.execution.pipeline.lanes.values()
            lane.add(Priority.ENTRY, "enter", step)
            assert beats(world, manager, LANE_LIMIT_S + 20) >= 11, "a step may take its time"
            assert beats(world, manager, 60) == 0
            go_on.set()
            assert beats(world, manager, 60) >= 4
        finally:
            world.close()
