"""What the service manager is told: READY, STATUS and WATCHDOG, the last only while the daemon really moves."""

from collections.abc import Callable, Iterable
from decimal import Decimal

import structlog

from tradingd.app.core import Core
from tradingd.app.jobs import Jobs
from tradingd.domain.errors import JournalError, Severity, VenueError
from tradingd.domain.events import Heartbeat, IncidentRaised, VenueStateChanged
from tradingd.domain.numbers import plain_text
from tradingd.execution.lanes import Lane
from tradingd.ports import Clock
from tradingd.sd_notify import Notifier

log = structlog.get_logger(__name__)

LOOK_S = 10.0
START_EXTENSION_S = 60.0
JOB_LIMIT_S = 15.0
LANE_LIMIT_S = 120.0
WATCHED = ("tick", "health")
"""The jobs that protection and the venues' states depend on."""


class Progress:
    """Whether the daemon moves. A loop that turns is not enough: its jobs must end, and its lanes their steps."""

    def __init__(self, clock: Clock, jobs: Jobs, lanes: Callable[[], Iterable[Lane]]) -> None:
        self._clock = clock
        self._jobs = jobs
        self._lanes = lanes
        self._seen: dict[Lane, tuple[int, float]] = {}

    def trouble(self) -> str | None:
        """What stands still; None while nothing does. To be asked again and again: a lane is watched in between."""
        late = [name for name in WATCHED if self._jobs.idle_s(name) > JOB_LIMIT_S]
        if late:
            return f"no run of {late[0]} has ended for {self._jobs.idle_s(late[0]):.0f} s"
        now = self._clock.monotonic()
        for lane in self._lanes():
            number, since = self._seen.get(lane, (-1, now))
            if number != lane.begun or lane.running is None:
                number, since = lane.begun, now
            self._seen[lane] = (number, since)
            if now - since > LANE_LIMIT_S:
                return f"{lane.instrument} is in the step {lane.running} for {now - since:.0f} s"
        return None


class Service:
    """Talks to the service manager, if there is one; watches the daemon's progress in any case."""

    def __init__(self, notifier: Notifier, core: Core, clock: Clock) -> None:
        self._notifier = notifier
        self._core = core
        self._clock = clock
        self._progress = Progress(clock, core.jobs, core.execution.pipeline.lanes.values)
        self._stands_still = False
        self._is_up = False
        self._reloading = False
        core.bus.subscribe(Heartbeat, self._on_heartbeat)
        core.bus.subscribe(VenueStateChanged, self._on_venue)

    @property
    def is_managed(self) -> bool:
        """Whether a service manager listens."""
        return self._notifier.enabled

    def start(self) -> None:
        """Watch from now on."""
        watchdog_s = self._notifier.watchdog_s
        self._core.jobs.every("progress", LOOK_S if watchdog_s is None else min(LOOK_S, watchdog_s / 3), self._look)

    def up(self) -> None:
        """The start is complete."""
        self._is_up = True
        self._notifier.ready(self.status())

    def stopping(self, reason: str) -> None:
        """The stop has begun."""
        self._notifier.stopping(f"stopping: {reason}")

    def reload(self) -> None:
        """Read rules and account anew, told as systemd wants it; another one while it runs changes nothing."""
        if self._is_up and not self._reloading:
            self._reloading = True
            self._notifier.reloading(self._clock.monotonic())
            self._core.tasks.start("reload", self._reload())

    async def _reload(self) -> None:
        try:
            await self._core.read_anew()
            log.info("daemon_reloaded")
        except (VenueError, JournalError) as error:
            log.warning("daemon_not_reloaded", reason=str(error))
        finally:
            self._reloading = False
            self._notifier.ready(self.status())

    async def _look(self) -> None:
        trouble = self._progress.trouble()
        if trouble is None:
            self._stands_still = False
            self._notifier.watchdog()
            if not self._is_up:
                self._notifier.extend_start(START_EXTENSION_S)
        elif not self._stands_still:
            self._stands_still = True
            self._core.bus.publish(IncidentRaised("daemon_stands_still", Severity.CRITICAL, trouble))
            self._notifier.status(f"stands still: {trouble}")

    # --- the line of `systemctl status` ---------------------------------------------------------------------------

    def status(self) -> str:
        """One line: money, positions, doubts, entries, venues."""
        execution, operator = self._core.execution, self._core.operator
        denied = operator.entries_denied()
        equity = operator.equity_usdt()
        held = [each.instrument for each in execution.state.open_positions()]
        naked = sum(not execution.protection.has_stop(each) for each in held)
        return "; ".join(
            [
                "equity unknown" if equity is None else f"equity {plain_text(equity.quantize(Decimal('0.01')))} USDT",
                f"{_count(len(held), 'open position')}, {naked} unprotected",
                f"{_count(operator.unknown_orders(), 'order')} in doubt",
                f"no entries: {denied}" if denied else "entries allowed",
                *(f"{venue} {execution.router.state(venue)}" for venue in self._core.sessions),
            ]
        )

    def _on_heartbeat(self, _event: Heartbeat) -> None:
        self._tell_status()

    def _on_venue(self, _event: VenueStateChanged) -> None:
        self._tell_status()

    def _tell_status(self) -> None:
        if self._notifier.enabled and not self._stands_still:
            self._notifier.status(self.status())


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
