"""P11: each closed candle reaches strategies exactly once, in order; gaps are filled over REST first, or flagged."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.feeds.candle_world import MINUTE, T0, World, candle
from tradingd.domain.errors import VenueError
from tradingd.feeds.candle_feed import CandleFeedSettings


async def test_a_closed_push_is_delivered_at_once_and_unflagged():
    world = World()
    await world.start_live()
    await world.clock.advance(60.1)
    world.feed.on_candle(candle(0))
    assert world.delivered == [0]
    assert (world.closed[0].late, world.closed[0].gap_before) == (False, False)
    assert world.feed.last_open_ms == T0


async def test_a_gap_is_read_over_rest_before_the_newer_candle_is_delivered():
    world = World()
    await world.start_live()
    await world.clock.advance(60.1)
    world.feed.on_candle(candle(0))
    await world.clock.advance(180)
    world.feed.on_candle(candle(3))
    assert world.delivered == [0], "the newer candle waits"
    await world.clock.advance(0.1)
    assert world.delivered == [0, 1, 2, 3]
    assert not any(one.gap_before for one in world.closed)


async def test_a_gap_that_the_venue_confirms_twice_is_flagged():
    world = World(missing=frozenset({1, 2}))
    await world.start_live()
    await world.clock.advance(60.1)
    world.feed.on_candle(candle(0))
    await world.clock.advance(180)
    reads = len(world.venue.requests)
    world.feed.on_candle(candle(3))
    await world.clock.advance(5)
    assert world.delivered == [0, 3]
    assert [one.gap_before for one in world.closed] == [False, True]
    assert len(world.venue.requests) - reads == 2, "one answer is not a proof, two are"
    assert world.incidents == ["candle_gap_confirmed"]
    await world.clock.advance(60)
    world.feed.on_candle(candle(4))
    assert world.closed[-1].gap_before is False


async def test_a_missing_candle_that_appears_at_the_second_look_is_delivered():
    world = World(missing=frozenset({1}))
    await world.start_live()
    await world.clock.advance(120.1)
    world.feed.on_candle(candle(0))
    await world.clock.advance(60)
    world.feed.on_candle(candle(2))
    await world.clock.advance(0.01)
    assert world.delivered == [0]
    world.venue.missing = frozenset()
    await world.clock.advance(5)
    assert world.delivered == [0, 1, 2]
    assert not any(one.gap_before for one in world.closed)


async def test_a_repeated_push_is_dropped_and_counted():
    world = World()
    await world.start_live()
    await world.clock.advance(60.1)
    for _ in range(3):
        world.feed.on_candle(candle(0))
    assert world.delivered == [0]
    assert (world.feed.counts.duplicates, world.incidents) == (2, [])


@pytest.mark.fault(93)
async def test_a_revised_candle_is_dropped_and_told_once():
    world = World()
    await world.start_live()
    await world.clock.advance(60.1)
    world.feed.on_candle(candle(0))
    world.feed.on_candle(candle(0, close="555"))
    world.feed.on_candle(candle(0, close="555"))
    assert world.delivered == [0]
    assert world.closed[0].close == candle(0).close
    assert (world.feed.counts.revised, world.incidents) == (1, ["candle_revised"])


async def test_a_closing_push_that_never_comes_is_read_after_the_grace():
    world = World()
    await world.start_live()
    await world.clock.advance(60.1)
    world.feed.on_candle(candle(1, closed=False))
    await world.clock.advance(1.9)
    assert world.delivered == [], "the closing push may still be on its way"
    await world.clock.advance(0.2)
    assert world.delivered == [0]


async def test_a_closing_push_within_the_grace_needs_no_rest():
    world = World()
    await world.start_live()
    reads = len(world.venue.requests)
    await world.clock.advance(60.1)
    world.feed.on_candle(candle(1, closed=False))
    world.feed.on_candle(candle(0))
    await world.clock.advance(10)
    assert world.delivered == [0]
    assert len(world.venue.requests) == reads


async def test_a_quiet_stream_is_asked_over_rest_once_a_candle_is_overdue():
    world = World()
    await world.start_live()
    await world.clock.advance(61)
    world.feed.check(world.clock.now_ms())
    await world.clock.advance(0.5)
    assert world.delivered == []
    await world.clock.advance(1)
    world.feed.check(world.clock.now_ms())
    await world.clock.advance(0.1)
    assert world.delivered == [0]


async def test_a_quiet_venue_is_asked_ever_less_often():
    world = World()
    await world.start_live()
    world.venue.lag_candles = 10**6  # the market stands still
    reads = len(world.venue.requests)
    for _ in range(120):
        await world.clock.advance(1)
        world.feed.check(world.clock.now_ms())
    assert 5 <= len(world.venue.requests) - reads <= 25


async def test_rest_failures_are_retried_with_backoff_until_the_gap_is_filled():
    world = World()
    await world.start_live()
    await world.clock.advance(180)
    world.venue.failures = 4
    world.feed.on_candle(candle(2))
    await world.clock.advance(0.2)
    assert world.delivered == []
    await world.clock.advance(30)
    assert world.delivered == [0, 1, 2]
    assert world.feed.counts.read_errors == 4


async def test_rest_that_lags_behind_the_stream_is_not_taken_for_a_gap():
    world = World()
    await world.start_live()
    await world.clock.advance(180)
    world.venue.lag_candles = 3
    world.feed.on_candle(candle(2))
    await world.clock.advance(20)
    assert world.delivered == []
    world.venue.lag_candles = 0
    await world.clock.advance(15)
    assert world.delivered == [0, 1, 2]
    assert not any(one.gap_before for one in world.closed)


async def test_an_old_candle_is_delivered_late():
    world = World()
    await world.start_live()
    await world.clock.advance(300)
    world.feed.on_candle(candle(3))
    await world.clock.advance(0.1)
    assert [one.late for one in world.closed] == [True, True, True, True, False]


async def test_a_first_start_takes_closed_candles_as_history_and_delivers_none_of_them():
    world = World(CandleFeedSettings(warmup=30))
    history = await world.feed.start(None)
    world.feed.release()
    await world.clock.advance(0)
    assert [(one.open_time_ms - T0) // MINUTE for one in history] == list(range(-30, 0))
    assert world.delivered == []
    await world.clock.advance(60)
    world.feed.on_candle(candle(0))
    assert world.delivered == [0]


async def test_a_restart_delivers_what_was_missed_only_after_the_release():
    world = World(CandleFeedSettings(warmup=5))
    await world.clock.advance(10 * 60)
    history = await world.feed.start(T0 + 2 * MINUTE)
    assert [(one.open_time_ms - T0) // MINUTE for one in history] == [-2, -1, 0, 1, 2]
    await world.clock.advance(60)
    world.feed.on_candle(candle(10))
    assert world.delivered == []
    world.feed.release()
    assert world.delivered == [3, 4, 5, 6, 7, 8, 9, 10]
    assert [one.late for one in world.closed] == [True] * 7 + [False]


async def test_a_start_asks_an_unreachable_venue_until_it_answers():
    world = World(CandleFeedSettings(warmup=3))
    world.venue.failures = 5
    start = asyncio.ensure_future(world.feed.start(None))
    await world.clock.advance(1)
    assert not start.done()
    await world.clock.advance(60)
    assert len(await start) == 3


async def test_a_start_does_not_repeat_what_cannot_succeed():
    world = World()

    async def refuse(*_args: object) -> list[object]:
        raise VenueError("no such symbol", code="-1121")

    world.venue.candles = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(VenueError, match="no such symbol"):
        await world.feed.start(None)


async def test_a_long_downtime_skips_to_the_limit_and_flags_the_gap():
    world = World(CandleFeedSettings(backfill_limit_candles=100))
    await world.clock.advance(1_000 * 60)
    await world.feed.start(T0)
    world.feed.release()
    await world.clock.advance(1)
    assert world.delivered == list(range(900, 1_000))
    assert [one.gap_before for one in world.closed[:2]] == [True, False]
    assert world.incidents == ["candle_gap_skipped"]


async def test_downtime_longer_than_the_buffer_is_read_page_by_page():
    world = World(CandleFeedSettings(buffer_candles=1_000, backfill_limit_candles=100_000))
    await world.clock.advance(3_000 * 60)
    await world.feed.start(T0)
    world.feed.release()
    await world.clock.advance(60)
    assert world.delivered == list(range(1, 3_000))


async def test_an_overflow_behind_a_gap_is_read_again_and_nothing_is_lost():
    world = World(CandleFeedSettings(buffer_candles=5))
    await world.start_live()
    world.venue.failures = 10**6
    for index in range(1, 20):
        await world.clock.advance(60)
        if index > 1:
            world.feed.on_candle(candle(index - 1))
    assert world.delivered == []
    assert "candle_buffer_overflowed" in world.incidents
    world.venue.failures = 0
    await world.clock.advance(20)
    assert world.delivered == list(range(19))


async def test_a_market_without_any_history_starts_with_its_first_candle():
    world = World(CandleFeedSettings(warmup=10))
    world.venue.first = 5
    assert await world.feed.start(None) == []
    world.feed.release()
    await world.clock.advance(6 * 60 + 0.1)
    world.feed.on_candle(candle(5))
    await world.clock.advance(60)
    world.feed.on_candle(candle(6))
    assert world.delivered == [5, 6]


async def test_a_journal_from_the_future_starts_anew_and_says_so():
    world = World()
    await world.feed.start(T0 + 500 * MINUTE)
    world.feed.release()
    await world.clock.advance(60.1)
    world.feed.on_candle(candle(0))
    assert world.delivered == [0]
    assert world.incidents == ["candles_went_back"]


async def test_a_candle_from_the_future_is_refused():
    world = World()
    await world.start_live()
    world.feed.on_candle(candle(1_000_000))
    world.feed.on_candle(candle(1_000_000, closed=False))
    await world.clock.advance(60.1)
    world.feed.on_candle(candle(0))
    assert world.delivered == [0]
    assert world.feed.counts.refused == 2
    assert not world.feed.is_behind


async def test_a_resync_asks_at_once_what_closed_during_the_outage():
    world = World()
    await world.start_live()
    await world.clock.advance(60 * 3 + 1)
    world.feed.resync()
    await world.clock.advance(0.01)
    assert world.delivered == [0, 1, 2]


async def test_forming_candles_are_coalesced_and_the_last_one_is_told():
    world = World()
    await world.start_live()
    for price in range(100, 150):
        world.feed.on_candle(candle(0, closed=False, close=str(price)))
    assert [int(one.close) for one in world.forming] == [100]
    await world.clock.advance(1)
    world.feed.check(world.clock.now_ms())
    assert [int(one.close) for one in world.forming] == [100, 149]
    assert world.delivered == []


async def test_a_closed_feed_delivers_nothing_and_leaves_no_task():
    world = World()
    await world.start_live()
    await world.clock.advance(180)
    world.venue.failures = 10**6
    world.feed.on_candle(candle(2))
    await world.clock.advance(1)
    await world.feed.close()
    world.feed.on_candle(candle(0))
    assert world.delivered == []
    assert [task for task in asyncio.all_tasks() if "candle backfill" in task.get_name()] == []


# Per minute: which candles are pushed then (as offsets back from the one that just closed), and whether an open one is.
minutes = st.lists(
    st.tuples(st.lists(st.integers(0, 6), max_size=4), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40
)


@pytest.mark.fault(93)
@settings(max_examples=150, deadline=None)
@given(script=minutes, missing=st.frozensets(st.integers(0, 30), max_size=4), released_after=st.integers(0, 5))
def test_whatever_is_shuffled_repeated_or_dropped_each_candle_comes_once_and_ascending(
    script: Sequence[tuple[list[int], bool, int]], missing: frozenset[int], released_after: int
):
    async def run() -> World:
        world = World(CandleFeedSettings(buffer_candles=8), missing=missing)
        await world.feed.start(None)
        for minute, (pushes, open_one, failures) in enumerate(script):
            if minute == released_after:
                world.feed.release()
            await world.clock.advance(60)
            world.venue.failures = failures
            for back in pushes:
                if minute - back >= 0 and minute - back not in missing:
                    world.feed.on_candle(candle(minute - back))
            if open_one and minute + 1 not in missing:
                world.feed.on_candle(candle(minute + 1, closed=False))
            await world.clock.advance(0.5)
            world.feed.check(world.clock.now_ms())
        world.feed.release()
        world.venue.failures = 0
        world.venue.missing = missing - {len(script)}
        await world.clock.advance(65)
        for _ in range(6):
            world.feed.check(world.clock.now_ms())
            await world.clock.advance(12)
        await world.feed.close()
        return world

    world = asyncio.run(run())
    assert not world.faults
    existing = [index for index in range(len(script) + 1) if index not in world.venue.missing]
    assert world.delivered[: len(existing)] == existing
    assert world.delivered == sorted(set(world.delivered))
    for before, after in zip(world.closed, world.closed[1:], strict=False):
        assert after.gap_before == (after.open_time_ms != before.open_time_ms + MINUTE)
