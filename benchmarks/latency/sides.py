"""The sides of a comparison: each a process of its own against a venue process of its own that marks what arrives."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.latency import marks
from benchmarks.latency.marks import Mark
from benchmarks.world import BenchmarkFailed

PLUGINS = Path(__file__).parent / "plugins"
SYMBOLS = {"BTC/USDT:USDT": "BTCUSDT", "ETH/USDT:USDT": "ETHUSDT"}


class Side(NamedTuple):
    """Who trades: `tradingd` with a plugin, or, where `plugin` is empty, bare ccxt.pro. `options` are its own."""

    name: str
    plugin: str = ""
    options: tuple[str, ...] = ()


class Run(NamedTuple):
    """How a side is run."""

    speed: int
    seed: int
    instruments: int = 1


def trade(side: Side, run: Run, enough: Callable[[list[Mark]], bool], limit_s: float) -> list[Mark]:
    """Let a side trade until its marks are `enough`; raises BenchmarkFailed where they are not within `limit_s`."""
    with tempfile.TemporaryDirectory(prefix="tradingd-latency-") as temporary:
        directory = Path(temporary)
        stamps, log = directory / "marks", directory / "log"
        symbols = list(SYMBOLS)[: run.instruments]
        with _venue(directory, stamps, [SYMBOLS[symbol] for symbol in symbols], run.seed) as endpoint:
            command = _command(side, run, symbols, directory, endpoint)
            with log.open("wb") as output:
                process = subprocess.Popen([sys.executable, "-m", *command], stdout=output, stderr=subprocess.STDOUT,
                                           env=dict(os.environ))
            try:
                _wait(lambda: enough(marks.read(stamps)) or process.poll() is not None, limit_s, log)
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                    process.wait(20)
            found = marks.read(stamps)
            if not enough(found):
                raise BenchmarkFailed(f"{side.name} ended too early; its log is {shutil.copy(log, '/tmp')}")
            return found


def _command(side: Side, run: Run, symbols: list[str], directory: Path, endpoint: str) -> list[str]:
    stamps = str(directory / "marks")
    if not side.plugin:
        _set_speed(endpoint, run.speed)
        return ["benchmarks.latency.bare_client", endpoint, stamps, str(run.speed), ",".join(symbols), *side.options]
    config = directory / "config.toml"
    instruments = json.dumps([f"{symbol}@binance" for symbol in symbols])
    config.write_text(
        f'[daemon]\nmode = "sim"\nstate_dir = "{directory / "var"}"\nstrategies_dir = "{PLUGINS}"\n'
        f'speed = {run.speed}\n[venues.binance]\nendpoint = "{endpoint}"\n'
        f'[strategies.latency]\nplugin = "{side.plugin}"\ninstruments = {instruments}\ntimeframe = "1m"\n'
        'hold_candles = 0\n')
    return ["benchmarks.latency.daemon", stamps, *side.options, "run", "--config", str(config)]


def _set_speed(endpoint: str, speed: int) -> None:
    body = json.dumps({"speed": speed}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/_venue/clock", body), timeout=5).close()


@contextmanager
def _venue(directory: Path, stamps: Path, symbols: list[str], seed: int) -> Iterator[str]:
    """A venue process that marks what arrives; its endpoint."""
    port_file = directory / "port"
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.latency.venue", str(port_file), str(stamps),
                                ",".join(symbols), str(seed)])
    try:
        _wait(lambda: port_file.exists() and bool(port_file.read_text()), 20, directory)
        yield f"http://127.0.0.1:{port_file.read_text()}"
    finally:
        process.terminate()
        process.wait(10)


def _wait(done: Callable[[], bool], limit_s: float, where: Path) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"nothing within {limit_s:.0f} s; see {where}")
        time.sleep(0.2)
