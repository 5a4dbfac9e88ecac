"""From `tradingd run --fresh` to the first fill in the journal, and how much is installed."""

import argparse
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.world import BenchmarkFailed, percentile

LIMIT_S = 60.0
LIMIT_MB = 200.0
INSTALL_LIMIT_S = 900.0
REPOSITORY = Path(__file__).resolve().parents[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--count", type=int, default=3, metavar="N", help="runs, each from nothing")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the synthetic market")
    parser.add_argument("--clone", action="store_true", help="clone the repository and install it by `make` first")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 past a limit."""
    with tempfile.TemporaryDirectory(prefix="tradingd-first-fill-") as temporary:
        directory = Path(temporary)
        place, installed_mb = "this installation", locked_mb()
        if args.clone:
            place, installed_mb = _install_clone(directory / "clone")
        print(f"first_fill: {place}, n = {args.count}, market seed {args.seed}", flush=True)
        times = []
        for number in range(args.count):
            home = directory / f"run-{number}"
            home.mkdir()
            times.append(_one(home, directory / "clone" if args.clone else None, args.seed))
            print(f"  run {number + 1}: first fill in the journal after {times[-1]:.1f} s", flush=True)
        ok = max(times) <= LIMIT_S and installed_mb <= LIMIT_MB
        print(f"  median {percentile(times, 0.5):.1f} s, max {max(times):.1f} s (claimed: {LIMIT_S:.0f} s); installed "
              f"without bytecode {installed_mb:.0f} MB (claimed: {LIMIT_MB:.0f} MB)")
        return 0 if ok else 1


def _install_clone(clone: Path) -> tuple[str, float]:
    """A clone of what is committed, installed as the README says, without the tools of a developer."""
    _command(["git", "clone", "--quiet", "--no-hardlinks", str(REPOSITORY), str(clone)])
    began = time.monotonic()
    _command(["make", "-C", str(clone), f"PYTHON={sys.executable}", ".venv/.installed"])
    took_s = time.monotonic() - began
    (packages,) = (clone / ".venv" / "lib").glob("python3*/site-packages")
    return f"a fresh clone, installed in {took_s:.0f} s", size_mb(packages.rglob("*"))


def _command(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False)
    if done.returncode:
        raise BenchmarkFailed(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")


def _one(home: Path, clone: Path | None, seed: int) -> float:
    """Seconds from the command to the first row in `fills`. In a clone the command is `make run`."""
    state = home / "var"
    command = [sys.executable, "-m", "tradingd", "run", "--fresh"]
    if clone is not None:
        command = ["make", "--silent", "-C", str(clone), "run", "TRADINGD_ARGS=--fresh"]
    env = {"TRADINGD__DAEMON__STATE_DIR": str(state), "TRADINGD__VENUES__BINANCE__MARKET_SEED": str(seed)}
    with (home / "daemon.log").open("wb") as log:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=home, env={**os.environ, **env}, stdout=log, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            while not _has_fill(state / "sim.db"):
                if process.poll() is not None or time.monotonic() - began > 4 * LIMIT_S:
                    kept = shutil.copy(home / "daemon.log", tempfile.gettempdir())
                    raise BenchmarkFailed(f"no fill; the daemon's log is {kept}")
                time.sleep(0.05)
            return time.monotonic() - began
        finally:
            _interrupt(process)


def _interrupt(process: "subprocess.Popen[bytes]") -> None:
    """As Ctrl-C does: the whole group hears of it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def _has_fill(journal: Path) -> bool:
    if not journal.exists():
        return False
    try:
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as db:
            return bool(db.execute("SELECT EXISTS (SELECT 1 FROM fills)").fetchone()[0])
    except sqlite3.OperationalError:
        return False  # the schema is not there yet


def locked_mb() -> float:
    """Megabytes of what the runtime lock names, as installed here, and of nothing else."""
    text = (REPOSITORY / "requirements.lock").read_text("utf-8")
    names = {line.partition("==")[0].lower() for line in text.splitlines() if "==" in line and line[0].isalnum()}
    files = [Path(str(file.locate())) for each in distributions()
             if each.metadata["Name"].lower().replace("_", "-") in names for file in each.files or ()]
    return size_mb(files)


def size_mb(paths: Iterable[Path]) -> float:
    """Megabytes of files, bytecode not counted."""
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc") / 1e6
