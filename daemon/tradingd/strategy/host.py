"""The host: gives events to strategies, each under a budget, and turns what they yield into journalled decisions."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec
import structlog

from tradingd.bus import Bus
from tradingd.domain.candles import Candle
from tradingd.domain.errors import JournalUnitRefused, PluginError, Severity
from tradingd.domain.events import (
    CandleClosed,
    Event,
    Filled,
    IncidentRaised,
    IntentDenied,
    OrderChanged,
    StrategyQuarantined,
)
from tradingd.domain.ids import DecisionKey, StrategyId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import CancelOrders, Denial, DenyReason, Enter, Exit, Protect
from tradingd.domain.records import FlagRecord, IntentRecord, Record, Recovered, StreamRecord
from tradingd.domain.text import MAX_CHARACTERS, storable
from tradingd.ports import Clock, Journal
from tradingd.strategy.base import Signal, Strategy
from tradingd.strategy.call import CallResult, Flood, call_handler
from tradingd.strategy.context import AccountView, Context, StateBook
from tradingd.strategy.decision import Cause, Decision, SeenKeys, failed, unit_fields, write_down
from tradingd.strategy.loader import LoadedStrategy
from tradingd.strategy.timer import HandlerOverran, HandlerTimer

MIN_HISTORY_CANDLES = 1_000
MAX_ERRORS_IN_A_ROW = 3
"""So many failed calls one after another quarantine a strategy; one good call in between starts the count anew."""

log = structlog.get_logger(__name__)

Actionable = Enter | Exit | Protect | CancelOrders


class IntentSink(Protocol):
    """Who carries intents out; execution's pipeline."""

    def submit_intent(
        self, record: IntentRecord, intent: Actionable, decided: "asyncio.Future[None]", *, late: bool, cause_ms: int
    ) -> None:
        """Take one intent over, at once and in the order of the calls; its outcome is the sink's to write.

        `record` is the intent's row without outcome. `decided` ends with the commit of the decision, or with
        JournalError. `late` and `cause_ms` (close time of the candle, or time of the event) are of what caused it.
        """
        ...


class HostSettings(msgspec.Struct, frozen=True):
    """The limits of one handler call, in real ms, and of what it may yield."""

    soft_budget_ms: int = 50
    hard_budget_ms: int = 1_000
    max_intents: int = 100


class _Runner:
    """One strategy while it runs: its object, its context, and whether it may be called."""

    def __init__(self, loaded: LoadedStrategy, account: AccountView, states: StateBook) -> None:
        self.loaded = loaded
        self.id = loaded.id
        self.strategy: Strategy = loaded.create()
        self.states = states
        capacity = max(loaded.warmup, MIN_HISTORY_CANDLES)
        self.ctx = Context(loaded.instruments, loaded.timeframe, account, capacity, states)
        self.started = False
        self.quarantine: str | None = None
        self.errors = 0
        self.waiting: list[Callable[[], None]] = []

    def overrides(self, handler: str) -> bool:
        """Whether the plugin has this handler; what it has not is neither called nor journalled."""
        return getattr(type(self.strategy), handler) is not getattr(Strategy, handler)


class StrategyHost:
    """Owns the strategies. Everything here is synchronous: a handler's decision is submitted, never awaited."""

    def __init__(
        self,
        *,
        strategies: Sequence[LoadedStrategy],
        bus: Bus,
        clock: Clock,
        store: Journal,
        account: AccountView,
        sink: IntentSink,
        timer: HandlerTimer,
        recovered: Recovered,
        settings: HostSettings | None = None,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._store = store
        self._sink = sink
        self._timer = timer
        self._settings = settings or HostSettings()
        self._seen = SeenKeys(recovered.recent_decisions)
        self._runners: dict[StrategyId, _Runner] = {}
        self._owners: dict[InstrumentId, _Runner] = {}
        self._held = 0
        for loaded in strategies:
            states = {r.instrument: r.state_json for r in recovered.states if r.strategy == loaded.id}
            self._add(_Runner(loaded, account, StateBook(states)))
        for flag in recovered.flags:
            runner = self._runners.get(StrategyId(flag.name.removeprefix("quarantined:")))
            if flag.name.startswith("quarantined:") and flag.value and runner is not None:
                runner.quarantine = flag.reason

    def _add(self, runner: _Runner) -> None:
        self._runners[runner.id] = runner
        for instrument in runner.loaded.instruments:
            if instrument in self._owners:
                raise PluginError(
                    f"{instrument} belongs to strategies {self._owners[instrument].id} and {runner.id}; "
                    "allowed: one strategy per instrument"
                )
            self._owners[instrument] = runner

    def subscribe(self) -> None:
        """Hear the bus from now on; call it at the host's place in the order of subscribers."""
        self._bus.subscribe(CandleClosed, self._on_candle)
        self._bus.subscribe(OrderChanged, self._on_order)
        self._bus.subscribe(Filled, self._on_fill)

    def quarantined(self) -> dict[StrategyId, str]:
        """The strategies that are not called any more, and why."""
        return {runner.id: runner.quarantine for runner in self._runners.values() if runner.quarantine is not None}

    # --- start, stop ----------------------------------------------------------------------------------------------

    def start(self, strategy: StrategyId, history: Mapping[InstrumentId, Iterable[Candle]]) -> None:
        """Give the warm-up history and call `on_start`; events that came before are handled now, in order."""
        self.add_history(strategy, history)
        self._start(self._runners[strategy])

    def add_history(self, strategy: StrategyId, history: Mapping[InstrumentId, Iterable[Candle]]) -> None:
        """Give the warm-up history of instruments whose venue came after the strategy's start."""
        for instrument, candles in history.items():
            self._runners[strategy].ctx.history(instrument).replace(candles)

    def _start(self, runner: _Runner) -> None:
        if runner.quarantine is None:
            cause = self._own_cause(runner, "start")
            ctx = runner.ctx
            if not self._call(runner, cause, "on_start", lambda: runner.strategy.on_start(ctx), notes_only=True):
                self._quarantine(runner, "on_start failed; see its decision in the journal")
        runner.started = True
        waiting, runner.waiting = runner.waiting, []
        for call in waiting:
            call()

    def stop(self) -> None:
        """Call every `on_stop`; for an orderly end, once entries are stopped."""
        for runner in self._runners.values():
            if runner.started and runner.quarantine is None and runner.overrides("on_stop"):
                self._stop(runner)
            runner.started = False

    def _stop(self, runner: _Runner) -> None:
        cause = self._own_cause(runner, "stop")
        self._call(runner, cause, "on_stop", lambda: runner.strategy.on_stop(runner.ctx))

    def _own_cause(self, runner: _Runner, kind: str) -> Cause:
        now = number = self._clock.now_ms()
        while (key := DecisionKey(f"{runner.id}|{kind}|{number}")) in self._seen:
            number += 1  # started, failed, lifted and started again within one ms
        return Cause(kind, key, now)

    def lift_quarantine(self, strategy: StrategyId) -> bool:
        """Let the strategy run again, as a new object that starts from its history; False when it was not quarantined.

        Whatever it kept in memory is gone; its committed state is not.
        """
        runner = self._runners.get(strategy)
        if runner is None or runner.quarantine is None:
            return False
        runner.quarantine = None
        runner.errors = 0
        flag = FlagRecord(f"quarantined:{strategy}", "", "lifted by the operator", self._clock.now_ms())
        self._submit((flag,), durable=True)
        runner.strategy = runner.loaded.create()
        if runner.started:
            self._start(runner)
        return True

    # --- events ---------------------------------------------------------------------------------------------------

    def _on_candle(self, event: CandleClosed) -> None:
        candle = event.candle
        runner = self._owners.get(candle.instrument)
        if runner is None or candle.timeframe != runner.loaded.timeframe:
            return
        self._when_started(runner, lambda: self._candle(runner, candle))

    def _candle(self, runner: _Runner, candle: Candle) -> None:
        key = f"{runner.id}|candle|{candle.instrument}|{candle.timeframe}|{candle.close_time_ms}"
        cause = Cause("candle", DecisionKey(key), candle.close_time_ms, candle.instrument, candle.late)
        runner.ctx.history(candle.instrument).append(candle)
        now_ms = self._clock.at(candle.instrument.venue).now_ms()
        delivered = StreamRecord(candle.instrument, candle.timeframe, candle.open_time_ms, now_ms)
        if not self._may_ask(runner, cause, "on_candle"):
            self._submit((delivered,))
            return
        self._call(
            runner, cause, "on_candle", lambda: runner.strategy.on_candle(candle, runner.ctx), extra=(delivered,)
        )

    def _on_fill(self, event: Filled) -> None:
        fill = event.fill
        runner = self._owners.get(fill.instrument)
        if runner is None:
            return
        key = f"{runner.id}|fill|{fill.instrument.venue}|{fill.instrument.symbol}|{fill.trade_id}"
        cause = Cause("fill", DecisionKey(key), fill.time_ms, fill.instrument)
        self._ask(runner, cause, "on_fill", lambda: runner.strategy.on_fill(fill, runner.ctx))

    def _on_order(self, event: OrderChanged) -> None:
        order = event.order
        runner = self._owners.get(order.instrument)
        if runner is None:
            return
        key = f"{runner.id}|order|{order.client_order_id}|{order.status}"
        cause = Cause("order", DecisionKey(key), event.time_ms, order.instrument)
        self._ask(runner, cause, "on_order", lambda: runner.strategy.on_order(order, runner.ctx))

    def signal(self, strategy: StrategyId, signal: Signal) -> None:
        """Give a message from outside to a strategy; one whose key was handled before is not given again."""
        runner = self._runners[strategy]
        cause = Cause("signal", DecisionKey(f"{runner.id}|signal|{signal.key}"), signal.received_ms, signal.instrument)
        self._ask(runner, cause, "on_signal", lambda: runner.strategy.on_signal(signal, runner.ctx))

    def _ask(self, runner: _Runner, cause: Cause, handler: str, call: Callable[[], object]) -> None:
        if not runner.overrides(handler):
            return

        def ask() -> None:
            if self._may_ask(runner, cause, handler):
                self._call(runner, cause, handler, call)

        self._when_started(runner, ask)

    def _when_started(self, runner: _Runner, call: Callable[[], None]) -> None:
        if runner.started:
            call()
        else:
            runner.waiting.append(call)

    def _may_ask(self, runner: _Runner, cause: Cause, handler: str) -> bool:
        return runner.quarantine is None and runner.overrides(handler) and cause.key not in self._seen

    # --- one call -------------------------------------------------------------------------------------------------

    def _call(
        self,
        runner: _Runner,
        cause: Cause,
        handler: str,
        call: Callable[[], object],
        *,
        extra: tuple[Record, ...] = (),
        notes_only: bool = False,
    ) -> bool:
        """Call one handler and submit its decision as one unit; False when it failed."""
        self._seen.add(cause.key)
        clock = self._clock if cause.instrument is None else self._clock.at(cause.instrument.venue)
        runner.ctx.now = clock.now_ms()
        began = self._clock.monotonic()
        error: BaseException | None = None
        result = CallResult((), {})
        settings = self._settings
        try:
            result = self._timer.run(
                lambda: call_handler(call, runner.states, settings.max_intents, notes_only=notes_only),
                settings.hard_budget_ms,
                runner.id,
            )
        except BaseException as raised:  # SystemExit and the like are the plugin's doing too
            error = raised
        took_us = int((self._clock.monotonic() - began) * 1_000_000)
        decision = Decision(runner.id, cause, runner.ctx.now, took_us, runner.loaded.code_sha256)
        if took_us > settings.soft_budget_ms * 1_000:
            log.warning("handler_was_slow", strategy=runner.id, handler=handler, took_ms=took_us // 1_000)
        if error is not None:
            self._fail(runner, decision, handler, error, extra)
            return False
        runner.errors = 0
        self._decide(runner, decision, result, extra)
        return True

    def _decide(self, runner: _Runner, decision: Decision, result: CallResult, extra: tuple[Record, ...]) -> None:
        written = write_down(decision, result, owned=runner.loaded.instruments)
        runner.states.commit(result.states)
        decided = self._submit((*written.records, *extra))
        for record, intent in written.intents:
            if record.outcome is None:
                cause = decision.cause
                cause_ms = self._time_at(intent.instrument.venue, cause)
                self._sink.submit_intent(record, intent, decided, late=cause.late, cause_ms=cause_ms)
            else:
                denial = Denial(DenyReason.NOT_OWNED, record.detail)
                self._bus.publish(IntentDenied(record.intent_id, runner.id, intent, denial))

    def _time_at(self, venue: VenueId, cause: Cause) -> int:
        """When the cause happened by the time of `venue`: what one venue tells may call for an order on another."""
        if cause.instrument is not None and cause.instrument.venue == venue:
            return cause.time_ms
        own = self._clock if cause.instrument is None else self._clock.at(cause.instrument.venue)
        return cause.time_ms + self._clock.at(venue).now_ms() - own.now_ms()

    def _fail(
        self, runner: _Runner, decision: Decision, handler: str, error: BaseException, extra: tuple[Record, ...]
    ) -> None:
        runner.states.roll_back()
        text = self._describe(runner, error)
        self._submit((failed(decision, text), *extra))
        runner.errors += 1
        log.error("handler_failed", strategy=runner.id, handler=handler, cause=decision.cause.key, error=text)
        if isinstance(error, HandlerOverran | Flood):
            self._quarantine(runner, f"{handler}: {text}")
        elif runner.errors >= MAX_ERRORS_IN_A_ROW:
            self._quarantine(runner, f"{runner.errors} failed calls in a row, the last in {handler}: {text}")
        else:
            self._publish_incident("handler_failed", Severity.WARNING, f"{handler}: {text}", runner.id)

    def _describe(self, runner: _Runner, error: BaseException) -> str:
        if isinstance(error, HandlerOverran):
            return f"the handler did not end within {self._settings.hard_budget_ms} ms"
        try:
            # the error's own __str__ is plugin code, too
            text = self._timer.run(lambda: runner.loaded.describe(error), self._settings.hard_budget_ms)
            return storable(text, 2 * MAX_CHARACTERS)
        except BaseException as second:
            return storable(f"{type(error).__name__} (its text cannot be read: {type(second).__name__})")

    def _quarantine(self, runner: _Runner, reason: str) -> None:
        if runner.quarantine is not None:
            return
        runner.quarantine = reason
        self._submit((FlagRecord(f"quarantined:{runner.id}", "yes", reason, self._clock.now_ms()),), durable=True)
        self._bus.publish(StrategyQuarantined(runner.id, reason))
        self._publish_incident("strategy_quarantined", Severity.CRITICAL, reason, runner.id)

    def _publish_incident(self, kind: str, severity: Severity, detail: str, strategy: StrategyId) -> None:
        event: Event = IncidentRaised(kind, severity, detail, strategy=strategy)
        self._bus.publish(event)

    def _submit(self, records: Sequence[Record], *, durable: bool = False) -> "asyncio.Future[None]":
        # not durable by itself: commits are ordered, so the FULL commit of the order leg behind it covers the decision
        future = self._store.submit(records, durable=durable)
        future.add_done_callback(lambda done: self._submitted(done, records))
        return future

    def _submitted(self, done: "asyncio.Future[None]", records: Sequence[Record]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is None:
            if self._held > 1 and not done.cancelled():
                log.info("decisions_held", count=self._held, what="units that waited; the journal takes them now")
            self._held = 0
            return
        if isinstance(error, JournalUnitRefused):
            remedy = "kept in *.refused beside the journal, entries halt: look at it, then `tradingd resume`"
            log.error("decision_not_recorded", **unit_fields(records), reason=str(error), remedy=remedy)
            return
        self._held += 1
        if self._held == 1:
            # told once, then counted: the next ones fail for the same reason, candle after candle
            remedy = "written once the journal can be; lost only if the daemon ends before that"
            log.error("decision_not_recorded", **unit_fields(records), reason=str(error), remedy=remedy)
