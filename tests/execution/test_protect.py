"""`Protect` replaces a stop or a take profit, and at no moment does the position stand without a stop."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from tests.execution.fakes import BTC, Accept, Lose, Reject, Silence
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import both_acks
from tradingd.domain.account import CancelOutcome, CancelVerdict, RejectKind
from tradingd.domain.events import ProtectionChanged
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderKind, OrderStatus

pytestmark = both_acks
S = OrderStatus
OLD, NEW = Decimal(49_000), Decimal(49_500)


def bare(venue):
    """Whether the venue holds a position of BTC that no single stop of ours covers."""
    held = venue.positions.get(BTC, Decimal(0))
    stops = [
        order
        for order in venue.open_now(BTC)
        if order.kind is OrderKind.STOP_MARKET and order.side.sign * held < 0 and order.status is S.ACCEPTED
    ]
    size = sum((order.quantity or Decimal(0) for order in stops), Decimal(0))
    return held != 0 and not any(order.close_position for order in stops) and size < abs(held)


def watch(world):
    """From now on, note each change at the venue that leaves the position bare."""
    seen = []
    show = world.venue._show

    def looking(order):
        shown = show(order)
        if bare(world.venue):
            seen.append(f"{order.client_order_id} {order.status}")
        return shown

    world.venue._show = looking
    return seen


async def held(make_world, side=Side.BUY, **fields):
    """A world with a covered position, and the list of its bare moments."""
    world = await make_world().boot()
    await world.open_position(side, **fields)
    await asyncio.sleep(0.2)
    return world, watch(world)


def conditional(world):
    return {(order.kind, order.trigger_price, order.close_position) for order in world.venue.open_now(BTC)}


def only_stop(level):
    return {(OrderKind.STOP_MARKET, level, True)}


@pytest.mark.parametrize("level", [NEW, Decimal(48_000)])
@in_virtual_time
async def test_a_stop_is_moved_over_a_bridge_and_never_missing(make_world, level):
    world, seen = await held(make_world)
    assert await world.outcome_of(world.protect(stop_loss=level)) == ("done", "replaced")
    assert seen == []
    assert conditional(world) == only_stop(level)
    (bridge,) = world.sent(Purpose.BRIDGE)
    assert (bridge.quantity, bridge.reduce_only, bridge.trigger_price) == (Decimal("0.1"), True, level)
    assert len(world.sent(Purpose.STOP)) == 2 and len(world.venue.cancelled) == 2
    await asyncio.sleep(0.01)
    told = [event for event in world.events if isinstance(event, ProtectionChanged)]
    assert (told[-1].covered, told[-1].stop_loss) == (True, level)
    assert world.rows("SELECT stop_loss, state FROM protection") == [(float(level), "covered")]


@in_virtual_time
async def test_a_short_is_moved_alike(make_world):
    world, seen = await held(make_world, Side.SELL)
    assert await world.outcome_of(world.protect(stop_loss=Decimal(50_500))) == ("done", "replaced")
    assert seen == []
    assert conditional(world) == only_stop(Decimal(50_500))


@in_virtual_time
async def test_levels_that_stand_already_send_nothing(make_world):
    world, _ = await held(make_world, take_profit=Decimal(52_000))
    sent = len(world.venue.submitted)
    assert await world.outcome_of(world.protect(stop_loss=Decimal("49000.04"))) == ("done", "already_so")
    both = world.protect(stop_loss=OLD, take_profit=Decimal(52_000))
    assert await world.outcome_of(both) == ("done", "already_so")
    assert len(world.venue.submitted) == sent and world.venue.cancelled == []


@in_virtual_time
async def test_a_take_profit_is_replaced_and_never_stands_twice(make_world):
    world, seen = await held(make_world, take_profit=Decimal(52_000))
    assert await world.outcome_of(world.protect(take_profit=Decimal(53_000))) == ("done", "replaced")
    assert seen == [] and world.sent(Purpose.BRIDGE) == []
    assert [each.trigger_price for each in world.sent(Purpose.TAKE_PROFIT)] == [52_000, 53_000]
    targets = [order for order in world.venue.open_now(BTC) if order.kind is OrderKind.TAKE_PROFIT_MARKET]
    assert [order.trigger_price for order in targets] == [53_000]


@in_virtual_time
async def test_both_are_replaced_by_one_intent(make_world):
    world, seen = await held(make_world, take_profit=Decimal(52_000))
    outcome = await world.outcome_of(world.protect(stop_loss=NEW, take_profit=Decimal(53_000)))
    assert (outcome, seen) == (("done", "replaced"), [])
    assert {level for _, level, _ in conditional(world)} == {NEW, Decimal(53_000)}


@in_virtual_time
async def test_a_position_that_had_no_take_profit_gets_one(make_world):
    world, _ = await held(make_world)
    assert await world.outcome_of(world.protect(take_profit=Decimal(53_000))) == ("done", "replaced")
    assert len(world.sent(Purpose.TAKE_PROFIT)) == 1


@in_virtual_time
async def test_a_position_that_had_no_stop_gets_one_without_a_bridge(make_world):
    world = await make_world(risk="require_stop = false").boot()
    world.enter(stop_loss=None)
    await world.until(lambda: world.held())
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("done", "replaced")
    assert world.sent(Purpose.BRIDGE) == [] and conditional(world) == only_stop(NEW)


# --- refused before anything is sent ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        ({"stop_loss": Decimal(50_000)}, "stop_wrong_side"),
        ({"stop_loss": Decimal(51_000), "take_profit": Decimal(52_000)}, "stop_wrong_side"),
        ({"take_profit": Decimal(49_900)}, "take_profit_wrong_side"),
        ({}, "invalid_intent"),
        ({"stop_loss": "nan"}, "invalid_intent"),
    ],
)
@in_virtual_time
async def test_levels_that_make_no_sense_are_denied_and_what_stands_stays(make_world, levels, reason):
    world, seen = await held(make_world)
    assert await world.outcome_of(world.protect(**levels)) == ("denied", reason)
    assert seen == [] and conditional(world) == only_stop(OLD)


@in_virtual_time
async def test_without_a_position_there_is_nothing_to_protect(make_world):
    world = await make_world().boot()
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("denied", "no_position")
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("denied", "no_position")


@in_virtual_time
async def test_a_position_that_is_being_closed_is_not_moved(make_world):
    world, _ = await held(make_world)
    world.venue.answers[Purpose.EXIT].append(Silence())
    world.exit()
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("denied", "no_position")


@in_virtual_time
async def test_a_position_of_another_hand_is_not_ours_to_protect(make_world):
    world = await make_world().boot()
    world.venue.execute(BTC, Side.BUY, Decimal("0.1"))
    await world.until(world.held)
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("denied", "foreign_position")


# --- legs that fail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(Reject(RejectKind.OTHER, "-4045"), "other"), (Reject(RejectKind.REDUCE_ONLY, "-4118"), "reduce_only")],
)
@in_virtual_time
async def test_a_bridge_that_is_refused_fails_the_intent_and_the_old_stop_stays(make_world, answer, reason):
    world, seen = await held(make_world)
    world.venue.always[Purpose.BRIDGE] = answer
    intent = world.protect(stop_loss=NEW)
    assert await world.outcome_of(intent) == ("failed", reason)
    assert answer.code in world.rows("SELECT detail FROM intents WHERE intent_id = ?", intent)[0][0]
    assert seen == [] and conditional(world) == only_stop(OLD) and world.venue.cancelled == []
    assert world.rows("SELECT stop_loss FROM protection") == [(float(OLD),)]
    assert "protection_not_replaced" in world.incidents()
    await asyncio.sleep(5)
    assert len(world.sent(Purpose.BRIDGE)) == 1


@in_virtual_time
async def test_a_bridge_that_would_trigger_at_once_closes_the_position(make_world):
    world, _ = await held(make_world)
    world.venue.always[Purpose.BRIDGE] = Reject(RejectKind.WOULD_TRIGGER, "-2021")
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("failed", "would_trigger")
    await world.until_flat()
    assert world.incidents().count("emergency_close") == 1


@in_virtual_time
async def test_a_new_stop_that_would_trigger_at_once_closes_the_position(make_world):
    world, seen = await held(make_world)
    world.venue.always[Purpose.STOP] = Reject(RejectKind.WOULD_TRIGGER, "-2021")
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("failed", "no_position")
    await world.until_flat()
    assert seen == []


@in_virtual_time
async def test_a_new_stop_that_is_refused_leaves_the_bridge_and_is_tried_again(make_world):
    world, seen = await held(make_world)
    world.venue.always[Purpose.STOP] = Reject(RejectKind.OTHER, "-4045")
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("failed", "other")
    await asyncio.sleep(20)
    assert seen == [] and world.is_covered() and world.sent(Purpose.EXIT) == []
    assert conditional(world) == {(OrderKind.STOP_MARKET, NEW, False)}
    assert len(world.sent(Purpose.STOP)) < 15
    world.venue.always[Purpose.STOP] = Accept()
    await world.until(lambda: conditional(world) == only_stop(NEW), 10)
    assert seen == []


@pytest.mark.parametrize("purpose", [Purpose.BRIDGE, Purpose.STOP])
@pytest.mark.parametrize("answer", [Lose(taken=True), Lose(), Silence(), Accept(silent=True), Accept(delay_s=4)])
@in_virtual_time
async def test_a_leg_whose_answer_is_lost_is_settled_and_the_move_goes_on(make_world, purpose, answer):
    world, seen = await held(make_world)
    world.venue.answers[purpose].append(answer)
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("done", "replaced")
    assert seen == [] and conditional(world) == only_stop(NEW)
    assert "emergency_close" not in world.incidents()


@pytest.mark.parametrize("verdict", [CancelVerdict.AMBIGUOUS, CancelVerdict.FAILED])
@in_virtual_time
async def test_a_cancel_without_effect_is_tried_again(make_world, verdict):
    world, seen = await held(make_world)
    world.venue.cancel_answer = verdict
    intent = world.protect(stop_loss=NEW)
    await world.until(lambda: len(world.venue.cancelled) >= 3)
    assert world.is_covered()
    world.venue.cancel_answer = None
    assert await world.outcome_of(intent) == ("done", "replaced")
    assert seen == [] and conditional(world) == only_stop(NEW)


@in_virtual_time
async def test_an_old_stop_that_never_lets_go_fails_the_intent_and_stays(make_world):
    world, seen = await held(make_world)
    world.venue.cancel_answer = CancelVerdict.FAILED
    intent = world.protect(stop_loss=NEW)
    assert await world.outcome_of(intent, 120) == ("failed", "not_cancelled")
    world.venue.cancel_answer = None
    await world.until(lambda: conditional(world) == only_stop(OLD))
    assert seen == [] and world.is_covered()
    assert world.rows("SELECT stop_loss FROM protection") == [(float(OLD),)]


@in_virtual_time
async def test_a_cancel_whose_end_nobody_told_is_looked_up(make_world):
    world, seen = await held(make_world)
    world.venue.mute = True
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("done", "replaced")
    assert seen == [] and conditional(world) == only_stop(NEW)


@in_virtual_time
async def test_where_the_venue_takes_no_close_position_stops_the_size_is_kept(make_world):
    world = make_world()
    world.venue.limits = msgspec.structs.replace(world.venue.limits, close_position_stops=False)
    await world.boot()
    await world.open_position()
    seen = watch(world)
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("done", "replaced")
    assert seen == []
    (stop,) = world.venue.open_now(BTC)
    assert (stop.trigger_price, stop.quantity, stop.reduce_only) == (NEW, Decimal("0.1"), True)


@in_virtual_time
async def test_a_position_larger_than_the_largest_order_is_bridged_in_parts(make_world):
    world = make_world()
    rules = msgspec.structs.replace(world.venue.instruments[BTC], max_market_quantity=Decimal("0.04"))
    await world.boot()
    await world.open_position()
    world.execution.state.instruments[BTC] = rules
    seen = watch(world)
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("done", "replaced")
    assert [each.quantity for each in world.sent(Purpose.BRIDGE)] == [Decimal("0.04"), Decimal("0.04"), Decimal("0.02")]
    assert seen == [] and conditional(world) == only_stop(NEW)


@in_virtual_time
async def test_a_position_below_the_minimum_notional_is_moved_like_any_other(make_world):
    world, seen = await held(make_world)
    world.venue.execute(BTC, Side.SELL, Decimal("0.099"))
    await world.until(lambda: world.held() == Decimal("0.001"))
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("done", "replaced")
    assert world.sent(Purpose.BRIDGE)[0].quantity == Decimal("0.001") and seen == []


# --- a world that changes meanwhile ----------------------------------------------------------------------------------

MOMENTS = [
    (Purpose.BRIDGE, "sent"),
    (Purpose.BRIDGE, "taken"),
    (Purpose.STOP, "sent"),
    (Purpose.STOP, "taken"),
    (None, "cancel"),
]


def at_moment(world, purpose, when, act):
    """Let another hand act at one moment of the move: before or behind a leg, or with the first cancel."""
    submit, cancel = world.venue.take, world.venue.cancel
    left = [act]

    def take(request):
        mine = purpose is not None and request.purpose is purpose and left
        if mine and when == "sent":
            left.pop()()
        shown = submit(request)
        if mine and when == "taken":
            left.pop()()
        return shown

    async def cancelling(order, priority, clear):
        if purpose is None and left:
            left.pop()()
        return await cancel(order, priority, clear)

    world.venue.take, world.venue.cancel = take, cancelling


@pytest.mark.parametrize(("purpose", "when"), MOMENTS)
@pytest.mark.parametrize("change", ["-0.03", "0.05"])
@in_virtual_time
async def test_another_hand_changes_the_size_in_the_middle(make_world, purpose, when, change):
    world, _ = await held(make_world)
    size = Decimal(change)
    at_moment(world, purpose, when, lambda: world.venue.execute(BTC, Side.BUY if size > 0 else Side.SELL, abs(size)))
    assert await world.outcome_of(world.protect(stop_loss=NEW)) == ("done", "replaced")
    await asyncio.sleep(1)
    assert world.held() == Decimal("0.1") + size
    assert conditional(world) == only_stop(NEW) and world.is_covered()


@pytest.mark.parametrize(("purpose", "when"), MOMENTS)
@in_virtual_time
async def test_another_hand_closes_in_the_middle_and_nothing_is_left(make_world, purpose, when):
    world, _ = await held(make_world, take_profit=Decimal(52_000))
    at_moment(world, purpose, when, lambda: world.venue.execute(BTC, Side.SELL, Decimal("0.1")))
    outcome = await world.outcome_of(world.protect(stop_loss=NEW))
    assert outcome[0] == "failed" and outcome[1] in ("no_position", "reduce_only")
    await world.until_flat()
    assert world.faults == []
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@pytest.mark.parametrize(("purpose", "when"), MOMENTS)
@in_virtual_time
async def test_another_hand_turns_the_position_in_the_middle(make_world, purpose, when):
    world, _ = await held(make_world)
    at_moment(world, purpose, when, lambda: world.venue.execute(BTC, Side.SELL, Decimal("0.3")))
    assert (await world.outcome_of(world.protect(stop_loss=NEW)))[0] == "failed"
    await world.until(lambda: not world.venue.open_now(BTC), 30)
    assert world.held() == Decimal("-0.2") and world.faults == []


@pytest.mark.parametrize("fires", [Purpose.STOP, Purpose.BRIDGE])
@in_virtual_time
async def test_a_stop_that_fires_in_the_middle_closes_once(make_world, fires):
    world, _ = await held(make_world)
    at_moment(world, Purpose.BRIDGE, "taken", lambda: fire(world, fires))
    assert (await world.outcome_of(world.protect(stop_loss=NEW)))[0] == "failed"
    await world.until_flat()
    assert world.venue.positions[BTC] == 0


def fire(world, purpose):
    (request,) = world.sent(purpose)
    asyncio.get_running_loop().call_later(0.001, world.venue.trigger, request.client_order_id, Decimal(49_400))


@in_virtual_time
async def test_an_exit_in_the_middle_goes_first(make_world):
    world, seen = await held(make_world)
    world.venue.answers[Purpose.BRIDGE].append(Accept(delay_s=0.5))
    intent = world.protect(stop_loss=NEW)
    await world.until(lambda: world.sent(Purpose.BRIDGE))
    world.exit()
    await world.until_flat()
    assert world.outcome(intent) == ("failed", "no_position") and seen == []
    assert len(world.sent(Purpose.STOP)) == 1


# --- one after the other ---------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_second_protect_while_one_is_under_way_replaces_its_levels(make_world):
    world, seen = await held(make_world)
    world.venue.answers[Purpose.BRIDGE].append(Accept(delay_s=0.5))
    first = world.protect(stop_loss=NEW)
    await world.until(lambda: world.sent(Purpose.BRIDGE))
    second = world.protect(stop_loss=Decimal(49_700))
    assert await world.outcome_of(second) == ("done", "replaced")
    assert world.outcome(first) == ("cancelled", "superseded")
    assert seen == [] and conditional(world) == only_stop(Decimal(49_700))
    assert len(world.sent(Purpose.STOP)) == 2


@in_virtual_time
async def test_a_second_protect_that_fails_leaves_what_stood_before_the_first(make_world):
    world, seen = await held(make_world, take_profit=Decimal(52_000))
    stood = conditional(world)
    refused = [Reject(RejectKind.THROTTLED, "-1008"), Reject(RejectKind.OTHER, "-4045")]
    world.venue.answers[Purpose.BRIDGE].extend(refused)
    first = world.protect(stop_loss=NEW, take_profit=Decimal(53_000))
    await world.until(lambda: world.sent(Purpose.BRIDGE))
    second = world.protect(stop_loss=Decimal(49_700))
    assert await world.outcome_of(second) == ("failed", "other")
    assert world.outcome(first) == ("cancelled", "superseded")
    await asyncio.sleep(30)
    assert seen == [] and conditional(world) == stood
    wanted = world.rows("SELECT stop_loss, take_profit, state FROM protection")
    assert wanted == [(float(OLD), 52_000.0, "covered")]


@in_virtual_time
async def test_a_second_protect_that_is_refused_behind_the_bridge_of_the_first_goes_on_under_it(make_world):
    world, seen = await held(make_world)
    world.venue.answers[Purpose.STOP].extend([Reject(RejectKind.OTHER, "-4045")] * 3)
    world.venue.answers[Purpose.BRIDGE].append(Accept(delay_s=0.5))
    world.protect(stop_loss=NEW)
    await world.until(lambda: world.sent(Purpose.BRIDGE))
    second = world.protect(stop_loss=Decimal(49_700))
    assert await world.outcome_of(second) == ("failed", "other")
    await world.until(lambda: conditional(world) == only_stop(Decimal(49_700)))
    assert seen == []


@in_virtual_time
async def test_a_second_protect_back_to_what_stands_takes_the_bridge_away(make_world):
    world, seen = await held(make_world)
    world.venue.answers[Purpose.BRIDGE].append(Accept(delay_s=0.5))
    world.protect(stop_loss=NEW)
    await world.until(lambda: world.sent(Purpose.BRIDGE))
    assert await world.outcome_of(world.protect(stop_loss=OLD)) == ("done", "replaced")
    assert seen == [] and conditional(world) == only_stop(OLD)
    assert len(world.sent(Purpose.STOP)) == 1


@in_virtual_time
async def test_a_stop_whose_end_was_asked_for_is_not_relied_on_when_its_level_is_wanted_again(make_world):
    world, seen = await held(make_world)
    world.venue.mute = True
    cancel = world.venue.cancel

    async def unheard(order, priority, clear):
        await cancel(order, priority, clear)
        await asyncio.sleep(1)
        return CancelOutcome(CancelVerdict.AMBIGUOUS)

    world.venue.cancel = unheard
    world.protect(stop_loss=NEW)
    await world.until(lambda: world.venue.cancelled)
    world.venue.unreachable = {"find_order"}
    intent = world.protect(stop_loss=OLD)
    await asyncio.sleep(3)
    world.venue.unreachable = set()
    assert await world.outcome_of(intent) == ("done", "replaced")
    assert seen == [] and conditional(world) == only_stop(OLD)


@in_virtual_time
async def test_a_strategy_that_trails_each_moment_sends_a_bounded_number_of_orders(make_world):
    world, seen = await held(make_world)
    before = len(world.venue.submitted) + len(world.venue.cancelled)
    intents = [world.protect(stop_loss=OLD + step) for step in range(1, 61)]
    assert await world.outcome_of(intents[-1]) == ("done", "replaced")
    outcomes = [world.outcome(each) for each in intents]
    assert outcomes[:-1] == [("cancelled", "superseded")] * 59
    assert len(world.venue.submitted) + len(world.venue.cancelled) - before <= 8
    assert seen == [] and conditional(world) == only_stop(OLD + 60)


# --- crashes ---------------------------------------------------------------------------------------------------------


def crash_points(world):
    """Every boundary of a move at the venue: each leg and each cancel, before it is taken and behind."""
    hits = []
    submit, cancel = world.venue.submit, world.venue.cancel

    async def submitting(approved, signed_ms, priority, clear):
        hits.append(f"before {approved.request.purpose}")
        await asyncio.sleep(0.001)
        reply = await submit(approved, signed_ms, priority, clear)
        hits.append(f"after {approved.request.purpose}")
        return reply

    async def cancelling(order, priority, clear):
        hits.append("before cancel")
        await asyncio.sleep(0.001)
        reply = await cancel(order, priority, clear)
        hits.append("after cancel")
        await asyncio.sleep(0.001)
        return reply

    world.venue.submit, world.venue.cancel = submitting, cancelling
    return hits


@pytest.mark.parametrize("point", range(13))
@in_virtual_time
async def test_a_crash_at_any_boundary_of_a_move_ends_with_one_stop_and_one_outcome(make_world, point):
    world, seen = await held(make_world, take_profit=Decimal(52_000))
    hits = crash_points(world)
    intent = world.protect(stop_loss=NEW, take_profit=Decimal(53_000))
    if point:
        await world.until(lambda: len(hits) >= point or world.outcome(intent)[0] is not None)
    await world.crash()
    assert not bare(world.venue)
    await asyncio.sleep(1)
    await world.boot()
    outcome = await world.outcome_of(intent)
    assert outcome in (("done", "replaced"), ("denied", "restarted"))
    level, target = (NEW, 53_000) if outcome[0] == "done" else (OLD, 52_000)
    wanted = only_stop(level) | {(OrderKind.TAKE_PROFIT_MARKET, target, True)}
    await world.until(lambda: conditional(world) == wanted, 15)
    await asyncio.sleep(65)
    assert conditional(world) == wanted and world.is_covered()
    assert seen == [] and world.sent(Purpose.EXIT) == [] and world.faults == []
    await world.close_position()


@in_virtual_time
async def test_a_move_that_a_crash_cut_off_and_whose_position_was_closed_meanwhile_fails(make_world):
    world, _ = await held(make_world)
    world.venue.answers[Purpose.BRIDGE].append(Lose(taken=True))
    intent = world.protect(stop_loss=NEW)
    await world.until(lambda: world.sent(Purpose.BRIDGE))
    await world.crash()
    world.venue.execute(BTC, Side.SELL, Decimal("0.1"))
    await world.boot()
    assert (await world.outcome_of(intent))[0] in ("failed", "denied")
    await world.until_flat()
