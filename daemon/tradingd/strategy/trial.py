"""A trial of one strategy over synthetic candles: does it run, what does it yield, how long does it take.

No market and no result in money: entries are taken at the close and stops at their price, only so that the strategy
sees positions of both kinds. `mode = "sim"` is the place to see it trade.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec

from tradingd.domain.candles import Candle, timeframe_ms
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Denial, Enter, Exit, Intent, Protect, check_enter, check_protect
from tradingd.domain.positions import Position
from tradingd.strategy.call import call_handler
from tradingd.strategy.context import Context, StateBook
from tradingd.strategy.loader import LoadedStrategy
from tradingd.strategy.testing import EPOCH_MS, Account
from tradingd.strategy.timer import HandlerOverran, HandlerTimer

_TICK = Decimal("0.1")


class Trial(msgspec.Struct):
    """What a trial found. `error` ends it; `invalid` are intents that the daemon would deny, with the first reason."""

    candles: int = 0
    yields: Counter[str] = msgspec.field(default_factory=Counter)
    invalid: int = 0
    first_invalid: str = ""
    without_stop: int = 0
    longest_ms: float = 0.0
    longest_handler: str = ""
    error: str | None = None


def synthetic_candles(instrument: InstrumentId, timeframe: str, count: int, seed: int) -> Iterator[Candle]:
    """A seeded random walk with changing drift, so that averages cross; prices on a tick of 0.1."""
    rng = random.Random(f"{seed} {instrument}")
    step_ms = timeframe_ms(timeframe)
    price, drift = 20_000.0, 0.0
    for number in range(count):
        if number % 40 == 0:
            drift = rng.gauss(0.0, 0.0006)
        path = [price]
        for _ in range(4):
            path.append(max(path[-1] * (1 + drift / 4 + rng.gauss(0.0, 0.0006)), 1.0))
        price = path[-1]
        exact = [Decimal(str(one)).quantize(_TICK) for one in path]
        volume = Decimal(rng.randrange(1, 100))
        yield Candle(
            instrument, timeframe, EPOCH_MS + number * step_ms, exact[0], max(exact), min(exact), exact[-1], volume
        )


class _Run:
    def __init__(self, loaded: LoadedStrategy, timer: HandlerTimer, limit_ms: int, monotonic: Callable[[], float]):
        self.loaded = loaded
        self.timer = timer
        self.limit_ms = limit_ms
        self.monotonic = monotonic
        self.trial = Trial()
        self.account = Account(Decimal(10_000))
        self.stops: dict[InstrumentId, tuple[Decimal | None, Decimal | None]] = {}
        self.states = StateBook()
        self.strategy = loaded.create()
        self.ctx = Context(loaded.instruments, loaded.timeframe, self.account, max(loaded.warmup, 1_000), self.states)

    def call(self, handler: str, call: Callable[[], object], *, notes_only: bool = False) -> list[Intent]:
        began = self.monotonic()
        result = self.timer.run(
            lambda: call_handler(call, self.states, 100, notes_only=notes_only), self.limit_ms, self.loaded.id
        )
        took_ms = (self.monotonic() - began) * 1000
        if took_ms > self.trial.longest_ms:
            self.trial.longest_ms, self.trial.longest_handler = took_ms, handler
        self.states.commit(result.states)
        intents = [yielded.intent for yielded in result.yielded]
        self.trial.yields.update(type(intent).__name__ for intent in intents)
        return intents

    def candle(self, candle: Candle) -> None:
        self._trigger(candle)
        self.ctx.history(candle.instrument).append(candle)
        self.ctx.now = candle.close_time_ms
        self.account.prices[candle.instrument] = candle.close
        self.trial.candles += 1
        for intent in self.call("on_candle", lambda: self.strategy.on_candle(candle, self.ctx)):
            if isinstance(intent, Enter):
                self._enter(intent, candle)
            elif isinstance(intent, Protect):
                self._protect(intent)
            elif isinstance(intent, Exit):
                self.account.positions.pop(intent.instrument, None)

    def _trigger(self, candle: Candle) -> None:
        position = self.account.position(candle.instrument)
        stop, profit = self.stops.get(candle.instrument, (None, None))
        low, high = (stop, profit) if position.is_long else (profit, stop)
        if not position.is_flat and ((low and candle.low <= low) or (high and candle.high >= high)):
            self.account.positions.pop(candle.instrument, None)

    def _protect(self, intent: Protect) -> None:
        levels = check_protect(intent)
        if isinstance(levels, Denial):
            self._deny(levels)
            return
        stop, profit = self.stops.get(intent.instrument, (None, None))
        self.stops[intent.instrument] = (levels[0] or stop, levels[1] or profit)

    def _deny(self, denial: Denial) -> None:
        self.trial.invalid += 1
        self.trial.first_invalid = self.trial.first_invalid or denial.detail

    def _enter(self, intent: Enter, candle: Candle) -> None:
        checked = check_enter(intent)
        if isinstance(checked, Denial):
            self._deny(checked)
            return
        self.trial.without_stop += checked.stop_loss is None
        position = self.account.position(intent.instrument)
        if intent.instrument in self.loaded.instruments and position.is_flat:
            held = Position(intent.instrument, Decimal(checked.side.sign), candle.close, candle.close_time_ms)
            self.account.positions[intent.instrument] = held
            self.stops[intent.instrument] = (checked.stop_loss, checked.take_profit)


def try_out(
    loaded: LoadedStrategy,
    *,
    count: int,
    seed: int,
    timer: HandlerTimer,
    limit_ms: int,
    monotonic: Callable[[], float],
) -> Trial:
    """Run the strategy over `count` candles of each instrument; the first error ends the trial and is told in it."""
    series = [synthetic_candles(one, loaded.timeframe, count + loaded.warmup, seed) for one in loaded.instruments]
    run = _Run(loaded, timer, limit_ms, monotonic)
    try:
        for candles in series:
            for _ in range(loaded.warmup):
                candle = next(candles)
                run.ctx.history(candle.instrument).append(candle)
                run.ctx.now = candle.close_time_ms
        run.call("on_start", lambda: run.strategy.on_start(run.ctx), notes_only=True)
        for together in zip(*series, strict=True):
            for candle in together:
                run.candle(candle)
        run.call("on_stop", lambda: run.strategy.on_stop(run.ctx))
    except HandlerOverran:
        run.trial.error = f"a handler did not end within {limit_ms} ms"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the plugin raises is what the trial is for, SystemExit too
        run.trial.error = loaded.describe(error)
    return run.trial
