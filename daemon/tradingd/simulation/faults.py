"""Seeded faults of network, venue, process and disk: a swarm, in which each seed draws its own kinds and rates."""

from collections.abc import Callable, Collection
from random import Random

import msgspec

from tradingd.simulation.loop import SECOND_US

REQUEST_KINDS = (
    "refuse",
    "lose_request",
    "lose_reply",
    "reset_before",
    "reset_after",
    "cut_body",
    "truncated",
    "html_after",
    "unknown_503_before",
    "unknown_503_after",
    "late_short",
    "late_long",
    "slow_reply",
)
"""What can happen to one request. `before` and `after`: of the venue's handling it."""

FRAME_KINDS = ("drop_frame", "duplicate_frame", "reorder_frame")
LONGEST_S = {
    "drop_account": 0.0,
    "drop_candles": 0.0,
    "mute_account": 60.0,
    "mute_candles": 60.0,
    "outage": 25.0,
    "crash": 15.0,
    "disk_full": 20.0,
    "ban": 40.0,
}
"""What can happen to the world as a whole, and for how many seconds at most; a crash: until the restart."""

OF_THE_HOST = ("crash", "disk_full")
"""What happens to the daemon and not to a venue."""


class Fate(msgspec.Struct, frozen=True):
    """What happens to one request; extra delays on the way there and back, µs."""

    kind: str = ""
    out_us: int = 0
    back_us: int = 0


WELL = Fate()


class Scheduled(msgspec.Struct, frozen=True):
    """One fault of the world: when it begins and how long it lasts, µs."""

    at_us: int
    kind: str
    for_us: int = 0


class FaultPlan:
    """Draws the fate of each request and frame while active; the faults of the world are drawn beforehand."""

    def __init__(self, seed: str, *, start_us: int = 0, heal_us: int = 0) -> None:
        self._random = Random(f"{seed}/fates")
        self.start_us = start_us
        self.heal_us = heal_us
        self.request_rates: dict[str, float] = {}
        self.frame_rates: dict[str, float] = {}
        self.schedule: list[Scheduled] = []
        self.outage_until_us = 0
        self.disk_full_until_us = 0
        self.ban_until_us = 0
        self.script: Callable[[int, str, str], Fate | None] = lambda now_us, method, path: None

    @staticmethod
    def swarm(seed: str, start_us: int, heal_us: int, without: Collection[str] = ()) -> "FaultPlan":
        """A random subset of all kinds, each with its own rate; of those that last none in `without`."""
        plan = FaultPlan(seed, start_us=start_us, heal_us=heal_us)
        draw = Random(f"{seed}/swarm")
        for kind in REQUEST_KINDS:
            if draw.random() < 0.4:
                plan.request_rates[kind] = draw.choice((0.003, 0.01, 0.03))
        for kind in FRAME_KINDS:
            if draw.random() < 0.4:
                plan.frame_rates[kind] = draw.choice((0.01, 0.05, 0.2))
        span_s = (heal_us - start_us) / SECOND_US
        for kind in LONGEST_S:
            if draw.random() < 0.5 and kind not in without:
                plan._draw_world(draw, kind, span_s)
        plan.schedule.sort(key=lambda each: (each.at_us, each.kind))
        return plan

    def _draw_world(self, draw: Random, kind: str, span_s: float) -> None:
        for _ in range(max(1, round(draw.uniform(0.2, 1.5) * span_s / 600))):
            at_us = self.start_us + round(draw.random() * span_s * SECOND_US)
            for_us = round(draw.uniform(0.2, LONGEST_S[kind] or 0.2) * SECOND_US)
            self.schedule.append(Scheduled(at_us, kind, for_us))

    def is_active(self, now_us: int) -> bool:
        """Whether faults happen now."""
        return self.start_us <= now_us < self.heal_us

    def fate(self, now_us: int, method: str, path: str) -> Fate:
        """What happens to a request that leaves now; the script goes first."""
        scripted = self.script(now_us, method, path)
        if scripted is not None:
            return scripted
        if now_us < self.outage_until_us:
            return Fate(self._random.choice(("refuse", "lose_request")))
        if now_us < self.ban_until_us:
            return Fate("banned")
        if not self.is_active(now_us) or not self.request_rates:
            return WELL
        roll = self._random.random()
        for kind, rate in self.request_rates.items():
            if roll < rate:
                return self._fate(kind)
            roll -= rate
        return WELL

    def _fate(self, kind: str) -> Fate:
        if kind == "late_short":
            return Fate(kind, out_us=round(self._random.uniform(1.5, 4.9) * SECOND_US))
        if kind == "late_long":
            return Fate(kind, out_us=round(self._random.uniform(3.0, 20.0) * SECOND_US))
        if kind == "slow_reply":
            return Fate(kind, back_us=round(self._random.uniform(1.0, 9.0) * SECOND_US))
        return Fate(kind)

    def frame_fault(self, now_us: int) -> str:
        """What happens to a frame of the account stream."""
        if not self.is_active(now_us) or not self.frame_rates:
            return ""
        roll = self._random.random()
        for kind, rate in self.frame_rates.items():
            if roll < rate:
                return kind
            roll -= rate
        return ""
