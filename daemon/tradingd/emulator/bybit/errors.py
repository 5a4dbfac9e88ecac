"""Bybit's codes and texts: what the gateway refuses with a retCode, what the engine tells later as a rejectReason."""

from __future__ import annotations

from tradingd.emulator.core.refusal import Cause, Reason, Refused

_TEXTS: dict[int, str] = {
    10001: "Request parameter error.",
    10003: "API key is invalid.",
    10004: "error sign! please check your signature generation algorithm.",
    10005: "Permission denied, please check your API key permissions.",
    10006: "Too many visits. Exceeded the API Rate Limit.",
    10016: "Server error.",
    110001: "order not exists or too late to cancel",
    110003: "Order price exceeds the allowable range.",
    110007: "ab not enough for new order",
    110008: "The order has been completed or cancelled.",
    110009: "The number of stop orders exceeds the maximum allowable limit.",
    110010: "The order has been cancelled.",
    110013: "cannot set leverage gt maxLeverage by risk limit",
    110017: "current position is zero, cannot fix reduce-only order qty",
    110020: "Not allowed to have more than 500 active orders",
    110023: "Currently, only reducing positions is supported for this contract.",
    110024: "You have an existing position, so position mode cannot be switched",
    110025: "Position mode is not modified",
    110026: "Cross/isolated margin mode is not modified",
    110028: "There are existing open orders, so position mode cannot be switched",
    110043: "leverage not modified",
    110044: "Available margin is insufficient.",
    110072: "OrderLinkedID is duplicate",
    110074: "This contract is not live",
    110090: "Order placement failed as your position may exceed the max limit.",
    110092: "expect Rising, but trigger_price is not above the current price",
    110093: "expect Falling, but trigger_price is not below the current price",
    34040: "not modified",
    3400045: "Set margin mode failed",
}

_CODES: dict[Reason, tuple[int, str | None]] = {
    Reason.QUANTITY_NOT_POSITIVE: (10001, "Qty invalid"),
    Reason.QUANTITY_PRECISION: (10001, "Qty invalid"),
    Reason.QUANTITY_STEP: (10001, "Qty invalid"),
    Reason.QUANTITY_TOO_SMALL: (10001, "The number of contracts exceeds minimum limit allowed"),
    Reason.QUANTITY_TOO_LARGE: (10001, "The number of contracts exceeds maximum limit allowed: too large"),
    Reason.PRICE_NOT_POSITIVE: (10001, "Price invalid"),
    Reason.PRICE_PRECISION: (10001, "Price invalid"),
    Reason.PRICE_TICK: (10001, "Price invalid"),
    Reason.TRIGGER_NOT_POSITIVE: (10001, "TriggerPrice invalid"),
    Reason.PRICE_TOO_HIGH: (110003, None),
    Reason.PRICE_TOO_LOW: (110003, None),
    Reason.NOTIONAL_TOO_SMALL: (110094, None),
    Reason.AMEND_NOTIONAL: (110094, None),
    Reason.MARGIN: (110007, None),
    Reason.LEVERAGE_CAP: (110090, None),
    Reason.REDUCE_ONLY: (110017, None),
    Reason.DUPLICATE_ID: (110072, None),
    Reason.TOO_MANY_CONDITIONALS: (110009, None),
    Reason.TOO_MANY_ORDERS: (110020, None),
    Reason.UNKNOWN_ORDER: (110001, None),
    Reason.NOTHING_TO_CHANGE: (10001, "The order remains unchanged as the parameters entered match the existing ones."),
    Reason.NOT_A_LIMIT_ORDER: (10001, "Only limit order can be amended"),
    Reason.AMEND_NOT_TRADING: (110074, None),
    Reason.NOT_TRADING: (110074, None),
    Reason.NO_OPENING: (110074, None),
    Reason.CLOSED: (110074, None),
    Reason.ONLY_REDUCE: (110023, None),
    Reason.NO_POSITION: (10001, "can not set tp/sl/ts for zero position"),
}

_REJECTIONS: dict[str, str] = {
    Reason.MARKET_BAND.value: "EC_NoImmediateQtyToFill",
    Reason.POST_ONLY.value: "EC_PostOnlyWillTakeLiquidity",
    Reason.FILL_OR_KILL.value: "EC_CancelForNoFullFill",
    Reason.NOT_TRADING.value: "EC_InvalidSymbolStatus",
    Reason.CLOSED.value: "EC_InvalidSymbolStatus",
    Reason.PRICE_TOO_HIGH.value: "EC_LimitOrderInvalidPrice",
    Reason.PRICE_TOO_LOW.value: "EC_LimitOrderInvalidPrice",
    Cause.OWNER: "EC_PerCancelRequest",
    Cause.NO_QUANTITY: "EC_NoImmediateQtyToFill",
}

_CANCEL_TYPES: dict[str, str] = {
    Cause.OWNER: "CancelByUser",
    Cause.REDUCE_ONLY: "CancelByReduceOnly",
    Reason.REDUCE_ONLY.value: "CancelByReduceOnly",
    Cause.LIQUIDATION: "CancelAllBeforeLiq",
    Cause.SETTLEMENT: "CancelBySettle",
    Cause.VENUE: "CancelByAdmin",
    Cause.POSITION_CLOSED: "CancelByTpSlTsClear",
}

CANCELS = (Reason.MARKET_BAND, Reason.POST_ONLY, Reason.FILL_OR_KILL, Reason.REDUCE_ONLY)
"""What the engine ends as Cancelled; everything else that it does not take is Rejected."""


class VenueError(Exception):
    """An answer with `{"retCode", "retMsg"}` under HTTP 200 unless told otherwise."""

    def __init__(self, code: int, text: str | None = None, status: int = 200) -> None:
        self.code = code
        self.text = _TEXTS[code] if text is None else text
        self.status = status
        super().__init__(code, self.text)


def from_refusal(refusal: Refused) -> VenueError:
    """The gateway's words for a refusal of the core."""
    code, text = _CODES.get(refusal.reason, (10001, None))
    if code == 110094:
        text = f"Order does not meet minimum order value {refusal.detail}USDT"
    return VenueError(code, text)


def reject_reason(reason: str) -> str:
    """The engine's words for why an order ended, `EC_NoError` for none of its own."""
    if reason in _REJECTIONS:
        return _REJECTIONS[reason]
    return "EC_NoError" if not reason or reason in _CANCEL_TYPES else "EC_Others"


def cancel_type(reason: str) -> str:
    """Who cancelled an order."""
    return _CANCEL_TYPES.get(reason, "UNKNOWN")


def invalid(name: str) -> VenueError:
    """A parameter that is missing or that cannot be understood."""
    return VenueError(10001, f"params error: {name} invalid")
