"""Other hands on the account: their positions, their conditional orders, their flips."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from tests.execution.fakes import BINANCE, BTC, Reject, rules_of
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.account import VenuePosition
from tradingd.domain.events import IncidentRaised
from tradingd.domain.ids import Purpose
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderStatus

SOL = InstrumentId(BINANCE, "SOL/USDT:USDT")


def details(world, kind: str) -> list[str]:
    return [event.detail for event in world.events if isinstance(event, IncidentRaised) and event.kind == kind]


async def converged(world) -> None:
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)


# --- conditional orders of others ------------------------------------------------------------------------------


@in_virtual_time
async def test_a_foreign_order_that_ended_unheard_is_asked_after_at_the_next_entry(make_world):
    world = await make_world().boot()
    order = world.venue.foreign_order(BTC)
    await asyncio.sleep(0.1)
    assert await world.outcome_of(world.enter()) == ("denied", "foreign_orders")
    world.venue.mute = True
    world.venue.end(str(order.client_order_id), OrderStatus.CANCELED)
    await asyncio.sleep(0.1)
    world.venue.mute = False
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@in_virtual_time
async def test_a_foreign_order_is_dropped_when_the_stream_tells_its_end(make_world):
    world = await make_world().boot()
    for status in (OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.TRIGGERED):
        order = world.venue.foreign_order(BTC)
        await asyncio.sleep(0.1)
        assert world.execution.sweeper.foreign[BTC]
        world.venue.end(str(order.client_order_id), status)
        await asyncio.sleep(0.1)
        assert not world.execution.sweeper.foreign[BTC]


@in_virtual_time
async def test_conditional_orders_where_no_strategy_trades_are_nobodys_concern(make_world):
    world = make_world()
    world.venue.instruments[SOL] = rules_of(SOL)
    world.venue.foreign_order(SOL)
    await world.boot()
    world.venue.foreign_order(SOL)
    await asyncio.sleep(0.1)
    assert "foreign_order" not in world.incidents()


# --- positions of others ---------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_position_where_no_strategy_trades_is_adopted_as_foreign_and_its_close_leaves_no_phantom(make_world):
    world = make_world()
    world.venue.instruments[SOL] = rules_of(SOL)
    world.venue.execute(SOL, Side.BUY, Decimal(5))
    world.clock.step_ms += 60_000  # before our history begins
    await world.boot()
    assert world.held(SOL) == 5
    assert world.execution.state.position(SOL).strategy is None
    (told,) = details(world, "foreign_position")
    assert "SOL/USDT:USDT" in told
    assert "5 contracts" in told
    assert "position_corrected" not in world.incidents()
    world.venue.execute(SOL, Side.SELL, Decimal(5))
    await asyncio.sleep(0.1)
    assert world.held(SOL) == 0
    await converged(world)
    assert await world.outcome_of(world.enter()) == ("ordered", "")
    assert world.venue.cancelled == []


@in_virtual_time
async def test_fills_of_others_that_nobody_heard_are_booked_where_no_strategy_trades(make_world):
    world = make_world()
    world.venue.instruments[SOL] = rules_of(SOL)
    await world.boot()
    world.venue.mute = True
    fill = world.venue.execute(SOL, Side.BUY, Decimal(5))
    await world.execution.reconciler.reconcile(BINANCE)
    assert world.held(SOL) == 5
    await asyncio.sleep(0.1)
    assert world.rows("SELECT client_order_id FROM fills WHERE trade_id = ?", fill.trade_id) == [(None,)]
    assert "position_corrected" not in world.incidents()


@in_virtual_time
async def test_positions_of_others_elsewhere_do_not_count_as_ours(make_world):
    world = make_world(risk="max_open_positions = 1")
    world.venue.instruments[SOL] = rules_of(SOL)
    world.venue.execute(SOL, Side.BUY, Decimal(5))
    world.clock.step_ms += 60_000
    await world.boot()
    assert world.held(SOL) == 5
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@in_virtual_time
async def test_a_position_on_what_the_venue_does_not_list_for_us_is_told_once_and_crashes_nothing(make_world):
    world = make_world()
    world.venue.unlisted = ("BTCUSDC 0.5",)
    await world.boot()
    await world.execution.reconciler.reconcile(BINANCE)
    (told,) = details(world, "unlisted_position")
    assert "BTCUSDC 0.5" in told
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@pytest.mark.fault(50)
@in_virtual_time
async def test_an_exit_of_what_the_venue_does_not_list_any_more_is_told_and_fails_no_step(make_world):
    world = make_world()
    world.venue.instruments[SOL] = rules_of(SOL)
    world.venue.execute(SOL, Side.BUY, Decimal(5))
    world.clock.step_ms += 60_000
    await world.boot()
    del world.execution.state.instruments[SOL]
    world.execution.pipeline.flatten(SOL, "flatten by the operator")
    await world.until(lambda: details(world, "exit_not_done"))
    assert "step_failed" not in world.incidents()
    assert "does not list" in details(world, "exit_not_done")[0]


# --- whose position it is --------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_strategy_does_not_exit_what_nobody_here_opened_and_the_operator_does(make_world):
    world = await make_world().boot()
    world.venue.execute(BTC, Side.BUY, Decimal("0.1"))
    await world.until(lambda: world.held())
    assert await world.outcome_of(world.exit()) == ("denied", "foreign_position")
    assert "foreign_position" in world.denials()
    assert world.venue.submitted == []
    assert not world.execution.exits.goals
    world.execution.pipeline.flatten(BTC, "flatten by the operator")
    await world.until_flat()
    (sent,) = world.sent(Purpose.EXIT)
    assert sent.reduce_only


@in_virtual_time
async def test_the_operator_can_flatten_what_another_hand_opens_later_where_no_strategy_trades(make_world):
    world = await make_world().boot()
    world.execution.state.instruments[SOL] = world.venue.instruments[SOL] = rules_of(SOL)
    world.venue.execute(SOL, Side.SELL, Decimal(5))
    await world.until(lambda: world.held(SOL) == -5)
    world.execution.pipeline.flatten(SOL, "flatten by the operator")
    await world.until(lambda: not world.execution.exits.goals)
    assert world.venue.positions[SOL] == 0


@in_virtual_time
async def test_a_flatten_of_a_foreign_position_goes_on_after_a_restart(make_world):
    world = await make_world().boot()
    world.venue.execute(BTC, Side.BUY, Decimal("0.1"))
    await world.until(lambda: world.held())
    world.venue.unreachable = {"*"}
    world.venue.hanging = {"account"}
    world.execution.pipeline.flatten(BTC, "flatten by the operator")
    await world.execution.recorder.commit(())
    await world.crash()
    world.venue.unreachable = world.venue.hanging = set()
    await world.boot()
    await world.until_flat()
    assert world.venue.positions[BTC] == 0


@pytest.mark.fault(66)
@in_virtual_time
async def test_a_position_that_another_hand_enlarged_is_still_its_strategys_to_exit(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.execute(BTC, Side.BUY, Decimal("0.3"))
    await world.until(lambda: world.held() == Decimal("0.4"))
    assert await world.outcome_of(world.exit()) == ("ordered", "test")
    await world.until_flat()


@in_virtual_time
async def test_protect_on_a_foreign_position_is_denied_as_that(make_world):
    world = await make_world().boot()
    world.venue.execute(BTC, Side.BUY, Decimal("0.1"))
    await world.until(lambda: world.held())
    assert await world.outcome_of(world.protect(stop_loss=Decimal(49_000))) == ("denied", "foreign_position")


# --- flips -----------------------------------------------------------------------------------------------------


@pytest.mark.fault(41, 66)
@in_virtual_time
async def test_a_flip_by_another_hand_counts_as_a_close_and_takes_our_protection_away(make_world):
    world = await make_world(hold=5).boot()
    await world.open_position(take_profit=Decimal(52_000))
    await world.until(lambda: len(world.venue.open_now(BTC)) == 2)
    fill = world.venue.execute(BTC, Side.SELL, Decimal("0.3"))
    await world.until(lambda: world.held() == Decimal("-0.2"))
    took = await world.until(lambda: not world.venue.open_now(BTC))
    assert took < 1
    await converged(world)
    (told,) = details(world, "position_flipped")
    for word in ("BTC/USDT:USDT", "0.1", "-0.2", "flatten"):
        assert word in told
    assert world.rows("SELECT close_ms, cause FROM last_closes") == [(fill.time_ms, "foreign")]
    assert world.execution.state.position(BTC).strategy is None
    assert await world.outcome_of(world.enter()) == ("denied", "foreign_position")
    assert await world.outcome_of(world.exit()) == ("denied", "foreign_position")
    assert world.sent(Purpose.EXIT) == []
    assert len(world.sent(Purpose.STOP)) == 1
    world.venue.execute(BTC, Side.BUY, Decimal("0.2"))
    await world.until(lambda: world.held() == 0)
    await converged(world)
    assert await world.outcome_of(world.enter()) == ("denied", "hold_period")


@in_virtual_time
async def test_a_stop_that_was_on_its_way_when_another_hand_turned_the_position_is_cancelled_too(make_world):
    world = await make_world().boot()

    def turn(request) -> None:
        if request.purpose is Purpose.STOP:
            world.venue.hidden.add(request.client_order_id)  # not in the book yet, when the sweep looks
            world.venue.execute(BTC, Side.SELL, Decimal("0.3"))

    world.venue.on_submit = turn
    world.enter()
    await world.until(lambda: world.held() == Decimal("-0.2"))
    await asyncio.sleep(0.5)
    world.venue.hidden.clear()
    assert await world.until(lambda: not world.venue.open_now(BTC)) < 3
    asked = world.venue.calls.count("open_orders")
    await asyncio.sleep(5)
    assert world.venue.calls.count("open_orders") <= asked + 1


@in_virtual_time
async def test_an_exit_under_way_ends_when_another_hand_turns_the_position(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.fill_fraction = Decimal("0.5")
    world.exit()
    await world.until(lambda: world.held() == Decimal("0.05"))
    world.venue.execute(BTC, Side.SELL, Decimal("0.25"))
    await world.until(lambda: world.held() == Decimal("-0.2"))
    await world.until(lambda: not world.execution.exits.goals)
    await asyncio.sleep(5)
    assert world.held() == Decimal("-0.2")
    assert len(world.sent(Purpose.EXIT)) == 1


# --- what a push shows and no fill told ------------------------------------------------------------------------


@pytest.mark.fault(66)
@in_virtual_time
async def test_a_pushed_position_that_no_fill_explains_is_read_at_once(make_world):
    world = await make_world().boot()
    world.venue.mute = True
    fill = world.venue.execute(BTC, Side.BUY, Decimal("0.1"))
    world.venue.sink.on_position(VenuePosition(BTC, Decimal("0.1"), updated_ms=fill.time_ms))
    assert await world.until(lambda: world.held() == Decimal("0.1")) < 2
    await asyncio.sleep(0.1)
    assert world.rows("SELECT count(*) FROM fills WHERE trade_id = ?", fill.trade_id) == [(1,)]


@in_virtual_time
async def test_a_pushed_position_that_no_history_explains_denies_entries_until_the_account_was_read(make_world):
    world = await make_world().boot()
    world.venue.mute = True
    world.venue.execute(BTC, Side.BUY, Decimal("0.1"))
    world.venue.executions.clear()  # the history lags
    world.venue.sink.on_position(VenuePosition(BTC, Decimal("0.1"), updated_ms=world.clock.now_ms()))
    await asyncio.sleep(1.5)
    assert await world.outcome_of(world.enter()) == ("denied", "account_not_converged")
    await world.until(lambda: world.held() == Decimal("0.1"), 60)
    assert "position_corrected" in world.incidents()


@in_virtual_time
async def test_a_push_that_fills_explain_or_have_overtaken_asks_nothing(make_world):
    world = await make_world().boot()
    await world.open_position()
    asked = world.venue.calls.count("fills"), world.venue.calls.count("account")
    newest_ms = world.venue.executions[-1].time_ms
    world.venue.sink.on_position(VenuePosition(BTC, Decimal("0.1"), updated_ms=newest_ms))
    world.venue.sink.on_position(VenuePosition(BTC, Decimal(0), updated_ms=newest_ms - 1))
    await asyncio.sleep(5)
    assert (world.venue.calls.count("fills"), world.venue.calls.count("account")) == asked


@in_virtual_time
async def test_a_turn_that_an_exit_learns_of_on_its_way_leaves_the_new_position_alone(make_world):
    world = await make_world().boot()
    await world.open_position()

    def turn(shown):
        world.venue.shown_account = lambda snapshot: snapshot
        world.venue.execute(BTC, Side.SELL, Decimal("0.3"))
        position = msgspec.structs.replace(shown.positions[0], quantity=Decimal("-0.2"))
        return msgspec.structs.replace(shown, positions=(position,))

    world.venue.answers[Purpose.EXIT].append(Reject())
    world.exit()
    await world.until(lambda: world.sent(Purpose.EXIT))
    world.venue.shown_account = turn
    await world.until(lambda: not world.execution.exits.goals)
    await asyncio.sleep(5)
    assert world.venue.positions[BTC] == Decimal("-0.2")
    assert len(world.sent(Purpose.EXIT)) == 1
