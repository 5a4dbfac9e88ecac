"""Binance's codes and texts for what the core refuses and for what the gateway refuses."""

from __future__ import annotations

from tradingd.emulator.core.refusal import Reason, Refused

_TEXTS: dict[int, str] = {
    -1003: "Too many requests; current limit of IP(127.0.0.1) is 2400 requests per minute. Please use the websocket "
    "for live updates to avoid polling the API.",
    -1021: "Timestamp for this request is outside of the recvWindow.",
    -1022: "Signature for this request is not valid.",
    -1111: "Precision is over the maximum defined for this asset.",
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1120: "Invalid interval.",
    -1121: "Invalid symbol.",
    -1125: "This listenKey does not exist.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2014: "API-key format invalid.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    -2019: "Margin is insufficient.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2025: "Reach max open order limit.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -2028: "Leverage is smaller than permitted: insufficient margin balance.",
    -4001: "Price less than 0.",
    -4003: "Quantity less than or equal to zero.",
    -4004: "Quantity less than min quantity.",
    -4005: "Quantity greater than max quantity.",
    -4006: "Stop price less than zero.",
    -4014: "Price not increased by tick size.",
    -4015: "Client order id is not valid.",
    -4023: "Qty not increased by step size.",
    -4028: "Leverage is not valid",
    -4031: "Invalid parameter working type",
    -4045: "Reach max stop order limit.",
    -4046: "No need to change margin type.",
    -4047: "Margin type cannot be changed if there exists open orders.",
    -4048: "Margin type cannot be changed if there exists position.",
    -4059: "No need to change position side.",
    -4061: "Order's position side does not match user's setting.",
    -4067: "Position side cannot be changed if there exists open orders.",
    -4068: "Position side cannot be changed if there exists position.",
    -4087: "User can only place reduce only order.",
    -4108: "This symbol is on delivering or delivered or settling or closed or pre-trading.",
    -4116: "ClientOrderId is duplicated.",
    -4120: "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
    -4130: "An open stop or take profit order with GTE and closePosition in the direction is existing.",
    -4131: "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    -4135: "Invalid activation price.",
    -4136: "Target strategy invalid for orderType MARKET, closePosition true.",
    -4137: "Quantity must be zero with closePosition equals true.",
    -4138: "Reduce only must be true with closePosition equals true.",
    -4140: "Invalid symbol status for opening position.",
    -4141: "Symbol is closed.",
    -4161: "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
    -4400: "Futures Trading Quantitative Rules violated, only reduceOnly order is allowed, please try again later.",
    -4401: "Futures Trading Risk Control Rules of large position holding violated, only reduceOnly order is allowed, "
    "please reduce the position.",
    -4509: "Time in Force (TIF) GTE can only be used with open positions or open orders. Please ensure that positions "
    "or open orders are available.",
    -5021: "Due to the order could not be filled immediately, the FOK order has been rejected.",
    -5022: "Due to the order could not be executed as maker, the Post Only order will be rejected.",
    -5024: "Symbol is not in trading status. Order amendment is not permitted.",
    -5025: "Only limit order is supported.",
    -5027: "No need to modify the order.",
    -5028: "Timestamp for this request is outside of the ME recvWindow.",
    -5040: "The goodTillDate timestamp must be greater than the current time plus 600 seconds and smaller than "
    "253402300799000",
}

_CODES: dict[Reason, int] = {
    Reason.QUANTITY_NOT_POSITIVE: -4003,
    Reason.QUANTITY_TOO_SMALL: -4004,
    Reason.QUANTITY_TOO_LARGE: -4005,
    Reason.QUANTITY_PRECISION: -1111,
    Reason.QUANTITY_STEP: -4023,
    Reason.PRICE_NOT_POSITIVE: -4001,
    Reason.PRICE_PRECISION: -1111,
    Reason.PRICE_TICK: -4014,
    Reason.TRIGGER_NOT_POSITIVE: -4006,
    Reason.MARGIN: -2019,
    Reason.LEVERAGE_CAP: -2027,
    Reason.REDUCE_ONLY: -2022,
    Reason.WOULD_TRIGGER: -2021,
    Reason.FILL_OR_KILL: -5021,
    Reason.POST_ONLY: -5022,
    Reason.DUPLICATE_ID: -4116,
    Reason.CLOSE_POSITION_EXISTS: -4130,
    Reason.NO_POSITION: -4509,
    Reason.TOO_MANY_CONDITIONALS: -4045,
    Reason.TOO_MANY_ORDERS: -2025,
    Reason.UNKNOWN_ORDER: -2011,
    Reason.NOTHING_TO_CHANGE: -5027,
    Reason.NOT_A_LIMIT_ORDER: -5025,
    Reason.AMEND_NOT_TRADING: -5024,
    Reason.NOT_TRADING: -4108,
    Reason.NO_OPENING: -4140,
    Reason.CLOSED: -4141,
    Reason.MARKET_BAND: -4131,
    Reason.ACTIVATION_PRICE: -4135,
    Reason.LEVERAGE_TOO_SMALL: -2028,
    Reason.ISOLATED_LEVERAGE: -4161,
}


class VenueError(Exception):
    """An answer with `{"code", "msg"}`; the text defaults to the one that belongs to the code."""

    def __init__(self, code: int, text: str | None = None, status: int = 400) -> None:
        self.code = code
        self.text = _TEXTS[code] if text is None else text
        self.status = status
        super().__init__(code, self.text)


def from_refusal(refusal: Refused) -> VenueError:
    """The venue's words for a refusal of the core."""
    reason, detail = refusal.reason, refusal.detail
    if reason is Reason.NOTIONAL_TOO_SMALL:
        return VenueError(-4164, f"Order's notional must be no smaller than {detail} (unless you choose reduce only).")
    if reason is Reason.PRICE_TOO_HIGH:
        return VenueError(-4016, f"Limit price can't be higher than {detail}.")
    if reason is Reason.PRICE_TOO_LOW:
        return VenueError(-4024, f"Limit price can't be lower than {detail}.")
    if reason is Reason.AMEND_NOTIONAL:
        return VenueError(-5029, f"Order's notional must be no smaller than {detail}.")
    if reason is Reason.ONLY_REDUCE:
        return VenueError(int(detail), _TEXTS.get(int(detail), "Only reduceOnly orders are accepted for now."))
    return VenueError(_CODES[reason])


def missing(name: str) -> VenueError:
    """A mandatory parameter is not there."""
    return VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str) -> VenueError:
    """A parameter has characters that it must not have."""
    return VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")
