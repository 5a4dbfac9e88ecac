"""Intents: what a strategy wants, free of any venue. Built by plugins, so nothing in them is trusted until checked."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

import msgspec

from tradingd.domain.errors import BadNumber
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.jsonsafe import dumps
from tradingd.domain.numbers import positive, shown

E = TypeVar("E", bound=StrEnum)
Number = Decimal | int | float | str


class Side(StrEnum):
    """The side of an order or of a fill."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, −1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class TimeInForce(StrEnum):
    """How long a limit order rests."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"


class Enter(msgspec.Struct, frozen=True, tag="enter"):
    """Open a position from flat. Give exactly one of quantity (contracts), notional (quote currency), risk (fraction).

    `risk` is the fraction of equity lost at the stop, fees included. Without `limit_price` it is a market order.
    A limit order is cancelled once `expire_candles` candles have closed since; `post_only` is refused if it would take.
    """

    instrument: InstrumentId
    side: Side
    quantity: Number | None = None
    notional: Number | None = None
    risk: Number | None = None
    limit_price: Number | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    expire_candles: int = 1
    stop_loss: Number | None = None
    take_profit: Number | None = None
    tag: str = ""


class Exit(msgspec.Struct, frozen=True, tag="exit"):
    """Close whatever the venue holds on the instrument, at market, reduce-only, tried until flat."""

    instrument: InstrumentId
    reason: str = ""


class Protect(msgspec.Struct, frozen=True, tag="protect"):
    """Replace the stop loss and/or the take profit of the open position, without a gap in protection."""

    instrument: InstrumentId
    stop_loss: Number | None = None
    take_profit: Number | None = None


class CancelOrders(msgspec.Struct, frozen=True, tag="cancel_orders"):
    """Cancel own resting entry orders on the instrument; protection stays."""

    instrument: InstrumentId


class Note(msgspec.Struct, frozen=True, tag="note"):
    """Why nothing was done: journalled beside the decision, and shown by `journal why`."""

    instrument: InstrumentId
    reason: str
    values: Mapping[str, object] = {}


Intent = Enter | Exit | Protect | CancelOrders | Note


class DenyReason(StrEnum):
    """Why an intent was refused before the wire; the text in the journal's `reason` column."""

    INVALID_INTENT = "invalid_intent"
    NOT_OWNED = "not_owned"
    VENUE_NOT_READY = "venue_not_ready"
    JOURNAL_NOT_WRITABLE = "journal_not_writable"
    PAUSED = "paused"
    HALTED = "halted"
    STOPPING = "stopping"
    STALE = "stale"
    HOLD_PERIOD = "hold_period"
    ENTRY_PENDING = "entry_pending"
    IN_DOUBT = "in_doubt"
    POSITION_OPEN = "position_open"
    OPPOSITE_POSITION = "opposite_position"
    FOREIGN_POSITION = "foreign_position"
    FOREIGN_ORDERS = "foreign_orders"
    SWEEP_NOT_PROVED = "sweep_not_proved"
    ACCOUNT_NOT_CONVERGED = "account_not_converged"
    STOP_MISSING = "stop_missing"
    STOP_WRONG_SIDE = "stop_wrong_side"
    TAKE_PROFIT_WRONG_SIDE = "take_profit_wrong_side"
    NO_PRICE = "no_price"
    PRICE_BAND = "price_band"
    BELOW_MIN_QUANTITY = "below_min_quantity"
    ABOVE_MAX_QUANTITY = "above_max_quantity"
    BELOW_MIN_NOTIONAL = "below_min_notional"
    ABOVE_MAX_NOTIONAL = "above_max_notional"
    TOO_MANY_POSITIONS = "too_many_positions"
    LEVERAGE = "leverage"
    INSUFFICIENT_MARGIN = "insufficient_margin"
    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    REDUCE_ONLY_MODE = "reduce_only_mode"
    NOT_PROTECTABLE = "not_protectable"
    NO_POSITION = "no_position"
    RATE_BUDGET = "rate_budget"
    BANNED = "banned"
    RESTARTED = "restarted"
    QUARANTINED = "quarantined"
    INSTRUMENT_BLOCKED = "instrument_blocked"


class Denial(msgspec.Struct, frozen=True):
    """A refusal with its reason and the numbers that led to it."""

    reason: DenyReason
    detail: str = ""


class CheckedEnter(msgspec.Struct, frozen=True):
    """An `Enter` whose numbers are exact Decimals and whose sizing is one of three."""

    instrument: InstrumentId
    side: Side
    quantity: Decimal | None
    notional: Decimal | None
    risk: Decimal | None
    limit_price: Decimal | None
    time_in_force: TimeInForce
    post_only: bool
    expire_candles: int
    stop_loss: Decimal | None
    take_profit: Decimal | None
    tag: str


def _optional(value: object, what: str) -> Decimal | None:
    return None if value is None else positive(value, what)


def _choice(kind: type[E], value: object, what: str) -> E:
    allowed = ", ".join(kind)
    if not isinstance(value, str) or value not in tuple(kind):
        raise BadNumber(f"{what} is {shown(value)}; allowed: {allowed}")
    return kind(value)


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def check_enter(intent: Enter) -> CheckedEnter | Denial:
    """The intent with exact numbers, or the denial `invalid_intent` that names the field and what is allowed."""
    sizes = [name for name in ("quantity", "notional", "risk") if getattr(intent, name) is not None]
    if len(sizes) != 1:
        given = ", ".join(sizes) or "none of them"
        return Denial(DenyReason.INVALID_INTENT, f"exactly one of quantity, notional, risk is allowed; given: {given}")
    try:
        side = _choice(Side, intent.side, "side")
        time_in_force = _choice(TimeInForce, intent.time_in_force, "time_in_force")
        if not isinstance(intent.post_only, bool):
            raise BadNumber(f"post_only is {shown(intent.post_only)}; allowed: True or False")
        if not _is_count(intent.expire_candles, 10_000):
            raise BadNumber(f"expire_candles is {shown(intent.expire_candles)}; allowed: 1 to 10000")
        risk = _optional(intent.risk, "risk")
        if risk is not None and risk >= 1:
            raise BadNumber(f"risk is {shown(intent.risk)}; allowed: a fraction of equity above 0 and below 1")
        checked = CheckedEnter(
            instrument=intent.instrument,
            side=side,
            quantity=_optional(intent.quantity, "quantity"),
            notional=_optional(intent.notional, "notional"),
            risk=risk,
            limit_price=_optional(intent.limit_price, "limit_price"),
            time_in_force=time_in_force,
            post_only=intent.post_only,
            expire_candles=intent.expire_candles,
            stop_loss=_optional(intent.stop_loss, "stop_loss"),
            take_profit=_optional(intent.take_profit, "take_profit"),
            tag=(intent.tag if isinstance(intent.tag, str) else dumps(intent.tag))[:100],
        )
    except BadNumber as error:
        return Denial(DenyReason.INVALID_INTENT, str(error))
    if checked.post_only and checked.limit_price is None:
        return Denial(DenyReason.INVALID_INTENT, "post_only needs a limit_price")
    if checked.post_only and checked.time_in_force is not TimeInForce.GTC:
        return Denial(DenyReason.INVALID_INTENT, "post_only rests in the book; allowed with it: GTC")
    if checked.risk is not None and checked.stop_loss is None:
        return Denial(DenyReason.INVALID_INTENT, "risk needs a stop_loss to measure the loss against")
    return checked


def check_protect(intent: Protect) -> tuple[Decimal | None, Decimal | None] | Denial:
    """The exact (stop_loss, take_profit), or the denial; at least one must be given."""
    if intent.stop_loss is None and intent.take_profit is None:
        return Denial(DenyReason.INVALID_INTENT, "Protect needs a stop_loss, a take_profit or both")
    try:
        return _optional(intent.stop_loss, "stop_loss"), _optional(intent.take_profit, "take_profit")
    except BadNumber as error:
        return Denial(DenyReason.INVALID_INTENT, str(error))
