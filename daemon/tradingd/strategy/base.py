"""The base class of every strategy: parameters as annotated class attributes, handlers as generators of intents."""

from collections.abc import Iterable, Mapping

import msgspec

from tradingd.domain.candles import Candle
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Intent
from tradingd.domain.orders import Fill, Order
from tradingd.strategy.context import Context
from tradingd.strategy.parameters import bind


class Signal(msgspec.Struct, frozen=True):
    """A message from outside for one strategy; `key` makes it unique, `payload` is its JSON object."""

    key: str
    source: str
    instrument: InstrumentId | None
    payload: Mapping[str, object]
    received_ms: int


class Strategy:
    """Derive one class per plugin file. Its first docstring line is what `strategies list` shows.

    An annotated class attribute of type int, float, str, bool, Decimal or Literal is a parameter, with its default
    where it has one: `fast: int = 10`, or with bounds `fast: Annotated[int, Range(2, 500)] = 10`. Names that start
    with an underscore are the strategy's own.

    Handlers are plain synchronous functions. They answer with intents: yielded, or returned in an iterable, or None.
    They must end within `handler_budget_ms`. A handler that raises loses all intents of that call.
    """

    def __init__(self, **parameters: object) -> None:
        """Set the parameters; raises ParameterError. Plugins set up in `on_start`, not here."""
        for name, value in bind(type(self), parameters).items():
            setattr(self, name, value)

    def check_parameters(self) -> None:
        """Raise ValueError when the parameters do not fit each other; called at start, before any handler."""

    def on_start(self, ctx: Context) -> Iterable[Intent] | None:
        """Once, before the first candle, with the warm-up history in `ctx.candles`. May yield only `Note`."""

    def on_candle(self, candle: Candle, ctx: Context) -> Iterable[Intent] | None:
        """Each closed candle, exactly once and in order."""

    def on_order(self, order: Order, ctx: Context) -> Iterable[Intent] | None:
        """An order on an own instrument reached a new status."""

    def on_fill(self, fill: Fill, ctx: Context) -> Iterable[Intent] | None:
        """An execution on an own instrument, whoever ordered it."""

    def on_signal(self, signal: Signal, ctx: Context) -> Iterable[Intent] | None:
        """A message from outside."""

    def on_stop(self, ctx: Context) -> Iterable[Intent] | None:
        """Once, on an orderly stop. Entries are denied by then; protection stays on the venue by itself."""


HANDLERS = ("on_start", "on_candle", "on_order", "on_fill", "on_signal", "on_stop")
