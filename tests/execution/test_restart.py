"""What a new run knows: everything from the journal and the venue, nothing twice (P1, P4, P8, P16)."""

import asyncio
import sqlite3
from decimal import Decimal

import msgspec
import pytest

from tests.execution.fakes import BINANCE, BTC, ETH, Accept, Lose, Silence
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import both_acks
from tradingd.domain.account import CancelVerdict
from tradingd.domain.errors import Severity
from tradingd.domain.events import IntentDenied
from tradingd.domain.ids import ClientOrderId, DecisionKey, IntentId, Purpose, StrategyId
from tradingd.domain.intents import CancelOrders, Side
from tradingd.domain.orders import OrderStatus
from tradingd.domain.records import IntentRecord
from tradingd.execution.rate_budget import RatePlan

pytestmark = both_acks
S = OrderStatus
DAY_MS = 86_400_000


@in_virtual_time
async def test_a_leg_without_an_answer_at_the_kill_is_settled_by_the_next_run(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].append(Accept(delay_s=1))
    world.venue.mute = True
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    world.venue.mute = False
    await world.restart()
    await world.until(world.is_covered, 3)
    assert world.order(world.sent(Purpose.ENTRY)[0].client_order_id).status is S.FILLED
    assert len(world.sent(Purpose.ENTRY)) == 1


@pytest.mark.fault(1)
@in_virtual_time
async def test_a_leg_that_never_left_is_given_up_past_the_fence_and_not_sent_again(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].append(Silence())
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    await world.restart()
    (unknown,) = world.execution.state.unknown_orders()
    denied = world.enter()
    assert await world.outcome_of(denied) == ("denied", "in_doubt")
    await world.until(lambda: not world.execution.state.unknown_orders(), 15)
    assert world.order(unknown.client_order_id).reject_code == "not_found"
    assert len(world.sent(Purpose.ENTRY)) == 1


@in_virtual_time
async def test_fills_during_the_downtime_are_booked_once(make_world):
    world = await make_world().boot()
    await world.open_position()
    stop = world.last(Purpose.STOP).client_order_id
    await world.crash()
    world.venue.trigger(stop)
    await asyncio.sleep(30)
    await world.boot()
    await world.until_flat()
    assert world.rows("SELECT count(*), count(DISTINCT trade_id) FROM fills") == [(2, 2)]
    ((close_ms,),) = world.rows("SELECT close_ms FROM last_closes")
    assert close_ms == world.venue.executions[-1].time_ms
    assert "position_corrected" not in world.incidents()


@pytest.mark.parametrize("idle_days", [0, 3, 8, 40])
@in_virtual_time
async def test_a_fill_from_long_ago_is_not_booked_again(make_world, idle_days):
    world = await make_world().boot()
    await world.open_position()
    await world.close_position()
    await world.open_position()
    before = world.held()
    await world.crash()
    world.clock.step_ms += idle_days * DAY_MS
    await world.boot()
    assert world.held() == before == Decimal("0.1")
    assert "position_corrected" not in world.incidents()
    assert world.rows("SELECT count(*) FROM fills") == [(3,)]
    assert world.execution.reconciler.check(BINANCE) is None


@in_virtual_time
async def test_a_correction_holds_after_the_next_restart(make_world):
    world = await make_world().boot()
    world.venue.fill_fraction = Decimal("0.4")
    world.enter()
    await world.until(world.is_covered)
    # the venue says that more was filled, and neither history nor position know of it
    entry = world.sent(Purpose.ENTRY)[0].client_order_id
    shown = world.venue.orders[entry]
    world.execution.recorder.apply_shown(
        msgspec.structs.replace(shown, filled_quantity=Decimal("0.1"), status=S.FILLED), "stream"
    )
    world.venue.orders[entry] = msgspec.structs.replace(shown, status=S.CANCELED)
    await world.reconcile()
    assert world.held() == Decimal("0.04")
    assert world.incidents().count("position_corrected") == 1
    world.events.clear()
    await world.restart()
    assert world.held() == Decimal("0.04")
    assert "position_corrected" not in world.incidents()


@in_virtual_time
async def test_a_position_changed_by_hand_while_nobody_ran_is_booked_with_its_close(make_world):
    world = await make_world().boot()
    await world.open_position()
    await world.crash()
    world.venue.execute(BTC, Side.SELL, Decimal("0.1"))
    await asyncio.sleep(5)
    await world.boot()
    await world.until_flat()
    assert world.rows("SELECT cause FROM last_closes") == [("foreign",)]


@pytest.mark.fault(59)
@in_virtual_time
async def test_what_the_history_does_not_show_is_corrected_the_venue_wins_and_the_hold_begins(make_world):
    world = await make_world(hold=3).boot()
    await world.open_position()
    await world.crash()
    world.venue.positions[BTC] = Decimal(0)
    await world.boot()
    await world.until(lambda: world.held() == 0 and not world.venue.open_now(), 5)
    assert "position_corrected" in world.incidents()
    assert world.rows("SELECT cause FROM last_closes") == [("correction",)]
    assert await world.outcome_of(world.enter()) == ("denied", "hold_period")


# --- intents ------------------------------------------------------------------------------------------------


def record(number: int, kind: str, instrument=BTC) -> IntentRecord:
    return IntentRecord(
        IntentId(f"old{number}"), DecisionKey(f"k{number}"), StrategyId("trend"), instrument, kind, "{}", 1
    )


@in_virtual_time
async def test_intents_left_without_an_outcome_get_exactly_one_exits_honoured_entries_denied(make_world):
    world = await make_world().boot()
    await world.open_position()
    old = (record(1, "enter", ETH), record(2, "exit"), record(3, "cancel_orders"), record(4, "protect"))
    for each in old:
        await world.store.submit((each,))
    await world.restart()
    await world.until_flat()
    outcomes = dict(world.rows("SELECT intent_id, outcome || ':' || reason FROM intents WHERE intent_id LIKE 'old%'"))
    assert outcomes == {
        "old1": "denied:restarted",
        "old2": "ordered:exit resumed after restart",
        "old3": "denied:restarted",
        "old4": "denied:restarted",
    }
    assert len(world.sent(Purpose.EXIT)) == 1


@in_virtual_time
async def test_an_intent_whose_leg_was_written_is_ordered_and_not_carried_out_again(make_world):
    world = await make_world().boot()
    await world.open_position()
    order = world.last(Purpose.ENTRY)
    await world.store.submit((msgspec.structs.replace(record(1, "enter"), intent_id=order.intent_id),))
    await world.restart()
    assert world.outcome(order.intent_id)[0] == "ordered"
    assert len(world.sent(Purpose.ENTRY)) == 1


@in_virtual_time
async def test_after_any_run_no_intent_is_without_an_outcome(make_world):
    world = await make_world().boot()
    world.venue.answers[Purpose.ENTRY].extend([Lose(), Accept()])
    for instrument in (BTC, ETH, BTC):
        world.enter(instrument=instrument)
        world.exit(instrument)
    world.submit(CancelOrders(BTC))
    await asyncio.sleep(40)
    assert world.rows("SELECT intent_id, kind FROM intents WHERE outcome IS NULL") == []
    assert world.faults == []


# --- strangers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client_order_id", "kind"),
    [("td-zzzzzzzzabc-1s", "foreign_epoch"), ("own epoch", "order_unknown_to_journal")],
)
@in_virtual_time
async def test_an_order_under_our_prefix_that_the_journal_lacks_halts_entries(make_world, client_order_id, kind):
    world = await make_world().boot()
    if client_order_id == "own epoch":
        client_order_id = f"td-{world.execution.idempotency.epoch}-999s"
    world.venue.sink = None
    world.venue.foreign_order(BTC, client_order_id=ClientOrderId(client_order_id))
    await world.restart()
    assert kind in world.incidents()
    assert world.execution.switches.halted
    assert await world.outcome_of(world.enter()) == ("denied", "halted")
    assert world.venue.cancelled == []


@pytest.mark.fault(85)
@in_virtual_time
async def test_a_stranger_under_our_prefix_on_the_stream_halts_entries_at_once(make_world):
    world = await make_world().boot()
    world.venue.foreign_order(BTC, client_order_id=ClientOrderId("td-zzzzzzzzabc-1s"))
    await asyncio.sleep(1)
    assert world.execution.switches.halted
    assert await world.outcome_of(world.enter()) == ("denied", "halted")


# --- the hold period ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_no_entry_within_the_hold_period_counted_from_the_fill_that_made_the_position_zero(make_world):
    world = await make_world(hold=3).boot()
    await world.open_position()
    await world.close_position()
    close_ms = world.venue.executions[-1].time_ms
    assert await world.outcome_of(world.enter()) == ("denied", "hold_period")
    await asyncio.sleep((close_ms + 180_000 - world.clock.now_ms()) / 1000 - 0.5)
    assert await world.outcome_of(world.enter()) == ("denied", "hold_period")
    await asyncio.sleep(1)
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@pytest.mark.fault(28)
@in_virtual_time
async def test_the_hold_period_outlives_a_restart_and_every_step_of_the_clock(make_world):
    world = await make_world(hold=3).boot()
    await world.open_position()
    await world.close_position()
    await world.restart()
    assert await world.outcome_of(world.enter()) == ("denied", "hold_period")
    world.clock.step_ms -= 3_600_000
    assert await world.outcome_of(world.enter()) == ("denied", "hold_period")
    world.clock.step_ms += 3_600_000
    assert await world.outcome_of(world.enter()) == ("denied", "hold_period")
    await asyncio.sleep(181)
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@in_virtual_time
async def test_a_partial_close_does_not_begin_a_hold_and_zero_candles_disable_it(make_world):
    world = await make_world(hold=3).boot()
    await world.open_position()
    world.venue.execute(BTC, Side.SELL, Decimal("0.04"))
    await asyncio.sleep(1)
    assert world.rows("SELECT * FROM last_closes") == []
    assert world.execution.hold.check(BTC, world.clock.now_ms()) is None


@in_virtual_time
async def test_without_a_hold_period_the_next_entry_may_come_at_once(make_world):
    world = await make_world(hold=0).boot()
    await world.open_position()
    await world.close_position()
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@pytest.mark.parametrize("by", ["stop", "hand"])
@in_virtual_time
async def test_a_close_by_anyone_begins_the_hold(make_world, by):
    world = await make_world(hold=3).boot()
    await world.open_position()
    if by == "stop":
        world.venue.trigger(world.last(Purpose.STOP).client_order_id)
    else:
        world.venue.execute(BTC, Side.SELL, Decimal("0.1"))
    await world.until_flat()
    assert await world.outcome_of(world.enter()) == ("denied", "hold_period")


# --- bans ---------------------------------------------------------------------------------------------------


@pytest.mark.fault(13)
@in_virtual_time
async def test_a_ban_is_obeyed_by_the_next_run_and_lets_nothing_out_until_it_ends(make_world):
    world = await make_world().boot()
    until_ms = world.clock.now_ms() + 60_000
    world.limiter.ban(BINANCE, until_ms, "HTTP 418")
    await asyncio.sleep(0.1)
    await world.restart()
    denied = world.enter()
    assert await world.outcome_of(denied) == ("denied", "banned")
    assert world.venue.submitted == []
    await asyncio.sleep(61)
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@in_virtual_time
async def test_after_a_restart_a_limit_of_orders_denies_entries_by_name_and_an_exit_waits_for_its_end(make_world):
    plan = RatePlan((("orders", 60_000, 100, "", True),), {}, frozenset({"POST order", "POST algo"}))
    world = await make_world(plan=plan).boot()
    await world.open_position()
    world.limiter.close_orders(BINANCE, world.clock.now_ms() + 10_000, "HTTP 429, too many orders")
    await asyncio.sleep(0.1)
    await world.restart()
    world.exit()
    assert world.execution.router.is_ready(BINANCE)
    denied = world.enter(instrument=ETH)
    assert await world.outcome_of(denied) == ("denied", "rate_budget")
    told = next(event.denial.detail for event in world.events if isinstance(event, IntentDenied))
    assert "its limit of orders is used up (HTTP 429, too many orders)" in told
    assert world.sent(Purpose.EXIT) == []
    assert 8 < await world.until(lambda: world.held() == 0) < 13


@in_virtual_time
async def test_a_fill_of_the_downtime_is_booked_although_a_newer_one_is_pushed_before_the_history_is_read(make_world):
    world = await make_world().boot()
    await world.open_position()
    await world.crash()
    world.venue.execute(BTC, Side.SELL, Decimal("0.04"))
    world.clock.step_ms += 3_600_000
    await world.boot(ready=False)
    world.venue.execute(BTC, Side.SELL, Decimal("0.01"))
    await asyncio.sleep(0.05)
    await world.recover()
    await asyncio.sleep(30)
    assert world.rows("SELECT count(*) FROM fills") == [(3,)]
    assert "position_corrected" not in world.incidents()


@in_virtual_time
async def test_the_fills_of_an_order_that_the_venue_forgot_are_not_booked_again(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900), expire_candles=1_000)
    await world.until(lambda: world.venue.open_now())
    entry = world.sent(Purpose.ENTRY)[0].client_order_id
    world.venue.fill(entry, Decimal("0.04"))
    await world.until(world.is_covered)
    await world.crash()
    world.clock.step_ms += 8 * 86_400_000
    world.venue.cancel_answer = CancelVerdict.FAILED
    await world.boot()
    world.venue.execute(BTC, Side.SELL, Decimal("0.01"))
    await asyncio.sleep(1)
    await world.restart()
    del world.venue.orders[entry]
    await world.until(lambda: world.order(entry).status.is_final, 60)
    await asyncio.sleep(1)
    assert world.held() == Decimal("0.03"), world.incidents()
    assert "late_fill" not in world.incidents()


@in_virtual_time
async def test_a_position_whose_wanted_stop_the_journal_does_not_know_is_told_once_with_what_to_do(make_world):
    world = await make_world().boot()
    await world.open_position()
    await world.crash()
    connection = sqlite3.connect(world.path)
    connection.executescript("DELETE FROM protection; DELETE FROM orders")
    connection.close()
    await world.boot()
    await asyncio.sleep(5)
    told = [event for event in world.events if getattr(event, "kind", "") == "protection_unknown"]
    assert [event.severity for event in told] == [Severity.CRITICAL]
    assert told[0].instrument == BTC and "tradingd flatten" in told[0].detail
