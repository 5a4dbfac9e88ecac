"""Puts the daemon's parts together. Every object is made here, once, and given what it needs."""

from collections.abc import Awaitable, Callable
from decimal import Decimal

import msgspec

from tradingd.bus import Bus
from tradingd.config import Settings
from tradingd.domain.account import SubmitOutcome
from tradingd.domain.candles import timeframe_ms
from tradingd.domain.errors import Severity
from tradingd.domain.events import Filled, ForeignOrderSeen, PositionSeen, StrategyQuarantined, incident
from tradingd.domain.ids import Epoch, Purpose, StrategyId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import DenyReason
from tradingd.domain.orders import Fill, Order
from tradingd.domain.records import FlagRecord, Record, Recovered
from tradingd.execution.balance_reconciler import BalanceReconciler
from tradingd.execution.cover import Covers
from tradingd.execution.desk import Desk
from tradingd.execution.entries import Entries, Switches
from tradingd.execution.exchange_router import ExchangeRouter
from tradingd.execution.exits import Exits
from tradingd.execution.foreign import by_venue
from tradingd.execution.hold_period_guard import HoldPeriodGuard
from tradingd.execution.idempotency_manager import IdempotencyManager
from tradingd.execution.leftover_sweeper import LeftoverSweeper
from tradingd.execution.levels import Levels
from tradingd.execution.limits import Limits, StrategyPlan, VenuePlan
from tradingd.execution.lookout import Lookout
from tradingd.execution.moves import Moves
from tradingd.execution.order_router import OrderRouter
from tradingd.execution.pipeline import Pipeline
from tradingd.execution.protection import Protection
from tradingd.execution.protective_orders import ProtectiveOrders
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.execution.recorder import Recorder
from tradingd.execution.resting_entries import RestingEntries
from tradingd.execution.retry_policy import RetryPolicy
from tradingd.execution.risk_guard import RiskGuard
from tradingd.execution.sender import Sender
from tradingd.execution.state import TradingState
from tradingd.ports import Clock, Random, Store, Venue

NEW_JOURNAL = (
    "the journal is new, and a tradingd traded here before. If it was lost: stop tradingd, restore {path} with "
    "what stands beside it, and start again. If it is meant to be new: close what the order protects, cancel the order "
    "at the venue, then `tradingd resume`"
)
"""Told of an order under our prefix that a journal without any earlier run cannot know."""


class Execution(msgspec.Struct, frozen=True):
    """Everything between an intent and the wire."""

    state: TradingState
    recorder: Recorder
    idempotency: IdempotencyManager
    limiter: RateLimiter
    router: ExchangeRouter
    sweeper: LeftoverSweeper
    risk: RiskGuard
    protection: Protection
    exits: Exits
    reconciler: BalanceReconciler
    pipeline: Pipeline
    retry: RetryPolicy
    switches: Switches
    hold: HoldPeriodGuard


def limits_of(settings: Settings) -> Limits:
    """The limits that execution works with; ages become venue time."""
    risk, execution = settings.risk, settings.execution
    speed = settings.daemon.speed if settings.mode == "sim" else 1
    return Limits(
        order_prefix=settings.daemon.order_prefix,
        submit_timeout_s=execution.submit_timeout_s,
        unprotected_limit_s=execution.unprotected_limit_s,
        look_every_s=execution.look_every_s,
        converge_timeout_s=execution.converge_timeout_s,
        sweep_always=execution.sweep_before_entry == "always",
        deny_on_foreign_orders=execution.foreign_orders == "deny",
        require_stop=risk.require_stop,
        visibility_margin_ms=execution.visibility_margin_ms * speed,
        max_candle_age_ms=round(risk.max_candle_age_s * 1000 * speed),
        max_position_notional_usdt=Decimal(risk.max_position_notional_usdt),
        max_open_positions=risk.max_open_positions,
        max_leverage=risk.max_leverage,
        max_daily_loss_fraction=Decimal(risk.max_daily_loss_fraction),
        max_drawdown_fraction=Decimal(risk.max_drawdown_fraction),
        price_band_fraction=Decimal(risk.price_band_fraction),
    )


def plans_of(settings: Settings) -> tuple[dict[InstrumentId, StrategyId], dict[InstrumentId, StrategyPlan]]:
    """Who owns which instrument, and how long it holds still after a close."""
    owners: dict[InstrumentId, StrategyId] = {}
    plans: dict[InstrumentId, StrategyPlan] = {}
    for name, section in settings.strategies.items():
        step_ms = timeframe_ms(section.timeframe)
        for instrument in section.instruments:
            owners[instrument] = StrategyId(name)
            plans[instrument] = StrategyPlan(name, section.hold_candles * step_ms, step_ms)
    return owners, plans


def build_execution(
    settings: Settings,
    venues: dict[VenueId, Venue],
    limiter: RateLimiter,
    store: Store,
    bus: Bus,
    clock: Clock,
    random: Random,
    epoch: Epoch,
    recovered: Recovered,
    spool: Callable[[str], None],
) -> Execution:
    """Make the execution pipeline and give it what the journal remembers."""
    limits = limits_of(settings)
    owners, plans = plans_of(settings)
    late: dict[str, Pipeline] = {}  # facts and emergencies reach the pipeline, which is made last

    def on_fact(instrument: InstrumentId) -> None:
        late["pipeline"].on_fact(instrument)

    def emergency_exit(instrument: InstrumentId, why: str) -> None:
        late["pipeline"].exit(instrument, why, owners.get(instrument))

    state = _build_state(owners, venues, recovered)
    recorder = Recorder(state, store, bus, clock, limits.order_prefix, on_fact)
    # a restart obeys bans too (P13): what a full disk does not take is held like an order's fact
    limiter.save_ban = lambda ban: _write(recorder, ban)
    recorder.remember_unowned(recovered.recent_fills)
    router = ExchangeRouter(venues, recorder, bus, clock)
    desk = Desk(state, recorder, router, RetryPolicy(clock, random), bus, clock, limits)
    idempotency = IdempotencyManager(
        limits.order_prefix, epoch, state, recorder, clock, spool, limits.visibility_margin_ms
    )
    tools = _Tools(
        idempotency=idempotency,
        sender=Sender(state, idempotency, limiter, router, limits),
        orders=OrderRouter(),
        risk=_risk_guard(state, limits, clock, recovered),
    )
    sweeper, protection = _build_protection(
        settings, desk, store, tools, epoch, recovered, emergency_exit, lambda each: reconciler.book_missing(each)
    )
    reconciler = BalanceReconciler(desk, idempotency, sweeper, tools.risk)
    reconciler.load(recovered.flags)
    pipeline, exits, switches, hold = _build_pipeline(
        settings, desk, tools, plans, sweeper, protection, reconciler, recovered
    )
    late["pipeline"] = pipeline
    execution = Execution(
        state=state,
        recorder=recorder,
        idempotency=idempotency,
        limiter=limiter,
        router=router,
        sweeper=sweeper,
        risk=tools.risk,
        protection=protection,
        exits=exits,
        reconciler=reconciler,
        pipeline=pipeline,
        retry=desk.retry,
        switches=switches,
        hold=hold,
    )
    _connect(execution, bus, clock)
    return execution


class _Tools(msgspec.Struct, frozen=True):
    """What builds, approves, names and sends an order."""

    idempotency: IdempotencyManager
    sender: Sender
    orders: OrderRouter
    risk: RiskGuard


def _build_state(
    owners: dict[InstrumentId, StrategyId], venues: dict[VenueId, Venue], recovered: Recovered
) -> TradingState:
    state = TradingState()
    state.owners.update(owners)
    state.order_books.update({name: venue.limits.order_books for name, venue in venues.items()})
    state.load(recovered)
    return state


def _build_protection(
    settings: Settings,
    desk: Desk,
    store: Store,
    tools: _Tools,
    epoch: Epoch,
    recovered: Recovered,
    emergency_exit: Callable[[InstrumentId, str], None],
    book_missing: Callable[[InstrumentId], Awaitable[int]],
) -> tuple[LeftoverSweeper, Protection]:
    """What places protective orders and what sweeps them away; each needs to know of the other."""
    sweeper = LeftoverSweeper(desk, store, lambda instrument: protection.keep_ids(instrument))
    sweeper.known_epochs.update(recovered.epochs, {epoch})
    if not recovered.epochs:
        sweeper.new_journal = NEW_JOURNAL.format(path=settings.journal_path)
    legs = ProtectiveOrders(
        desk,
        sender=tools.sender,
        orders=tools.orders,
        risk=tools.risk,
        idempotency=tools.idempotency,
        placed=sweeper.forget,
    )
    covers = Covers(desk.state, lambda instrument: desk.router.venue(instrument).state_protection is not None)
    levels = Levels(desk, covers, tools.idempotency, book_missing)
    protection = Protection(desk, legs, levels, covers, emergency_exit)
    protection.load(recovered.protections)
    return sweeper, protection


def _risk_guard(state: TradingState, limits: Limits, clock: Clock, recovered: Recovered) -> RiskGuard:
    risk = RiskGuard(state, limits, lambda venue: clock.at(venue).now_ms())
    risk.losses.load(recovered.day_equities, recovered.flags)
    return risk


def _build_pipeline(
    settings: Settings,
    desk: Desk,
    tools: _Tools,
    plans: dict[InstrumentId, StrategyPlan],
    sweeper: LeftoverSweeper,
    protection: Protection,
    reconciler: BalanceReconciler,
    recovered: Recovered,
) -> tuple[Pipeline, Exits, Switches, HoldPeriodGuard]:
    """The steps that send orders, and the lanes that they run in."""
    switches = Switches()
    _restore_switches(switches, recovered)
    hold = HoldPeriodGuard(desk.state, plans)
    lookout = Lookout(desk, tools.idempotency, reconciler.book_missing)
    resting = RestingEntries(desk, lookout)
    exits = Exits(
        desk,
        sender=tools.sender,
        orders=tools.orders,
        risk=tools.risk,
        resting=resting,
        book_missing=reconciler.book_missing,
        patience_s=protection.patience_of_s,
    )
    exits.load(recovered.flags, InstrumentId.parse)
    entries = Entries(
        desk,
        hold=hold,
        sweeper=sweeper,
        orders=tools.orders,
        risk=tools.risk,
        sender=tools.sender,
        protection=protection,
        reconciler=reconciler,
        plans=plans,
        venue_plans={
            name: VenuePlan(venue.leverage, venue.margin_mode) for name, venue in settings.enabled_venues.items()
        },
        switches=switches,
        exiting=lambda instrument: instrument in exits.goals,
    )
    desk.router.on_late_refusal = _late_refusals(desk, entries, exits)
    moves = Moves(
        desk,
        protection,
        lane=lambda instrument: pipeline.lane(instrument),
        exiting=lambda instrument: instrument in exits.goals,
        deny=entries.deny,
    )
    pipeline = Pipeline(
        desk,
        entries=entries,
        exits=exits,
        resting=resting,
        lookout=lookout,
        protection=protection,
        moves=moves,
        sweeper=sweeper,
        reconciler=reconciler,
        idempotency=tools.idempotency,
        switches=switches,
    )
    return pipeline, exits, switches, hold


def _restore_switches(switches: Switches, recovered: Recovered) -> None:
    for flag in recovered.flags:
        if flag.name == "paused":
            switches.paused = flag.reason if flag.value else ""
        elif flag.name == "halted":
            switches.halted = flag.reason if flag.value else ""
        elif flag.name.startswith("quarantined:") and flag.value:
            switches.quarantined[StrategyId(flag.name.removeprefix("quarantined:"))] = flag.reason


def _late_refusals(desk: Desk, entries: Entries, exits: Exits) -> Callable[[Order, SubmitOutcome], None]:
    """Who hears that the venue refused an order after its step had ended."""

    def tell(order: Order, outcome: SubmitOutcome) -> None:
        purpose = order.request.purpose
        if purpose is Purpose.ENTRY:
            entries.on_late_refusal(order, outcome)
        elif purpose is Purpose.EXIT:
            exits.on_late_refusal(outcome, order.instrument)
        else:  # the next look at the position finds that it lacks it, and places it anew
            why = f"{purpose.name.lower()} {order.client_order_id}: {outcome.told()}"
            desk.recorder.incident("protection_refused_late", Severity.WARNING, why, order)

    return tell


def _connect(execution: Execution, bus: Bus, clock: Clock) -> None:
    """Subscribe what keeps the state, before anything that decides by it."""
    reconciler, pipeline, sweeper = execution.reconciler, execution.pipeline, execution.sweeper

    def on_fill(fill: Fill) -> list[Record]:
        records = reconciler.note_fill(fill)
        pipeline.note_fill(fill.instrument.venue)
        return records

    execution.recorder.on_fill = on_fill
    execution.recorder.on_unknown = pipeline.on_unknown
    levels = execution.protection.levels
    reconciler.learn_levels = levels.look
    levels.on_look = pipeline.on_fact
    execution.recorder.on_state_order = levels.note_shown
    bus.subscribe(PositionSeen, lambda event: pipeline.on_position(event.position))
    bus.subscribe(ForeignOrderSeen, lambda event: sweeper.note_foreign(event.order))

    def on_filled(event: Filled) -> None:
        if (told := by_venue(event)) is not None:
            bus.publish(told)

    bus.subscribe(Filled, on_filled)

    def on_quarantined(event: StrategyQuarantined) -> None:
        execution.switches.quarantined[event.strategy] = event.reason
        pipeline.cancel_entries_of(event.strategy, "strategy quarantined")

    bus.subscribe(StrategyQuarantined, on_quarantined)
    sweeper.on_stranger = lambda why: halt(execution, clock, why)
    execution.recorder.queue.on_halt = sweeper.on_stranger

    def on_loss(venue: VenueId, which: DenyReason, why: str) -> None:
        bus.publish(incident(which.value, Severity.CRITICAL, why, venue))
        if which is DenyReason.DRAWDOWN:
            halt(execution, clock, why)

    execution.risk.losses.on_reached = on_loss


def halt(execution: Execution, clock: Clock, why: str) -> None:
    """No more entries anywhere, in later runs too, until an operator says `resume`."""
    if not execution.switches.halted:  # the first reason stands, and a flag that is refused halts nothing anew
        execution.switches.halted = why
        execution.recorder.commit((FlagRecord("halted", "1", why, clock.now_ms()),))


def _write(recorder: Recorder, record: Record) -> None:
    recorder.submit((record,))
