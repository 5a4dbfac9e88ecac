"""Why the core refuses something; each dialect has its own code and text for it."""

from __future__ import annotations

from enum import Enum, StrEnum


class Reason(Enum):
    """Grounds of refusal that all venues share."""

    QUANTITY_NOT_POSITIVE = "quantity_not_positive"
    QUANTITY_TOO_SMALL = "quantity_too_small"
    QUANTITY_TOO_LARGE = "quantity_too_large"
    QUANTITY_STEP = "quantity_step"
    QUANTITY_PRECISION = "quantity_precision"
    PRICE_NOT_POSITIVE = "price_not_positive"
    PRICE_PRECISION = "price_precision"
    PRICE_TICK = "price_tick"
    PRICE_TOO_HIGH = "price_too_high"
    PRICE_TOO_LOW = "price_too_low"
    TRIGGER_NOT_POSITIVE = "trigger_not_positive"
    NOTIONAL_TOO_SMALL = "notional_too_small"
    MARGIN = "margin"
    LEVERAGE_CAP = "leverage_cap"
    REDUCE_ONLY = "reduce_only"
    WOULD_TRIGGER = "would_trigger"
    FILL_OR_KILL = "fill_or_kill"
    POST_ONLY = "post_only"
    DUPLICATE_ID = "duplicate_id"
    CLOSE_POSITION_EXISTS = "close_position_exists"
    NO_POSITION = "no_position"
    TOO_MANY_CONDITIONALS = "too_many_conditionals"
    TOO_MANY_ORDERS = "too_many_orders"
    UNKNOWN_ORDER = "unknown_order"
    NOTHING_TO_CHANGE = "nothing_to_change"
    NOT_A_LIMIT_ORDER = "not_a_limit_order"
    AMEND_NOTIONAL = "amend_notional"
    NOT_TRADING = "not_trading"
    NO_OPENING = "no_opening"
    CLOSED = "closed"
    ONLY_REDUCE = "only_reduce"
    AMEND_NOT_TRADING = "amend_not_trading"
    MARKET_BAND = "market_band"
    ACTIVATION_PRICE = "activation_price"
    LEVERAGE_TOO_SMALL = "leverage_too_small"
    ISOLATED_LEVERAGE = "isolated_leverage"


class Cause(StrEnum):
    """Why an order that was taken ended without being filled."""

    OWNER = "owner"
    NO_QUANTITY = "no_quantity"
    REDUCE_ONLY = "nothing_to_reduce"
    POSITION_CLOSED = "position_closed"
    LIQUIDATION = "liquidation"
    SETTLEMENT = "settlement"
    VENUE = "venue"
    TIME = "time"


class Refused(Exception):
    """The core does not do it; nothing has changed."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason.value, detail)
        self.reason = reason
        self.detail = detail
