"""A script that runs: it decides the fate of each request, push and dial, and says what the venue does by itself.

No sockets and no clock: the venue's time arrives with every question. The same script and the same questions at the
same times give the same answers; each rule has a chance of its own, so that a rule more changes none of the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random

import msgspec

from tradingd.emulator.faults.language import ANY, PUSH, REQUEST, Rule, Script, Value
from tradingd.emulator.wire import HttpRequest, Meaning

NEVER_MS = 1 << 62
_NEVER_S = float("inf")
_KEPT = 10_000


class Play(msgspec.Struct, frozen=True):
    """Something for the venue to do now: a kind of language.KINDS, and its keys."""

    number: int
    kind: str
    stream: str = ANY
    values: dict[str, Value] = {}

    def seconds(self, key: str) -> float:
        """Seconds that are there."""
        return float(self.values[key])


class Fate(msgspec.Struct, frozen=True):
    """What happens to one request. `kind` is empty where all is well; `draw` is chance from 0 to 1 for whoever spoils.

    `then` comes after it, whatever its own fate was. `ban_ms` is venue time until the end of a ban; `meaning`
    is the dialect in which an answer is written.
    """

    kind: str = ""
    rule: Rule | None = None
    draw: float = 0.0
    ban_ms: int = 0
    then: tuple[Play, ...] = ()
    meaning: Meaning | None = None

    @property
    def delay_ms(self) -> int:
        """How much later it arrives, or its reply does, or its order ends; real milliseconds."""
        return self.rule.integer("delay_ms") if self.rule and self.kind in _DELAYED else 0

    @property
    def lag_ms(self) -> int:
        """How old the account is that the reply shows; real milliseconds."""
        return self.rule.integer("lag_ms") if self.rule and self.kind == "read_lag" else 0


class PushFate(msgspec.Struct, frozen=True):
    """What happens to one push: how often it is sent (0: never), and how much later, real milliseconds."""

    times: int = 1
    delay_ms: int = 0
    then: tuple[Play, ...] = ()


class Played(msgspec.Struct):
    """One fault that was played: `at_ms` is venue time, `at_s` real seconds of the script, `rule` counts from 1."""

    number: int
    at_ms: int
    at_s: float
    rule: int
    name: str
    kind: str
    text: str


_WELL = Fate()
_WELL_PUSH = PushFate()
_DELAYED = ("arrive_late", "reply_late", "end_order")


class _State:
    """One rule and what has become of it."""

    def __init__(self, number: int, rule: Rule, seed: int) -> None:
        self.number = number
        self.rule = rule
        self.draw = Random(f"{seed}/{number}/{rule.do}")
        self.matches = 0
        self.played = 0
        self.due_s = float(rule.after_s or 0)

    @property
    def is_spent(self) -> bool:
        return self.rule.times is not None and self.played >= self.rule.times

    def is_within(self, now_ms: int, elapsed_s: float) -> bool:
        rule = self.rule
        return not (
            (rule.after_s is not None and elapsed_s < rule.after_s)
            or (rule.before_s is not None and elapsed_s >= rule.before_s)
            or (rule.since_ms is not None and now_ms < rule.since_ms)
            or (rule.until_ms is not None and now_ms >= rule.until_ms)
        )

    def fires(self) -> bool:
        """Count a match; chance is drawn for every one, so that it does not hang on what else is asked."""
        self.matches += 1
        roll = self.draw.random()
        rule = self.rule
        if self.is_spent or (rule.nth is not None and self.matches != rule.nth):
            return False
        if rule.every is not None and self.matches % rule.every:
            return False
        return rule.chance is None or roll < rule.chance


class FaultScript:
    """One script on one venue. `on_played` hears of each fault when its text is complete."""

    def __init__(self, script: Script, meaning: Meaning, now_ms: int = 0) -> None:
        self.script = script
        self._meaning = meaning
        states = [_State(number, rule, script.seed) for number, rule in enumerate(script.rules, start=1)]
        self._timed = [state for state in states if state.rule.is_timed]
        self._on_request = [state for state in states if state.rule.on]
        self._on_push = [state for state in states if state.rule.push]
        self._scale = 1.0
        self._last_ms = now_ms
        self._elapsed_ms = 0.0
        self._ban_ms = 0
        self._refused_ms: dict[str, int] = {}
        self._ends: list[tuple[int, int, Play]] = []
        self._order = count()
        self._numbers = count(1)
        self.played: deque[Played] = deque(maxlen=_KEPT)
        self.on_played: Callable[[Played], None] = lambda played: None

    # -- time ---------------------------------------------------------------------------------------------------

    def set_time_scale(self, scale: float) -> None:
        """Venue milliseconds per real millisecond from now on."""
        self._scale = scale

    def venue_ms(self, real_ms: float) -> int:
        """So many real milliseconds in venue time."""
        return round(real_ms * self._scale)

    def _tick(self, now_ms: int) -> None:
        if now_ms > self._last_ms:
            self._elapsed_ms += (now_ms - self._last_ms) / self._scale
            self._last_ms = now_ms

    @property
    def elapsed_s(self) -> float:
        """Real seconds of venue time since the script began."""
        return self._elapsed_ms / 1000.0

    def next_due_ms(self) -> int:
        """Venue time at which `due` next has something to say."""
        nearest_ms = self._ends[0][0] if self._ends else NEVER_MS
        for state in self._timed:
            if state.is_spent or state.due_s == _NEVER_S:
                continue
            due_ms = self._last_ms + max(0, self.venue_ms(state.due_s * 1000.0 - self._elapsed_ms))
            nearest_ms = min(nearest_ms, max(due_ms, state.rule.since_ms or 0))
        return nearest_ms

    def due(self, now_ms: int) -> list[Play]:
        """What the venue does by itself by now."""
        self._tick(now_ms)
        plays: list[Play] = []
        while self._ends and self._ends[0][0] <= now_ms:
            plays.append(heappop(self._ends)[2])
        for state in self._timed:
            while state.due_s <= self.elapsed_s and not state.is_spent:
                if state.rule.since_ms is not None and now_ms < state.rule.since_ms:
                    break
                every_s = state.rule.every_s
                due_s, state.due_s = state.due_s, _NEVER_S if every_s is None else state.due_s + float(every_s)
                if state.is_within(now_ms, due_s) and state.fires():
                    plays += self._play(state, now_ms)
        return plays

    # -- questions ----------------------------------------------------------------------------------------------

    def request(self, now_ms: int, request: HttpRequest) -> Fate:
        """What happens to a request that comes in now."""
        self._tick(now_ms)
        if now_ms < self._ban_ms:
            return Fate("ban", ban_ms=self._ban_ms, meaning=self._meaning)
        if not self._on_request:
            return _WELL
        purpose = self._meaning.purpose(request)
        names = (ANY, purpose, f"{request.method} {request.path}")
        fate = _WELL
        then: tuple[Play, ...] = ()
        for state in self._matching(self._on_request, now_ms, names, lambda: self._meaning.symbol_of(request)):
            is_fate = state.rule.befalls == REQUEST
            if not state.fires() or (is_fate and fate.kind):
                continue
            if not is_fate:
                then += self._play(state, now_ms)
                continue
            if state.rule.do == "ban":
                self._ban_ms = now_ms + self.venue_ms(state.rule.seconds("for_s") * 1000)
            fate = Fate(state.rule.do, state.rule, state.draw.random(), self._ban_ms, meaning=self._meaning)
            state.played += 1
            self._note(
                state, now_ms, f"{_REQUEST_TEXTS[fate.kind]} {request.method} {request.path}" + _more(state.rule)
            )
        return msgspec.structs.replace(fate, then=then) if then else fate

    def push(self, now_ms: int, frame: str) -> PushFate:
        """What happens to a frame that leaves now."""
        self._tick(now_ms)
        if not self._on_push:
            return _WELL_PUSH
        kind, symbol = self._meaning.push(frame)
        fate, is_decided = _WELL_PUSH, False
        then: tuple[Play, ...] = ()
        for state in self._matching(self._on_push, now_ms, (ANY, kind), lambda: symbol):
            rule, is_fate = state.rule, state.rule.befalls == PUSH
            if not state.fires() or (is_fate and is_decided):
                continue
            if not is_fate:
                then += self._play(state, now_ms)
                continue
            is_decided = True
            if rule.do == "lose_push":
                fate = PushFate(0)
            elif rule.do == "repeat_push":
                fate = PushFate(1 + rule.integer("count"))
            else:
                fate = PushFate(1, rule.integer("delay_ms"))
            state.played += 1
            self._note(
                state,
                now_ms,
                f"{_PUSH_TEXTS[rule.do]} a push of {kind}" + (f" of {symbol}" if symbol else "") + _more(rule),
            )
        return msgspec.structs.replace(fate, then=then) if then else fate

    def refuses_dial(self, now_ms: int, path: str, query: str) -> bool:
        """Whether a websocket that is asked for now is refused."""
        self._tick(now_ms)
        until_ms = max(self._refused_ms.get(ANY, 0), self._refused_ms.get(self._meaning.stream(path, query), 0))
        return now_ms < until_ms

    def stream(self, path: str, query: str) -> str:
        """What a websocket is for."""
        return self._meaning.stream(path, query)

    def tell(self, now_ms: int, play: Play, text: str) -> None:
        """The venue has played it; `text` says what it did, in the past tense."""
        rule = self.script.rules[play.number - 1]
        self._keep(now_ms, play.number, rule, text)

    # -- inside -------------------------------------------------------------------------------------------------

    def _matching(
        self, states: list[_State], now_ms: int, names: tuple[str, ...], symbol: Callable[[], str | None]
    ) -> list[_State]:
        return [
            state
            for state in states
            if any(name in names for name in (state.rule.on or state.rule.push))
            and state.is_within(now_ms, self.elapsed_s)
            and (state.rule.symbol is None or state.rule.symbol == symbol())
        ]

    def _play(self, state: _State, now_ms: int) -> tuple[Play, ...]:
        """What a rule of streams or of the venue does now; what only the script has to know ends here."""
        rule = state.rule
        state.played += 1
        if rule.do == "refuse_streams":
            for_s = rule.seconds("for_s")
            self._refused_ms[rule.stream] = now_ms + self.venue_ms(for_s * 1000)
            self._note(state, now_ms, f"began to refuse websockets ({rule.stream}) for {for_s:g} s")
            return ()
        if rule.do == "shift_clock" and rule.get("for_s") is not None:
            back = Play(state.number, "shift_clock", values={"offset_ms": 0})
            heappush(self._ends, (now_ms + self.venue_ms(rule.seconds("for_s") * 1000), next(self._order), back))
        return (Play(state.number, rule.do, rule.stream, rule.values),)

    def _note(self, state: _State, now_ms: int, text: str) -> None:
        self._keep(now_ms, state.number, state.rule, text)

    def _keep(self, now_ms: int, number: int, rule: Rule, text: str) -> None:
        played = Played(next(self._numbers), now_ms, round(self.elapsed_s, 3), number, rule.name, rule.do, text)
        self.played.append(played)
        self.on_played(played)


_REQUEST_TEXTS = {
    "lose_request": "lost, before it arrived,",
    "reset_before": "reset, before it arrived,",
    "lose_reply": "lost the reply to",
    "reset_after": "reset the connection in place of the reply to",
    "cut_body": "cut off the connection inside the reply to",
    "truncate_body": "truncated the body of the reply to",
    "empty_body": "emptied the body of the reply to",
    "html_body": "put a page of HTML in place of the reply to",
    "answer": "answered with an error",
    "ban": "banned the client at",
    "arrive_late": "delayed on its way here",
    "reply_late": "delayed the reply to",
    "read_lag": "answered from the past",
    "end_order": "accepted, to end it later without a fill,",
}
_PUSH_TEXTS = {"lose_push": "lost", "repeat_push": "repeated", "delay_push": "delayed"}


def _more(rule: Rule) -> str:
    return "".join(f", {key} {value}" for key, value in rule.what)
