"""Money: readings that lag, transfers, margin, and the daily loss (P17)."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from tests.execution.fakes import BINANCE, BTC, ETH, START_MS, Silence, rules_of
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.account import AccountSnapshot, VenueBalance
from tradingd.domain.events import VenueState
from tradingd.domain.ids import DecisionKey, IntentId, Purpose, StrategyId, VenueId
from tradingd.domain.intents import CheckedEnter, Denial, DenyReason, Enter, Side, TimeInForce
from tradingd.domain.orders import OrderStatus
from tradingd.domain.records import DayEquityRecord, IntentRecord
from tradingd.execution.limits import Limits, VenuePlan
from tradingd.execution.order_router import EntryDraft, OrderRouter
from tradingd.execution.risk_guard import EntryView, RiskGuard
from tradingd.execution.state import TradingState

DAY_MS = 86_400_000
BYBIT = VenueId("bybit")


async def flat_again(world) -> None:
    world.exit()
    await world.until(lambda: world.held() == 0 and not world.execution.exits.goals and not world.venue.open_now())


@pytest.mark.fault(35)
@in_virtual_time
async def test_no_entry_while_the_position_that_the_venue_shows_lags_behind_our_fill(make_world):
    world = await make_world().boot()
    await world.open_position()
    held = await world.venue.account(0)
    world.venue.shown_account = lambda shown: msgspec.structs.replace(shown, positions=held.positions)
    await flat_again(world)
    for _ in range(3):
        assert await world.outcome_of(world.enter()) == ("denied", "account_not_converged")
        await asyncio.sleep(1)
    world.venue.shown_account = lambda shown: shown
    await asyncio.sleep(2)
    assert await world.outcome_of(world.enter()) == ("ordered", "")
    assert "position_corrected" not in world.incidents()


@pytest.mark.fault(34)
@in_virtual_time
async def test_no_entry_while_the_wallet_lags_behind_our_fill(make_world):
    world = await make_world().boot()
    before = world.venue.wallet
    stale = {"wallet": before}
    world.venue.shown_account = lambda shown: (
        shown
        if not stale
        else msgspec.structs.replace(shown, balance=msgspec.structs.replace(shown.balance, wallet=before))
    )
    world.enter()
    await world.until(world.is_covered)
    await flat_again(world)
    assert await world.outcome_of(world.enter()) == ("denied", "account_not_converged")
    stale.clear()
    await asyncio.sleep(2)
    assert await world.outcome_of(world.enter()) == ("ordered", "")
    assert world.rows("SELECT * FROM ledger WHERE kind = 'unexplained'") == []


@pytest.mark.fault(25)
@in_virtual_time
async def test_a_reading_asked_for_before_the_fill_proves_nothing(make_world):
    world = await make_world().boot()
    world.venue.read_delay_s = 1.0
    reading = asyncio.create_task(world.execution.reconciler.read(BINANCE, 0))
    await asyncio.sleep(0.01)
    world.venue.execute(BTC, world.venue.foreign_order(BTC).side, Decimal("0.1"))
    await reading
    assert world.execution.reconciler.check(BINANCE) is not None


@in_virtual_time
async def test_a_transfer_goes_to_the_ledger_and_is_no_loss(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.venue.wallet -= Decimal(4_000)
    await world.execution.reconciler.reconcile(BINANCE)
    assert world.rows("SELECT amount, currency FROM ledger WHERE kind = 'unexplained'") == [(-4000.0, "USDT")]
    assert "balance_unexplained" in world.incidents()
    assert world.execution.risk.losses.check_day(BINANCE) is None
    await world.close_position()
    assert await world.outcome_of(world.enter()) == ("ordered", "")


@in_virtual_time
async def test_a_daily_loss_stops_entries_until_midnight_across_a_restart_and_never_exits(make_world):
    world = await make_world(risk="max_daily_loss_fraction = 0.05").boot()
    await world.open_position()
    # a loss that the fills account for
    world.venue.execute(BTC, world.last(Purpose.STOP).request.side, Decimal("0.05"))
    loss = Decimal(600)

    def poorer(shown: AccountSnapshot) -> AccountSnapshot:
        balance = shown.balance
        return msgspec.structs.replace(shown, balance=msgspec.structs.replace(balance, equity=balance.wallet - loss))

    world.venue.shown_account = poorer
    await world.close_position()
    await world.execution.reconciler.read(BINANCE, 0)
    assert await world.outcome_of(world.enter()) == ("denied", "daily_loss")
    await world.restart()
    assert await world.outcome_of(world.enter()) == ("denied", "daily_loss")
    world.clock.step_ms += DAY_MS
    # a new day: before the first reading of it too
    assert await world.outcome_of(world.enter()) == ("ordered", "")


# --- the formula --------------------------------------------------------------------------------------------


def loss_guard(now_ms=lambda venue: START_MS + 1, **bases: tuple[str, str, str]) -> RiskGuard:
    """A guard over venues with (equity at 00:00, transfers since, equity now), at `now_ms` of each venue's clock."""
    state = TradingState()
    guard = RiskGuard(state, Limits(max_daily_loss_fraction=Decimal("0.05")), now_ms)
    for venue, (base, transfers, now) in bases.items():
        balance = VenueBalance(VenueId(venue), "USDT", Decimal(now), Decimal(now), Decimal(now))
        state.accounts[VenueId(venue)] = AccountSnapshot(VenueId(venue), balance, (), START_MS, START_MS)
        record = DayEquityRecord(VenueId(venue), "2026-01-01", Decimal(base), Decimal(transfers), START_MS)
        guard.losses.day_equities[(VenueId(venue), "2026-01-01")] = record
    return guard


@pytest.mark.parametrize(
    ("bases", "denied"),
    [
        ({"binance": ("1000", "0", "950")}, False),
        ({"binance": ("1000", "0", "949")}, True),
        ({"binance": ("1000", "-500", "451")}, False),
        ({"binance": ("1000", "-900", "90")}, False),
        ({"binance": ("1000", "-900", "49")}, True),
        ({"binance": ("1000", "500", "1451")}, False),
        ({"binance": ("1000", "500", "1449")}, True),
        ({"binance": ("1000", "0", "1200")}, False),
        ({"binance": ("1000", "0", "960"), "bybit": ("1000", "0", "930")}, True),
        ({"binance": ("1000", "0", "960"), "bybit": ("1000", "0", "945")}, False),
        ({"binance": ("1000", "0", "1000"), "bybit": ("1000", "0", "899")}, True),
        ({"binance": ("0", "0", "0")}, False),
    ],
)
def test_the_daily_loss_is_a_share_of_the_equity_at_midnight_per_venue_and_in_total_without_transfers(bases, denied):
    denial = loss_guard(**bases).losses.check_day(BINANCE)
    assert (denial is not None) == denied
    if denial is not None:
        assert denial.reason is DenyReason.DAILY_LOSS
        assert "00:00 UTC" in denial.detail


def test_yesterdays_base_says_nothing_of_today():
    guard = loss_guard(lambda venue: START_MS + DAY_MS, binance=("1000", "0", "1"))
    assert guard.losses.check_day(BINANCE) is None


# --- margin -------------------------------------------------------------------------------------------------


@pytest.mark.fault(63)
@in_virtual_time
async def test_margin_is_what_is_available_and_not_the_wallet(make_world):
    world = await make_world().boot()
    world.venue.margin_used = Decimal(9_500)
    await world.execution.reconciler.read(BINANCE, 0)
    # 0.1 × 50,000 / 5 = 1,000 and fees; 500 are available
    assert await world.outcome_of(world.enter()) == ("denied", "insufficient_margin")


@in_virtual_time
async def test_an_entry_in_doubt_counts_as_filled_when_margin_is_checked(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.ENTRY] = Silence()
    world.venue.margin_used = Decimal(8_500)
    await world.execution.reconciler.read(BINANCE, 0)
    world.enter()
    await world.until(lambda: world.sent(Purpose.ENTRY))
    assert await world.outcome_of(world.enter(instrument=ETH)) == ("denied", "insufficient_margin")


@in_virtual_time
async def test_a_reading_that_came_after_an_entry_in_doubt_does_not_free_its_margin(make_world):
    world = await make_world().boot()
    world.venue.always[Purpose.ENTRY] = Silence()
    world.venue.margin_used = Decimal(8_500)
    world.enter()
    await world.until(lambda: any(order.status is OrderStatus.IN_DOUBT for order in world.execution.state.entries()))
    await world.execution.reconciler.read(BINANCE, 0)
    assert await world.outcome_of(world.enter(instrument=ETH)) == ("denied", "insufficient_margin")


@in_virtual_time
async def test_an_entry_that_rests_since_the_last_reading_counts_as_filled(make_world):
    world = await make_world().boot()
    world.venue.margin_used = Decimal(8_500)
    await world.execution.reconciler.read(BINANCE, 0)
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: any(order.status is OrderStatus.ACCEPTED for order in world.execution.state.entries()))
    assert await world.outcome_of(world.enter(instrument=ETH)) == ("denied", "insufficient_margin")


@pytest.mark.parametrize(
    ("available", "limit_price", "outcome"),
    [
        (1_004, None, ("denied", "insufficient_margin")),
        (1_006, None, ("ordered", "")),
        # at 51,000 the venue wants 1,020 and fees, and covered what the entry is worth less at once
        (1_120, 51_000, ("denied", "insufficient_margin")),
        (1_130, 51_000, ("ordered", "")),
    ],
)
@in_virtual_time
async def test_margin_covers_both_fees_and_the_loss_that_a_worse_price_opens_with(
    make_world, available, limit_price, outcome
):
    world = await make_world().boot()
    world.venue.margin_used = Decimal(10_000 - available)
    await world.execution.reconciler.read(BINANCE, 0)
    fields = {} if limit_price is None else {"limit_price": Decimal(limit_price)}
    assert await world.outcome_of(world.enter(**fields)) == outcome


# --- the gate -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in VenueState if state is not VenueState.READY])
@in_virtual_time
async def test_no_entry_unless_the_venue_is_ready(make_world, state):
    world = await make_world().boot()
    world.execution.router.mark(BINANCE, state, "test")
    assert await world.outcome_of(world.enter()) == ("denied", "venue_not_ready")


@pytest.mark.fault(46)
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"quantity": float("nan")}, "invalid_intent"),
        ({"quantity": Decimal("0.0009")}, "below_min_quantity"),
        ({"quantity": Decimal("0.001")}, "below_min_notional"),
        ({"quantity": Decimal(121)}, "above_max_quantity"),
        ({"quantity": Decimal(30)}, "above_max_notional"),
        ({"stop_loss": None}, "stop_missing"),
        ({"stop_loss": Decimal(50_000)}, "stop_wrong_side"),
        ({"stop_loss": Decimal(51_000)}, "stop_wrong_side"),
        ({"take_profit": Decimal(49_500)}, "take_profit_wrong_side"),
        ({"limit_price": Decimal(40_000), "stop_loss": Decimal(39_000)}, "price_band"),
        ({"limit_price": Decimal("0.01"), "stop_loss": Decimal("0.01")}, "invalid_intent"),
    ],
)
@in_virtual_time
async def test_an_entry_that_breaks_a_rule_is_denied_with_the_rule_and_nothing_leaves(make_world, fields, reason):
    world = await make_world().boot()
    assert await world.outcome_of(world.enter(**fields)) == ("denied", reason)
    assert world.venue.submitted == []
    ((detail,),) = world.rows("SELECT detail FROM intents")
    assert detail


def test_a_take_profit_on_the_wrong_side_is_denied_without_a_stop_too():
    state = TradingState()
    guard = RiskGuard(state, Limits(require_stop=False), lambda venue: START_MS)
    intent = CheckedEnter(
        BTC, Side.BUY, Decimal("0.01"), None, None, None, TimeInForce.GTC, False, 1, None, Decimal(40_000), ""
    )
    mark = Decimal(50_000)
    balance = VenueBalance(BINANCE, "USDT", mark, mark, mark)
    draft = OrderRouter().entry(intent, rules_of(BTC), mark, mark)
    assert isinstance(draft, EntryDraft)
    view = EntryView(rules_of(BTC), mark, AccountSnapshot(BINANCE, balance, (), START_MS, START_MS), VenuePlan())
    denial = guard.approve_entry(draft, view)
    assert isinstance(denial, Denial)
    assert denial.reason is DenyReason.TAKE_PROFIT_WRONG_SIDE


@in_virtual_time
async def test_a_decision_that_is_dated_by_another_venues_clock_is_not_old(make_world):
    world = await make_world().boot()
    now_ms = world.clock.now_ms()
    record = IntentRecord(
        IntentId("i1"), DecisionKey("d1"), StrategyId("trend"), BTC, "enter", "{}", now_ms - 3_600_000
    )
    intent = Enter(BTC, Side.BUY, quantity=Decimal("0.1"), stop_loss=Decimal(49_000))
    decided = world.store.submit((record,), durable=False)
    world.execution.pipeline.submit_intent(record, intent, decided, late=False, cause_ms=now_ms)
    assert (await world.outcome_of(IntentId("i1")))[0] == "ordered"


@pytest.mark.fault(91)
@in_virtual_time
async def test_a_late_or_old_cause_and_every_switch_deny(make_world):
    world = await make_world().boot()
    intent = Enter(BTC, Side.BUY, quantity=Decimal("0.1"), stop_loss=Decimal(49_000))
    assert await world.outcome_of(world.submit(intent, late=True)) == ("denied", "stale")
    for switch in ("paused", "halted", "stopping"):
        setattr(world.execution.switches, switch, "test")
        assert await world.outcome_of(world.enter()) == ("denied", switch)
        setattr(world.execution.switches, switch, "")


@in_virtual_time
async def test_an_entry_beside_a_position_or_a_pending_entry_is_denied_by_what_is_there(make_world):
    world = await make_world().boot()
    world.enter(limit_price=Decimal(49_900))
    await world.until(lambda: world.venue.open_now())
    assert await world.outcome_of(world.enter()) == ("denied", "entry_pending")
    world.venue.fill(world.sent(Purpose.ENTRY)[0].client_order_id, Decimal("0.1"))
    await world.until(world.is_covered)
    assert await world.outcome_of(world.enter()) == ("denied", "position_open")
    assert await world.outcome_of(world.enter(Side.SELL)) == ("denied", "opposite_position")


@in_virtual_time
async def test_a_position_that_nobody_here_opened_denies_entries_and_is_told(make_world):
    world = await make_world().boot()
    world.venue.execute(BTC, Side.BUY, Decimal("0.1"))
    await world.until(lambda: world.held())
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)
    assert await world.outcome_of(world.enter()) == ("denied", "foreign_position")
    assert "foreign_position" in world.incidents()
    assert world.venue.submitted == []


@in_virtual_time
async def test_an_entry_for_whose_stop_the_venue_has_no_room_is_denied(make_world):
    world = await make_world().boot()
    world.venue.limits = msgspec.structs.replace(world.venue.limits, conditional_orders=5)
    await world.open_position()
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)
    assert await world.outcome_of(world.enter(instrument=ETH)) == ("denied", "not_protectable")
    world.venue.limits = msgspec.structs.replace(world.venue.limits, conditional_orders=6)
    assert await world.outcome_of(world.enter(instrument=ETH)) == ("ordered", "")


@in_virtual_time
async def test_where_each_instrument_has_room_for_its_own_stops_no_position_denies_another(make_world):
    world = await make_world().boot()
    world.venue.limits = msgspec.structs.replace(world.venue.limits, conditional_orders=None)
    await world.open_position()
    await world.until(lambda: world.execution.reconciler.check(BINANCE) is None)
    assert await world.outcome_of(world.enter(instrument=ETH)) == ("ordered", "")


@in_virtual_time
async def test_a_fault_of_ours_behind_a_fill_is_told_and_the_next_fill_converges(make_world):
    def broken(snapshot):
        raise ValueError("a fault of ours")

    world = await make_world().boot()
    world.venue.shown_account = broken
    world.enter()
    await world.until(lambda: "converge_failed" in world.incidents())
    world.venue.shown_account = lambda snapshot: snapshot
    await world.close_position()


@in_virtual_time
async def test_what_forbids_an_entry_while_it_waits_for_the_price_is_asked_again(make_world):
    world = await make_world().boot()
    read = world.venue.mark_price

    async def slowly(*arguments):
        world.execution.switches.paused = "an operator looks"
        return await read(*arguments)

    world.venue.mark_price = slowly
    world.execution.state.prices.clear()
    assert await world.outcome_of(world.enter()) == ("denied", "paused")
    assert world.venue.submitted == []
