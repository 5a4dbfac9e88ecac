"""A world: one built-in venue, one network, one journal, and the daemons that live and die on them, in virtual time."""

import asyncio
import ctypes
import gc
import hashlib
import logging
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import structlog

from tradingd.app.core import Core
from tradingd.config import Settings, load_settings
from tradingd.config.credentials import SIM_CREDENTIALS
from tradingd.domain.ids import VenueId, make_epoch
from tradingd.domain.records import BootRecord
from tradingd.emulator.venues import LEDGER_FILE, VENUES, VenueOptions, open_model
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.journal.opening import open_inline
from tradingd.journal.spool import Spool
from tradingd.simulation.clock import START_MS, SimClock, SimRandom
from tradingd.simulation.evidence import Span, venue_ms
from tradingd.simulation.faults import FaultPlan, Scheduled
from tradingd.simulation.loop import SECOND_US, SimLoop, Timeline
from tradingd.simulation.network import Network
from tradingd.simulation.session import SimSession
from tradingd.simulation.store import SimStore
from tradingd.simulation.timers import SimTimers
from tradingd.strategy.loader import load_strategies
from tradingd.strategy.timer import NoTimer
from tradingd.venues.ccxt_venue import CcxtVenue, ClientSettings

PLUGINS = Path(__file__).with_name("plugins")
CLOCK_PROBE_S = 30.0
DEAF_MS = 65_000
"""A fact that the stream swallowed is found by the reconcile timer, a minute later at most."""


class Crash(SystemExit):
    """The daemon was killed here. A SystemExit, which asyncio lets out of the loop at once."""


class WorldOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What makes one world. `strategies` is TOML: the strategies' sections of the config, `plugins` has their files."""

    venue: str = "binance"
    seed: int = 1
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")
    strategies: str = ""
    plugins: Path = PLUGINS
    config: str = ""
    leftover_on_close: bool = True
    remembers_ids: bool = False
    lag_factor: float = 1.0


class Generation:
    """One run of the daemon: its loop, its core, its store. Once dead it is kept, and never run again."""

    def __init__(self, world: "World", number: int, skew_ms: int) -> None:
        self.number = number
        self.loop = SimLoop(world.timeline)
        self.loop.set_exception_handler(self._on_loop_exception)
        self.clock = SimClock(world.timeline, skew_ms)
        self.is_dead = False
        self.boot: asyncio.Task[None] | None = None
        self.core: Core | None = None
        self.store: SimStore | None = None
        self.venues: list[CcxtVenue] = []
        self.faults: list[str] = []
        self.started_us = world.timeline.now_us
        self.ended_us: int | None = None

    def fence(self) -> None:
        """Nothing of a dead daemon reaches store or wire."""
        if self.is_dead:
            raise Crash("a dead daemon acted")

    def lay_to_rest(self) -> None:
        """ccxt's object complains of its session when the process ends; the dead have none."""
        for venue in self.venues:
            if venue._exchange is not None:
                venue._exchange.session = None

    def _on_loop_exception(self, _loop: Any, context: dict[str, Any]) -> None:
        if not self.is_dead:
            self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")


class World:
    """Make one, `start`, `run_for`, `crash`, `start` again; `close` at the end. Not for two worlds at a time."""

    def __init__(self, directory: Path, options: WorldOptions, plan: FaultPlan | None = None) -> None:
        self.directory = directory
        self.options = options
        self.seed = str(options.seed)
        self.venue_id = VenueId(options.venue)
        self.timeline = Timeline()
        self.plan = plan or FaultPlan(self.seed)
        self.ledger_path = directory / "venue" / LEDGER_FILE
        self.venue = self._open_venue()
        self.network = Network(self.timeline, self.venue, self.plan, self.seed)
        self.network.boundary = self._on_boundary
        self.network.check_journal = self._is_journalled
        self.settings = self._load_settings()
        self.strategies = load_strategies(self.settings)
        self.daemon: Generation | None = None
        self.generations: list[Generation] = []
        self.boundaries = 0
        self.names: list[str] = []
        self.crash_at: int | None = None
        self.counts: Callable[[str], bool] = lambda name: True
        self.unable: list[Span] = []
        self.deaf: list[Span] = []
        self._draw = Random(f"{self.seed}/world")
        self._reader: sqlite3.Connection | None = None
        self._logging = structlog.get_config() if structlog.is_configured() else None
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        gc.disable()

    def _open_venue(self) -> Any:
        options = self.options
        venue: Any = open_model(
            VenueOptions(
                venue=options.venue,
                symbols=options.symbols,
                state_dir=self.directory / "venue",
                seed=options.seed,
                history=200,
                leftover_on_close=options.leftover_on_close,
                remembers_ids=options.remembers_ids,
            ),
            START_MS,
        )
        lags: Any = venue._desk.lags
        if options.lag_factor != 1.0:
            drawn = lags._draw
            lags._draw = lambda least, mean, most: drawn(
                least * options.lag_factor, mean * options.lag_factor, most * options.lag_factor
            )
        return venue

    def _load_settings(self) -> Settings:
        path = self.directory / "config.toml"
        path.write_text(
            f"""[daemon]
mode = "sim"
state_dir = "{self.directory}/var"
strategies_dir = "{self.options.plugins}"
speed = 1
{self._venues()}
{self.options.config}
{self.options.strategies}
"""
        )
        return load_settings(path, {})

    def _venues(self) -> str:
        """The one venue of this world, and no other."""
        return "\n".join(f"[venues.{name}]\nenabled = {str(name == self.venue_id).lower()}" for name in VENUES)

    # --- life -----------------------------------------------------------------------------------------------------

    @property
    def now_us(self) -> int:
        """World time."""
        return self.timeline.now_us

    def start(self, skew_ms: int = 0) -> Generation:
        """Start a daemon on the journal, as a new process would; it runs from the next `run_for` on."""
        if self.daemon is not None:
            raise RuntimeError("a daemon is alive already")
        generation = Generation(self, len(self.generations) + 1, skew_ms)
        self.generations.append(generation)
        self.daemon = generation
        generation.boot = generation.loop.create_task(self._boot(generation), name="boot")
        return generation

    async def _boot(self, generation: Generation) -> None:
        clock, random = generation.clock, SimRandom(f"{self.seed}/daemon/{generation.number}")
        pins = {f"endpoint.{self.venue_id}": "built-in"}
        inner = open_inline(self.settings.journal_path, mode="sim", now_ms=clock.wall_ms(), pins=pins)
        store = SimStore(inner, self._on_boundary, self._is_disk_full, generation.fence)
        generation.store = store
        spool = Spool(self.settings.journal_path.with_name(self.settings.journal_path.name + ".spool"))
        await spool.take_in(store, clock.now_ms())
        recovered = await store.recover(clock.now_ms())
        epoch = make_epoch(clock.wall_ms(), random.token(3))
        limiter = RateLimiter(clock)
        session = SimSession(
            self.network, generation.number, self._on_boundary, generation.fence, lambda: generation.is_dead
        )
        venue = CcxtVenue(
            self.venue_id,
            SIM_CREDENTIALS,
            clock,
            random,
            limiter,
            endpoint="http://venue.invalid:80",
            settings=ClientSettings(
                receive_window_ms=self.settings.venues[self.venue_id].receive_window_ms,
                ping_interval_ms=round(self.settings.execution.stale_after_s * 1000 / 3),
            ),
            open_session=lambda **_options: session,  # type: ignore[arg-type]
        )
        generation.venues.append(venue)
        limiter.add_venue(self.venue_id, venue.quirks.rate_plan())
        core = Core(
            self.settings,
            self.strategies,
            {self.venue_id: venue},
            limiter,
            store,
            recovered,
            clock,
            random,
            NoTimer(),
            epoch,
            spool.append,
            lambda reason: None,
            partial(SimTimers, clock),
        )
        generation.core = core
        core.start(BootRecord(epoch, clock.wall_ms(), "sim", "simulation", 1, "0" * 64))
        await core.wait_up()
        core.start_jobs(CLOCK_PROBE_S)

    def run_for(self, seconds: float) -> bool:
        """Let the world run; False when the daemon was killed on the way (at `crash_at`)."""
        return self.run_to(self.now_us + round(seconds * SECOND_US))

    def run_to(self, until_us: int) -> bool:
        """Let the world run until a time; False when the daemon was killed on the way."""
        generation = self.daemon
        if generation is None:
            self.timeline.run_to(until_us)
            return True
        try:
            generation.loop.run_to(until_us)
        except Crash:
            self._bury(generation)
            return False
        if generation.boot is not None and generation.boot.done():
            generation.boot.result()
        failed = generation.core.tasks.failed if generation.core else None
        if failed is not None and failed.done():
            raise RuntimeError(f"the daemon ended by an error at {self.now_us / SECOND_US} s") from failed.result()
        return True

    def crash(self) -> None:
        """Kill the daemon now, between two of its turns."""
        if self.daemon is not None:
            self._bury(self.daemon)

    def _bury(self, generation: Generation) -> None:
        generation.is_dead = True
        generation.ended_us = self.now_us
        if generation.store is not None:
            generation.store.inner.close_now()
        self.daemon = None
        self.network.cut_off()

    def stop(self) -> None:
        """The orderly stop."""
        generation = self.daemon
        if generation is None or generation.core is None:
            return
        generation.loop.run_until_complete(generation.core.stop("simulation"))
        self._bury(generation)

    @property
    def is_ready(self) -> bool:
        """Whether the daemon says that its venue is READY."""
        core = self.daemon.core if self.daemon else None
        return core is not None and core.execution.router.is_ready(self.venue_id)

    @property
    def trouble(self) -> str:
        """Why it is not."""
        core = self.daemon.core if self.daemon else None
        return "no daemon" if core is None else core.execution.router.reason(self.venue_id)

    # --- faults ---------------------------------------------------------------------------------------------------

    def _on_boundary(self, name: str) -> None:
        """A point at which the daemon may be killed; names that `counts` refuses are passed over."""
        generation = self.daemon
        if generation is None or generation.is_dead or not self.counts(name):
            return
        self.boundaries += 1
        if self.crash_at is not None:
            self.names.append(name)
        if self.boundaries == self.crash_at:
            generation.is_dead = True
            raise Crash(name)

    def _is_disk_full(self) -> bool:
        return self.now_us < self.plan.disk_full_until_us

    def _is_journalled(self, client_order_id: str) -> bool:
        """Whether another process could read the order in the journal, or in the spool, at this moment."""
        if self._reader is None:
            self._reader = sqlite3.connect(f"file:{self.settings.journal_path}?mode=ro", uri=True)
        query = "SELECT 1 FROM orders WHERE client_order_id = ?"
        if self._reader.execute(query, (client_order_id,)).fetchone() is not None:
            return True
        spool = self.settings.journal_path.with_name(self.settings.journal_path.name + ".spool")
        return spool.exists() and client_order_id in spool.read_text()

    def apply(self, fault: Scheduled) -> None:
        """Let one fault of the plan's schedule happen now."""
        until_us = self.now_us + fault.for_us
        span = Span(venue_ms(self.now_us), venue_ms(until_us))
        kind, _, stream = fault.kind.partition("_")
        if fault.kind in ("outage", "ban"):
            self.unable.append(span)
        if fault.kind == "outage":
            self.plan.outage_until_us = until_us
            for account in (True, False):
                self.network.drop(account=account)
        elif fault.kind == "disk_full":
            self.plan.disk_full_until_us = until_us
        elif fault.kind == "ban":
            self.plan.ban_until_us = until_us
        elif kind == "drop":
            self.network.drop(account=stream == "account")
        elif kind == "mute":
            if stream == "account":
                self.deaf.append(Span(span.start_ms, span.end_ms + DEAF_MS))
            self.network.mute(account=stream == "account", for_us=fault.for_us, half_open=self._draw.random() < 0.3)

    # --- the end --------------------------------------------------------------------------------------------------

    def digest(self) -> str:
        """One number for all bytes on the wire and all rows of the journal."""
        total = hashlib.sha256(self.network.log.hexdigest().encode())
        with sqlite3.connect(f"file:{self.settings.journal_path}?mode=ro", uri=True) as db:
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
            for table in tables:
                for row in db.execute(f'SELECT * FROM "{table}"'):
                    total.update(repr(row).encode())
        return total.hexdigest()

    def close(self) -> None:
        """End the world, and give back what it took from the process."""
        self.crash()
        self.venue.save()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self.venue.close()
        for generation in self.generations:
            generation.lay_to_rest()
            _GRAVES.append(generation)
        if self._logging is None:
            structlog.reset_defaults()
        else:
            structlog.configure(**self._logging)
        gc.enable()


_GRAVES: list[Generation] = []
"""Dead daemons are kept: collecting one would run what its coroutines still have in their `finally`."""

# one reference that nobody gives back, so that the end of the interpreter does not collect them either
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_GRAVES))
