"""One leg, in its fixed order: written ahead, sent once, and believed only on evidence (P1, P2, P3)."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from tests.execution.fakes import BTC, ETH, Accept, Lose, Reject, Silence
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import both_acks
from tradingd.domain.account import RejectKind
from tradingd.domain.events import OrderChanged
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import Side
from tradingd.domain.orders import Order, OrderEvent, OrderStatus

pytestmark = both_acks
S = OrderStatus


@in_virtual_time
async def test_every_leg_can_be_read_by_others_before_its_request_leaves(make_world):
    world = await make_world().boot()
    seen = []

    def look(request):
        rows = world.rows(
            "SELECT status, signed_ms, window_ms FROM orders WHERE client_order_id = ?", request.client_order_id
        )
        seen.append((request.purpose, rows))

    world.venue.on_submit = look
    await world.open_position(take_profit=Decimal(52_000))
    await world.close_position()
    assert [purpose for purpose, _ in seen] == [Purpose.ENTRY, Purpose.STOP, Purpose.TAKE_PROFIT, Purpose.EXIT]
    for _, rows in seen:
        ((status, signed_ms, window_ms),) = rows
        assert (status, window_ms) == ("SUBMITTED", 3_000)
        assert signed_ms > 0


@in_virtual_time
async def test_the_outcome_of_an_intent_is_in_the_commit_of_its_leg(make_world):
    world = await make_world().boot()
    outcomes = []
    world.venue.on_submit = lambda request: outcomes.append(world.rows("SELECT outcome FROM intents ORDER BY 1"))
    world.enter()
    await world.until(lambda: outcomes)
    assert outcomes[0] == [("ordered",)]


@in_virtual_time
async def test_an_order_has_left_before_plugins_and_log_lines_hear_that_it_was_submitted(make_world):
    world = await make_world().boot()
    told_before: list[object] = []
    world.venue.on_submit = lambda request: told_before.extend(
        event for event in world.events if isinstance(event, OrderChanged) and event.order.request == request
    )
    world.enter()
    await world.until(lambda: world.venue.open_now())
    assert told_before == []
    kinds = [event.event for event in world.events if isinstance(event, OrderChanged)]
    assert kinds[0] is OrderEvent.SUBMIT


@pytest.mark.fault(56)
@in_virtual_time
async def test_no_id_is_used_twice_not_even_after_a_refusal(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.STOP] = Reject()
    world.enter()
    await world.until(lambda: world.sent(Purpose.EXIT), 20)
    ids = [request.client_order_id for request in world.venue.submitted]
    assert len(ids) == len(set(ids)) > 4


# --- the journal cannot commit -----------------------------------------------------------------------------------


@in_virtual_time
async def test_an_entry_is_denied_while_the_journal_cannot_commit_and_nothing_leaves(make_world):
    world = await make_world().boot()
    world.store.broken = True
    world.enter()
    await asyncio.sleep(1)
    assert world.venue.submitted == []
    assert "journal_not_writable" in world.incidents()
    world.store.broken = False
    await world.until(lambda: world.execution.recorder.journal_writable)
    intent = world.enter()
    assert await world.outcome_of(intent) == ("ordered", "")


@in_virtual_time
async def test_an_entry_whose_own_commit_fails_is_denied_and_never_looks_sent(make_world):
    world = await make_world().boot()
    intent = world.enter()
    world.store.broken = True
    await asyncio.sleep(1)
    world.store.broken = False
    assert await world.outcome_of(intent) == ("denied", "journal_not_writable")
    await world.until(lambda: world.execution.recorder.journal_writable)
    assert world.venue.submitted == []
    assert world.rows("SELECT status FROM orders") == [("REJECTED",)]
    assert world.denials() == ["journal_not_writable"]


@pytest.mark.fault(79, 81)
@in_virtual_time
async def test_a_stop_and_an_exit_go_out_without_the_journal_their_ids_on_disk_first(make_world):
    world = await make_world().boot()
    spooled = []

    def look(request):
        lines = [msgspec.json.decode(line, type=Order) for line in world.spool.lines()]
        spooled.append((request.purpose, [line for line in lines if line.client_order_id == request.client_order_id]))
        world.store.broken = True

    world.venue.on_submit = look
    world.enter()
    await world.until(lambda: world.is_covered())
    world.execution.pipeline.exit(BTC, "operator", None)
    await world.until(lambda: world.venue.positions[BTC] == 0)
    assert [purpose for purpose, _ in spooled] == [Purpose.ENTRY, Purpose.STOP, Purpose.EXIT]
    assert spooled[0][1] == []
    for _, lines in spooled[1:]:
        (order,) = lines
        assert order.status.is_unknown
        assert order.window_ms == 3_000
    world.store.broken = False
    await world.until_flat()
    statuses = dict(world.rows("SELECT purpose, status FROM orders"))
    assert statuses == {"entry": "FILLED", "stop": "CANCELED", "exit": "FILLED"}
    assert len(world.rows("SELECT trade_id FROM fills")) == 2


@in_virtual_time
async def test_what_was_spooled_before_a_crash_is_taken_up_from_the_spool(make_world):
    world = await make_world().boot()

    def look(request):
        world.store.broken = True

    world.venue.on_submit = look
    world.enter()
    await world.until(lambda: world.is_covered())
    stop = world.sent(Purpose.STOP)[0].client_order_id
    assert world.rows("SELECT count(*) FROM orders WHERE client_order_id = ?", stop) == [(0,)]
    await world.restart()
    assert world.order(stop).status is S.ACCEPTED
    assert world.faults == []
    await world.until(world.is_covered)
    assert world.rows("SELECT status FROM orders WHERE client_order_id = ?", stop) == [("ACCEPTED",)]


@in_virtual_time
async def test_a_spooled_exit_that_filled_before_a_crash_is_booked_after_it(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.store.broken = True
    world.execution.pipeline.exit(BTC, "operator", None)
    await world.until(lambda: world.venue.positions[BTC] == 0)
    exiting = world.sent(Purpose.EXIT)[0].client_order_id
    await world.restart()
    await world.until_flat()
    assert world.order(exiting).status is S.FILLED
    assert len(world.rows("SELECT trade_id FROM fills")) == 2
    assert world.faults == []


# --- no readable answer --------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_lost_answer_leaves_the_leg_in_doubt_denies_entries_there_and_allows_exits(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].append(Lose())
    first = world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY) and world.last(Purpose.ENTRY).status is S.IN_DOUBT)
    second = world.enter()
    assert await world.outcome_of(second) == ("denied", "in_doubt")
    other = world.enter(instrument=ETH)
    assert await world.outcome_of(other) == ("ordered", "")
    assert await world.outcome_of(first) == ("ordered", "")
    exiting = world.exit()
    await world.until(lambda: not world.execution.state.unknown_orders())
    assert (await world.outcome_of(exiting))[0] == "done"
    assert len(world.sent(Purpose.ENTRY)) == 2  # one per instrument: never sent anew


@pytest.mark.fault(2)
@in_virtual_time
async def test_a_lost_answer_of_an_order_that_was_taken_is_adopted_and_its_position_gets_its_stop(make_world):
    world = await make_world().boot()
    world.venue.mute = True
    world.venue.answers[Purpose.ENTRY].append(Lose(taken=True))
    world.enter()
    await world.until(world.is_covered, 5)
    assert world.last(Purpose.ENTRY).status is S.FILLED
    assert world.execution.protection.unprotected_s(BTC) == 0


@pytest.mark.fault(3, 33)
@in_virtual_time
async def test_nothing_found_before_the_fence_is_no_verdict_and_past_it_takes_both_look_ups(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.ENTRY] = Silence()
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    signed_ms = world.last(Purpose.ENTRY).signed_ms
    fence_ms = signed_ms + 3_000 + 2_000
    await world.until(lambda: "find_order" in world.venue.calls)
    while world.clock.now_ms() <= fence_ms - 100:
        assert world.last(Purpose.ENTRY).status in (S.SUBMITTED, S.IN_DOUBT)
        await asyncio.sleep(0.1)
    world.venue.unreachable = {"fills"}
    await asyncio.sleep(6)
    assert world.last(Purpose.ENTRY).status is S.IN_DOUBT
    world.venue.unreachable = {"find_order"}
    await asyncio.sleep(6)
    assert world.last(Purpose.ENTRY).status is S.IN_DOUBT
    world.venue.unreachable = set()
    await world.until(lambda: world.last(Purpose.ENTRY).status is S.REJECTED)
    assert world.last(Purpose.ENTRY).reject_code == "not_found"
    assert world.clock.now_ms() > fence_ms


@in_virtual_time
async def test_the_fence_is_counted_by_the_venues_clock_and_not_by_ours(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.ENTRY] = Silence()
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY) and world.last(Purpose.ENTRY).status is S.IN_DOUBT)
    venue_clock = type(world.clock)(world.clock.now_ms())
    world.venue.clock = venue_clock
    world.clock.step_ms = 60_000
    began_ms = venue_clock.now_ms()
    await world.until(lambda: world.last(Purpose.ENTRY).status is S.REJECTED)
    assert venue_clock.now_ms() - began_ms > 2_000


@pytest.mark.parametrize("what", ["server_time_ms", "find_order", "fills"])
@in_virtual_time
async def test_an_exception_in_any_look_up_never_counts_as_not_found(make_world, what):
    world = await make_world().boot()
    world.venue.always[Purpose.ENTRY] = Silence()
    world.enter()
    world.venue.unreachable = {what}
    await asyncio.sleep(30)
    assert world.last(Purpose.ENTRY).status is S.IN_DOUBT


@pytest.mark.fault(24)
@in_virtual_time
async def test_an_answer_that_comes_after_the_timeout_is_still_taken_in(make_world):
    world = await make_world(acks_first=False).boot()  # an ack would tell nothing
    world.venue.mute = True
    world.venue.answers[Purpose.ENTRY].append(Accept(delay_s=2.5))
    world.venue.hidden = {"*"}
    world.venue.unreachable = {"find_order"}
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    await asyncio.sleep(2.2)
    assert world.last(Purpose.ENTRY).status is S.IN_DOUBT
    await world.until(lambda: world.last(Purpose.ENTRY).status is S.FILLED, 1)
    assert world.rows("SELECT source FROM order_events WHERE event = 'fill_all'") == [("reply",)]


@in_virtual_time
async def test_a_late_refusal_ends_the_doubt(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].append(Reject(RejectKind.MARGIN, "-2019", delay_s=3))
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    await world.until(lambda: world.last(Purpose.ENTRY).status is S.REJECTED, 4)
    assert world.last(Purpose.ENTRY).reject_code == "-2019"


@pytest.mark.fault(3)
@in_virtual_time
async def test_an_acceptance_after_the_verdict_not_found_is_adopted_with_an_incident_and_protected(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].append(Silence())
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    await world.until(lambda: world.last(Purpose.ENTRY).status is S.REJECTED)
    # the sweep behind it has long ended the wish for a stop
    world.execution.pipeline.sweep_all(world.venue.id)
    await asyncio.sleep(2)
    world.venue.take(world.sent(Purpose.ENTRY)[0])
    await world.until(world.is_covered, 5)
    assert "late_order_event" in world.incidents()
    assert world.last(Purpose.ENTRY).status is S.FILLED
    assert world.held() == Decimal("0.1")
    assert world.sent(Purpose.STOP)[0].trigger_price == Decimal(49_000)


@pytest.mark.fault(21)
@in_virtual_time
async def test_evidence_on_the_stream_ends_the_wait_for_the_answer(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].append(Accept(silent=True))
    world.enter()
    took_s = await world.until(world.is_covered)
    assert took_s < 0.5


@pytest.mark.fault(63)
@in_virtual_time
async def test_a_refused_entry_is_not_tried_again_and_its_intent_failed_with_the_venues_code(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].append(Reject(RejectKind.MARGIN, "-2019"))
    intent = world.enter()
    await world.until(lambda: world.outcome(intent)[0] == "failed")
    await asyncio.sleep(5)
    assert world.outcome(intent) == ("failed", "margin")
    assert len(world.venue.submitted) == 1
    assert world.rows("SELECT status, reject_code FROM orders") == [("REJECTED", "-2019")]


@in_virtual_time
async def test_an_entry_whose_decision_did_not_commit_is_not_sent(make_world):
    world = await make_world().boot()
    world.store.broken = True
    intent = world.enter()
    world.store.broken = False
    await asyncio.sleep(1)
    assert world.venue.submitted == []
    assert world.denials() == ["journal_not_writable"]
    assert world.outcome(intent) == ("denied", "journal_not_writable")


@in_virtual_time
async def test_an_old_leg_that_the_venue_may_have_forgotten_has_expired_and_was_not_refused(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.ENTRY] = Silence()
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY) and world.last(Purpose.ENTRY).status is S.IN_DOUBT)
    world.venue.unreachable = {"find_order"}
    world.clock.step_ms += 4 * 86_400_000  # the daemon was down for days; Binance forgets after three
    await asyncio.sleep(8)
    world.venue.unreachable = set()
    await world.until(lambda: world.last(Purpose.ENTRY).status.is_final)
    assert world.last(Purpose.ENTRY).status is S.EXPIRED
    assert "keeps" in world.last(Purpose.ENTRY).reason


@in_virtual_time
async def test_a_fill_whose_order_is_not_named_yet_leaves_the_leg_in_doubt_until_it_is(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].append(Accept(silent=True))
    world.venue.mute = world.venue.owners_stale = True
    world.venue.on_submit = lambda request: world.venue.hidden.add(request.client_order_id)
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    await asyncio.sleep(20)
    assert world.last(Purpose.ENTRY).status is OrderStatus.IN_DOUBT
    world.venue.on_submit = lambda request: None
    world.venue.hidden.clear()
    world.venue.mute = world.venue.owners_stale = False
    await world.until(lambda: world.is_covered() and world.rows("SELECT count(*) FROM fills") == [(1,)])


@in_virtual_time
async def test_another_hands_fill_that_names_nobody_keeps_a_leg_in_doubt_for_a_minute_and_not_for_good(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.ENTRY] = Silence()
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY) and world.last(Purpose.ENTRY).status is OrderStatus.IN_DOUBT)
    world.venue.execute(BTC, Side.BUY, Decimal("0.1"))
    await asyncio.sleep(40)
    assert world.last(Purpose.ENTRY).status is OrderStatus.IN_DOUBT
    await world.until(lambda: world.last(Purpose.ENTRY).status.is_final, 60)
