"""The sides of a comparison: each a process of its own against a venue process of its own that marks what arrives."""

import json
import os
import shutil
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
LISTED = ("BTC", "ETH", "SOL", "DOGE", "XRP")


class Side(NamedTuple):
    """Who trades: `tradingd` with a plugin, or, where `plugin` is empty, bare ccxt.pro. `options` are its own."""

    name: str
    plugin: str = ""
    options: tuple[str, ...] = ()


class Run(NamedTuple):
    """How a side is run. Beyond the instruments that the built-in venue lists, more are made up."""

    speed: int
    seed: int
    instruments: int = 1

    @property
    def bases(self) -> list[str]:
        """The base currency of each instrument."""
        made_up = (f"MADEUP{number}" for number in range(self.instruments - len(LISTED)))
        return [*LISTED, *made_up][: self.instruments]


class Running(NamedTuple):
    """A side that runs."""

    process: "subprocess.Popen[bytes]"
    stamps: Path
    log: Path

    def marks(self) -> list[Mark]:
        """What was marked until now."""
        return marks.read(self.stamps)

    def wait(self, done: Callable[[], bool], limit_s: float) -> None:
        """Until it is so, or the side has ended; BenchmarkFailed after `limit_s`."""
        _wait(lambda: done() or self.process.poll() is not None, limit_s, self.log)


class Venue(NamedTuple):
    """A venue process and the directory in which it, and a daemon beside it, may write."""

    directory: Path
    endpoint: str

    @property
    def stamps(self) -> Path:
        """Where both sides put their marks."""
        return self.directory / "marks"


@contextmanager
def serving(run: Run, venue: str = "binance") -> Iterator[Venue]:
    """A venue in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="tradingd-latency-") as temporary:
        directory = Path(temporary)
        port_file = directory / "port"
        symbols = ",".join(f"{base}USDT" for base in run.bases)
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.latency.venue", str(port_file),
                                    str(directory / "marks"), symbols, str(run.seed), venue])
        try:
            _wait(lambda: port_file.exists() and bool(port_file.read_text()), 20, directory)
            yield Venue(directory, f"http://127.0.0.1:{port_file.read_text()}")
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def running(side: Side, run: Run) -> Iterator[Running]:
    """A side with a venue of its own; ended by SIGTERM: to SIGINT the children of a background shell are deaf."""
    with serving(run) as venue:
        log = venue.directory / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command(side, run, venue), stdout=output, stderr=subprocess.STDOUT,
                                       env=dict(os.environ))
        try:
            yield Running(process, venue.stamps, log)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(20)


def trade(side: Side, run: Run, enough: Callable[[list[Mark]], bool], limit_s: float) -> list[Mark]:
    """Let a side trade until its marks are `enough`; raises BenchmarkFailed where they are not within `limit_s`."""
    with running(side, run) as trading:
        trading.wait(lambda: enough(trading.marks()), limit_s)
        found = trading.marks()
        if not enough(found):
            raise BenchmarkFailed(f"{side.name} ended too early; its log is {shutil.copy(trading.log, '/tmp')}")
        return found


def command(side: Side, run: Run, venue: Venue) -> list[str]:
    """What starts a side."""
    symbols = [f"{base}/USDT:USDT" for base in run.bases]
    python, stamps = [sys.executable, "-m"], str(venue.stamps)
    if not side.plugin:
        set_speed(venue.endpoint, run.speed)
        return [*python, "benchmarks.latency.bare_client", venue.endpoint, stamps, str(run.speed), ",".join(symbols),
                *side.options]
    config = venue.directory / "config.toml"
    instruments = json.dumps([f"{symbol}@binance" for symbol in symbols])
    config.write_text(
        f'[daemon]\nmode = "sim"\nstate_dir = "{venue.directory / "var"}"\nstrategies_dir = "{PLUGINS}"\n'
        f'speed = {run.speed}\n[log]\nformat = "json"\n[venues.binance]\nendpoint = "{venue.endpoint}"\n'
        f'[risk]\nmax_open_positions = {run.instruments}\n'
        f'[strategies.latency]\nplugin = "{side.plugin}"\ninstruments = {instruments}\ntimeframe = "1m"\n'
        'hold_candles = 0\n')
    return [*python, "benchmarks.latency.daemon", stamps, *side.options, "run", "--config", str(config)]


def set_speed(endpoint: str, speed: int) -> None:
    """Let the venue's time run so fast."""
    body = json.dumps({"speed": speed}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/_venue/clock", body), timeout=5).close()


def _wait(done: Callable[[], bool], limit_s: float, where: Path) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"nothing within {limit_s:.0f} s; see {where}")
        time.sleep(0.2)
