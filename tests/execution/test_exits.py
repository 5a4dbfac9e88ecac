"""Exits are tried until flat, whatever the venue answers meanwhile."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from tests.execution.fakes import BTC, Accept, Lose, Reject, Silence, rules_of
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import both_acks
from tradingd.domain.account import RejectKind
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import CancelOrders, Side
from tradingd.domain.orders import OrderStatus
from tradingd.ports import Priority

pytestmark = both_acks
S = OrderStatus


@pytest.mark.parametrize("side", list(Side))
@in_virtual_time
async def test_an_exit_is_a_reduce_only_market_order_for_all_that_is_held(make_world, side):
    world = await make_world().boot()
    await world.open_position(side)
    await world.close_position()
    (request,) = world.sent(Purpose.EXIT)
    assert (request.side, request.quantity, request.reduce_only) == (side.opposite, Decimal("0.1"), True)
    assert world.venue.priorities[-1] is Priority.EXIT


@in_virtual_time
async def test_an_exit_is_cut_into_what_the_venue_takes_at_once(make_world):
    world = make_world()
    await world.boot()
    await world.open_position(quantity=Decimal("0.25"))
    world.execution.state.instruments[BTC] = rules_of(BTC, max_market_quantity=Decimal("0.1"))
    await world.close_position()
    assert [request.quantity for request in world.sent(Purpose.EXIT)] == [
        Decimal("0.1"),
        Decimal("0.1"),
        Decimal("0.05"),
    ]


@in_virtual_time
async def test_an_exit_of_nothing_is_done_at_once(make_world):
    world = await make_world().boot()
    intent = world.exit()
    assert await world.outcome_of(intent) == ("done", "flat")
    assert world.venue.submitted == []


@pytest.mark.parametrize("answer", [Reject(), Lose(), Lose(taken=False), Reject(RejectKind.THROTTLED, "-1008")])
@in_virtual_time
async def test_an_exit_is_tried_anew_after_a_refusal_or_a_lost_answer(make_world, answer):
    world = await make_world().boot()
    await world.open_position()
    world.venue.answers[Purpose.EXIT].extend([answer] * 3)
    await world.close_position()
    requests = world.sent(Purpose.EXIT)
    assert len(requests) >= 4
    assert len({request.client_order_id for request in requests}) == len(requests)
    assert world.venue.positions[BTC] == 0


@in_virtual_time
async def test_an_exit_whose_answer_is_lost_but_that_was_taken_never_turns_the_position_around(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.mute = True
    world.venue.answers[Purpose.EXIT].append(Lose(taken=True))
    world.exit()
    await world.until(lambda: world.venue.positions[BTC] == 0)
    await asyncio.sleep(20)
    assert world.venue.positions[BTC] == 0
    world.venue.mute = False
    await world.until_flat()
    assert all(request.reduce_only for request in world.sent(Purpose.EXIT))


@pytest.mark.fault(42)
@in_virtual_time
async def test_an_exit_refused_because_the_position_is_gone_reads_the_venue_and_is_done_when_it_is_flat(make_world):
    world = await make_world().boot()
    await world.open_position()
    # the stop closed it, and the stream has not told us
    world.venue.mute = True
    world.venue.trigger(world.last(Purpose.STOP).client_order_id)
    world.venue.mute = False
    intent = world.exit()
    took_s = await world.until(lambda: world.held() == 0, 20)
    await world.until_flat()
    assert took_s < 10
    assert world.outcome(intent)[0] in ("ordered", "done")
    assert len(world.rows("SELECT trade_id FROM fills")) == 2
    assert world.rows("SELECT quantity FROM positions") == [(0.0,)]
    assert "position_corrected" not in world.incidents()
    assert world.order(world.sent(Purpose.EXIT)[0].client_order_id).reject_code == "-2022"


@in_virtual_time
async def test_an_exit_that_keeps_failing_is_told_and_goes_on(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.always[Purpose.EXIT] = Reject()
    world.exit()
    await world.until(lambda: "exit_not_done" in world.incidents(), 30)
    await asyncio.sleep(60)
    assert world.incidents().count("exit_not_done") < 10
    del world.venue.always[Purpose.EXIT]
    await world.until_flat()


@in_virtual_time
async def test_an_exit_waits_while_the_venue_cannot_be_reached_and_is_done_when_it_can(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.always[Purpose.EXIT] = Silence()
    world.venue.unreachable = {"*"}
    world.exit()
    await asyncio.sleep(60)
    assert world.venue.positions[BTC] == Decimal("0.1")
    del world.venue.always[Purpose.EXIT]
    world.venue.unreachable = set()
    await world.until_flat()


@in_virtual_time
async def test_an_exit_goes_on_after_a_restart(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.always[Purpose.EXIT] = Reject()
    intent = world.exit()
    await asyncio.sleep(1)
    del world.venue.always[Purpose.EXIT]
    await world.restart()
    await world.until_flat()
    assert world.outcome(intent)[0] == "ordered"
    await world.restart()
    assert world.execution.exits.goals == {}


@pytest.mark.fault(37)
@in_virtual_time
async def test_an_exit_cancels_a_resting_entry_and_closes_what_it_filled(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.04"))
    await world.until(world.is_covered)
    await world.close_position()
    assert world.last(Purpose.ENTRY).status is S.CANCELED
    assert world.sent(Purpose.EXIT)[0].quantity == Decimal("0.04")


@in_virtual_time
async def test_an_exit_while_the_entry_is_in_doubt_closes_it_when_it_turns_out_to_have_filled(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].append(Silence())
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY) and world.last(Purpose.ENTRY).status is S.IN_DOUBT)
    intent = world.exit()
    await asyncio.sleep(1)
    assert world.outcome(intent)[0] is None
    world.venue.take(world.sent(Purpose.ENTRY)[0])
    await world.until_flat()
    assert world.outcome(intent)[0] == "ordered"


@in_virtual_time
async def test_close_and_reopen_on_one_candle_is_denied_even_without_a_hold_period(make_world):
    world = await make_world(hold=0).boot()
    await world.open_position()
    world.exit()
    reopening = world.enter(Side.SELL)
    assert (await world.outcome_of(reopening))[0] == "denied"
    await world.until_flat()
    assert len(world.sent(Purpose.ENTRY)) == 1
    assert world.venue.positions[BTC] == 0


@in_virtual_time
async def test_exits_asked_for_twice_are_one_exit_and_each_intent_has_its_outcome(make_world):
    world = await make_world().boot()
    await world.open_position()
    intents = [world.exit(), world.exit()]
    await world.until_flat()
    assert len(world.sent(Purpose.EXIT)) == 1
    assert {world.outcome(intent)[0] for intent in intents} <= {"ordered", "done"}


@pytest.mark.fault(36)
@in_virtual_time
async def test_an_exit_that_joins_another_names_the_order_that_both_became(make_world):
    world = await make_world().boot()
    await world.open_position()
    first, second = world.exit(), world.exit()
    await world.until_flat()
    [exit_order] = world.sent(Purpose.EXIT)
    found = dict(world.rows("SELECT intent_id, detail FROM intents WHERE kind = 'exit'"))
    assert found == {first: "", second: f"joined: {exit_order.client_order_id}"}


@in_virtual_time
async def test_a_resting_entry_ends_after_its_candles_and_its_lot_that_filled_stays_protected(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900), expire_candles=2)
    await world.until(lambda: world.venue.open_now())
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.04"))
    await asyncio.sleep(119)
    assert world.last(Purpose.ENTRY).status is S.PARTIALLY_FILLED
    await asyncio.sleep(3)
    assert world.last(Purpose.ENTRY).status is S.CANCELED
    assert world.is_covered()
    assert world.rows("SELECT cancel_requested_ms IS NOT NULL FROM orders WHERE purpose = 'entry'") == [(1,)]


@pytest.mark.fault(38)
@in_virtual_time
async def test_a_cancel_that_the_venue_does_not_take_is_asked_for_again(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    world.venue.hanging = {"cancel"}
    await asyncio.sleep(70)
    world.venue.hanging = set()
    await world.until(lambda: world.last(Purpose.ENTRY).status is S.CANCELED, 5)


@in_virtual_time
async def test_cancel_orders_ends_entries_only(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.04"))
    await world.until(world.is_covered)
    intent = world.submit(CancelOrders(BTC))
    assert await world.outcome_of(intent) == ("done", "entry orders cancelled")
    await asyncio.sleep(1)
    assert world.last(Purpose.ENTRY).status is S.CANCELED
    assert world.is_covered()
    assert world.held() == Decimal("0.04")


@in_virtual_time
async def test_an_order_that_the_venue_closed_while_we_were_deaf_is_found_by_the_reconcile(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    world.venue.mute = True
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.1"))
    world.venue.mute = False
    await world.execution.reconciler.reconcile(world.venue.id)
    await world.until(world.is_covered, 5)
    assert world.last(Purpose.ENTRY).status is S.FILLED


@in_virtual_time
async def test_an_orderly_stop_cancels_resting_entries_and_keeps_protection(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.04"))
    await world.until(world.is_covered)
    world.execution.switches.stopping = "test"
    late = world.enter(Side.BUY)
    await world.execution.pipeline.stop(2.0)
    await asyncio.sleep(0.1)
    assert world.last(Purpose.ENTRY).status is S.CANCELED
    assert world.is_covered()
    assert world.outcome(late) == ("denied", "stopping")
    assert world.incidents() == []


@in_virtual_time
async def test_an_orderly_stop_ends_within_its_limit_though_the_venue_hangs(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    world.venue.hanging = {"cancel", "open_orders", "find_order"}
    began = world.clock.monotonic()
    await world.execution.pipeline.stop(2.0)
    assert world.clock.monotonic() - began < 2.5


@pytest.mark.fault(77)
@in_virtual_time
async def test_a_stop_between_commit_and_send_leaves_no_false_alarm_about_the_journal(make_world):
    world = await make_world().boot()
    world.store.delay_s = 0.5
    world.enter()
    await asyncio.sleep(0.7)
    await world.execution.pipeline.stop(0.01)
    await asyncio.sleep(2)
    assert "journal_not_writable" not in world.incidents()
    assert world.execution.recorder.journal_writable


@in_virtual_time
async def test_a_stop_that_cuts_a_step_short_names_it_and_its_instrument(make_world):
    world = await make_world().boot()
    world.venue.hanging.add("mark_price")
    world.enter()
    await asyncio.sleep(0.1)
    await world.execution.pipeline.stop(0.01)
    (told,) = [event.detail for event in world.events if getattr(event, "kind", "") == "stop_cut_short"]
    assert "enter i1 on BTC/USDT:USDT@binance" in told


@in_virtual_time
async def test_a_position_that_cannot_be_read_is_closed_as_expected(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.answers[Purpose.EXIT].append(Reject(RejectKind.REDUCE_ONLY, "-2022"))
    world.venue.hanging = {"account"}
    world.exit()
    await asyncio.sleep(10)
    world.venue.hanging = set()
    await world.until_flat()


@pytest.mark.fault(39, 66)
@in_virtual_time
async def test_a_close_by_hand_is_booked_and_its_leftovers_are_swept(make_world):
    world = await make_world().boot()
    await world.open_position(take_profit=Decimal(52_000))
    world.venue.execute(BTC, Side.SELL, Decimal("0.1"))
    await world.until_flat()
    assert world.sent(Purpose.EXIT) == []
    assert world.rows("SELECT cause FROM last_closes") == [("foreign",)]
    assert [order.purpose for order in world.venue.submitted].count(Purpose.STOP) == 1


@in_virtual_time
async def test_an_accepted_order_answers_late_and_still_is_one_order(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.mute = True
    world.venue.answers[Purpose.EXIT].append(Accept(delay_s=3))
    world.exit()
    await world.until(lambda: world.venue.positions[BTC] == 0)
    world.venue.mute = False
    await world.until_flat()
    assert world.venue.positions[BTC] == 0


@in_virtual_time
async def test_a_fill_during_the_cancel_of_another_entry_is_not_forgotten(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    # a second one beside it, as when a refused one was taken after all
    first = world.last(Purpose.ENTRY)
    request = msgspec.structs.replace(first.request, client_order_id=world.execution.idempotency.next_id(Purpose.ENTRY))
    second = msgspec.structs.replace(first, request=request, venue_order_id=None, status=OrderStatus.INITIALIZED)
    world.execution.recorder.add_order(second, ())
    world.venue.take(request)
    await world.until(lambda: world.order(request.client_order_id).status is OrderStatus.ACCEPTED)
    world.venue.hanging = {"cancel"}
    world.exit()
    await world.until(lambda: world.venue.cancelled)
    world.venue.fill(request.client_order_id, Decimal("0.1"))
    world.venue.hanging = set()
    await world.until_flat()
    assert world.order(request.client_order_id).booked_quantity == Decimal("0.1")


@in_virtual_time
async def test_an_exit_whose_cancel_and_look_ups_are_never_answered_closes_a_late_part_after_one_wait(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    await asyncio.sleep(1)
    world.venue.hanging = {"cancel", "fills", "find_order"}
    world.exit()
    await asyncio.sleep(0.1)
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.04"))
    seconds = await world.until(lambda: world.sent(Purpose.STOP) or world.sent(Purpose.EXIT), limit_s=20)
    assert seconds <= 2.5


@in_virtual_time
async def test_an_exit_that_asks_the_venue_in_vain_is_through_in_time_for_the_stop(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    world.exit()
    await world.until(lambda: BTC in world.execution.exits.goals)
    world.execution.exits.goals[BTC].ask_venue = True
    world.venue.hanging = {"cancel", "fills", "find_order", "account"}
    await asyncio.sleep(0.1)
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.04"))
    seconds = await world.until(lambda: world.sent(Purpose.STOP) or world.sent(Purpose.EXIT), limit_s=20)
    assert seconds <= 5.0


@in_virtual_time
async def test_a_naked_position_whose_requests_are_lost_one_after_the_other_is_safe_within_five_seconds(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.STOP].extend([Silence(), Reject(RejectKind.THROTTLED, "-1008"), Silence()])
    world.venue.answers[Purpose.EXIT].extend([Silence(), Silence()])
    world.enter()
    await world.until(lambda: world.venue.positions.get(BTC))
    world.exit()
    naked_s = await world.until(lambda: world.is_covered() or world.venue.positions[BTC] == 0, limit_s=20)
    assert naked_s <= 5.0
    await world.until_flat()
