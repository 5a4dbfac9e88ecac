"""The loopback face of a venue model: HTTP and websockets, a pump that lets venue time run, and an admin face.

`GET /_venue/clock`, `POST /_venue/clock {"speed": N}`, `GET /_venue/health` and `POST /_venue/stop` are no part of the
dialect; a client of the real venue never asks for them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from tradingd.emulator.wire import Close, Frame, HttpRequest, Refusal, VenueModel

log = logging.getLogger(__name__)
MAX_SPEED = 600.0
_LONGEST_WAIT_S = 0.25
_SHORTEST_WAIT_S = 0.002
_SETTLE_EVERY_S = 0.05
_QUEUE_FRAMES = 20_000


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

    def __init__(self, model: VenueModel, monotonic: Callable[[], float], speed: float = 1.0,
                 version: str = "0") -> None:
        if not 1.0 <= speed <= MAX_SPEED:
            raise ValueError(f"speed {speed:g} is not between 1 and {MAX_SPEED:.0f}")
        self._model = model
        self._version = version
        self._clock = VenueClock(model.now_ms, speed, monotonic)
        self._clock.stands_still = model.stands_still
        model.set_time_scale(speed)
        self._queues: dict[int, asyncio.Queue[Frame]] = {}
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
        for queue in self._queues.values():
            queue.put_nowait(Close(WSCloseCode.GOING_AWAY, "venue stops"))
        if self._runner is not None:
            await self._runner.cleanup()
        self._model.close()

    # -- time ---------------------------------------------------------------------------------------------------

    def _run_to_now(self) -> None:
        """Bring the model to this moment and hand out what became due."""
        if not self._clock.stands_still:
            self._deliver(self._model.advance(self._clock.now_ms()))
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
                wait_s = (self._model.next_event_ms() - self._clock.now_ms()) / 1000.0 / self._clock.speed
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
        for session, frame in frames:
            queue = self._queues.get(session)
            if queue is None:
                continue
            try:
                queue.put_nowait(frame)
            except asyncio.QueueFull:
                self._drop(session, queue)

    def _drop(self, session: int, queue: asyncio.Queue[Frame]) -> None:
        """A client that does not read is cut off, as the venue would."""
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(Close(WSCloseCode.POLICY_VIOLATION, "slow consumer"))
        self._queues.pop(session)
        self._model.close_session(session)

    # -- dialect ------------------------------------------------------------------------------------------------

    async def _dialect(self, request: web.Request) -> web.StreamResponse:
        raw_path, _, query = request.raw_path.partition("?")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request, raw_path, query)
        body = await request.read()
        self._run_to_now()
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = self._model.handle(HttpRequest(request.method, raw_path, query, headers, body))
        self._wake.set()
        return web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))

    async def _websocket(self, request: web.Request, path: str, query: str) -> web.StreamResponse:
        self._run_to_now()
        session = self._model.open_session(path, query)
        if isinstance(session, Refusal):
            return web.Response(status=session.status, text=session.reason)
        socket = web.WebSocketResponse(autoping=True, heartbeat=180.0, max_msg_size=1 << 20, compress=False)
        queue: asyncio.Queue[Frame] = asyncio.Queue(_QUEUE_FRAMES)
        self._queues[session] = queue
        await socket.prepare(request)
        sender = asyncio.create_task(self._send(socket, queue), name=f"venue-session-{session}")
        self._follow_market()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._run_to_now()
                    for frame in self._model.on_frame(session, message.data):
                        queue.put_nowait(frame)
                    self._follow_market()
        finally:
            self._queues.pop(session, None)
            self._model.close_session(session)
            self._follow_market()
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        return socket

    @staticmethod
    async def _send(socket: web.WebSocketResponse, queue: asyncio.Queue[Frame]) -> None:
        while True:
            frame = await queue.get()
            if isinstance(frame, Close):
                await socket.close(code=frame.code, message=frame.reason.encode())
                return
            await socket.send_str(frame)

    # -- admin --------------------------------------------------------------------------------------------------

    async def _admin(self, request: web.Request) -> web.StreamResponse:
        what = (request.method, request.match_info["what"])
        if what == ("GET", "clock"):
            return self._clock_answer()
        if what == ("POST", "clock"):
            return await self._set_speed(request)
        if what == ("GET", "health"):
            return _json({**self._model.describe(), "name": "tradingd built-in venue", "version": self._version,
                          "pid": os.getpid()})
        if what == ("POST", "stop"):
            self.stopped.set()
            return _json({"stopping": True})
        return _json({"error": f"no {what[0]} /_venue/{what[1]} here"}, 404)

    def _clock_answer(self) -> web.Response:
        self._run_to_now()
        facts = self._model.describe()
        return _json({"now_ms": self._clock.now_ms(), "speed": self._clock.speed, "market": facts["market"],
                      "stands_still": self._clock.stands_still, "finished": facts["finished"]})

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
        self._wake.set()
        return self._clock_answer()


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
