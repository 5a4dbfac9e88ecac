"""`run`: from settings to exit status. What the user must change ends with 78 and a sentence."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from typing import NoReturn

import aiohttp
import msgspec
import structlog

from tradingd.app import sim_venue
from tradingd.app.core import endpoint_pin
from tradingd.app.daemon import Daemon
from tradingd.app.machine import MachineClock, MachineRandom, environment
from tradingd.app.refusals import VenueRefused
from tradingd.app.sim_keeper import SimKeeper
from tradingd.app.sim_venue import Reading, SimVenue, SimVenueRefused, SimVenueSilent
from tradingd.config import EXIT_STATUS, Settings
from tradingd.config.credentials import Credentials, MqttPassword, load_credentials, load_mqtt_password
from tradingd.config.files import check_files
from tradingd.domain.errors import JournalRefused, PluginError, TradingdError, plain_failure
from tradingd.domain.ids import VenueId
from tradingd.domain.records import FlagRecord, Recovered
from tradingd.emulator.venues import VENUES
from tradingd.gateway.control import ControlSocketBusy
from tradingd.journal.opening import discard_journal, open_journal
from tradingd.journal.spool import Spool
from tradingd.journal.store import SqliteStore
from tradingd.sd_notify import Notifier
from tradingd.strategy.loader import LoadedStrategy, load_strategies
from tradingd.strategy.timer import SWALLOWED_LIMIT, SignalTimer
from tradingd.telemetry.logs import Logs, configure
from tradingd.telemetry.scrub import Scrubber
from tradingd.telemetry.sink import FdSink

log = structlog.get_logger(__name__)


class StoppedNaked(TradingdError):
    """The daemon stopped and left a position without its stop, or an entry that may become one (exit status 1)."""


REFUSALS: tuple[type[TradingdError], ...] = (
    JournalRefused,
    PluginError,
    SimVenueRefused,
    VenueRefused,
    ControlSocketBusy,
)


def run(settings: Settings, *, fresh: bool = False) -> int:
    """Run the daemon until it is told to stop; returns the exit status. Raises ConfigError for credentials or files
    that are missing."""
    check_files(settings).raise_if_any()
    environ = environment()
    clock, scrubber = MachineClock(), Scrubber()
    credentials = {VenueId(name): load_credentials(name, settings, environ) for name in settings.enabled_venues}
    for each in credentials.values():
        for secret in each.secrets():
            scrubber.register(secret)
    mqtt_password = load_mqtt_password(settings, environ)
    if mqtt_password is not None:
        scrubber.register(mqtt_password.secret.reveal())
    logs = configure(clock, scrubber=scrubber, format=settings.log.format, level=settings.log.level, environ=environ)
    try:
        timer = SignalTimer()
        strategies = load_strategies(settings, timer)
        # The loop is not closed: that waits for whatever a plugin or a name look-up left in it, and the process ends.
        return asyncio.Runner().run(
            _run(settings, strategies, timer, credentials, mqtt_password, clock, logs, environ, fresh)
        )
    except REFUSALS as error:
        last, status = error, getattr(error, "exit_status", EXIT_STATUS)
    except StoppedNaked as error:
        last, status = error, 1
    finally:
        logs.close()
    _say_last(scrubber.scrub(f"tradingd: {last}"))
    return status


def _say_last(text: str) -> None:
    """The last line, behind the log's; like a log line it waits for no reader (P15)."""
    sink = FdSink(sys.stderr.fileno())
    sink.write(text.encode("utf-8", "backslashreplace") + b"\n")
    sink.close()


async def _run(
    settings: Settings,
    strategies: list[LoadedStrategy],
    timer: SignalTimer,
    credentials: Mapping[VenueId, Credentials],
    mqtt_password: MqttPassword | None,
    clock: MachineClock,
    logs: Logs,
    environ: Mapping[str, str],
    fresh: bool,
) -> int:
    asyncio.get_running_loop().set_exception_handler(logs.on_loop_exception)
    _warn_of_keys(credentials, mqtt_password)
    if fresh:
        await _discard(settings)
    # pinned with the account, once the venue has answered: a typo in an endpoint must not be kept
    expected = {
        name: value for venue in settings.enabled_venues for name, value in endpoint_pin(settings, venue).items()
    }
    store = await open_journal(settings.journal_path, mode=settings.mode, now_ms=clock.wall_ms(), expected=expected)
    sims: dict[VenueId, SimVenue] = {}
    keepers: dict[VenueId, SimKeeper] = {}
    try:
        spool = await _spool(settings, store, clock)
        sims = await _sim_venues(settings, clock)
        try:
            readings = await _first_readings(sims)
        except SimVenueRefused:
            for sim in sims.values():
                if sim.process is not None:
                    sim.process.terminate()  # started for this run, which is not to be
            raise
        for sim, reading in readings:
            if reading is not None:
                clock.at(sim.id).synchronise(reading.now_ms, reading.at)
                clock.at(sim.id).find_speed(reading.speed)
            keepers[sim.id] = SimKeeper(settings, sim, reading.speed if reading else 1.0, clock.at(sim.id))
        recovered = await store.recover(clock.now_ms())
        refuse_renamed(settings, recovered)
        daemon = Daemon(
            settings,
            strategies,
            timer,
            store,
            recovered,
            keepers,
            credentials,
            spool.append,
            clock,
            MachineRandom(),
            logs,
            Notifier(environ),
            mqtt_password,
        )
        timer.on_stubborn = _Stubborn(spool, clock, logs)
        _listen_to_signals(daemon)
        await daemon.start()
        error = await daemon.run()
        naked = await daemon.stop()
    finally:
        # an orderly stop has closed all of this already, and closing twice does nothing
        for sim in sims.values():
            await sim.close()
        await store.close()
    if isinstance(error, REFUSALS):
        raise error
    if error is not None:
        logs.uncaught("task", error)
    if naked:
        raise StoppedNaked(
            f"stopped, and left naked: {'; '.join(each.text for each in naked)}. Start tradingd again at once, which "
            "places the stop, closes the position or cancels the entry; if it cannot, do so at the venue by hand."
        )
    return 0 if error is None else 1


def _warn_of_keys(credentials: Mapping[VenueId, Credentials], mqtt_password: MqttPassword | None) -> None:
    for each in (*credentials.values(), *((mqtt_password,) if mqtt_password else ())):
        for warning in each.warnings:
            log.warning("credentials_from_environment", reason=warning)


async def _spool(settings: Settings, store: SqliteStore, clock: MachineClock) -> Spool:
    """The spool beside the journal, which takes in what an earlier run left in it."""
    spool = Spool(settings.journal_path.with_name(settings.journal_path.name + ".spool"))
    for bad in await spool.take_in(store, clock.wall_ms()):
        log.error("spool_line_bad", reason=bad, kept_in=str(spool.bad_path))
    if spool.trouble:
        log.error("spool_not_reserved", reason=spool.trouble)
    return spool


class _Stubborn:
    """Ends the process when a handler never lets go of its one thread; the plugin is quarantined at the next start.

    The journal cannot be asked to write that down any more, for its writer needs the loop: the spool takes it.
    """

    def __init__(self, spool: Spool, clock: MachineClock, logs: Logs) -> None:
        self._spool, self._clock, self._logs = spool, clock, logs

    def __call__(self, whose: str, where: str) -> NoReturn:
        try:
            reason = f"a handler never ended: it caught the exception that ends it {SWALLOWED_LIMIT} times"
            flag = FlagRecord(f"quarantined:{whose}", "yes", reason, self._clock.now_ms())
            try:
                self._spool.append(msgspec.json.encode(flag).decode())
                next_start = "quarantined"
            except OSError as error:
                next_start = f"not quarantined: {error}"
            log.critical("handler_never_ends", strategy=whose, reason=reason, next_start=next_start, where=where)
            self._logs.close()
        finally:
            os._exit(1)


def refuse_renamed(settings: Settings, recovered: Recovered) -> None:
    """A strategy's name is its id in the journal: renamed while it holds something, its position would be nobody's."""
    owners = {each: name for name, section in settings.strategies.items() for each in section.instruments}
    for position in recovered.positions:
        owner = owners.get(position.instrument)
        if position.is_flat or position.strategy is None or owner is None or position.strategy in settings.strategies:
            continue
        raise PluginError(
            f"strategy {position.strategy!r} holds {position.quantity:f} contracts of {position.instrument}, which the "
            f"config gives to {owner!r} now. Name the section [strategies.{position.strategy}] again until it is flat."
        )


def _listen_to_signals(daemon: Daemon) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, daemon.request_stop, f"got {number.name}")
    if daemon.service.is_managed:
        loop.add_signal_handler(signal.SIGHUP, daemon.service.reload)
    elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        # a terminal that is closed ends its programs by it: unhandled, an entry that rests would fill with nobody here
        loop.add_signal_handler(signal.SIGHUP, daemon.request_stop, "got SIGHUP")


async def _sim_venues(settings: Settings, clock: MachineClock) -> dict[VenueId, SimVenue]:
    """The built-in venues of sim mode: the one at `endpoint`, else the living one, else a new one."""
    if settings.mode != "sim":
        return {}
    sims: dict[VenueId, SimVenue] = {}
    refused: dict[VenueId, SimVenueRefused] = {}
    for name, section in settings.enabled_venues.items():
        venue = VenueId(name)
        sim = sims[venue] = SimVenue(venue, section.endpoint or await sim_venue.living(settings, venue) or "", clock)
        if sim.endpoint:
            log.info("built_in_venue_attached", venue=venue, endpoint=sim.endpoint)
        else:
            try:
                await sim_venue.start(settings, sim, clock)
            except SimVenueRefused as error:
                refused[venue] = error
                sim.endpoint = sim_venue.reserved_endpoint(settings, venue)
            else:
                log.info("built_in_venue_started", venue=venue, endpoint=sim.endpoint)
    await _go_on_without(refused, sims)
    return sims


async def _go_on_without(refused: Mapping[VenueId, SimVenueRefused], sims: Mapping[VenueId, SimVenue]) -> None:
    """Where one venue at least is there, one that could not start is told of, and its keeper tries again."""
    if refused and len(refused) == len(sims):
        for sim in sims.values():
            await sim.close()
        raise SimVenueRefused(". ".join(str(each).rstrip(".") for each in refused.values()))
    others = ", ".join(each for each in sims if each not in refused)
    for venue, error in refused.items():
        sims[venue].is_missing = True
        log.error("built_in_venue_not_started", venue=venue, reason=f"{error}. It is tried again; {others} goes on")


async def _first_readings(sims: Mapping[VenueId, SimVenue]) -> list[tuple[SimVenue, Reading | None]]:
    """Each venue's time; None where it does not answer while another does. Raises SimVenueRefused where none does."""
    asked = [sim for sim in sims.values() if not sim.is_missing]
    read = await asyncio.gather(*(_first_reading(sim) for sim in asked), return_exceptions=True)
    silent = [each for each in read if isinstance(each, SimVenueSilent)]
    for each in read:
        if isinstance(each, BaseException) and (len(silent) == len(read) or not isinstance(each, SimVenueSilent)):
            raise each
    for each in silent:
        log.error("built_in_venue_silent", venue=each.venue, reason=str(each))
    found = {sim.id: each for sim, each in zip(asked, read, strict=True) if isinstance(each, Reading)}
    return [(sim, found.get(sim.id)) for sim in sims.values()]


async def _first_reading(sim: SimVenue) -> Reading:
    """The venue's time; raises SimVenueRefused."""
    try:
        return await sim.read_clock()
    except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
        why = plain_failure(str(error)) or type(error).__name__
        raise SimVenueSilent(
            sim.id,
            f"no built-in {sim.id} at {sim.endpoint}: {why}. Start it there (`tradingd venue {sim.id} --port N`), or "
            f"remove venues.{sim.id}.endpoint.",
        ) from None


async def _discard(settings: Settings) -> None:
    """`--fresh`: all built-in venues and the journal together, or they would contradict each other."""
    for name, section in settings.enabled_venues.items():
        if section.endpoint is not None:
            raise SimVenueRefused(f"--fresh cannot discard what is behind venues.{name}.endpoint; start that anew")
    # the journal first: a daemon that still runs on it refuses this, and its venue is left alone
    discard_journal(settings.journal_path)
    # of one that is switched off as well: switched on again, it would know orders that the new journal does not
    for name in VENUES:
        await sim_venue.stop_living(settings, VenueId(name))
        sim_venue.discard(settings, VenueId(name))
