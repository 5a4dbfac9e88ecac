"""What a handler sees of the world: its instruments, their candles, the account, and its own state."""

import json
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Protocol

from tradingd.domain.candles import Candle
from tradingd.domain.errors import TradingdError
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.numbers import ZERO
from tradingd.domain.positions import Position

MAX_STATE_CHARACTERS = 65_536
_HALF_PAIR = re.compile("[\ud800-\udfff]")
"""Half a surrogate pair: no UTF-8 holds it, so the state keeps its escape as text; an exit beside it must leave."""


class AccountView(Protocol):
    """What execution shows to strategies; None where no reading exists yet."""

    def position(self, instrument: InstrumentId) -> Position:
        """The position, flat when none is known."""
        ...

    def equity(self, venue: VenueId) -> Decimal | None:
        """Balance with unrealised profit and loss, settle currency."""
        ...

    def available(self, venue: VenueId) -> Decimal | None:
        """Margin that a new order may use, settle currency."""
        ...

    def last_price(self, instrument: InstrumentId) -> Decimal | None:
        """The latest price seen on any stream."""
        ...

    def rules(self, instrument: InstrumentId) -> Instrument:
        """The venue's rules for the instrument."""
        ...


class BadState(TradingdError):
    """A strategy's state that JSON cannot keep, or that is too large."""


class History:
    """The closed candles of one instrument up to the one being handled, oldest first, bounded."""

    def __init__(self, capacity: int) -> None:
        self._candles: deque[Candle] = deque(maxlen=capacity)
        self.capacity = capacity

    def append(self, candle: Candle) -> None:
        """Add the candle that is handled next."""
        self._candles.append(candle)

    def replace(self, candles: Iterable[Candle]) -> None:
        """Forget everything and keep `candles` instead."""
        self._candles.clear()
        self._candles.extend(candles)

    def last(self, count: int) -> list[Candle]:
        """The last `count` candles, fewer while there are fewer; raises ValueError above the capacity."""
        if not 1 <= count <= self.capacity:
            raise ValueError(f"{count} candles were asked for; allowed: 1 to {self.capacity} (raise warmup)")
        size = len(self._candles)
        return list(islice(self._candles, max(0, size - count), size))


class StateBook:
    """The strategy's own JSON dicts, one per instrument: handed out live, committed or rolled back per call."""

    def __init__(self, committed: Mapping[InstrumentId, str] | None = None) -> None:
        self._committed = dict(committed or {})
        self._live: dict[InstrumentId, dict[str, Any]] = {}

    def get(self, instrument: InstrumentId) -> dict[str, Any]:
        """The live dict of an instrument."""
        if instrument not in self._live:
            self._live[instrument] = json.loads(self._committed.get(instrument, "{}"))
        return self._live[instrument]

    def changes(self) -> dict[InstrumentId, str]:
        """The JSON text of each dict that differs from what was committed; raises BadState."""
        changed = {}
        for instrument, state in self._live.items():
            text = _state_text(instrument, state)
            if text != self._committed.get(instrument, "{}"):
                changed[instrument] = text
        return changed

    def commit(self, changes: Mapping[InstrumentId, str]) -> None:
        """Take the changes for granted; the live dicts become exactly what a restart would read."""
        self._committed.update(changes)
        for instrument in changes:
            self._refill(instrument)

    def roll_back(self) -> None:
        """Undo what the failed call did to the dicts."""
        for instrument in self._live:
            self._refill(instrument)

    def _refill(self, instrument: InstrumentId) -> None:
        # in place, since the strategy may have kept the dict
        state = self._live[instrument]
        state.clear()
        state.update(json.loads(self._committed.get(instrument, "{}")))


def _state_text(instrument: InstrumentId, state: dict[str, Any]) -> str:
    try:
        text = json.dumps(state, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadState(
            f"the state of {instrument} cannot be kept: {error}; allowed: text, finite int and float, true, false, "
            "None, lists and dicts with text keys (write a Decimal as str)"
        ) from None
    if len(text) > MAX_STATE_CHARACTERS:
        raise BadState(f"the state of {instrument} has {len(text)} characters; allowed: {MAX_STATE_CHARACTERS}")
    return _HALF_PAIR.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)


class Context:
    """`ctx`: reads are as of the call. `now` is venue time in ms UTC."""

    def __init__(
        self,
        instruments: Sequence[InstrumentId],
        timeframe: str,
        account: AccountView,
        capacity: int,
        states: StateBook | None = None,
    ) -> None:
        self.instruments: tuple[InstrumentId, ...] = tuple(instruments)
        self.timeframe = timeframe
        self.now = 0
        self._account = account
        self._histories = {instrument: History(capacity) for instrument in self.instruments}
        self._states = states if states is not None else StateBook()

    def position(self, instrument: InstrumentId) -> Position:
        """The net position on an own instrument."""
        return self._account.position(self._own(instrument))

    def equity(self, instrument: InstrumentId) -> Decimal | None:
        """Equity at the instrument's venue in its settle currency; None until the venue was read."""
        return self._account.equity(self._own(instrument).venue)

    def available(self, instrument: InstrumentId) -> Decimal:
        """Margin that a new order on the instrument may use; 0 until the venue was read, since then none may."""
        available = self._account.available(self._own(instrument).venue)
        return ZERO if available is None else available

    def candles(self, instrument: InstrumentId, count: int) -> list[Candle]:
        """The last `count` closed candles, oldest first, up to and with the one being handled."""
        return self.history(instrument).last(count)

    def closes(self, instrument: InstrumentId, count: int) -> list[Decimal]:
        """The closing prices of `candles(instrument, count)`."""
        return [candle.close for candle in self.candles(instrument, count)]

    def last_price(self, instrument: InstrumentId) -> Decimal:
        """The latest price seen, else the last close; raises LookupError when neither is known."""
        price = self._account.last_price(self._own(instrument))
        if price is not None:
            return price
        closes = self.closes(instrument, 1)
        if not closes:
            raise LookupError(f"no price of {instrument} is known yet")
        return closes[0]

    def instrument_rules(self, instrument: InstrumentId) -> Instrument:
        """Tick size, lot size and limits, from the venue's live filters."""
        return self._account.rules(self._own(instrument))

    def state(self, instrument: InstrumentId) -> dict[str, Any]:
        """An own JSON dict per instrument: committed with the decision, rolled back on an error, kept over restarts."""
        return self._states.get(self._own(instrument))

    def history(self, instrument: InstrumentId) -> History:
        """The candle history of an own instrument; the host's handle on it."""
        return self._histories[self._own(instrument)]

    def _own(self, instrument: InstrumentId) -> InstrumentId:
        if instrument not in self._histories:
            own = ", ".join(str(one) for one in self.instruments)
            raise ValueError(f"{instrument} is not an instrument of this strategy; allowed: {own}")
        return instrument
