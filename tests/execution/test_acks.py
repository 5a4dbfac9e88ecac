"""A venue that acknowledges first and checks then: an ack proves arrival, and everything else is told behind it."""

import asyncio
from decimal import Decimal

import pytest

from tests.execution.fakes import BINANCE, BTC, ETH, Reject
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.account import RejectKind, SubmitVerdict
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import CancelOrders
from tradingd.domain.orders import OrderStatus

pytestmark = pytest.mark.parametrize("make_world", [True], ids=["acks-first"], indirect=True)
S = OrderStatus
LIMIT = Decimal(49_500)


async def resting(world, **fields):
    """An entry that rests at the venue, and that the stream has told of."""
    world.enter(limit_price=LIMIT, **fields)
    await world.until(lambda: world.sent(Purpose.ENTRY) and world.last(Purpose.ENTRY).status is S.ACCEPTED)
    return world.sent(Purpose.ENTRY)[-1].client_order_id


# --- the ack -------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_ack_names_the_order_and_proves_nothing_more(make_world):
    world = await make_world().boot()
    trouble = []
    world.execution.router.on_trouble = lambda instrument, outcome: trouble.append(outcome.verdict)
    world.venue.engine_delay_s = 0.5
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    await asyncio.sleep(0.3)
    entry = world.last(Purpose.ENTRY)
    assert entry.status is S.SUBMITTED and entry.venue_order_id == "plain1"
    assert world.rows("SELECT status, venue_order_id FROM orders") == [("SUBMITTED", "plain1")]
    # until more is known its margin is taken and its instrument is closed; others are not
    assert entry.needs_exposure_margin
    other = world.enter(instrument=ETH)
    assert await world.outcome_of(other) == ("ordered", "")
    await world.until(world.is_covered, 3)
    assert trouble == [] and world.changes(entry.client_order_id) == ["SUBMITTED", "ACCEPTED", "FILLED"]


@in_virtual_time
async def test_an_entry_that_was_only_acknowledged_closes_its_instrument(make_world):
    world = await make_world().boot()
    world.venue.engine_stands = True
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY) and world.last(Purpose.ENTRY).venue_order_id)
    # a second without a word, though an answer would be waited for longer
    assert 0.9 < await world.until(lambda: world.last(Purpose.ENTRY).status is S.IN_DOUBT, 5) < 1.2
    assert await world.outcome_of(world.enter()) == ("denied", "in_doubt")
    assert len(world.sent(Purpose.ENTRY)) == 1


@in_virtual_time
async def test_what_no_stream_tells_of_is_looked_up_soon_and_the_position_has_its_stop_in_time(make_world):
    world = await make_world().boot()
    world.venue.mute = True
    world.enter()
    took_s = await world.until(world.is_covered, 5)
    assert world.last(Purpose.ENTRY).status is S.FILLED and took_s < 3


@in_virtual_time
async def test_it_is_looked_up_again_and_again_and_not_found_counts_only_past_the_fence(make_world):
    world = await make_world().boot()
    world.venue.engine_stands = True
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    fence_ms = world.last(Purpose.ENTRY).signed_ms + 3_000 + 2_000
    await world.until(lambda: world.last(Purpose.ENTRY).status is S.IN_DOUBT, 1.2)
    while world.clock.now_ms() <= fence_ms - 100:
        assert world.last(Purpose.ENTRY).status is S.IN_DOUBT
        await asyncio.sleep(0.1)
    assert world.venue.calls.count("find_order") >= 3
    world.venue.unreachable = {"fills"}
    await asyncio.sleep(5)
    assert world.last(Purpose.ENTRY).status is S.IN_DOUBT  # one kind of look-up is not two
    world.venue.unreachable = set()
    await world.until(lambda: world.last(Purpose.ENTRY).status is S.REJECTED)
    assert world.last(Purpose.ENTRY).reject_code == "not_found"


# --- refused behind the ack ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine_delay_s", [0.0, 0.03, 0.5, 1.5])
@in_virtual_time
async def test_an_entry_refused_behind_its_ack_failed_with_the_venues_own_word(make_world, engine_delay_s):
    world = await make_world().boot()
    trouble = []
    world.execution.router.on_trouble = lambda instrument, outcome: trouble.append((outcome.verdict, outcome.kind))
    world.venue.engine_delay_s = engine_delay_s
    world.venue.answers[Purpose.ENTRY].append(Reject(RejectKind.WOULD_NOT_REST, "EC_PostOnlyWillTakeLiquidity"))
    intent = world.enter()
    await world.until(lambda: world.outcome(intent)[0] == "failed", 5)
    assert world.outcome(intent) == ("failed", "would_not_rest")
    code = "EC_PostOnlyWillTakeLiquidity"
    assert world.rows("SELECT status, reject_code FROM orders") == [("REJECTED", code)]
    assert world.rows("SELECT raw_code FROM order_events WHERE event = 'reject'") == [(code,)]
    assert trouble == [(SubmitVerdict.NOT_EXECUTED, RejectKind.WOULD_NOT_REST)]
    await asyncio.sleep(3)
    assert len(world.venue.submitted) == 1 and world.execution.state.unknown_orders() == []
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@pytest.mark.parametrize("engine_delay_s", [0.0, 0.03, 1.5])
@in_virtual_time
async def test_an_exit_refused_behind_its_ack_is_tried_anew_and_told_when_it_goes_on(make_world, engine_delay_s):
    world = await make_world().boot()
    await world.open_position()
    world.venue.engine_delay_s = engine_delay_s
    world.venue.always[Purpose.EXIT] = Reject(RejectKind.OTHER, "EC_Others")
    world.exit()
    await world.until(lambda: len(world.sent(Purpose.EXIT)) >= 4, 20)
    await world.until(lambda: "exit_not_done" in world.incidents(), 10)
    del world.venue.always[Purpose.EXIT]
    world.venue.engine_delay_s = 0.03
    await world.until_flat()
    assert world.faults == []


@in_virtual_time
async def test_a_stop_refused_behind_its_ack_is_placed_anew_and_the_position_is_closed_where_it_cannot_stand(
    make_world,
):
    world = await make_world().boot()
    world.venue.answers[Purpose.STOP].append(Reject(RejectKind.OTHER, "EC_Others"))
    await world.open_position()
    assert "stop_not_placed" in world.incidents() and len(world.sent(Purpose.STOP)) == 2
    await world.close_position()
    world.venue.always[Purpose.STOP] = Reject(RejectKind.WOULD_TRIGGER, "EC_Others")
    world.enter()
    await world.until(lambda: "emergency_close" in world.incidents(), 3)
    await world.until_flat()


@in_virtual_time
async def test_a_look_up_read_before_a_refusal_and_answered_after_it_does_not_bring_the_order_back(make_world):
    world = await make_world().boot()
    key = await resting(world)
    read = world.venue.orders[key]
    await asyncio.sleep(0.1)
    world.venue.refuse(key, "EC_Others")
    await world.until(lambda: world.order(key).status is S.REJECTED)
    world.execution.recorder.apply_shown(read, "lookup")
    assert world.order(key).status is S.REJECTED and "late_order_event" not in world.incidents()


# --- cancels -------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_cancel_ack_is_no_end_and_an_exit_is_done_only_when_the_entry_has_ended(make_world):
    world = await make_world().boot()
    key = await resting(world)
    world.venue.engine_delay_s = 2.5
    intent = world.exit()
    await asyncio.sleep(2)
    assert world.outcome(intent)[0] is None and world.execution.exits.goals
    assert (await world.outcome_of(intent))[0] == "done"
    assert world.order(key).status is S.CANCELED and world.held() == 0


@pytest.mark.parametrize("end", ["expire", "cancel_orders", "exit", "stop"])
@pytest.mark.parametrize("mute", [False, True])
@in_virtual_time
async def test_a_fill_between_cancel_ack_and_engine_is_booked_and_protected_or_closed(make_world, end, mute):
    world = await make_world().boot()
    key = await resting(world)
    world.venue.engine_delay_s = 0.4
    world.venue.mute = mute
    if end == "expire":
        await asyncio.sleep((world.order(key).expire_ms - world.clock.now_ms()) / 1000)
    elif end == "cancel_orders":
        world.submit(CancelOrders(BTC))
    elif end == "exit":
        world.exit()
    else:
        world.execution.pipeline.cancel_all_entries("daemon stopped")
    await world.until(lambda: "cancel" in world.venue.calls, 5)
    await asyncio.sleep(0.1)
    world.venue.fill(key, Decimal("0.1"))  # the cancel then finds it filled, and FILLED is told twice
    if end == "exit":
        await world.until_flat()
    else:
        await world.until(world.is_covered, 5)
    await asyncio.sleep(3)
    assert world.order(key).status is S.FILLED
    assert world.rows("SELECT count(*) FROM fills WHERE client_order_id = ?", key) == [(1,)]
    assert world.faults == [] and world.incidents() == []


@in_virtual_time
async def test_cancel_orders_is_done_when_the_entry_has_ended_and_asks_again_for_what_was_lost(make_world):
    world = await make_world().boot()
    key = await resting(world)
    world.venue.engine_stands = True  # the ack is given, and the cancel is lost behind it
    world.submit(CancelOrders(BTC))
    await world.until(lambda: "cancel" in world.venue.calls)
    await asyncio.sleep(1.5)
    world.venue.forget()
    world.venue.engine_stands = False
    await world.until(lambda: world.order(key).status is S.CANCELED, 5)
    assert world.venue.calls.count("cancel") == 2


@pytest.mark.parametrize("mute", [False, True])
@in_virtual_time
async def test_cancel_orders_has_its_outcome_when_the_end_is_known_and_not_with_the_ack(make_world, mute):
    world = await make_world().boot()
    key = await resting(world)
    world.venue.engine_delay_s = 0.6
    world.venue.mute = mute
    intent = world.submit(CancelOrders(BTC))
    assert (await world.outcome_of(intent))[0] == "done"
    assert world.order(key).status is S.CANCELED


@in_virtual_time
async def test_a_cancel_of_what_has_filled_unheard_is_looked_up_and_not_repeated(make_world):
    world = await make_world().boot()
    key = await resting(world)
    world.venue.mute = True
    world.venue.fill(key, Decimal("0.1"))
    world.submit(CancelOrders(BTC))
    await world.until(world.is_covered, 5)
    assert world.order(key).status is S.FILLED and world.venue.calls.count("cancel") == 1


@in_virtual_time
async def test_a_sweep_is_no_proof_before_the_cancelled_stop_has_ended(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.engine_delay_s = 0.6
    world.exit()
    await world.until(lambda: not world.held(), 5)
    while world.venue.open_now():
        assert not world.execution.sweeper.has_proof(BTC)
        await asyncio.sleep(0.02)
    await world.until(lambda: world.execution.sweeper.has_proof(BTC), 10)
    assert "leftover_not_cancelled" not in world.incidents()


# --- restart -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine_delay_s", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("crash_s", [0.001, 0.01, 0.03, 0.1, 0.25, 0.6])
@pytest.mark.parametrize("refused", [False, True])
@in_virtual_time
async def test_a_crash_at_any_boundary_leaves_one_order_whose_fate_the_next_run_learns(
    make_world, engine_delay_s, crash_s, refused
):
    world = await make_world().boot()
    world.venue.engine_delay_s = engine_delay_s
    if refused:
        world.venue.answers[Purpose.ENTRY].append(Reject(RejectKind.MARGIN, "EC_Others"))
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    await asyncio.sleep(crash_s)
    await world.restart()
    key = world.sent(Purpose.ENTRY)[0].client_order_id
    await world.until(lambda: world.order(key).status.is_final, 15)
    assert len(world.sent(Purpose.ENTRY)) == 1
    assert world.order(key).status is (S.REJECTED if refused else S.FILLED)
    if refused:
        assert world.order(key).reject_code == "EC_Others" and world.held() == 0
    else:
        await world.until(world.is_covered, 5)
        assert world.rows("SELECT count(*) FROM fills") == [(1,)]
    assert world.execution.state.unknown_orders() == [] and world.faults == []
    assert world.execution.router.is_ready(BINANCE)
