"""The built-in venue's process in sim mode: attach to a living one, else start it; it outlives a killed daemon."""

import asyncio
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeVar

import aiohttp
import msgspec

from tradingd.config import Settings
from tradingd.domain.errors import TradingdError, quoted
from tradingd.domain.ids import VenueId
from tradingd.emulator.core.market_file import GAPS_ACCEPTED
from tradingd.ports import Clock

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
NOTE_FILE = "venue.json"
CANNOT_LISTEN = 69
"""The exit status of `tradingd venue` when its port is taken."""
LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, beyond which no calendar is of use."""

T = TypeVar("T")


class SimVenueRefused(TradingdError):
    """The built-in venue cannot be had; the text carries what its process said (exit status 78)."""


class SimVenueSilent(SimVenueRefused):
    """Nothing answers at its endpoint."""

    def __init__(self, venue: VenueId, text: str) -> None:
        super().__init__(text)
        self.venue = venue


class Note(msgspec.Struct, frozen=True):
    """What a venue process leaves beside its ledger for whoever wants to attach."""

    endpoint: str


class Health(msgspec.Struct, frozen=True):
    """What a venue process says of itself."""

    venue: str


class Time(msgspec.Struct, frozen=True):
    """What a venue process says of its clock."""

    now_ms: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)]
    speed: Annotated[float, msgspec.Meta(gt=0)]
    stands_still: bool
    finished: bool


def parsed(kind: type[T], answer: bytes) -> T | None:
    """A note, or an answer, as what it should be; None where it is not: any program may listen on a port."""
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class Reading(msgspec.Struct, frozen=True):
    """The venue's clock at one moment: `at` is monotonic seconds in the middle of the request."""

    now_ms: int
    speed: float
    stands_still: bool
    finished: bool
    at: float


def state_dir(settings: Settings, venue: VenueId) -> Path:
    """Where the built-in venue keeps its ledger."""
    return settings.daemon.state_dir / "venues" / venue


def discard(settings: Settings, venue: VenueId) -> None:
    """Forget the venue's ledger."""
    shutil.rmtree(state_dir(settings, venue), ignore_errors=True)


class SimVenue:
    """One built-in venue process as the daemon sees it from outside: its endpoint ("" before it was started), its
    clock, its end."""

    def __init__(self, venue: VenueId, endpoint: str, clock: Clock) -> None:
        self.id = venue
        self.endpoint = endpoint
        self.process: subprocess.Popen[bytes] | None = None
        self.is_missing = False
        self._clock = clock
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=STOP_TIMEOUT_S))

    async def read_clock(self) -> Reading:
        """Ask for the time; raises OSError or aiohttp.ClientError when the process does not answer, and SimVenueRefused
        when what answers is no venue of ours."""
        began = self._clock.monotonic()
        async with self._session.get(f"{self.endpoint}/_venue/clock") as response:
            answer = await response.read()
        ended = self._clock.monotonic()
        time = parsed(Time, answer)
        if time is None:
            raise SimVenueRefused(
                f"{self.endpoint} answers, but is no tradingd venue: {quoted(answer)}. Correct venues.{self.id}."
                f"endpoint, or remove it: a built-in {self.id} is started then."
            )
        return Reading(time.now_ms, time.speed, time.stands_still, time.finished, at=(began + ended) / 2)

    async def set_speed(self, speed: float) -> None:
        """Let venue time run faster, or at its own pace again."""
        async with self._session.post(f"{self.endpoint}/_venue/clock", json={"speed": speed}) as response:
            response.raise_for_status()

    async def stop(self) -> None:
        """End the process in order; its ledger is kept."""
        async with self._session.post(f"{self.endpoint}/_venue/stop") as response:
            response.raise_for_status()

    async def close(self) -> None:
        """Let go of it."""
        await self._session.close()


async def living(settings: Settings, venue: VenueId) -> str | None:
    """The endpoint of the venue process that left its note, if it still answers."""
    try:
        note = parsed(Note, (state_dir(settings, venue) / NOTE_FILE).read_bytes())
    except OSError:
        return None
    if note is None:
        return None
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
            session.get(f"{note.endpoint}/_venue/health") as response,
        ):
            health = parsed(Health, await response.read())
    except (aiohttp.ClientError, OSError, ValueError, TimeoutError):
        return None
    return note.endpoint if health is not None and health.venue == venue else None


async def stop_living(settings: Settings, venue: VenueId) -> None:
    """End a venue process that an earlier run left behind, before its ledger is discarded."""
    endpoint = await living(settings, venue)
    if endpoint is None:
        return
    # how it answers does not matter: whether it is gone is looked at below
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=STOP_TIMEOUT_S)) as session:
            await session.post(f"{endpoint}/_venue/stop")
    for _ in range(round(STOP_TIMEOUT_S / 0.05)):
        if await living(settings, venue) is None:
            return
        await asyncio.sleep(0.05)
    raise SimVenueRefused(f"the built-in {venue} at {endpoint} does not stop; end its process first")


def reserved_endpoint(settings: Settings, venue: VenueId) -> str:
    """Where a venue that could not start will be once it can: clients are made before that, and keep their address."""
    port = settings.venues[venue].port
    if port == 0:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    return f"http://127.0.0.1:{port}"


async def start(settings: Settings, sim: SimVenue, clock: Clock, speed: float = 1.0) -> None:
    """Start the venue's process, detached, so that killing the daemon does not kill it, and wait until it answers.

    One that had an endpoint already gets it again: the clients keep their addresses. Raises SimVenueRefused.
    """
    directory = state_dir(settings, sim.id)
    directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    log = directory / "venue.log"
    with log.open("ab") as output:
        begin = output.tell()
        # not asyncio's: its watcher of children is a thread that may outlive the loop
        process = subprocess.Popen(  # noqa: ASYNC220
            _command(settings, sim, speed),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    sim.process = process
    deadline = clock.monotonic() + START_TIMEOUT_S
    try:
        while process.poll() is None:
            if (endpoint := await living(settings, sim.id)) is not None:
                sim.endpoint = endpoint
                return
            if clock.monotonic() > deadline:
                raise SimVenueRefused(f"the built-in {sim.id} did not start within {START_TIMEOUT_S:.0f} s; see {log}")
            await clock.sleep(0.05)
    except BaseException:
        process.kill()  # nobody waits for it any more
        raise
    with log.open("rb") as said:
        said.seek(begin)
        raise SimVenueRefused(_why_not(settings, sim.id, process.returncode, said.read().decode(errors="replace")))


def _command(settings: Settings, sim: SimVenue, speed: float) -> list[str]:
    options = settings.venues[sim.id]
    port = sim.endpoint.rpartition(":")[2] or str(options.port)
    command = [sys.executable, "-m", "tradingd", "venue", sim.id, "--port", port, "--speed", f"{speed:g}"]
    command += ["--seed", str(options.market_seed), "--state", str(state_dir(settings, sim.id))]
    if options.candles is not None:
        command += ["--candles", str(options.candles)]
    if options.faults is not None:
        command += ["--faults", str(options.faults)]
    return command


def _why_not(settings: Settings, venue: VenueId, status: int, said: str) -> str:
    """What the process said before it ended, in the words of the config."""
    options = settings.venues[venue]
    text = said.strip().removeprefix("tradingd venue: ") or f"it ended with exit status {status}"
    if status == CANNOT_LISTEN:
        text = text.partition(";")[0] + f"; set venues.{venue}.port to another, 0 takes any that is free"
    elif text.endswith(GAPS_ACCEPTED):
        text = text.removesuffix(GAPS_ACCEPTED) + (
            f". Fill the gap, or serve the file with `tradingd venue {venue} --port N --candles {options.candles} "
            f"--allow-gaps` and set venues.{venue}.endpoint to it"
        )
    return f"the built-in {venue} could not start: {text}"
