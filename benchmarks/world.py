"""A real daemon and its built-in venue in an empty directory: started, watched through its log, killed, stopped."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tradingd.emulator.venues import VENUES

HISTORY_CANDLES = 300
"""Lines of a candle file that the built-in venue takes as the past."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchmarkFailed(Exception):
    """The run itself did not come to its end; the text says where to look."""


class Workplace:
    """The directory of one run: `wanted`, or a new one, which is removed once the run `is_clean` and is left, with its
    logs and journals, when it is not."""

    def __init__(self, prefix: str, wanted: Path | None) -> None:
        self.path = wanted or Path(tempfile.mkdtemp(prefix=prefix))
        self.is_clean = False
        self._is_wanted = wanted is not None

    def __enter__(self) -> "Workplace":
        return self

    def __exit__(self, *_error: object) -> None:
        if self.is_clean and not self._is_wanted:
            shutil.rmtree(self.path)
        else:
            print(f"  everything is left in {self.path}")


class Usage(NamedTuple):
    """What a process took: CPU seconds, and the most memory it held at one time."""

    cpu_s: float
    peak_mb: float


class Daemon:
    """One daemon process; every line of its log goes to a file and to `on_line`."""

    def __init__(self, arguments: list[str], directory: Path, env: Mapping[str, str], log: Path,
                 on_line: Callable[[dict[str, Any]], None]) -> None:
        self.started = time.monotonic()
        self.ready_after_s: float | None = None
        self._log = log
        self._on_line = on_line
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tradingd", *arguments], cwd=directory, env={**os.environ, **env},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._read, name="daemon log", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self._log.open("ab") as copy:
            for line in self.process.stdout:
                copy.write(line)
                copy.flush()
                try:
                    entry = json.loads(line)
                except ValueError:
                    entry = {"event": "not_json", "text": line.decode(errors="replace").rstrip()}
                if entry.get("event") == "daemon_ready":
                    self.ready_after_s = time.monotonic() - self.started
                self._on_line(entry)

    def usage(self) -> Usage:
        """Of the living process."""
        return usage(self.process.pid)

    def end(self, number: signal.Signals, limit_s: float) -> float:
        """Send a signal and wait; returns how long it took. Past the limit it is killed and the run has failed."""
        began = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise BenchmarkFailed(f"the daemon did not stop within {limit_s:.0f} s of {number.name}") from None
        finally:
            self._reader.join(5)
        return time.monotonic() - began


def usage(pid: int) -> Usage:
    """CPU time and peak memory of a process."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    peak_kb = int(status.partition("VmHWM:")[2].split()[0])
    return Usage((int(stat[11]) + int(stat[12])) / _TICKS_PER_S, peak_kb / 1024)


class World:
    """A directory with journal, venue ledger and log, and the daemon that works in it."""

    def __init__(self, directory: Path, overrides: Mapping[str, str], arguments: list[str],
                 venue: str = "binance") -> None:
        self.directory = directory
        self.state = directory / "var"
        self.journal = self.state / "sim.db"
        self.ledger = self.state / "venues" / venue / "ledger.db"
        self.log = directory / "daemon.log"
        self.events: Counter[str] = Counter()
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        self.daemon: Daemon | None = None
        self._arguments = arguments
        # the shipped config trades on two venues; one is looked at here, and what trades on the others rests with them
        others = [each for each in VENUES if each != venue]
        off = {f"TRADINGD__VENUES__{each.upper()}__ENABLED": "false" for each in others}
        swing = f'["ETH/USDT:USDT@{others[0]}"]'
        self._env = {**off, "TRADINGD__STRATEGIES__SWING__INSTRUMENTS": swing, **overrides,
                     "TRADINGD__LOG__FORMAT": "json"}

    def start(self, *, fresh: bool = False) -> Daemon:
        """Start the daemon; it attaches to the living venue or starts one."""
        arguments = ["run", *self._arguments, *(["--fresh"] if fresh else [])]
        self.daemon = Daemon(arguments, self.directory, self._env, self.log, self._hear)
        return self.daemon

    def _hear(self, entry: dict[str, Any]) -> None:
        self.events[str(entry.get("event"))] += 1
        for listener in self.listeners:
            listener(entry)

    def venue_note(self) -> dict[str, Any]:
        """Where the venue's process says it can be reached, with its pid."""
        note: dict[str, Any] = json.loads((self.ledger.parent / "venue.json").read_bytes())
        return note

    def venue_clock(self) -> dict[str, Any]:
        """The venue's own word on its time and on whether its market has ended."""
        with urllib.request.urlopen(f"{self.venue_note()['endpoint']}/_venue/clock", timeout=5) as answer:
            clock: dict[str, Any] = json.load(answer)
            return clock

    def wait_ready(self, limit_s: float = 60.0) -> None:
        """Return once the daemon said that it trades."""
        daemon = self._running()
        self.wait_until(lambda: daemon.ready_after_s is not None, limit_s, "READY")

    def wait_finished(self, limit_s: float, every_s: float = 0.5) -> None:
        """Return once the venue's market has come to its end."""
        self.wait_until(lambda: bool(self.venue_clock()["finished"]), limit_s, "the last candle", every_s)

    def wait_quiet(self, quiet_s: float = 2.0, limit_s: float = 60.0) -> None:
        """Return once journal and ledger have not changed for a while and nothing is unknown or undecided."""
        last, since = self._facts(), time.monotonic()
        deadline = since + limit_s
        while time.monotonic() - since < quiet_s:
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"no quiet within {limit_s:.0f} s; see {self.log}")
            time.sleep(0.1)
            self._running()
            if (now := self._facts()) != last or now[-1]:
                last, since = now, time.monotonic()

    def _facts(self) -> tuple[int, ...]:
        with sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True) as db:
            journal = db.execute(
                "SELECT (SELECT count(*) FROM order_events), (SELECT count(*) FROM fills),"
                " (SELECT count(*) FROM decisions), (SELECT count(*) FROM intents WHERE outcome IS NULL)"
                " + (SELECT count(*) FROM orders WHERE status IN ('INITIALIZED', 'SUBMITTED', 'IN_DOUBT'))").fetchone()
        db.close()
        with sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True) as db:
            venue = db.execute("SELECT (SELECT count(*) FROM fills),"
                               " (SELECT count(*) FROM requests WHERE method <> 'GET')").fetchone()
        db.close()
        return (*venue, *journal)

    def wait_until(self, done: Callable[[], bool], limit_s: float, what: str, every_s: float = 0.05) -> None:
        """Poll; BenchmarkFailed when the time is up or the daemon has ended."""
        deadline = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"{what} was not reached within {limit_s:.0f} s; see {self.log}")
            self._running()
            time.sleep(every_s)

    def _running(self) -> Daemon:
        if self.daemon is None or self.daemon.process.poll() is not None:
            raise BenchmarkFailed(f"the daemon is not running; see {self.log}")
        return self.daemon

    def close(self) -> None:
        """End whatever still runs, daemon and venue; for the end of a run that failed too."""
        if self.daemon is not None and self.daemon.process.poll() is None:
            self.daemon.process.kill()
            self.daemon.process.wait()
        try:
            note = self.venue_note()
            with urllib.request.urlopen(f"{note['endpoint']}/_venue/health", timeout=2) as answer:
                alive = json.load(answer)["pid"] == note["pid"]
        except (OSError, ValueError, KeyError):
            return
        if alive:
            os.kill(note["pid"], signal.SIGTERM)


def percentile(values: list[float], fraction: float) -> float:
    """The value below which that fraction of the sorted values lies; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))] if ordered else 0.0
