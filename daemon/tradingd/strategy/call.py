"""One call of a handler: everything that touches a plugin's objects happens in here, under the timer."""

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from tradingd.domain.errors import TradingdError
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import CancelOrders, Enter, Exit, Intent, Note, Protect
from tradingd.domain.jsonsafe import dumps
from tradingd.domain.text import storable
from tradingd.strategy.context import StateBook

_INTENTS = (Enter, Exit, Protect, CancelOrders, Note)
_NUMBERS = ("quantity", "notional", "risk", "limit_price", "stop_loss", "take_profit")
_TEXTS = ("reason", "tag")
_MAX_NOTE_CHARACTERS = 65_536


class BadYield(TradingdError):
    """A handler yielded something that is not an intent, or not one that the handler may yield."""


class Flood(TradingdError):
    """A handler yielded more intents than one call may."""


class Yielded(msgspec.Struct, frozen=True):
    """One intent of a call, in plain types, with its JSON text (for a Note: of its values)."""

    intent: Intent
    payload_json: str


class CallResult(msgspec.Struct, frozen=True):
    """What one call gave: its intents in order, and the states that it changed."""

    yielded: tuple[Yielded, ...]
    states: dict[InstrumentId, str]


def call_handler(
    handler: Callable[[], object], states: StateBook, max_intents: int, *, notes_only: bool = False
) -> CallResult:
    """Run `handler` to its end. Raises whatever it raises, BadYield, BadState, or Flood above `max_intents`."""
    result = handler()
    yielded: list[Yielded] = []
    if result is not None:
        if not isinstance(result, Iterable) or isinstance(result, str | bytes):
            raise BadYield(f"the handler returned {_shown(result)}; allowed: intents, yielded or in a list, or None")
        try:
            for item in result:
                if len(yielded) >= max_intents:
                    raise Flood(f"the handler yielded more than {max_intents} intents in one call")
                yielded.append(_checked(item, notes_only))
        finally:
            # here, not when the generator is collected: its own `finally` is plugin code and belongs under the timer
            close = getattr(result, "close", None)
            if close is not None:
                close()
    return CallResult(tuple(yielded), states.changes())


def _shown(value: object) -> str:
    return f"{dumps(value)[:100]} ({type(value).__name__})"


def _checked(item: object, notes_only: bool) -> Yielded:
    if type(item) not in _INTENTS:
        raise BadYield(f"the handler yielded {_shown(item)}; allowed: Enter, Exit, Protect, CancelOrders, Note")
    intent: Intent = item  # type: ignore[assignment]
    name = type(intent).__name__
    if type(intent.instrument) is not InstrumentId:
        raise BadYield(f"{name}.instrument is {_shown(intent.instrument)}; allowed: one of ctx.instruments")
    if notes_only and not isinstance(intent, Note):
        raise BadYield(f"on_start yielded {name}; allowed there: Note (act on the first candle instead)")
    instrument = InstrumentId(VenueId(_text(intent.instrument.venue)), _text(intent.instrument.symbol))
    if isinstance(intent, Note):
        return Yielded(Note(instrument, _text(intent.reason)), _note_json(intent))
    changed: dict[str, object] = {"instrument": instrument}
    changed |= {field: _number(getattr(intent, field)) for field in _NUMBERS if hasattr(intent, field)}
    changed |= {field: _text(getattr(intent, field)) for field in _TEXTS if hasattr(intent, field)}
    if isinstance(intent, Enter):
        changed |= {"side": _choice(intent.side), "time_in_force": _choice(intent.time_in_force)}
        changed |= {"post_only": _number(intent.post_only), "expire_candles": _number(intent.expire_candles)}
    plain_intent = msgspec.structs.replace(intent, **changed)
    fields = {name: getattr(plain_intent, name) for name in plain_intent.__struct_fields__ if name != "instrument"}
    return Yielded(plain_intent, dumps({name: value for name, value in fields.items() if value is not None}))


def _note_json(note: Note) -> str:
    text = dumps(note.values)
    if len(text) > _MAX_NOTE_CHARACTERS:
        return dumps({"left_out": f"{len(text)} characters; kept: {_MAX_NOTE_CHARACTERS}", "begins": storable(text)})
    return text if text.startswith("{") else dumps({"values": note.values})


def _number(value: object) -> object:
    """A number in one of Python's own types: nothing of the plugin's is left in it when the pipeline looks at it."""
    if value is None or type(value) in (Decimal, int, float, bool):
        return value
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, float):  # numpy's float64 among them
        return float(value)
    if isinstance(value, int):
        return int(value)
    return _text(value)  # numpy's other scalars read well; anything else is denied as no number


def _text(value: object) -> str:
    return storable(str.__str__(value) if isinstance(value, str) else str(value))


def _choice(value: object) -> object:
    return value if type(value).__module__ == "tradingd.domain.intents" else _text(value)
