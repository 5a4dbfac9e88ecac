"""Where levels are a state of the position: moved by Protect, and over crashes."""

import asyncio
from decimal import Decimal

import pytest

from tests.execution.fakes import BTC, Accept, Lose, Reject, Silence
from tests.execution.levels_world import FURTHER, NEW, OLD, TARGET, carried, held, watch
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.account import PositionProtection, RejectKind
from tradingd.domain.errors import VenueUnreachable
from tradingd.domain.events import ProtectionChanged
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderStatus

# --- Protect -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [NEW, Decimal(48_000)])
@in_virtual_time
async def test_a_protect_is_one_setting_and_the_stop_is_never_missing(make_levels, level):
    world = await held(make_levels)
    seen = watch(world)
    assert await world.outcome_of(world.protect(stop_loss=level)) == ("done", "replaced")
    assert (carried(world), seen, len(world.levels.sets)) == ((level, None), [], 2)
    assert world.sent(Purpose.BRIDGE) == world.sent(Purpose.STOP) == world.venue.cancelled == []
    await asyncio.sleep(0.01)
    told = [event for event in world.events if isinstance(event, ProtectionChanged)]
    assert (told[-1].covered, told[-1].stop_loss, told[-1].replaced) == (True, level, True)
    assert world.rows("SELECT stop_loss, state FROM protection") == [(float(level), "covered")]


@in_virtual_time
async def test_a_protect_of_both_or_of_a_short_is_one_setting_too(make_levels):
    world = await held(make_levels, Side.SELL, take_profit=Decimal(48_000))
    moved = world.protect(stop_loss=Decimal(50_500), take_profit=Decimal(47_000))
    assert await world.outcome_of(moved) == ("done", "replaced")
    assert carried(world) == (Decimal(50_500), Decimal(47_000)) and len(world.levels.sets) == 2


@in_virtual_time
async def test_levels_that_stand_already_are_not_set(make_levels):
    world = await held(make_levels, take_profit=TARGET)
    assert await world.outcome_of(world.protect(stop_loss=OLD, take_profit=TARGET)) == ("done", "already_so")
    assert len(world.levels.sets) == 1


@in_virtual_time
async def test_a_position_without_levels_gets_what_a_protect_asks_for(make_levels):
    world = await make_levels(risk="require_stop = false").boot()
    world.enter(stop_loss=None)
    await world.until(lambda: world.held())
    assert await world.outcome_of(world.protect(take_profit=TARGET)) == ("done", "replaced")
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("done", "replaced")
    assert carried(world) == (NEW, TARGET)


@in_virtual_time
async def test_a_refused_protect_fails_and_what_stood_stays(make_levels):
    world = await held(make_levels, take_profit=TARGET)
    world.levels.answers.extend([Reject(RejectKind.OTHER, "110061")] * 2)
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("failed", "other")
    await asyncio.sleep(5)
    assert carried(world) == (OLD, TARGET) and world.is_covered()
    assert len(world.levels.sets) == 3, "what stood before stands surely, and is not set again"
    assert world.rows("SELECT stop_loss, take_profit, state FROM protection") == [(49_000.0, 52_000.0, "covered")]
    assert world.sent(Purpose.EXIT) == []


@in_virtual_time
async def test_a_protect_whose_take_profit_alone_is_refused_puts_both_back(make_levels):
    world = await held(make_levels, take_profit=TARGET)
    seen = watch(world)
    world.levels.answers.append(Reject(RejectKind.OTHER, "110058"))
    assert await world.outcome_of(world.protect(stop_loss=NEW, take_profit=FURTHER)) == ("failed", "other")
    await world.until(lambda: carried(world) == (OLD, TARGET), 5)
    assert seen == []


@in_virtual_time
async def test_a_protect_that_the_price_has_passed_closes_the_position(make_levels):
    world = await held(make_levels)
    world.levels.on_set = lambda: setattr(world.venue, "mark", Decimal("49400"))
    assert (await world.outcome_of(world.protect(stop_loss=NEW)))[0] == "failed"
    await world.until_flat()
    assert "emergency_close" in world.incidents()


@pytest.mark.parametrize("answer", [Lose(), Lose(taken=True), Silence(), Accept(silent=True)])
@in_virtual_time
async def test_a_protect_whose_answer_is_lost_goes_on_until_it_stands(make_levels, answer):
    world = await held(make_levels)
    seen = watch(world)
    world.levels.answers.append(answer)
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("done", "replaced")
    assert carried(world) == (NEW, None) and seen == []
    assert {"protection_changed", "emergency_close"}.isdisjoint(world.incidents())


@in_virtual_time
async def test_a_protect_that_is_never_answered_fails_and_the_stop_is_set_back(make_levels):
    world = await held(make_levels)
    world.levels.always = Lose(taken=True)
    world.venue.unreachable = {"read_levels"}
    assert await world.outcome_of(world.protect(stop_loss=NEW), 60) == ("failed", "not_set")
    assert world.sent(Purpose.EXIT) == []
    world.levels.always, world.venue.unreachable = None, set()
    await world.until(lambda: carried(world) == (OLD, None), 10)
    assert "protection_changed" not in world.incidents()


@in_virtual_time
async def test_an_exit_during_a_protect_goes_first(make_levels):
    world = await held(make_levels)
    world.levels.always = Reject(RejectKind.THROTTLED, "10006")
    moved = world.protect(stop_loss=NEW)
    await asyncio.sleep(0.1)
    world.exit()
    assert (await world.outcome_of(moved)) == ("failed", "no_position")
    await world.until_flat()


@in_virtual_time
async def test_a_newer_protect_takes_the_place_of_one_under_way(make_levels):
    world = await held(make_levels)
    world.levels.answers.extend([Reject(RejectKind.THROTTLED, "10006")] * 2)
    first = world.protect(stop_loss=NEW)
    await asyncio.sleep(0.1)
    second = world.protect(stop_loss=Decimal(49_600))
    assert await world.outcome_of(first) == ("cancelled", "superseded")
    assert await world.outcome_of(second) == ("done", "replaced")
    assert carried(world) == (Decimal(49_600), None)


# --- crashes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [False, True])
@in_virtual_time
async def test_a_crash_at_the_setting_ends_with_the_stop_in_its_place(make_levels, taken):
    world = await make_levels().boot()
    world.levels.answers.append(Accept(silent=True) if taken else Silence())
    world.enter()
    await world.until(lambda: world.levels.sets)
    await world.restart()
    await world.until(world.is_covered, 5)
    assert carried(world) == (OLD, None)
    assert len(world.levels.sets) == (1 if taken else 2)
    assert world.rows("SELECT state FROM protection") == [("covered",)]


@in_virtual_time
async def test_a_crash_between_the_fill_and_the_setting_ends_with_the_stop_in_its_place(make_levels):
    world = await make_levels().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    await world.crash()
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.1"))
    await world.boot()
    await world.until(world.is_covered, 5)
    assert carried(world) == (OLD, None)


@in_virtual_time
async def test_a_restart_reads_a_stop_that_stands_and_sets_nothing(make_levels):
    world = await held(make_levels, take_profit=TARGET)
    await world.restart()
    await world.until(world.is_covered, 5)
    await asyncio.sleep(5)
    assert len(world.levels.sets) == 1
    told = [event for event in world.events if isinstance(event, ProtectionChanged)]
    assert told[-1].covered and told[-1].unprotected_s == 0


@in_virtual_time
async def test_a_stop_that_a_human_removed_while_the_daemon_was_down_is_set_at_the_start(make_levels):
    world = await held(make_levels)
    await world.crash()
    world.levels.by_hand(BTC, None)
    await asyncio.sleep(30)
    await world.boot()
    await world.until(world.is_covered, 5)
    assert carried(world) == (OLD, None) and world.sent(Purpose.EXIT) == []


@pytest.mark.parametrize("taken", [False, True])
@in_virtual_time
async def test_a_crash_in_a_protect_ends_with_the_new_stop_and_one_outcome(make_levels, taken):
    world = await held(make_levels)
    world.levels.answers.append(Accept(silent=True) if taken else Silence())
    moved = world.protect(stop_loss=NEW)
    await world.until(lambda: len(world.levels.sets) == 2)
    await world.restart()
    assert await world.outcome_of(moved) == ("done", "replaced")
    assert carried(world) == (NEW, None) and world.is_covered()


@in_virtual_time
async def test_a_protect_whose_position_was_stopped_out_during_a_crash_fails(make_levels):
    world = await held(make_levels)
    world.levels.answers.append(Silence())
    moved = world.protect(stop_loss=NEW)
    await world.until(lambda: len(world.levels.sets) == 2)
    await world.crash()
    world.levels.fire(BTC)
    await world.boot()
    assert (await world.outcome_of(moved))[0] in ("failed", "denied")
    await world.until_flat()


@in_virtual_time
async def test_a_level_that_fires_behind_an_exit_in_doubt_is_no_fill_of_that_exit(make_levels):
    world = await held(make_levels)
    world.venue.answers[Purpose.EXIT].append(Lose())
    world.exit()
    await world.until(lambda: world.sent(Purpose.EXIT) and world.last(Purpose.EXIT).status is OrderStatus.IN_DOUBT)
    world.levels.fire(BTC)
    assert await world.until(lambda: world.last(Purpose.EXIT).status is OrderStatus.REJECTED, 30) < 15


@pytest.mark.parametrize("trouble", ["fails", "shows nothing held"])
@in_virtual_time
async def test_a_take_profit_that_a_human_set_survives_a_start_whose_first_readings_tell_nothing(make_levels, trouble):
    world = await held(make_levels)
    await world.crash()
    world.levels.by_hand(BTC, None, TARGET)
    await asyncio.sleep(30)
    read, troubles = world.levels.read, 6 if trouble == "fails" else 1

    async def first(instrument, priority):
        nonlocal troubles
        troubles -= 1
        if troubles < 0:
            return await read(instrument, priority)
        if trouble == "fails":
            raise VenueUnreachable("nothing was answered")
        return PositionProtection(instrument, Decimal(0), None, None, world.clock.now_ms())

    world.levels.read = first
    await world.boot()
    await world.until(world.is_covered, 5)
    assert carried(world) == (OLD, TARGET)
    await asyncio.sleep(30)
    assert carried(world) == (OLD, TARGET) and len(world.levels.sets) == 2


@pytest.mark.parametrize(
    "first", [Lose(taken=True), Lose(), Accept(silent=True), Reject(RejectKind.THROTTLED, "10006")], ids=repr
)
@in_virtual_time
async def test_a_newer_protect_that_fails_puts_back_what_stood_before_the_one_that_it_replaced(make_levels, first):
    world = await held(make_levels, take_profit=TARGET)
    seen = watch(world)
    world.venue.unreachable = {"read_levels"}  # so that the first is still under way
    world.levels.answers.append(first)
    replaced = world.protect(stop_loss=NEW, take_profit=FURTHER)
    await world.until(lambda: len(world.levels.sets) == 2)
    world.levels.answers.extend([Reject(RejectKind.OTHER, "110061")] * 2)
    failed = world.protect(stop_loss=Decimal(49_600))
    assert await world.outcome_of(failed) == ("failed", "other")
    assert world.outcome(replaced) == ("cancelled", "superseded")
    world.venue.unreachable = set()
    await world.until(lambda: carried(world) == (OLD, TARGET), 10)
    await asyncio.sleep(10)
    assert carried(world) == (OLD, TARGET) and world.is_covered() and seen == []
    assert world.rows("SELECT stop_loss, take_profit, state FROM protection") == [(49_000.0, 52_000.0, "covered")]
    assert world.sent(Purpose.EXIT) == [] and "protection_changed" not in world.incidents()
