"""The command as a user starts it, and a control server for it to talk to."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.test_control import Clock
from tradingd.domain.errors import TradingdError
from tradingd.domain.records import CommandRecord
from tradingd.gateway.control import ControlServer

Done = subprocess.CompletedProcess[str]
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(("TRADINGD", "NO_COLOR"))}
"""The environment without what tradingd would take from it."""


def tradingd(*words: str, env: dict[str, str] | None = None, cwd: Path | None = None, **options: Any) -> Done:
    """Run `python -m tradingd` and wait for it."""
    return subprocess.run(
        [sys.executable, "-m", "tradingd", *words],
        env=ENVIRON | (env or {}),
        cwd=cwd,
        text=True,
        timeout=60,
        **({"capture_output": True, "stdin": subprocess.DEVNULL} | options),
    )


class Daemon:
    """A control server on a thread of its own, answering with what the test puts into `answers`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, Any] = {}
        self.records: list[CommandRecord] = []
        self._loop = asyncio.new_event_loop()
        self._server = ControlServer(path, self, Clock(), record=self.records.append, scrub=str)
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._do(self._server.start())

    async def handle(self, command: str, arguments: dict[str, str]) -> dict[str, Any]:
        answer = self.answers.get(command, {})
        if isinstance(answer, str):
            raise TradingdError(answer)
        return dict(answer)

    def _do(self, what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    def close(self) -> None:
        self._do(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "var" / "sim.sock")
    yield daemon
    daemon.close()
