"""Where a venue keeps stop and take profit as a state of the position: set, read back, put right, and moved."""

import asyncio
from decimal import Decimal

import pytest

from tests.execution.fakes import BINANCE, BTC, Accept, Lose, Reject, Silence
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.account import POSITION_BOOK, PositionProtection, RejectKind, VenueOrder
from tradingd.domain.errors import VenueUnreachable
from tradingd.domain.events import Filled, ForeignOrderSeen, ProtectionChanged, VenueState
from tradingd.domain.ids import Purpose, VenueOrderId
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderKind, OrderStatus
from tradingd.journal.reading import open_reader
from tradingd.journal.why import chain_of
from tradingd.ports import Priority

OLD, NEW = Decimal(49_000), Decimal(49_500)
TARGET, FURTHER = Decimal(52_000), Decimal(53_000)


@pytest.fixture
def make_levels(make_world):
    """A world whose venue keeps levels with the position; call it inside the loop."""

    def make(**options):
        world = make_world(**options)
        world.levels = world.venue.keep_levels()
        return world

    return make


async def held(make_levels, side=Side.BUY, **fields):
    """A world with a covered position."""
    world = await make_levels().boot()
    await world.open_position(side, **fields)
    await asyncio.sleep(0.1)
    return world


async def naked(world):
    await world.until(lambda: world.venue.positions.get(BTC))
    return world.clock.monotonic()


def watch(world):
    """Each moment from now on at which the position carries no stop."""
    seen, carry = [], world.levels._carry

    def looking(instrument, levels):
        carry(instrument, levels)
        if world.venue.positions.get(instrument) and levels[0] is None:
            seen.append(levels)

    world.levels._carry = looking
    return seen


def carried(world):
    return world.levels.carried.get(BTC, (None, None))


def child(world, status=OrderStatus.ACCEPTED, **changes):
    """What the venue shows of a level that the whole position carries."""
    shown = {
        "instrument": BTC, "book": POSITION_BOOK, "venue_order_id": VenueOrderId("sl1"), "client_order_id": None,
        "status": status, "side": Side.SELL, "kind": OrderKind.STOP_MARKET, "quantity": None, "trigger_price": OLD,
        "close_position": True, "updated_ms": world.clock.now_ms(),
    }  # fmt: skip
    return VenueOrder(**(shown | changes))


# --- set -----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_both_levels_are_set_at_once_on_the_tick_and_no_order_is_sent(make_levels):
    world = await make_levels().boot()
    world.enter(stop_loss=Decimal("49000.04"), take_profit=TARGET)
    began = await naked(world)
    await world.until(world.is_covered)
    assert world.clock.monotonic() - began < 0.2
    assert world.levels.sets == [(BTC, OLD, TARGET, Priority.PROTECT)]
    await asyncio.sleep(10)
    assert len(world.levels.sets) == 1
    assert world.sent(Purpose.STOP) == world.sent(Purpose.TAKE_PROFIT) == []
    assert world.rows("SELECT state, stop_loss, take_profit, stop_order FROM protection") == [
        ("covered", 49_000.0, 52_000.0, None)
    ]
    assert {"protection_changed", "stop_not_placed"}.isdisjoint(world.incidents())


@in_virtual_time
async def test_what_is_wanted_is_committed_before_it_is_set_and_its_outcome_behind_it(make_levels):
    world = make_levels()
    before = []
    world.levels.on_set = lambda: before.append(world.rows("SELECT stop_loss, outcome, why FROM protection_sets"))
    await world.boot()
    await world.open_position()
    assert before == [[(49_000.0, None, "wanted")]]
    assert world.rows("SELECT stop_loss, take_profit, outcome, strategy, intent_id FROM protection_sets") == [
        (49_000.0, None, "accepted", "trend", "i1")
    ]


@in_virtual_time
async def test_a_stop_is_set_with_the_first_fill_and_not_again_with_later_ones(make_levels):
    world = await make_levels().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    key = world.sent(Purpose.ENTRY)[0].client_order_id
    for part in ("0.04", "0.03", "0.03"):
        world.venue.fill(key, Decimal(part))
        await world.until(world.is_covered, 1)
    assert len(world.levels.sets) == 1


@in_virtual_time
async def test_a_refusal_for_more_than_five_seconds_closes_the_position(make_levels):
    world = await make_levels().boot()
    world.levels.always = Reject(RejectKind.OTHER, "110057")
    world.enter()
    began = await naked(world)
    await world.until(lambda: world.sent(Purpose.EXIT), 10)
    assert 5.0 <= world.clock.monotonic() - began < 5.7
    await world.until_flat()
    assert world.incidents().count("emergency_close") == 1
    assert len(world.levels.sets) < 25
    rejections = world.rows("SELECT DISTINCT what, raw_code, intent_id FROM v_rejections")
    assert rejections == [("set_protection", "110057", "i1")]


@pytest.mark.parametrize("answer", [Silence(), Lose(), Lose(delay_s=1.9)])
@in_virtual_time
async def test_a_setting_that_is_never_answered_nor_read_closes_the_position_in_time(make_levels, answer):
    world = await make_levels().boot()
    world.levels.always = answer
    world.enter()
    began = await naked(world)
    await world.until(lambda: world.sent(Purpose.EXIT), 12)
    assert 5.0 <= world.clock.monotonic() - began <= 7.1
    await world.until_flat()


@pytest.mark.parametrize("answer", [Lose(taken=True), Accept(silent=True)])
@in_virtual_time
async def test_a_lost_answer_is_read_back_and_not_set_again(make_levels, answer):
    world = await make_levels().boot()
    world.levels.answers.append(answer)
    world.enter()
    began = await naked(world)
    await world.until(world.is_covered, 5)
    assert world.clock.monotonic() - began < 2.2
    await asyncio.sleep(5)
    assert len(world.levels.sets) == 1
    assert world.rows("SELECT outcome FROM protection_sets") == [("unknown",)]
    assert "stop_not_placed" not in world.incidents()


@in_virtual_time
async def test_a_lost_setting_that_did_not_arrive_is_set_again_at_once(make_levels):
    world = await make_levels().boot()
    world.levels.answers.append(Lose())
    world.enter()
    began = await naked(world)
    await world.until(world.is_covered, 5)
    assert world.clock.monotonic() - began < 1.2
    assert len(world.levels.sets) == 2


@in_virtual_time
async def test_the_same_value_again_is_success(make_levels):
    world = await make_levels().boot()
    world.levels.lag_ms = 60_000  # nobody can read that it arrived
    world.levels.answers.append(Lose(taken=True))
    world.enter()
    await world.until(world.is_covered, 5)
    await world.until(lambda: len(world.rows("SELECT 1 FROM protection_sets WHERE answered_ms > 0")) == 2)
    codes = world.rows("SELECT outcome, raw_code FROM protection_sets ORDER BY sequence")
    assert codes == [("unknown", None), ("accepted", "34040")]


@in_virtual_time
async def test_a_stop_beyond_the_price_closes_at_once(make_levels):
    world = await make_levels().boot()
    world.levels.on_set = lambda: setattr(world.venue, "mark", Decimal(48_900))
    world.enter()
    began = await naked(world)
    await world.until(lambda: world.sent(Purpose.EXIT), 2)
    assert world.clock.monotonic() - began < 0.5
    assert "emergency_close" in world.incidents()


@in_virtual_time
async def test_a_take_profit_that_is_reached_closes_and_the_stop_stands_until_then(make_levels):
    world = await make_levels().boot()
    world.levels.on_set = lambda: setattr(world.venue, "mark", Decimal(52_100))
    world.enter(take_profit=TARGET)
    await world.until(lambda: world.sent(Purpose.EXIT), 2)
    assert [each[1:3] for each in world.levels.sets[:2]] == [(OLD, TARGET), (OLD, None)]
    assert "emergency_close" not in world.incidents()
    await world.until_flat()


@in_virtual_time
async def test_a_take_profit_that_is_refused_is_given_up_and_the_stop_stays(make_levels):
    world = await make_levels().boot()
    refuse = world.levels._refusal
    world.levels._refusal = lambda each, stop, target: (
        (RejectKind.OTHER, "110058") if target is not None else refuse(each, stop, target)
    )
    world.enter(take_profit=TARGET)
    await world.until(lambda: "take_profit_not_placed" in world.incidents(), 60)
    assert world.is_covered() and carried(world) == (OLD, None)
    sets = len(world.levels.sets)
    await asyncio.sleep(10)
    assert len(world.levels.sets) == sets and world.sent(Purpose.EXIT) == []


@in_virtual_time
async def test_a_position_that_the_venue_does_not_know_is_read_anew(make_levels):
    world = await make_levels().boot()

    def close():
        world.levels.on_set = lambda: None
        world.venue.mute = True
        world.venue.execute(BTC, Side.SELL, Decimal("0.1"))

    world.levels.on_set = close
    world.enter()
    await world.until(lambda: world.held() != 0)
    await world.until(lambda: world.held() == 0, 8)
    assert world.sent(Purpose.EXIT) == [] or world.venue.positions[BTC] == 0


@pytest.mark.parametrize("state", [VenueState.DOWN, VenueState.BANNED])
@in_virtual_time
async def test_time_without_a_venue_does_not_count(make_levels, state):
    world = await make_levels().boot()
    world.levels.always = Reject(RejectKind.NOT_SENT, "")
    world.enter()
    await naked(world)
    world.levels.always = Silence()
    world.execution.router.mark(BINANCE, state, "test")
    await asyncio.sleep(20)
    world.levels.always = None
    world.execution.router.mark(BINANCE, VenueState.READY, "back")
    await world.until(world.is_covered, 5)


@in_virtual_time
async def test_while_the_journal_cannot_commit_the_stop_is_set_all_the_same(make_levels):
    world = await make_levels().boot()
    world.levels.on_set = lambda: None
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    world.store.broken = True
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.1"))
    await world.until(lambda: carried(world)[0] == OLD, 2)
    world.store.broken = False
    await world.until(lambda: world.rows("SELECT outcome FROM protection_sets") == [("accepted",)], 10)


# --- read ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_reading_that_lags_behind_the_setting_proves_nothing_and_at_most_has_the_same_set_again(make_levels):
    world = await make_levels(execution="look_every_s = 0.5").boot()
    world.levels.lag_ms = 1_500
    await world.open_position()
    await asyncio.sleep(3)
    settings = len(world.levels.sets)
    await asyncio.sleep(7)
    assert 1 < len(world.levels.sets) == settings <= 4 and len(set(world.levels.sets)) == 1
    assert len(world.levels.reads) > 10
    assert "protection_changed" not in world.incidents()
    assert [event.covered for event in world.events if isinstance(event, ProtectionChanged)] == [True]


@in_virtual_time
async def test_levels_that_vanish_right_after_they_were_set_are_back_in_time_though_a_setting_is_lost(make_levels):
    """A reading without them was disbelieved for the visibility margin, which is as long as P5 allows."""
    world = await held(make_levels)
    await asyncio.sleep(0.2)
    world.levels.by_hand(BTC, None)
    world.levels.answers.append(Lose(taken=False))
    took = await world.until(lambda: carried(world)[0] == OLD, 10)
    assert took < 5
    assert "emergency_close" not in world.incidents()


@pytest.mark.parametrize("shown", [(None, None), (Decimal(30_000), None)])
@in_virtual_time
async def test_a_stop_that_a_human_moved_or_removed_is_put_right(make_levels, shown):
    world = await held(make_levels)
    await asyncio.sleep(3)
    world.levels.by_hand(BTC, *shown)
    took = await world.until(lambda: carried(world)[0] == OLD, 5)
    assert took <= 2.2
    await world.until(world.is_covered)
    assert world.incidents().count("protection_changed") == 1
    assert world.rows("SELECT why FROM protection_sets ORDER BY sequence")[-1][0].startswith("the venue showed")


@in_virtual_time
async def test_a_take_profit_that_a_human_moved_is_put_right(make_levels):
    world = await held(make_levels, take_profit=TARGET)
    await asyncio.sleep(3)
    world.levels.by_hand(BTC, OLD, FURTHER)
    await world.until(lambda: carried(world) == (OLD, TARGET), 5)


@in_virtual_time
async def test_a_take_profit_that_a_human_added_where_none_is_wanted_is_his(make_levels):
    world = await held(make_levels)
    await asyncio.sleep(3)
    world.levels.by_hand(BTC, OLD, TARGET)
    await asyncio.sleep(5)
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("done", "replaced")
    assert carried(world) == (NEW, TARGET)


@in_virtual_time
async def test_what_the_stream_tells_of_a_level_is_looked_at_before_its_time(make_levels):
    world = await make_levels(execution="look_every_s = 4").boot()
    await world.open_position()
    await asyncio.sleep(2.5)
    world.levels.by_hand(BTC, None)
    world.venue._push(lambda sink: sink.on_order(child(world, OrderStatus.CANCELED)))
    assert await world.until(lambda: carried(world)[0] == OLD, 5) < 1


@pytest.mark.parametrize("after_s", [0.5, 3])
@in_virtual_time
async def test_a_reading_that_lags_hides_no_stop_whose_end_the_stream_told_of(make_levels, after_s):
    world = await make_levels().boot()
    await world.open_position()
    await asyncio.sleep(after_s)
    world.levels.lag_ms = 800
    world.levels.by_hand(BTC, None)
    world.venue._push(lambda sink: sink.on_order(child(world, OrderStatus.CANCELED)))
    assert await world.until(lambda: carried(world)[0] == OLD, 5) < 1.6


@in_virtual_time
async def test_a_stop_is_missing_from_when_the_stream_told_of_its_end_on(make_levels):
    world = await held(make_levels)
    await asyncio.sleep(3)
    world.levels.lag_ms = 1_900
    world.levels.always = Lose(taken=False)
    world.levels.by_hand(BTC, None)
    world.venue._push(lambda sink: sink.on_order(child(world, OrderStatus.CANCELED)))
    assert 4.9 < await world.until(lambda: not world.venue.positions.get(BTC), 8) < 5.6


@in_virtual_time
async def test_an_old_word_of_a_stops_end_is_no_end_of_the_one_that_was_set_since(make_levels):
    world = await held(make_levels)
    await asyncio.sleep(3)
    old = child(world, OrderStatus.CANCELED, updated_ms=world.clock.now_ms() - 4_000)
    world.venue._push(lambda sink: sink.on_order(old))
    await asyncio.sleep(6)
    assert len(world.levels.sets) == 1 and len(world.levels.reads) < 7


@in_virtual_time
async def test_a_position_that_is_gone_while_nobody_told_is_found_by_the_look(make_levels):
    world = await held(make_levels)
    await asyncio.sleep(3)
    world.venue.mute = True
    world.levels.fire(BTC)
    assert await world.until(lambda: world.held() == 0, 6) < 4
    assert world.rows("SELECT cause, strategy FROM last_closes") == [("stop_loss", "trend")]


# --- what the venue makes of it ------------------------------------------------------------------------------------


@in_virtual_time
async def test_levels_of_the_position_are_nobodys_orders_and_those_for_a_part_are_foreign(make_levels):
    world = await held(make_levels)
    world.venue._show(child(world))
    await asyncio.sleep(0.1)
    await world.execution.sweeper.sweep(BTC, Priority.CANCEL)
    assert not world.execution.sweeper.foreign.get(BTC)
    assert not [event for event in world.events if isinstance(event, ForeignOrderSeen)]
    part = child(world, quantity=Decimal("0.05"), book="plain", venue_order_id=VenueOrderId("part"))
    world.venue._show(part)
    await asyncio.sleep(0.1)
    await world.execution.sweeper.sweep(BTC, Priority.CANCEL)
    assert list(world.execution.sweeper.foreign[BTC]) == ["part"]
    assert world.venue.cancelled == []


@pytest.mark.parametrize(("which", "by"), [("stop_loss", "stop_loss"), ("take_profit", "take_profit")])
@in_virtual_time
async def test_a_fired_level_tells_who_closed_and_is_its_strategys(make_levels, which, by):
    world = await held(make_levels, take_profit=TARGET)
    world.levels.fire(BTC, which)
    await world.until_flat()
    filled = [event for event in world.events if isinstance(event, Filled)]
    assert (filled[-1].strategy, filled[-1].fill.reason) == ("trend", which)
    assert world.rows("SELECT exit_by, strategy FROM v_trades") == [(by, "trend")]
    assert world.rows("SELECT cause, strategy FROM last_closes") == [(which, "trend")]
    assert world.rows("SELECT state FROM protection") == [("ended",)]
    assert "foreign_position" not in world.incidents()


@in_virtual_time
async def test_the_chain_of_an_entry_holds_its_settings_and_the_fill_that_one_of_them_made(make_levels):
    world = await held(make_levels)
    await asyncio.sleep(3)
    world.levels.by_hand(BTC, None)
    await world.until(lambda: carried(world)[0] == OLD)
    fill = world.levels.fire(BTC)
    await world.until_flat()
    reader = open_reader(world.path)
    chain = chain_of(reader, "i1")
    assert chain_of(reader, fill.trade_id) == chain
    assert chain_of(reader, world.rows("SELECT set_id FROM protection_sets")[0][0]) == chain
    reader.close()
    names = [step["step"] for step in chain]
    assert names[:2] == ["intent", "order"] and names[-4:] == ["protection_set", "protection_set", "fill", "close"]
    assert [step["outcome"] for step in chain if step["step"] == "protection_set"] == ["accepted", "accepted"]


@in_virtual_time
async def test_a_position_that_opens_again_by_the_rest_of_its_entry_gets_its_levels_anew(make_levels):
    world = await make_levels().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    key = world.sent(Purpose.ENTRY)[0].client_order_id
    world.venue.fill(key, Decimal("0.04"))
    await world.until(world.is_covered)
    world.venue.execute(BTC, Side.SELL, Decimal("0.04"))
    world.venue.fill(key, Decimal("0.06"))
    await world.until(lambda: world.held() == Decimal("0.06"))
    await world.until(world.is_covered, 3)
    assert carried(world)[0] == OLD and len(world.levels.sets) == 2


@in_virtual_time
async def test_a_setting_that_is_answered_when_its_position_was_closed_covers_none_that_was_opened_since(make_levels):
    world = await make_levels().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    key = world.sent(Purpose.ENTRY)[0].client_order_id

    def close_and_open():
        world.levels.on_set = lambda: None
        asyncio.get_running_loop().call_later(0.1, lambda: world.venue.execute(BTC, Side.SELL, Decimal("0.04")))
        asyncio.get_running_loop().call_later(0.2, lambda: world.venue.fill(key, Decimal("0.06")))

    world.levels.on_set = close_and_open
    world.levels.answers.append(Accept(delay_s=0.5))
    world.venue.fill(key, Decimal("0.04"))
    await asyncio.sleep(1.2)
    assert world.held() == Decimal("0.06") and carried(world)[0] == OLD


@pytest.mark.fault(47)
@in_virtual_time
async def test_a_setting_that_is_refused_or_not_answered_asks_for_what_an_order_would(make_levels):
    world = await held(make_levels)
    asked = []
    world.execution.router.on_trouble = lambda instrument, outcome: asked.append((instrument, outcome.kind))
    world.levels.answers.extend([Reject(RejectKind.FILTER, "10001"), Lose()])
    world.levels.by_hand(BTC, None)
    await world.until(lambda: carried(world)[0] == OLD, 5)
    assert asked == [(BTC, RejectKind.FILTER), (BTC, RejectKind.OTHER)]


@in_virtual_time
async def test_a_position_that_another_hand_turned_is_not_protected_by_us(make_levels):
    world = await held(make_levels)
    world.venue.execute(BTC, Side.SELL, Decimal("0.3"))
    await world.until(lambda: world.held() == Decimal("-0.2"))
    await asyncio.sleep(5)
    assert len(world.levels.sets) == 1 and carried(world) == (None, None)


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
