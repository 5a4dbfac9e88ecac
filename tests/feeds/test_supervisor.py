"""Streams are kept alive: whatever breaks, falls silent or cannot be dialled is subscribed again, and told once."""

import asyncio
from collections import deque

import pytest

from tests.feeds.candle_world import T0, ManualClock, settle
from tradingd.bus import Bus
from tradingd.domain.errors import VenueError, VenueUnreachable
from tradingd.domain.events import IncidentRaised, StreamChanged
from tradingd.domain.ids import VenueId
from tradingd.feeds.supervisor import UNREAD_AGAIN_S, Supervisor
from tradingd.ports import StreamKey

BINANCE = VenueId("binance")
BTC = StreamKey(BINANCE, "candles", "BTC/USDT:USDT", "1m")
ETH = StreamKey(BINANCE, "candles", "ETH/USDT:USDT", "1m")
ACCOUNT = StreamKey(BINANCE, "account")
STALE_S = 15.0


class StreamVenue:
    """Subscriptions that succeed, fail or hang as told."""

    def __init__(self) -> None:
        self.id = BINANCE
        self.watched: list[StreamKey] = []
        self.resets: list[str] = []
        self.failures: deque[BaseException] = deque()
        self.hold: dict[StreamKey, asyncio.Event] = {}

    async def watch(self, stream: StreamKey) -> None:
        self.watched.append(stream)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.popleft()
        if stream in self.hold:
            await self.hold[stream].wait()

    async def reset_stream(self, kind: str, reason: str) -> None:
        self.resets.append(kind)


class Pauses:
    def __init__(self) -> None:
        self.attempts: list[int] = []

    def delay_s(self, attempt: int) -> float:
        self.attempts.append(attempt)
        return float(attempt)


class World:
    """A supervisor, and what it told."""

    def __init__(self, *wanted: StreamKey) -> None:
        self.clock = ManualClock(T0)
        self.venue = StreamVenue()
        self.faults: list[BaseException] = []
        self.bus = Bus(lambda event, error: self.faults.append(error))
        self.told: list[str] = []
        self.events: list[tuple[str, bool]] = []
        self.incidents: list[str] = []
        self.bus.subscribe(StreamChanged, lambda event: self.events.append((event.stream, event.connected)))
        self.bus.subscribe(IncidentRaised, lambda event: self.incidents.append(event.kind))
        self.pauses = Pauses()
        self.supervisor = Supervisor(
            self.venue,  # type: ignore[arg-type]
            wanted or (BTC, ACCOUNT),
            self.bus,
            self.clock,
            self.pauses,
            self,
            STALE_S,
        )

    def on_streams_lost(self, venue: VenueId, kind: str, reason: str) -> None:
        self.told.append(f"lost {kind}")

    def on_unreachable(self, venue: VenueId, kind: str, reason: str) -> None:
        self.told.append(f"unreachable {kind}")

    def on_streams_restored(self, venue: VenueId) -> None:
        self.told.append("restored")

    def ask_recovery(self, reason: str) -> None:
        self.told.append(reason)

    async def run(self, turns: int = 3) -> None:
        """Let the supervisor look again, as its interval does in real time."""
        for _ in range(turns):
            self.supervisor._changed.set()
            await settle()

    async def start(self) -> None:
        self.supervisor.start()
        await self.run()

    async def quiet(self, seconds: float, *alive: str) -> None:
        """Let real time pass, with signs of life of the kinds named, each second."""
        for _ in range(round(seconds)):
            await self.clock.advance(1)
            for kind in alive:
                self.supervisor.on_alive(kind)
            await self.run(1)


@pytest.fixture
async def world():
    made = World()
    await made.start()
    yield made
    await made.supervisor.stop()


async def test_every_wanted_stream_is_subscribed_and_then_told_once(world):
    assert world.venue.watched == [BTC, ACCOUNT]
    assert world.told == ["restored"]
    assert world.supervisor.is_whole
    assert world.events == [("candles", True), ("account", True)]
    await world.run(5)
    assert world.told == ["restored"]


async def test_a_drop_is_told_at_once_and_only_what_was_lost_is_subscribed_again(world):
    world.supervisor.on_disconnect("account", "1006")
    assert world.told == ["restored", "lost account"]
    assert not world.supervisor.is_whole
    await world.run()
    assert world.venue.watched == [BTC, ACCOUNT, ACCOUNT]
    assert world.told == ["restored", "lost account", "restored"]


async def test_a_drop_told_twice_is_one_drop(world):
    for _ in range(3):
        world.supervisor.on_disconnect("account", "1006")
    await world.run()
    assert world.told == ["restored", "lost account", "restored"]
    assert world.venue.watched.count(ACCOUNT) == 2


async def test_both_kinds_lost_at_once_are_both_back_before_it_is_whole(world):
    world.supervisor.on_disconnect("account", "1006")
    world.supervisor.on_disconnect("candles", "1006")
    await world.run()
    assert world.told == ["restored", "lost account", "lost candles", "restored"]
    assert sorted(world.venue.watched[2:]) == [ACCOUNT, BTC]


@pytest.mark.fault(16)
async def test_a_silent_kind_is_reset_and_subscribed_again_the_other_left_alone(world):
    await world.quiet(STALE_S + 4, "account")
    assert world.venue.resets == ["candles"]
    assert world.told == ["restored", "lost candles", "restored"]
    assert world.venue.watched.count(ACCOUNT) == 1
    assert world.venue.watched.count(BTC) == 2


async def test_signs_of_life_keep_streams_and_their_ages(world):
    await world.quiet(60, "account", "candles")
    assert world.venue.resets == []
    await world.clock.advance(3)
    assert world.supervisor.ages_s() == {"binance/candles": 3.0, "binance/account": 3.0}


@pytest.mark.fault(23)
async def test_what_cannot_be_subscribed_is_tried_again_with_growing_pauses():
    world = World()
    world.venue.failures.extend([VenueUnreachable("refused"), VenueError("busy"), VenueUnreachable("reset")])
    await world.start()
    for _ in range(8):
        await world.clock.advance(1)
        await world.run()
    assert world.pauses.attempts == [1, 2, 3]
    assert world.told == ["unreachable candles"] * 3 + ["restored"]
    world.supervisor.on_disconnect("candles", "again")
    world.venue.failures.append(VenueUnreachable("refused"))
    await world.run()
    assert world.pauses.attempts == [1, 2, 3, 1]
    await world.supervisor.stop()


async def test_a_subscription_whose_connection_broke_before_it_returned_is_not_taken_for_alive():
    world = World(BTC, ETH)
    world.venue.hold[ETH] = asyncio.Event()
    await world.start()
    assert world.venue.watched == [BTC, ETH]
    world.supervisor.on_disconnect("candles", "1006")
    world.venue.hold.pop(ETH).set()
    await world.run()
    assert world.venue.watched[2:].count(ETH) == 1
    assert world.venue.watched[2:].count(BTC) == 1
    assert world.supervisor.is_whole
    await world.supervisor.stop()


@pytest.mark.fault(88)
async def test_a_fault_of_ours_in_a_subscription_is_told_and_does_not_end_the_watch():
    world = World()
    world.venue.failures.append(KeyError("surprise"))
    await world.start()
    for _ in range(5):
        await world.clock.advance(1)
        await world.run()
    assert world.supervisor.is_whole
    assert world.incidents == ["supervisor_failed"]
    await world.supervisor.stop()


async def test_a_stopped_supervisor_lets_the_streams_be(world):
    await world.supervisor.stop()
    world.supervisor.on_disconnect("account", "1006")
    await settle()
    assert world.venue.watched == [BTC, ACCOUNT]
    await world.supervisor.stop()


async def test_an_account_frame_that_cannot_be_read_has_the_venue_read_anew(world):
    world.told.clear()
    world.supervisor.on_unreadable("account", "KeyError: 'o'")
    await world.run()
    assert world.told == ["an account frame could not be read: KeyError: 'o'"]


async def test_a_candle_frame_that_cannot_be_read_has_nothing_read_anew(world):
    world.told.clear()
    world.supervisor.on_unreadable("candles", "KeyError: 'k'")
    await world.run()
    assert world.told == []


async def test_many_unreadable_account_frames_have_the_venue_read_anew_once_in_a_while_and_after_the_last(world):
    world.told.clear()
    for number in range(50):
        world.supervisor.on_unreadable("account", f"frame {number}")
        await world.run(1)
    assert len(world.told) == 1
    await world.quiet(UNREAD_AGAIN_S + 1, "candles", "account")
    assert world.told[1:] == ["an account frame could not be read: frame 49"]
    await world.quiet(UNREAD_AGAIN_S + 1, "candles", "account")
    assert len(world.told) == 2
