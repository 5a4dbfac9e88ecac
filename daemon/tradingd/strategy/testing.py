"""For authors of strategies: a plain `ctx`, candles from closing prices, and a run over them.

ctx = make_context([BTC], history=[...])
intents = list(strategy.on_candle(candle, ctx))
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from tradingd.domain.candles import Candle, timeframe_ms
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.intents import Intent
from tradingd.domain.numbers import exact
from tradingd.domain.positions import Position
from tradingd.strategy.base import Strategy
from tradingd.strategy.call import CallResult, call_handler
from tradingd.strategy.context import Context, StateBook

EPOCH_MS = 1_735_689_600_000
"""2025-01-01T00:00Z: where candles start unless said otherwise."""


class Account:
    """An account that the test sets by hand: assign `positions[instrument]`, `equity_usdt`, `available_usdt`."""

    def __init__(self, available_usdt: Decimal = Decimal(1_000)) -> None:
        self.available_usdt: Decimal | None = available_usdt
        self.equity_usdt: Decimal | None = available_usdt
        self.positions: dict[InstrumentId, Position] = {}
        self.prices: dict[InstrumentId, Decimal] = {}
        self.instruments: dict[InstrumentId, Instrument] = {}

    def position(self, instrument: InstrumentId) -> Position:
        """The position that was set, else flat."""
        return self.positions.get(instrument, Position(instrument))

    def equity(self, venue: VenueId) -> Decimal | None:
        """`equity_usdt`, on every venue."""
        return self.equity_usdt

    def available(self, venue: VenueId) -> Decimal | None:
        """`available_usdt`, on every venue."""
        return self.available_usdt

    def last_price(self, instrument: InstrumentId) -> Decimal | None:
        """The price that was set."""
        return self.prices.get(instrument)

    def rules(self, instrument: InstrumentId) -> Instrument:
        """The rules that were set, else a tick of 0.1 and a lot of 0.001."""
        return self.instruments.get(instrument) or Instrument(
            id=instrument,
            market_id=instrument.symbol.partition(":")[0].replace("/", ""),
            tick_size=Decimal("0.1"),
            lot_size=Decimal("0.001"),
            min_quantity=Decimal("0.001"),
            max_quantity=Decimal(1_000),
            max_market_quantity=Decimal(100),
            min_notional=Decimal(5),
        )


def make_candles(
    instrument: InstrumentId,
    closes: Iterable[Decimal | int | float | str],
    *,
    timeframe: str = "1m",
    start_ms: int = EPOCH_MS,
) -> list[Candle]:
    """Closed candles with these closing prices; each opens at the close before it."""
    candles: list[Candle] = []
    step_ms = timeframe_ms(timeframe)
    for number, price in enumerate(closes):
        close = exact(price, "close")
        before = candles[-1].close if candles else close
        candles.append(
            Candle(
                instrument,
                timeframe,
                start_ms + number * step_ms,
                before,
                max(before, close),
                min(before, close),
                close,
                Decimal(1),
            )
        )
    return candles


def make_context(
    instruments: Sequence[InstrumentId],
    *,
    timeframe: str = "1m",
    account: Account | None = None,
    history: Iterable[Candle] = (),
    states: Mapping[InstrumentId, str] | None = None,
    capacity: int = 1_000,
) -> Context:
    """A `ctx` as the host makes it, over an account of the test's own."""
    ctx = Context(instruments, timeframe, account or Account(), capacity, StateBook(states))
    for candle in history:
        ctx.history(candle.instrument).append(candle)
        ctx.now = candle.close_time_ms
    return ctx


class Bench:
    """Runs one strategy call by call, with the host's own checks, on an account that the test sets."""

    def __init__(
        self,
        strategy: Strategy,
        instruments: Sequence[InstrumentId],
        *,
        timeframe: str = "1m",
        history: Iterable[Candle] = (),
        max_intents: int = 100,
    ) -> None:
        self.strategy = strategy
        self.account = Account()
        self._states = StateBook()
        self._max_intents = max_intents
        self.ctx = Context(instruments, timeframe, self.account, 1_000, self._states)
        for candle in history:
            self.ctx.history(candle.instrument).append(candle)

    def start(self) -> list[Intent]:
        """Call `on_start`; its notes."""
        result = call_handler(
            lambda: self.strategy.on_start(self.ctx), self._states, self._max_intents, notes_only=True
        )
        return self._kept(result)

    def candle(self, candle: Candle) -> list[Intent]:
        """Give one closed candle; what the strategy yields, in order."""
        self.ctx.history(candle.instrument).append(candle)
        self.ctx.now = candle.close_time_ms
        return self._kept(
            call_handler(lambda: self.strategy.on_candle(candle, self.ctx), self._states, self._max_intents)
        )

    def _kept(self, result: CallResult) -> list[Intent]:
        self._states.commit(result.states)
        return [yielded.intent for yielded in result.yielded]
