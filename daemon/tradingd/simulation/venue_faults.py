"""The venue of a world under a fault script, as `tradingd venue --faults` plays it, on the world's timeline."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tradingd.emulator.faults.language import ANY, Rule, Script
from tradingd.emulator.faults.script import Fate, FaultScript, Play
from tradingd.emulator.faults.spoil import Spoilt, needs_venue, spoil
from tradingd.emulator.wire import Close, Frame, HttpRequest, HttpResponse
from tradingd.simulation.dialects import DIALECTS
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.wire import Exchanged

if TYPE_CHECKING:
    from tradingd.simulation.network import Network, Pipe

NETWORK_SPOILS = {
    "lose_reply": Rule(do="lose_reply"),
    "reset_after": Rule(do="reset_after"),
    "cut_body": Rule(do="cut_body"),
    "truncated": Rule(do="truncate_body"),
    "html_after": Rule(do="answer", what=(("reply", "bad_gateway"),)),
    "unknown_503_before": Rule(do="answer", what=(("reply", "backend_timeout"),)),
    "unknown_503_after": Rule(do="answer", what=(("reply", "backend_timeout"),)),
}
"""What a fault plan's kinds leave of a reply, in the words of scripts: one place knows how a reply is spoilt."""


class VenueFaults:
    """Stands between the network and the venue's model; without a script it changes nothing."""

    def __init__(self, network: "Network") -> None:
        self._network = network
        self.script = FaultScript(Script(), network.venue.meaning)
        self.played: list[str] = []
        self.ban_until_us = 0
        """When the last ban ends for whoever was told of it, world µs."""

    def spoilt_by_network(self, kind: str, response: HttpResponse | None, draw: float) -> Spoilt:
        """A reply after what the network did to it; `draw` is chance from 0 to 1."""
        rule = NETWORK_SPOILS.get(kind)
        if rule is None:
            return Spoilt(response)
        return spoil(Fate(rule.do, rule, draw, meaning=self._network.venue.meaning), response)

    def banned(self, entry: Exchanged, left_ms: int) -> Spoilt:
        """What a banned address is told, where the ban has so many ms left."""
        network = self._network
        told_ms = -(-max(1, left_ms) // 1000) * 1000
        named = str(network.venue.describe()["venue"])
        lasts_ms = max(told_ms, DIALECTS[named].untold_ban_ms if named in DIALECTS else 0)
        entry.ban_ends_us = network.timeline.now_us + lasts_ms * 1000
        self.ban_until_us = max(self.ban_until_us, entry.ban_ends_us)
        fate = Fate("ban", ban_ms=network.venue_ms + told_ms, meaning=network.venue.meaning)
        return spoil(fate, None, told_ms)

    def begin(self, script: Script) -> None:
        """Play another script from now on; what the last one left in force ends."""
        network = self._network
        network.venue.act("shift_clock", {"offset_ms": 0})
        for pipe in [*network.pipes(account=True), *network.pipes(account=False)]:
            pipe.mute_until_us = 0
        self.script = FaultScript(script, network.venue.meaning, network.venue_ms)
        self.script.on_played = lambda played: self.played.append(f"venue: {played.kind}")
        network.venue_changed()

    def take(self, entry: Exchanged, request: HttpRequest, then: Callable[[Spoilt], None]) -> None:
        """A request is at the venue's door; `then` gets what leaves it, now or later."""
        fate = self.script.request(self._network.venue_ms, request)
        if fate.kind == "arrive_late":
            self._network.timeline.after(fate.delay_ms * 1000, lambda: self._taken(entry, request, fate, then))
        else:
            self._taken(entry, request, fate, then)

    def _taken(self, entry: Exchanged, request: HttpRequest, fate: Fate, then: Callable[[Spoilt], None]) -> None:
        network = self._network
        if network.is_down:
            then(Spoilt(None, trouble="reset"))
            return
        response = None
        if needs_venue(fate):
            end_order_ms = fate.delay_ms if fate.kind == "end_order" else None
            response = network.handle(entry, request, fate.lag_ms, end_order_ms)
        self.play(fate.then)
        is_ban, left_ms = fate.kind == "ban", fate.ban_ms - network.venue_ms
        spoilt = self.banned(entry, left_ms) if is_ban else spoil(fate, response, left_ms)
        if fate.kind == "reply_late":
            network.timeline.after(fate.delay_ms * 1000, lambda: then(spoilt))
        else:
            then(spoilt)

    def push(self, pipe: "Pipe", frame: Frame) -> None:
        """The venue sends a frame."""
        network = self._network
        if isinstance(frame, Close):
            network.deliver(pipe, frame)
            return
        fate = self.script.push(network.venue_ms, frame)
        if not fate.times and pipe.is_account:
            network.dropped_us.append(network.timeline.now_us)
        for _ in range(fate.times):
            if fate.delay_ms:
                network.timeline.after(fate.delay_ms * 1000, lambda: network.deliver(pipe, frame))
            else:
                network.deliver(pipe, frame)
        self.play(fate.then)

    def play(self, plays: Iterable[Play]) -> None:
        """Do what the script says is to be done now."""
        network = self._network
        for play in plays:
            if play.kind in ("mute", "half_open"):
                for account in _accounts(play):
                    for_us = round(play.seconds("for_s") * SECOND_US)
                    network.mute(account=account, for_us=for_us, half_open=play.kind == "half_open")
                text = f"left streams ({play.stream}) {'half open' if play.kind == 'half_open' else 'mute'}"
            elif play.kind == "cut_streams":
                for account in _accounts(play):
                    network.drop(account=account)
                text = f"cut streams ({play.stream})"
            else:
                text = network.venue.act(play.kind, play.values)
            self.script.tell(network.venue_ms, play, text)


def _accounts(play: Play) -> list[bool]:
    return [True, False] if play.stream == ANY else [play.stream == "account"]
