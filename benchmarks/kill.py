"""The daemon killed with SIGKILL at seeded moments of a run, restarted on the same journal, then the comparison."""

import argparse
import json
import signal
import threading
import time
import urllib.request
from collections import Counter
from random import Random
from typing import Any, NamedTuple

from benchmarks import compare
from benchmarks.by_hand import without_hands
from benchmarks.compare import Question
from benchmarks.evidence import read_candles, read_journal, read_venue
from benchmarks.replay_candles import STOP_LIMIT_S, add_run_arguments, make_world, time_limit_s
from benchmarks.world import HISTORY_CANDLES, BenchmarkFailed, Workplace, World, percentile

SETTINGS = ["strategies.trend.stop=0.004", "strategies.trend.take_profit=0.006"]
"""Nearer stops than the shipped ones, so that within the run many are hit."""

EXPLAINED = frozenset({"stop_not_placed", "emergency_close", "exit_not_done", "venue_not_ready", "sweep_failed",
                       "foreign_position", "position_flipped", "job_failing", "leftover_not_cancelled",
                       "protection_changed"})
"""What the daemon may say of itself while a fault script is played; without one it has nothing to say. A script that
refuses stops, or lets them end while the price moves, asks for a close instead."""
STARTING = "built_in_venue_attached"
NEAR = ("order_submitted entry", "order_submitted stop|protection_placed", STARTING, "order_filled entry",
        "order_submitted exit", "fill_booked", "order_submitted entry", "position_closed")
"""Log events, with the purpose of the order where it matters, after which a kill hurts most; `|`: whichever comes, as
a venue that keeps the stop with the position has no order for it."""
LONGEST_MS = 20.0
LONGEST_START_MS = 2_500.0
WAIT_FOR_EVENT_S = 60.0
LATEST_KILL = 0.97
HEALED_S = {"binance": 9.0, "bybit": 12.0}
"""With faults the last kill comes so long before the end, real time: the venue's clock stands still with its market,
and what is in doubt then stays so. The longer a venue may hide an order, the longer that takes."""


class Moment(NamedTuple):
    """When to kill: at a share of the run, then `delay_ms` after the next log event named, unless that is empty."""

    progress: float
    event: str
    delay_ms: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this figure."""
    parser.add_argument("--count", type=int, default=50, metavar="N", dest="kills", help="SIGKILLs")
    parser.add_argument("--length", type=int, default=5000, metavar="N", help="candles to trade")
    parser.add_argument("--faults", metavar="NAME", help="a fault script, as `faults` of a venue takes it; it is "
                        "played until the last kill")
    add_run_arguments(parser)


def latest(length: int, speed: float, venue: str, faults: bool) -> float:
    """At which share of the run the last kill may come."""
    return min(LATEST_KILL, max(0.1, 1 - HEALED_S[venue] * speed / 60 / length)) if faults else LATEST_KILL


def plan(kills: int, rng: Random, until: float = LATEST_KILL) -> list[Moment]:
    """Half at any moment; half just after an order was submitted, a fill was booked, or while starting."""
    moments = []
    for number in range(kills):
        event = NEAR[number // 2 % len(NEAR)] if number % 2 else None
        longest_ms = LONGEST_START_MS if event == STARTING else LONGEST_MS
        # squared: most of the delays are short, where an order is on its way
        delay_ms = longest_ms * rng.random() ** 2 if event else rng.uniform(0, 1_000)
        moments.append(Moment(rng.uniform(0.01, until), event or "", delay_ms))
    return sorted(moments)


class Killer:
    """Waits for the moments one after the other."""

    def __init__(self, world: World, start_ms: int, end_ms: int) -> None:
        self._world = world
        self._start_ms, self._end_ms = start_ms, end_ms
        self._wanted = ""
        self._heard = threading.Event()
        self.kills = 0
        self.idle = 0
        self.ready_s: list[float] = []
        self.cpu_s = 0.0
        self.peak_mb = 0.0
        world.listeners.append(self._listen)

    def _listen(self, entry: dict[str, Any]) -> None:
        words = f"{entry.get('event')} {entry.get('purpose', '')}"
        if self._wanted and words.startswith(tuple(self._wanted.split("|"))):
            self._heard.set()

    def kill_at(self, moment: Moment, limit_s: float) -> None:
        """Let the run come to that moment, kill, start again."""
        world = self._world
        until_ms = self._start_ms + moment.progress * (self._end_ms - self._start_ms)
        world.wait_until(lambda: world.venue_clock()["now_ms"] >= until_ms, limit_s, "the next kill", 0.02)
        self._heard.clear()
        self._wanted = moment.event
        if moment.event == STARTING:
            self._kill()
            world.start()
        if world.venue_clock()["finished"]:
            self.idle += 1  # nothing comes that could be waited for
        elif moment.event:
            self._heard.wait(WAIT_FOR_EVENT_S)
        time.sleep(moment.delay_ms / 1000)
        self._kill()
        world.start()

    def _kill(self) -> None:
        daemon = self._world.daemon
        assert daemon is not None
        if daemon.process.poll() is not None:
            raise BenchmarkFailed(f"the daemon ended by itself, status {daemon.process.returncode}; see "
                                  f"{self._world.log}")
        self.note_usage()
        daemon.end(signal.SIGKILL, 10)
        self.kills += 1

    def note_usage(self) -> None:
        """Add up what the living daemon took, and how long it took to be READY."""
        daemon = self._world.daemon
        assert daemon is not None
        used = daemon.usage()
        self.cpu_s += used.cpu_s
        self.peak_mb = max(self.peak_mb, used.peak_mb)
        if daemon.ready_after_s is not None:
            self.ready_s.append(daemon.ready_after_s)


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 when anything was doubled, lost or forgotten."""
    args.settings = [*SETTINGS, *([f"venues.{args.venue}.faults={args.faults}"] if args.faults else []), *args.settings]
    with Workplace("tradingd-kill-", args.keep) as place:
        world, candles, what = make_world(args, place.path)
        print(f"kill: {args.kills} x SIGKILL over {what}, speed {args.speed}, seed {args.seed}, "
              + ", ".join(args.settings), flush=True)
        try:
            began = time.monotonic()
            world.start(fresh=True)
            world.wait_ready()
            limit_s = time_limit_s(args) + 30.0 * args.kills
            start_ms = world.venue_clock()["now_ms"]
            killer = Killer(world, start_ms, start_ms + args.length * 60_000)
            until = latest(args.length, args.speed, args.venue, bool(args.faults))
            for moment in plan(args.kills, Random(args.seed), until):
                killer.kill_at(moment, limit_s)
            if args.faults:
                print(f"  faults played: {_heal(world)}", flush=True)
            world.wait_ready()
            world.wait_finished(limit_s)
            world.wait_quiet()
            killer.note_usage()
            took_s = time.monotonic() - began
            daemon = world.daemon
            assert daemon is not None
            stop_s = daemon.end(signal.SIGINT, STOP_LIMIT_S)
        finally:
            world.close()
        print(f"  {killer.kills} kills at {args.kills} moments (while starting: two each), {killer.kills} restarts")
        if killer.idle:
            print(f"  {killer.idle} of the moments came after the market's end: a longer --length has candles for them")
        print(f"  took {took_s:.1f} s; CPU of all daemons {killer.cpu_s:.1f} s, peak memory {killer.peak_mb:.0f} MB; "
              f"Ctrl-C to end {stop_s:.2f} s")
        print(f"  start to READY: n = {len(killer.ready_s)}, median {percentile(killer.ready_s, 0.5):.2f} s, "
              f"max {max(killer.ready_s):.2f} s")
        question = Question(read_venue(world.ledger), read_journal(world.journal), read_candles(candles),
                            HISTORY_CANDLES, "td", 3, args.speed)
        findings = without_hands(question, [*(check(question) for check in compare.CHECKS),
                                            compare.incidents(question, EXPLAINED if args.faults else frozenset())])
        place.is_clean = compare.report(findings) and daemon.process.returncode == 0
        print("  nothing doubled, lost or forgotten" if place.is_clean else "  DIFFERENT")
        return 0 if place.is_clean else 1


def _heal(world: World) -> str:
    """End the fault script; how often each kind of fault was played since the venue was started, in words."""
    endpoint = f"{world.venue_note()['endpoint']}/_venue/faults"
    with urllib.request.urlopen(endpoint, timeout=5) as answer:
        kinds = Counter(fault["kind"] for fault in json.load(answer)["played"])
    urllib.request.urlopen(urllib.request.Request(endpoint, b""), timeout=5).close()
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "none"
