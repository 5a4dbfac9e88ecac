"""The network between a daemon and the venue, and the venue's own clockwork: seeded latencies, faults, one wire log."""

from collections.abc import Callable
from random import Random

import msgspec

from tradingd.emulator.faults.spoil import Spoilt
from tradingd.emulator.wire import Close, Frame, HttpRequest, HttpResponse, Refusal, VenueModel
from tradingd.simulation.clock import START_MS
from tradingd.simulation.faults import Fate, FaultPlan
from tradingd.simulation.loop import Timeline
from tradingd.simulation.venue_faults import VenueFaults
from tradingd.simulation.wire import Exchanged, SocketLife, WireLog

Deliver = Callable[[str, object], None]
"""Takes what a websocket brings: its kind (text, pong, close, dropped) and the value."""


STEADY_US = 20_000


class Answer(msgspec.Struct, frozen=True):
    """What comes back for a request: a response, or how the connection ended (`trouble`)."""

    trouble: str = ""
    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b""
    cut: bool = False


class Pipe:
    """The network's view of one websocket: where its frames go, and when the last one will have arrived."""

    def __init__(self, life: SocketLife, deliver: Deliver, is_account: bool) -> None:
        self.life = life
        self.is_account = is_account
        self.deliver = deliver
        self.session = 0
        self.is_open = True
        self.mute_until_us = 0
        self.is_half_open = False
        self.arrives_us = 0
        self.leaves_us = 0


class Network:
    """One per venue; it outlives daemons. What they had sent when they died still arrives.

    `start_ms`: what the venue's own clock showed when the world began.
    """

    def __init__(
        self, timeline: Timeline, venue: VenueModel, plan: FaultPlan, seed: str, start_ms: int = START_MS
    ) -> None:
        self.timeline = timeline
        self.start_ms = start_ms
        self.venue = venue
        self.plan = plan
        self.log = WireLog()
        self.boundary: Callable[[str], None] = lambda name: None
        self.check_journal: Callable[[str], bool] = lambda client_order_id: True
        self._random = Random(f"{seed}/latency")
        self._pipes: dict[int, Pipe] = {}
        self._not_before_us = 0
        self._due_us: int | None = None
        self._back_us: int | None = None
        self._reopen: Callable[[], VenueModel] = lambda: venue
        self.dropped_us: list[int] = []
        self.is_steady = False
        """Every way takes the same time, so that one request more changes nothing for those after it."""
        self.faults = VenueFaults(self)
        timeline.add_source(self._venue_due_us, self.run_venue)

    # --- the venue's time -----------------------------------------------------------------------------------------

    @property
    def venue_ms(self) -> int:
        """Venue time now."""
        return self.start_ms + self.timeline.now_us // 1000

    @property
    def is_down(self) -> bool:
        """Whether the venue's process was killed, and is not back."""
        return self._back_us is not None

    def kill_venue(self, reopen: Callable[[], VenueModel], back_us: int) -> None:
        """End the venue's process; at `back_us` it takes itself up where its ledger ends."""
        if not self.is_down:
            self.venue.close()
        self._reopen, self._back_us = reopen, max(back_us, self._back_us or 0)
        for pipe in list(self._pipes.values()):
            pipe.is_open, pipe.life.closed_us = False, self.timeline.now_us
        self._pipes.clear()

    def come_back(self, now_us: int) -> None:
        """A venue that is down is back now."""
        if self._back_us is not None:
            self._back_us = now_us
            self.run_venue()

    def _venue_due_us(self) -> int:
        if self._back_us is not None:
            return self._back_us
        if self._due_us is None:  # asked at every turn of the loop, and changed only by what is done to the venue
            due_ms = min(self.venue.next_event_ms(), self.faults.script.next_due_ms())
            self._due_us = (due_ms - self.start_ms) * 1000
        return max(self._due_us, self._not_before_us)

    def run_venue(self) -> None:
        """Bring the venue to this moment and send what it pushes."""
        if self._back_us is not None:
            if self.timeline.now_us < self._back_us:
                return
            self.venue, self._back_us = self._reopen(), None
        now_ms, self._due_us = self.venue_ms, None
        for session, frame in self.venue.advance(now_ms):
            self._push(session, frame)
        self.faults.play(self.faults.script.due(now_ms))
        # the venue is asked again in its next millisecond at the earliest: its clock has no finer step
        self._not_before_us = (now_ms - self.start_ms + 1) * 1000

    def venue_changed(self) -> None:
        """Something was done to the venue: when it is due next must be asked again."""
        self._due_us = None

    # --- latency --------------------------------------------------------------------------------------------------

    def _latency_us(self) -> int:
        """One way: mostly 10 to 40 ms, now and then much more."""
        if self.is_steady:
            return STEADY_US
        draw = self._random
        if draw.random() < 0.01:
            return draw.randrange(100_000, 600_000)
        return draw.randrange(8_000, 40_000)

    # --- requests -------------------------------------------------------------------------------------------------

    def fate(self, request: HttpRequest) -> Fate:
        """What becomes of a request that wants to leave now; one whose connection is refused has not left."""
        return self.plan.fate(self.timeline.now_us, request.method, request.path)

    def send(self, request: HttpRequest, fate: Fate, incarnation: int, done: Callable[[Answer], None]) -> None:
        """Put a request on its way; `done` is called when the answer, or the end of the connection, is felt."""
        now_us = self.timeline.now_us
        entry = Exchanged(
            len(self.log.requests),
            incarnation,
            request.method,
            request.path,
            request.query,
            request.body.decode(),
            now_us,
            fate.kind,
        )
        if entry.is_create and entry.client_order_id is not None and fate.kind != "refuse":
            entry.journalled = self.check_journal(entry.client_order_id)
        self.log.requests.append(entry)
        self.log.note(now_us, "send", request.method, request.path, request.query, request.body, fate.kind)
        out_us, back_us = self._latency_us() + fate.out_us, self._latency_us() + fate.back_us

        def answer(value: Answer) -> None:
            self.timeline.after(back_us, lambda: self._answered(entry, value, done))

        def arrive() -> None:
            if self.is_down:
                answer(Answer("reset"))
                return
            if fate.kind == "banned":
                left_ms = -((self.timeline.now_us - self.plan.ban_until_us) // 1000)
                answer(_felt(self.faults.banned(entry, left_ms)))
                return
            if fate.kind == "unknown_503_before":
                answer(_felt(self.faults.spoilt_by_network(fate.kind, None, 0.0)))
                return
            self.faults.take(entry, request, leave)

        def leave(spoilt: Spoilt) -> None:
            if spoilt.response is not None and spoilt.sent is None:
                spoilt = self.faults.spoilt_by_network(fate.kind, spoilt.response, self._random.random())
            answer(_felt(spoilt))

        if fate.kind == "refuse":
            self.timeline.after(back_us, lambda: self._answered(entry, Answer("refused"), done))
        elif fate.kind == "reset_before":
            self.timeline.after(out_us + back_us, lambda: self._answered(entry, Answer("reset"), done))
        elif fate.kind != "lose_request":
            self.timeline.after(out_us, arrive)

    def handle(
        self, entry: Exchanged, request: HttpRequest, lag_ms: int = 0, end_order_ms: int | None = None
    ) -> HttpResponse:
        """Let the venue answer; see wire.VenueModel for the two times."""
        self.run_venue()
        response = self.venue.handle(request, lag_ms, end_order_ms)
        self._due_us = None
        entry.arrived_us, entry.status, entry.answer = self.timeline.now_us, response.status, response.body
        self.log.note(self.timeline.now_us, "handled", str(entry.number), str(response.status), response.body)
        self.boundary(f"handled {request.method} {request.path}")
        return response

    def _answered(self, entry: Exchanged, value: Answer, done: Callable[[Answer], None]) -> None:
        if value.trouble == "silence":
            return
        entry.answered_us = self.timeline.now_us
        self.log.note(self.timeline.now_us, "answered", str(entry.number), value.trouble, value.body)
        self.boundary(f"answered {entry.method} {entry.path}")
        done(value)

    # --- websockets -----------------------------------------------------------------------------------------------

    def dial(self, path: str, query: str, incarnation: int, deliver: Deliver, done: Callable[[object], None]) -> None:
        """Open a websocket: `done` gets a Pipe, a Refusal, or text that names the trouble."""
        now_us = self.timeline.now_us
        fate = self.plan.fate(now_us, "DIAL", path).kind
        entry = Exchanged(len(self.log.requests), incarnation, "DIAL", path, query, "", now_us, fate)
        self.log.requests.append(entry)
        self.log.note(now_us, "dial", path, fate)
        if self.faults.script.refuses_dial(self.venue_ms, path, query):
            fate = "refuse"
        if fate in ("lose_request", "lose_reply"):
            return
        if fate in ("refuse", "reset_before", "reset_after", "banned"):
            self.timeline.after(self._latency_us(), lambda: done("refused"))
            return
        self.timeline.after(self._latency_us(), lambda: self._open(path, query, incarnation, deliver, done))

    def _open(self, path: str, query: str, incarnation: int, deliver: Deliver, done: Callable[[object], None]) -> None:
        if self.is_down:
            self.timeline.after(self._latency_us(), lambda: done("refused"))
            return
        self.run_venue()
        session = self.venue.open_session(path, query)
        self._due_us = None
        if isinstance(session, Refusal):
            self.timeline.after(self._latency_us(), lambda: done(session))
            return
        life = SocketLife(len(self.log.sockets), incarnation, path, self.timeline.now_us)
        self.log.sockets.append(life)
        pipe = Pipe(life, deliver, self.venue.meaning.stream(path, query) == "account")
        pipe.session = session
        self._pipes[session] = pipe
        self.log.note(self.timeline.now_us, "opened", path, str(session))
        pipe.arrives_us = self.timeline.now_us + self._latency_us()
        self.timeline.at(pipe.arrives_us, lambda: done(pipe))

    def send_frame(self, pipe: Pipe, text: str) -> None:
        """A frame from the daemon, in order."""
        self.log.note(self.timeline.now_us, "frame out", text)
        pipe.leaves_us = max(pipe.leaves_us, self.timeline.now_us + self._latency_us())
        self.timeline.at(pipe.leaves_us, lambda: self._frame_arrived(pipe, text))

    def _frame_arrived(self, pipe: Pipe, text: str) -> None:
        if not pipe.is_open or pipe.is_half_open:
            return
        self.run_venue()
        for frame in self.venue.on_frame(pipe.session, text):
            self.deliver(pipe, frame)
        self._due_us = None

    def ping(self, pipe: Pipe) -> None:
        """The pong comes after a round trip, unless the connection is half open."""
        if not pipe.is_half_open:
            self.timeline.after(2 * self._latency_us(), lambda: self._pong(pipe))

    def _pong(self, pipe: Pipe) -> None:
        if pipe.is_open and not pipe.is_half_open:
            pipe.deliver("pong", b"")

    def _push(self, session: int, frame: Frame) -> None:
        pipe = self._pipes.get(session)
        if pipe is not None:
            self.faults.push(pipe, frame)

    def deliver(self, pipe: Pipe, frame: Frame) -> None:
        """Send one frame to the daemon; frames keep their order unless a fault says otherwise."""
        now_us = self.timeline.now_us
        if now_us < pipe.mute_until_us or pipe.is_half_open:
            return
        fault = self.plan.frame_fault(now_us) if pipe.is_account else ""
        if fault == "drop_frame":
            self.dropped_us.append(now_us)
            return
        when_us = max(pipe.arrives_us, now_us + self._latency_us())
        if fault == "reorder_frame":
            when_us += self._random.randrange(50_000, 800_000)
        else:
            pipe.arrives_us = when_us
        for _ in range(2 if fault == "duplicate_frame" else 1):
            self.timeline.at(when_us, lambda: self._felt(pipe, frame))

    def _felt(self, pipe: Pipe, frame: Frame) -> None:
        if not pipe.is_open:
            return
        self.log.frames += 1
        if isinstance(frame, Close):
            self.log.note(self.timeline.now_us, "close in", str(frame.code))
            pipe.deliver("close", frame.code)
            return
        self.log.note(self.timeline.now_us, "frame in", frame)
        if pipe.is_account:
            self.boundary("account frame")
        pipe.deliver("text", frame)

    def hang_up(self, pipe: Pipe) -> None:
        """The daemon's side ended."""
        if pipe.is_open:
            pipe.is_open = False
            pipe.life.closed_us = self.timeline.now_us
            self.timeline.after(self._latency_us(), lambda: self._hung_up(pipe))

    def _hung_up(self, pipe: Pipe) -> None:
        if self._pipes.get(pipe.session) is pipe:  # else it ended with a venue that was killed
            del self._pipes[pipe.session]
            self.venue.close_session(pipe.session)
            self._due_us = None

    # --- faults of connections ------------------------------------------------------------------------------------

    def pipes(self, *, account: bool) -> list[Pipe]:
        """The open connections of one kind."""
        return [pipe for pipe in self._pipes.values() if pipe.is_open and pipe.is_account is account]

    def drop(self, *, account: bool) -> None:
        """Reset the connections of one kind."""
        for pipe in self.pipes(account=account):
            self.hang_up(pipe)
            pipe.deliver("dropped", "")

    def mute(self, *, account: bool, for_us: int, half_open: bool) -> None:
        """Swallow what the venue sends; half open: pings go unanswered too, and for ever."""
        for pipe in self.pipes(account=account):
            pipe.mute_until_us = self.timeline.now_us + for_us
            pipe.is_half_open = half_open

    def cut_off(self) -> None:
        """The daemon's host lost every connection: it was killed."""
        for pipe in list(self._pipes.values()):
            self.hang_up(pipe)


def _felt(spoilt: Spoilt) -> Answer:
    """A spoilt reply as it reaches the daemon."""
    if spoilt.response is None:
        return Answer(spoilt.trouble)
    response, cut = spoilt.response, spoilt.sent is not None
    return Answer(status=response.status, headers=dict(response.headers), body=response.body[: spoilt.sent], cut=cut)
