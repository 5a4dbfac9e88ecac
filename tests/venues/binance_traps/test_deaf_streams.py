"""A stream that tells nothing any more is noticed within 15 seconds of what it should have told, and dialled anew."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulation.worlds import scripted
from tests.venues.binance_traps.worlds import minute_ms
from tradingd.emulator.faults.language import Rule, Script
from tradingd.simulation.clock import START_MS
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.world import World

LIMIT_S = 15.0
PATHS = {"account": "/private/ws", "candles": "/market/ws/0"}


def ended_after_s(world: World, stream: str, from_us: int) -> list[float]:
    """When the daemon gave up each connection of a kind, in seconds behind a moment."""
    ends = [life.closed_us for life in world.network.log.sockets if life.path == PATHS[stream]]
    return [(end - from_us) / SECOND_US for end in ends if end is not None and end >= from_us]


def dials(world: World, stream: str, from_us: int) -> list[float]:
    return [
        (each.sent_us - from_us) / SECOND_US
        for each in world.network.log.requests
        if each.method == "DIAL" and each.path == PATHS[stream] and each.sent_us >= from_us
    ]


@pytest.fixture
def make(tmp_path: Path):
    made: list[World] = []

    def start(lines: str, *rules: Rule) -> World:
        world = scripted(tmp_path, lines, hold=0)
        made.append(world)
        world.start()
        world.run_for(50)
        world.network.faults.begin(Script(rules=rules))
        return world

    yield start
    for world in made:
        world.close()


Make = Callable[..., World]


@pytest.mark.fault(16)
@pytest.mark.parametrize("half_open", [False, True], ids=["mute", "half open"])
def test_candles_that_stop_are_noticed(make: Make, half_open: bool) -> None:
    world = make("9 exit")
    from_us = world.now_us
    world.network.mute(account=False, for_us=3600 * SECOND_US, half_open=half_open)
    world.run_for(40)
    assert ended_after_s(world, "candles", from_us)[0] <= LIMIT_S
    assert len(world.network.pipes(account=False)) == 1 and world.is_ready, "and the new one stands"
    assert not ended_after_s(world, "account", from_us)


@pytest.mark.fault(17)
def test_a_half_open_account_stream_is_noticed_though_nothing_happens_on_the_account(make: Make) -> None:
    world = make("9 exit")
    from_us = world.now_us
    world.network.mute(account=True, for_us=3600 * SECOND_US, half_open=True)
    world.run_for(40)
    assert ended_after_s(world, "account", from_us)[0] <= LIMIT_S
    assert len(world.network.pipes(account=True)) == 1 and world.is_ready


def test_an_account_stream_that_answers_pings_and_does_not_tell_our_order_is_noticed(make: Make) -> None:
    world = make("1 buy 0.02 0.02")
    world.network.mute(account=True, for_us=3600 * SECOND_US, half_open=False)
    world.run_for(40)
    sent_us = next(each.sent_us for each in world.network.log.requests if each.is_create)
    assert 1 < ended_after_s(world, "account", sent_us)[0] <= LIMIT_S
    assert len(world.network.pipes(account=True)) == 1 and world.is_ready


def test_an_account_stream_that_tells_all_our_orders_stands(make: Make) -> None:
    world = make("1 buy 0.02 0.02; 2 exit; 3 buy 0.02 0.02; 4 sell 0.02 0.02; 5 exit")
    from_us = world.now_us
    world.run_for(330)
    assert not ended_after_s(world, "account", from_us)


@pytest.mark.fault(22)
@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
def test_an_expired_listen_key_is_noticed(make: Make, told: bool) -> None:
    rules = [Rule(do="expire_listen_key", since_ms=minute_ms(1) - 5_000, times=1)]
    if not told:
        rules.append(Rule(do="lose_push", push=("other",)))
    world = make("1 buy 0.02 0.02", *rules)
    world.run_for(40)
    from_us = (minute_ms(1) - 5_000 - START_MS) * 1000
    assert "venue: expire_listen_key" in world.network.faults.played
    assert ended_after_s(world, "account", from_us)[0] <= (1.0 if told else 5.0 + LIMIT_S)
    assert len(world.network.pipes(account=True)) == 1 and world.is_ready


def test_what_another_client_does_while_the_account_stream_is_mute_is_found_within_seconds(make: Make) -> None:
    world = make("1 buy 0.02 0.02")
    world.run_for(40)
    world.network.mute(account=True, for_us=3600 * SECOND_US, half_open=False)
    world.run_for(1)
    world.venue.act("human", {"act": "close", "symbol": "BTCUSDT"})
    world.network.venue_changed()
    closed_us, core = world.now_us, world.generations[0].core
    assert core is not None
    while any(not each.is_flat for each in core.execution.state.positions.values()):
        world.run_for(0.5)
        assert world.now_us - closed_us < 60 * SECOND_US
    assert (world.now_us - closed_us) / SECOND_US <= LIMIT_S


def test_a_venue_that_refuses_every_dial_is_not_stormed(make: Make) -> None:
    world = make("9 exit", Rule(do="refuse_streams", what=(("for_s", 600),)))
    from_us = world.now_us
    world.network.drop(account=True)
    world.network.drop(account=False)
    world.run_for(300)
    tries = dials(world, "account", from_us) + dials(world, "candles", from_us)
    assert 5 < len(tries) < 60
    assert max(later - early for early, later in zip(sorted(tries), sorted(tries)[1:], strict=False)) <= 35


@pytest.mark.fault(23)
def test_a_venue_that_refuses_every_listen_key_is_not_stormed(make: Make) -> None:
    what = (("code", -2015), ("status", 401), ("text", "Invalid API-key, IP, or permissions for action."))
    world = make("9 exit", Rule(do="answer", on=("listen_key",), what=what))
    from_us = world.now_us
    world.network.drop(account=True)
    world.run_for(300)
    asked = [each for each in world.network.log.requests if each.path == "/fapi/v1/listenKey"]
    asked = [each for each in asked if each.sent_us >= from_us]
    assert 3 < len(asked) < 60
