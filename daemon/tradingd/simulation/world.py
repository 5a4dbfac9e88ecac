"""A world: built-in venues, one journal, and the daemons that live and die on them, in virtual time."""

import ctypes
import gc
import hashlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import structlog

from tradingd.app.core import Core
from tradingd.config import Settings, load_settings
from tradingd.config.credentials import SIM_CREDENTIALS
from tradingd.domain.ids import VenueId, make_epoch
from tradingd.domain.records import BootRecord
from tradingd.emulator.venues import VENUES, VenueOptions
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.journal.opening import open_inline
from tradingd.journal.spool import Spool
from tradingd.ports import Venue
from tradingd.simulation.clock import SimRandom
from tradingd.simulation.faults import FaultPlan, Scheduled
from tradingd.simulation.generation import Crash, Generation
from tradingd.simulation.loop import SECOND_US, Timeline
from tradingd.simulation.network import Network
from tradingd.simulation.session import SimSession
from tradingd.simulation.site import Site
from tradingd.simulation.store import SimStore
from tradingd.simulation.timers import SimTimers
from tradingd.strategy.loader import load_strategies
from tradingd.strategy.timer import NoTimer
from tradingd.venues.ccxt_venue import CcxtVenue, ClientSettings

PLUGINS = Path(__file__).with_name("plugins")
CLOCK_PROBE_S = 30.0
BOTH = "both"
ANOTHER_MARKET = 1_000
"""Added to the seed: the second venue's market is not the first one's."""


class WorldOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What makes one world. `strategies` is TOML: the strategies' sections of the config, `plugins` has their files.

    `venue` may be `both`; `offsets_ms`: how far each venue's clock is ahead of the world's, in the order of VENUES.
    """

    venue: str = "binance"
    offsets_ms: tuple[int, ...] = ()
    seed: int = 1
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")
    strategies: str = ""
    plugins: Path = PLUGINS
    config: str = ""
    leftover_on_close: bool = True
    remembers_ids: bool = False
    lag_factor: float = 1.0

    @property
    def venues(self) -> tuple[str, ...]:
        """The venues of the world."""
        return VENUES if self.venue == BOTH else (self.venue,)


class World:
    """Make one, `start`, `run_for`, `crash`, `start` again; `close` at the end. A world within another ends first."""

    def __init__(self, directory: Path, options: WorldOptions, *plans: FaultPlan | None) -> None:
        """`plans` has the faults of each venue, in the order of `options.venues`; the host's stand in the first."""
        self.directory = directory
        self.options = options
        self.seed = str(options.seed)
        self.timeline = Timeline()
        self.sites = self._make_sites(plans)
        self.settings = self._load_settings()
        self.strategies = load_strategies(self.settings)
        self.daemon: Generation | None = None
        self.generations: list[Generation] = []
        self.boundaries = 0
        self.names: list[str] = []
        self.crash_at: int | None = None
        self.counts: Callable[[str], bool] = lambda name: True
        self._reader: sqlite3.Connection | None = None
        self._logging = structlog.get_config() if structlog.is_configured() else None
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        gc.disable()

    def _make_sites(self, plans: Sequence[FaultPlan | None]) -> dict[VenueId, Site]:
        options = self.options
        sites: dict[VenueId, Site] = {}
        apart = zip_longest(options.venues, plans[: len(options.venues)], options.offsets_ms[: len(options.venues)])
        for number, (name, plan, offset_ms) in enumerate(apart):
            seed = f"{self.seed}/{name}" if number else self.seed
            site = Site(
                self.timeline,
                VenueOptions(
                    venue=name,
                    symbols=options.symbols,
                    state_dir=self.directory / name,
                    seed=options.seed + number * ANOTHER_MARKET,
                    history=200,
                    leftover_on_close=options.leftover_on_close,
                    remembers_ids=options.remembers_ids,
                ),
                plan or FaultPlan(seed),
                seed,
                lag_factor=options.lag_factor,
                offset_ms=offset_ms or 0,
            )
            site.network.boundary = self._on_boundary
            site.network.check_journal = self._is_journalled
            sites[site.id] = site
        return sites

    @property
    def site(self) -> Site:
        """The first venue, or the only one."""
        return next(iter(self.sites.values()))

    @property
    def venue_id(self) -> VenueId:
        """Of the first venue."""
        return self.site.id

    @property
    def venue(self) -> Any:
        """The first venue's model."""
        return self.site.venue

    @property
    def network(self) -> Network:
        """The network to the first venue."""
        return self.site.network

    @property
    def plan(self) -> FaultPlan:
        """The faults of the first venue and of the host."""
        return self.site.plan

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
        """The venues of this world, and no other."""
        return "\n".join(f"[venues.{name}]\nenabled = {str(name in self.sites).lower()}" for name in VENUES)

    # --- life -----------------------------------------------------------------------------------------------------

    @property
    def now_us(self) -> int:
        """World time."""
        return self.timeline.now_us

    def start(self, skew_ms: int = 0) -> Generation:
        """Start a daemon on the journal, as a new process would; it runs from the next `run_for` on."""
        if self.daemon is not None:
            raise RuntimeError("a daemon is alive already")
        generation = Generation(self.timeline, len(self.generations) + 1, skew_ms)
        self.generations.append(generation)
        self.daemon = generation
        generation.boot = generation.loop.create_task(self._boot(generation), name="boot")
        return generation

    async def _boot(self, generation: Generation) -> None:
        clock, random = generation.clock, SimRandom(f"{self.seed}/daemon/{generation.number}")
        pins = {f"endpoint.{name}": "built-in" for name in self.sites}
        inner = open_inline(self.settings.journal_path, mode="sim", now_ms=clock.wall_ms(), pins=pins)
        store = SimStore(inner, self._on_boundary, self._is_disk_full, generation.fence)
        generation.store = store
        spool = Spool(self.settings.journal_path.with_name(self.settings.journal_path.name + ".spool"))
        await spool.take_in(store, clock.now_ms())
        recovered = await store.recover(clock.now_ms())
        epoch = make_epoch(clock.wall_ms(), random.token(3))
        limiter = RateLimiter(clock)
        venues: dict[VenueId, Venue] = {
            site.id: self._connect(generation, site, limiter, random) for site in self.sites.values()
        }
        core = Core(
            self.settings,
            self.strategies,
            venues,
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

    def _connect(
        self, generation: Generation, site: Site, limiter: RateLimiter, random: SimRandom
    ) -> CcxtVenue:
        """The venue as this daemon sees it, unmodified ccxt on the network of the site."""
        session = SimSession(
            site.network, generation.number, self._on_boundary, generation.fence, lambda: generation.is_dead
        )
        venue = CcxtVenue(
            site.id,
            SIM_CREDENTIALS,
            generation.clock.at(site.id),
            random,
            limiter,
            endpoint="http://venue.invalid:80",
            settings=ClientSettings(
                receive_window_ms=self.settings.venues[site.id].receive_window_ms,
                ping_interval_ms=round(self.settings.execution.stale_after_s * 1000 / 3),
            ),
            open_session=lambda **_options: session,  # type: ignore[arg-type]
        )
        generation.venues.append(venue)
        limiter.add_venue(site.id, venue.quirks.rate_plan())
        return venue

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
        for site in self.sites.values():
            site.network.cut_off()

    def stop(self) -> None:
        """The orderly stop."""
        generation = self.daemon
        if generation is None or generation.core is None:
            return
        generation.loop.run_until_complete(generation.core.stop("simulation"))
        self._bury(generation)

    @property
    def is_ready(self) -> bool:
        """Whether the daemon says that all its venues are READY."""
        core = self.daemon.core if self.daemon else None
        return core is not None and all(core.execution.router.is_ready(venue) for venue in self.sites)

    @property
    def trouble(self) -> str:
        """Why they are not."""
        core = self.daemon.core if self.daemon else None
        if core is None:
            return "no daemon"
        return "; ".join(filter(None, (core.execution.router.reason(venue) for venue in self.sites)))

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
        """Let one fault of the first venue or of the host happen now."""
        if fault.kind == "disk_full":
            self.plan.disk_full_until_us = self.now_us + fault.for_us
        else:
            self.site.apply(fault)

    # --- the end --------------------------------------------------------------------------------------------------

    def digest(self) -> str:
        """One number for all bytes on the wire and all rows of the journal."""
        total = hashlib.sha256("".join(site.network.log.hexdigest() for site in self.sites.values()).encode())
        with sqlite3.connect(f"file:{self.settings.journal_path}?mode=ro", uri=True) as db:
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
            for table in tables:
                for row in db.execute(f'SELECT * FROM "{table}"'):
                    total.update(repr(row).encode())
        return total.hexdigest()

    def close(self) -> None:
        """End the world, and give back what it took from the process."""
        self.crash()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        for site in self.sites.values():
            site.close()
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
