"""The loopback face of a venue model: HTTP and websockets with their faults, a pump that lets venue time run, an admin.

`GET /_venue/clock`, `POST /_venue/clock {"speed": N}`, `GET /_venue/health`, `POST /_venue/stop`, `GET /_venue/faults`
(what was played), `POST /_venue/faults` (another script as TOML; an empty body: no more faults) and `POST /_venue/act`
(`{"do": ACT, ...}`, one of core/acts.py, core/admin.py and the dialect's own) are no part of the dialect; a client of
the real venue never asks for them, and no fault befalls them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable

import msgspec
from aiohttp import web

from tradingd.config.problems import ConfigError
from tradingd.emulator.faults.language import ANY, Script
from tradingd.emulator.faults.reading import parse_script
from tradingd.emulator.faults.script import Fate, FaultScript, Play, Played
from tradingd.emulator.faults.spoil import needs_venue, spoil
from tradingd.emulator.replies import give, whole
from tradingd.emulator.sessions import Session, Sessions, reset
from tradingd.emulator.wire import Close, Frame, HttpRequest, HttpResponse, Refusal, VenueModel

log = logging.getLogger(__name__)
MAX_SPEED = 600.0
_LONGEST_WAIT_S = 0.25
_SHORTEST_WAIT_S = 0.002
_SETTLE_EVERY_S = 0.05


class VenueClock:
    """Venue time: where it was last fixed, plus real time since, times the speed; it can stand still."""

    def __init__(self, now_ms: int, speed: float, monotonic: Callable[[], float]) -> None:
        self._base_ms = float(now_ms)
        self._since_s = monotonic()
        self._monotonic = monotonic
        self.speed = speed
        self.stands_still = False

    def now_ms(self) -> int:
        """Venue time in milliseconds."""
        if self.stands_still:
            return int(self._base_ms)
        return int(self._base_ms + (self._monotonic() - self._since_s) * 1000.0 * self.speed)

    def set(self, *, speed: float | None = None, stands_still: bool | None = None) -> None:
        """Change the speed or stop and start, without a jump in time."""
        self._base_ms = float(self.now_ms())
        self._since_s = self._monotonic()
        if speed is not None:
            self.speed = speed
        if stands_still is not None:
            self.stands_still = stands_still

    def hold_at(self, now_ms: int) -> None:
        """Time cannot go on from here."""
        self._base_ms, self._since_s, self.stands_still = float(now_ms), self._monotonic(), True


class VenueServer:
    """Serves one model on one port of the loopback interface."""

    def __init__(
        self,
        model: VenueModel,
        monotonic: Callable[[], float],
        speed: float = 1.0,
        version: str = "0",
        faults: Script | None = None,
        on_fault: Callable[[Played], None] = lambda played: None,
    ) -> None:
        if not 1.0 <= speed <= MAX_SPEED:
            raise ValueError(f"speed {speed:g} is not between 1 and {MAX_SPEED:.0f}")
        self._model = model
        self._version = version
        self._clock = VenueClock(model.now_ms, speed, monotonic)
        self._clock.stands_still = model.stands_still
        model.set_time_scale(speed)
        self._on_fault = on_fault
        self._faults = self._begin(faults or Script())
        self._sessions = Sessions()
        self._wake = asyncio.Event()
        self.stopped = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._pump_task: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, port: int, host: str = "127.0.0.1") -> None:
        """Listen and let time run; port 0 takes a free one. Raises OSError when the port is in use."""
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/_venue/{what}", self._admin)
        app.router.add_route("*", "/{path:.*}", self._dialect)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75.0, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]
        self._pump_task = asyncio.create_task(self._pump(), name="venue-pump")
        self._pump_task.add_done_callback(self._pump_ended)

    async def stop(self) -> None:
        """Close every connection and keep the ledger."""
        if self._pump_task is not None:
            self._pump_task.cancel()
            await asyncio.gather(self._pump_task, return_exceptions=True)
        self._sessions.close_all()
        if self._runner is not None:
            await self._runner.cleanup()
        self._model.close()

    # -- time ---------------------------------------------------------------------------------------------------

    def _run_to_now(self) -> None:
        """Bring the model to this moment and hand out what became due."""
        if not self._clock.stands_still:
            self._deliver(self._model.advance(self._clock.now_ms()))
            self._play(self._faults.due(self._model.now_ms))
        self._follow_market()

    def _follow_market(self) -> None:
        if self._model.stands_still == self._clock.stands_still:
            return
        if self._model.stands_still:
            self._clock.hold_at(self._model.now_ms)
        else:
            self._clock.set(stands_still=False)
        self._wake.set()

    async def _pump(self) -> None:
        while True:
            self._run_to_now()
            if self._clock.stands_still:
                self._deliver(self._model.settle())
                wait_s = _SETTLE_EVERY_S
            else:
                due_ms = min(self._model.next_event_ms(), self._faults.next_due_ms())
                wait_s = (due_ms - self._clock.now_ms()) / 1000.0 / self._clock.speed
            self._wake.clear()
            try:
                async with asyncio.timeout(min(max(wait_s, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _pump_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("venue_pump_failed", exc_info=task.exception())
            self.stopped.set()

    def _deliver(self, frames: list[tuple[int, Frame]]) -> None:
        now_ms = self._model.now_ms
        for number, frame in frames:
            session = self._sessions.get(number)
            if session is None or now_ms < session.mute_until_ms:
                continue
            if isinstance(frame, Close):
                self._put(session, frame)
                continue
            fate = self._faults.push(now_ms, frame)
            for _ in range(fate.times):
                if fate.delay_ms:
                    asyncio.get_running_loop().call_later(fate.delay_ms / 1000.0, self._put, session, frame)
                else:
                    self._put(session, frame)
            self._play(fate.then)

    def _put(self, session: Session, frame: Frame) -> None:
        if not session.put(frame):
            self._sessions.pop(session.number)
            self._model.close_session(session.number)

    # -- dialect ------------------------------------------------------------------------------------------------

    async def _dialect(self, request: web.Request) -> web.StreamResponse:
        raw_path, _, query = request.raw_path.partition("?")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request, raw_path, query)
        body = await request.read()
        self._run_to_now()
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = HttpRequest(request.method, raw_path, query, headers, body)
        fate = self._faults.request(self._model.now_ms, asked)
        if not fate.kind:
            answer = self._handle(asked)
            self._play(fate.then)
            return whole(answer)
        return await self._with_fate(request, asked, fate)

    def _handle(self, asked: HttpRequest, lag_ms: int = 0, end_order_ms: int | None = None) -> HttpResponse:
        answer = self._model.handle(asked, lag_ms, end_order_ms)
        self._wake.set()
        return answer

    async def _with_fate(self, request: web.Request, asked: HttpRequest, fate: Fate) -> web.StreamResponse:
        if fate.kind == "arrive_late":
            await asyncio.sleep(fate.delay_ms / 1000.0)
            self._run_to_now()
        answer = None
        if needs_venue(fate):
            end_order_ms = self._faults.venue_ms(fate.delay_ms) if fate.kind == "end_order" else None
            answer = self._handle(asked, self._faults.venue_ms(fate.lag_ms), end_order_ms)
        self._play(fate.then)
        spoilt = spoil(fate, answer, (fate.ban_ms - self._model.now_ms) / self._clock.speed)
        if fate.kind == "reply_late":
            await asyncio.sleep(fate.delay_ms / 1000.0)
        return await give(request, spoilt)

    async def _websocket(self, request: web.Request, path: str, query: str) -> web.StreamResponse:
        self._run_to_now()
        if self._faults.refuses_dial(self._model.now_ms, path, query):
            reset(request.transport)
            return web.Response(status=503)
        number = self._model.open_session(path, query)
        if isinstance(number, Refusal):
            return web.Response(status=number.status, text=number.reason)
        socket = web.WebSocketResponse(autoping=True, heartbeat=180.0, max_msg_size=1 << 20, compress=False)
        session = Session(number, self._faults.stream(path, query), request, socket)
        self._sessions.add(session)
        await socket.prepare(request)
        sender = asyncio.create_task(session.send(), name=f"venue-session-{number}")
        self._follow_market()
        try:
            await session.receive(lambda text: self._on_text(session, text))
        finally:
            self._sessions.pop(number)
            self._model.close_session(number)
            self._follow_market()
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        return socket

    def _on_text(self, session: Session, text: str) -> None:
        self._run_to_now()
        for frame in self._model.on_frame(session.number, text):
            if self._model.now_ms >= session.mute_until_ms:
                session.put(frame)
        self._follow_market()

    # -- faults -------------------------------------------------------------------------------------------------

    def _begin(self, script: Script) -> FaultScript:
        faults = FaultScript(script, self._model.meaning, self._model.now_ms)
        faults.set_time_scale(self._clock.speed)
        faults.on_played = self._on_fault
        return faults

    def _play(self, plays: Iterable[Play]) -> None:
        for play in plays:
            by_stream = {"mute": self._mute, "half_open": self._half_open, "cut_streams": self._cut}.get(play.kind)
            text = by_stream(play) if by_stream else self._model.act(play.kind, play.values)
            self._faults.tell(self._model.now_ms, play, text)

    def _mute(self, play: Play) -> str:
        until_ms = self._model.now_ms + self._faults.venue_ms(play.seconds("for_s") * 1000)
        sessions = list(self._sessions.of(play.stream))
        for session in sessions:
            session.mute_until_ms = until_ms
        return f"muted {_websockets(sessions, play)} for {play.seconds('for_s'):g} s"

    def _half_open(self, play: Play) -> str:
        sessions = list(self._sessions.of(play.stream))
        for session in sessions:
            session.half_open()
            asyncio.get_running_loop().call_later(play.seconds("for_s"), session.cut)
        return f"left {_websockets(sessions, play)} half open"

    def _cut(self, play: Play) -> str:
        sessions = list(self._sessions.of(play.stream))
        with_reset = play.values.get("how") == "rst"
        for session in sessions:
            session.cut(with_reset=with_reset)
        return f"{'reset' if with_reset else 'closed'} {_websockets(sessions, play)}"

    def _heal(self) -> None:
        """What the last script left in force ends with it."""
        for session in self._sessions.of(ANY):
            session.mute_until_ms = 0
            if session.is_half_open:
                session.cut()
        self._model.act("shift_clock", {"offset_ms": 0})

    async def _new_faults(self, request: web.Request) -> web.Response:
        try:
            script = parse_script((await request.read()).decode())
        except (ConfigError, UnicodeDecodeError) as error:
            return _json({"error": str(error)}, 400)
        self._run_to_now()
        self._heal()
        self._faults = self._begin(script)
        self._wake.set()
        return self._faults_answer()

    def _faults_answer(self) -> web.Response:
        return _json(
            {
                "seed": self._faults.script.seed,
                "rules": len(self._faults.script.rules),
                "elapsed_s": round(self._faults.elapsed_s, 3),
                "played": list(self._faults.played),
            }
        )

    # -- admin --------------------------------------------------------------------------------------------------

    async def _admin(self, request: web.Request) -> web.StreamResponse:
        what = (request.method, request.match_info["what"])
        if what == ("GET", "clock"):
            return self._clock_answer()
        if what == ("POST", "clock"):
            return await self._set_speed(request)
        if what == ("GET", "health"):
            return _json(
                {
                    **self._model.describe(),
                    "name": "tradingd built-in venue",
                    "version": self._version,
                    "pid": os.getpid(),
                }
            )
        if what == ("GET", "faults"):
            return self._faults_answer()
        if what == ("POST", "faults"):
            return await self._new_faults(request)
        if what == ("POST", "act"):
            return await self._act(request)
        if what == ("POST", "stop"):
            self.stopped.set()
            return _json({"stopping": True})
        return _json({"error": f"no {what[0]} /_venue/{what[1]} here"}, 404)

    async def _act(self, request: web.Request) -> web.Response:
        """One act now, `{"do": "move_price", "symbol": "BTCUSDT", "by_fraction": -0.05}`."""
        try:
            values = msgspec.json.decode(await request.read(), type=dict[str, str | int | float | bool])
            self._run_to_now()
            done = self._model.act(str(values.pop("do")), values)
        except msgspec.DecodeError:
            return _json({"error": 'the body must be {"do": ACT, ...}'}, 400)
        except KeyError as fault:
            return _json({"error": f"{fault.args[0]} is missing"}, 400)
        except ValueError as fault:
            return _json({"error": str(fault)}, 400)
        self._wake.set()
        return _json({"done": done})

    def _clock_answer(self) -> web.Response:
        self._run_to_now()
        facts = self._model.describe()
        return _json(
            {
                "now_ms": self._clock.now_ms(),
                "speed": self._clock.speed,
                "market": facts["market"],
                "stands_still": self._clock.stands_still,
                "finished": facts["finished"],
            }
        )

    async def _set_speed(self, request: web.Request) -> web.Response:
        try:
            speed = float(msgspec.json.decode(await request.read(), type=dict[str, float])["speed"])
        except (msgspec.DecodeError, KeyError):
            return _json({"error": 'the body must be {"speed": N}'}, 400)
        if not 1.0 <= speed <= MAX_SPEED:
            return _json({"error": f"speed must be between 1 and {MAX_SPEED:.0f}"}, 400)
        self._run_to_now()
        self._clock.set(speed=speed)
        self._model.set_time_scale(speed)
        self._faults.set_time_scale(speed)
        self._wake.set()
        return self._clock_answer()


def _websockets(sessions: list[Session], play: Play) -> str:
    return f"{len(sessions)} websockets" + ("" if play.stream == ANY else f" ({play.stream})")


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
