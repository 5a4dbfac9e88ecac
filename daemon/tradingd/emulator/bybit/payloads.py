"""Orders, executions, positions and candles in Bybit's JSON shapes: numbers and times as strings."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

from tradingd.emulator.bybit.errors import cancel_type, reject_reason
from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.liquidation import DELEVERAGING, LIQUIDATION, SETTLEMENT
from tradingd.emulator.core.records import BUY, ZERO, Candle, Conditional, ConditionalStatus, Fill, Order, Status

Json = dict[str, Any]

INTERVALS = {
    "1": "1m",
    "3": "3m",
    "5": "5m",
    "15": "15m",
    "30": "30m",
    "60": "1h",
    "120": "2h",
    "240": "4h",
    "360": "6h",
    "720": "12h",
    "D": "1d",
    "W": "1w",
    "M": "1M",
}
"""How this dialect writes intervals, and how the core does."""

OF_POSITION = "GTE_GTC"
"""The core's time in force of what ends with its position: TP and SL of the position, never an order of a client."""

_STATUSES = {
    Status.NEW: "New",
    Status.PARTIALLY_FILLED: "PartiallyFilled",
    Status.FILLED: "Filled",
    Status.CANCELED: "Cancelled",
    Status.EXPIRED: "Cancelled",
    Status.REJECTED: "Rejected",
}
_CONDITIONAL_STATUSES = {
    ConditionalStatus.NEW: "Untriggered",
    ConditionalStatus.TRIGGERING: "Triggered",
    ConditionalStatus.TRIGGERED: "Triggered",
    ConditionalStatus.FINISHED: "Triggered",
    ConditionalStatus.CANCELED: "Deactivated",
    ConditionalStatus.EXPIRED: "Deactivated",
    ConditionalStatus.REJECTED: "Cancelled",
}
_TIMES_IN_FORCE = {"GTX": "PostOnly", OF_POSITION: "GTC"}
_VENUES_OWN = {
    LIQUIDATION: ("CreateByLiq", "BustTrade"),
    DELEVERAGING: ("CreateByAdl_PassThrough", "AdlTrade"),
    SETTLEMENT: ("CreateBySettle", "Settle"),
}
"""Orders of the venue's own by the prefix of the core's id: createType and execType."""


def plain(value: Decimal) -> str:
    """A decimal without exponent and without trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def side_word(side: int) -> str:
    """+1 and -1 as the venue writes them."""
    return "Buy" if side == BUY else "Sell"


def public_id(number: int) -> str:
    """The orderId of a number: it looks like a UUID, and holds the number in its last group."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[12:15]}-a{digest[15:18]}-{number:012x}"


def number_of(order_id: str) -> int | None:
    """The number of an orderId, None for one that is not ours."""
    try:
        number = int(order_id.rpartition("-")[2], 16)
    except ValueError:
        return None
    return number if public_id(number) == order_id else None


def public_number(order: Order | Conditional) -> int:
    """A conditional order keeps its orderId when it fires: its child is shown under the same."""
    if isinstance(order, Conditional):
        return order.conditional_id
    return order.parent_id or order.order_id


def venues_own(link_id: str) -> tuple[str, str] | None:
    """createType and execType if it is an order of the venue's own."""
    return next((words for prefix, words in _VENUES_OWN.items() if link_id.startswith(prefix)), None)


def shown_link(link_id: str) -> str:
    """Orders of the venue's own carry no orderLinkId."""
    return "" if venues_own(link_id) else link_id


def stop_type(order: Conditional) -> str:
    """What kind of conditional order it is."""
    if order.time_in_force != OF_POSITION:
        return "Stop"
    return ("" if order.close_position else "Partial") + ("TakeProfit" if order.is_take_profit else "StopLoss")


def _price(value: Decimal, instrument: Instrument) -> str:
    return plain(value.quantize(instrument.price_unit)) if value else ""


def order_row(
    order: Order, instrument: Instrument, fee: Decimal, parent: Conditional | None = None, last_price: Decimal = ZERO
) -> Json:
    """A plain order, or the fired child of a conditional one, as REST and stream show it."""
    own = venues_own(order.client_order_id)
    is_done = not order.is_open
    leaves = ZERO if is_done else order.remaining
    row = _common(order, instrument, parent)
    row.update(
        orderStatus=_STATUSES[order.status],
        createType=own[0]
        if own
        else (f"CreateBy{stop_type(parent)}" if parent and stop_type(parent) != "Stop" else "CreateByUser"),
        cancelType=cancel_type(order.reason),
        rejectReason=reject_reason(order.reason),
        avgPrice=plain(order.average_price.quantize(Decimal("0.00000001"))) if order.filled else "",
        leavesQty=plain(leaves),
        leavesValue=plain(leaves * order.price),
        cumExecQty=plain(order.filled),
        cumExecValue=plain(order.quote),
        cumExecFee=plain(fee),
        lastPriceOnCreated=_price(last_price, instrument),
        timeInForce="IOC" if order.kind == "MARKET" else _TIMES_IN_FORCE.get(order.time_in_force, order.time_in_force),
    )
    return row


def conditional_row(order: Conditional, instrument: Instrument, is_oco_ended: bool = False) -> Json:
    """A conditional order that waits, or that ended before it became a plain one."""
    status = _CONDITIONAL_STATUSES[order.status]
    is_done = order.status not in (ConditionalStatus.NEW, ConditionalStatus.TRIGGERING, ConditionalStatus.TRIGGERED)
    ended = "UNKNOWN"
    if order.status is ConditionalStatus.CANCELED:
        ended = "CancelByUser"
    elif order.status is ConditionalStatus.EXPIRED:
        ended = "CancelByTpSlTsClear"
    elif order.status is ConditionalStatus.REJECTED:
        ended = "CancelByReduceOnly" if order.reduce_only else "UNKNOWN"
    if is_oco_ended:
        ended = "CancelByOCOTpCanceledBySlTriggered" if order.is_take_profit else "CancelByOCOSlCanceledByTpTriggered"
    is_rejected = order.status is ConditionalStatus.REJECTED and not order.reduce_only
    row = _common(order, instrument, order)
    row.update(
        orderStatus="Rejected" if is_rejected else status,
        createType="CreateByUser" if stop_type(order) == "Stop" else f"CreateBy{stop_type(order)}",
        cancelType=ended,
        rejectReason="EC_Others"
        if is_rejected
        else (
            "EC_PerCancelRequest" if order.status is ConditionalStatus.CANCELED and not is_oco_ended else "EC_NoError"
        ),
        avgPrice="",
        leavesQty="0" if is_done else plain(order.quantity),
        leavesValue="0",
        cumExecQty="0",
        cumExecValue="0",
        cumExecFee="0",
        lastPriceOnCreated="",
        timeInForce="IOC"
        if order.kind.endswith("MARKET")
        else _TIMES_IN_FORCE.get(order.time_in_force, order.time_in_force),
    )
    return row


def _common(order: Order | Conditional, instrument: Instrument, parent: Conditional | None) -> Json:
    is_of_position = parent is not None and stop_type(parent) != "Stop"
    rises = parent is not None and parent.fires_above
    return {
        "category": "linear",
        "orderId": public_id(public_number(order)),
        "orderLinkId": shown_link(order.client_order_id),
        "blockTradeId": "",
        "symbol": order.symbol,
        "price": _price(order.price, instrument) or "0",
        "qty": plain(order.quantity),
        "side": side_word(order.side),
        "isLeverage": "",
        "positionIdx": 0,
        "orderType": "Market" if order.kind.endswith("MARKET") else "Limit",
        "stopOrderType": stop_type(parent) if parent else "",
        "orderIv": "",
        "triggerPrice": _price(parent.trigger_price, instrument) if parent else "",
        "triggerDirection": 0 if parent is None else (1 if rises else 2),
        "triggerBy": "" if parent is None else ("MarkPrice" if parent.working_type == "MARK_PRICE" else "LastPrice"),
        "takeProfit": "",
        "stopLoss": "",
        "tpTriggerBy": "",
        "slTriggerBy": "",
        "tpLimitPrice": "0",
        "slLimitPrice": "0",
        "tpslMode": ""
        if not is_of_position
        else ("Full" if parent is not None and parent.close_position else "Partial"),
        "reduceOnly": order.reduce_only or order.close_position or is_of_position,
        "closeOnTrigger": order.close_position or is_of_position,
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "placeType": "",
        "createdTime": str(parent.created_ms if parent else order.created_ms),
        "updatedTime": str(order.updated_ms),
    }


def fill_row(
    fill: Fill,
    instrument: Instrument,
    order: Order | None,
    parent: Conditional | None,
    closed: Decimal,
    fee_rate: Decimal,
    mark: Decimal,
) -> Json:
    """One execution; `closed` is how much of the position it closed."""
    own = venues_own(fill.client_order_id)
    number = fill.order_id if order is None else public_number(order)
    return {
        "category": "linear",
        "symbol": fill.symbol,
        "orderId": public_id(number),
        "orderLinkId": shown_link(fill.client_order_id),
        "side": side_word(fill.side),
        "orderPrice": _price(order.price, instrument) if order else "",
        "orderQty": plain(order.quantity) if order else "",
        "leavesQty": plain(order.remaining) if order else "",
        "createType": own[0] if own else "CreateByUser",
        "orderType": "Market" if order is None or order.kind == "MARKET" else "Limit",
        "stopOrderType": stop_type(parent) if parent else "UNKNOWN",
        "execFee": plain(fill.fee_usdt),
        "execId": public_id(fill.trade_id),
        "execPrice": _price(fill.price, instrument),
        "execQty": plain(fill.quantity),
        "execType": own[1] if own else "Trade",
        "execValue": plain(fill.price * fill.quantity),
        "execTime": str(fill.time_ms),
        "isMaker": fill.is_maker,
        "feeRate": plain(fee_rate),
        "tradeIv": "",
        "markIv": "",
        "markPrice": _price(mark, instrument),
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": plain(closed),
        "seq": fill.trade_id,
        "feeCurrency": "",
        "execPnl": plain(fill.realized_usdt),
        "marketUnit": "",
        "isLeverage": "0",
    }


def funding_row(symbol: str, income_id: int, usdt: Decimal, held: Decimal, mark: Decimal, at_ms: int) -> Json:
    """A funding payment, which this venue tells as an execution; a positive fee was paid, at the rate in `feeRate`."""
    value = abs(held) * mark
    order_id = public_id(income_id)
    return {
        "category": "linear",
        "symbol": symbol,
        "orderId": order_id,
        "orderLinkId": "",
        "side": side_word(1 if held > 0 else -1),
        "orderPrice": "0",
        "orderQty": "0",
        "leavesQty": "0",
        "createType": "",
        "orderType": "UNKNOWN",
        "stopOrderType": "UNKNOWN",
        "execFee": plain(-usdt),
        "execId": order_id,
        "execPrice": plain(mark),
        "execQty": plain(abs(held)),
        "execType": "Funding",
        "execValue": plain(value),
        "execTime": str(at_ms),
        "isMaker": False,
        "feeRate": f"{-usdt / (value * (1 if held > 0 else -1)):.8f}" if value else "0",
        "tradeIv": "",
        "markIv": "",
        "markPrice": plain(mark),
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": "0",
        "seq": income_id,
        "feeCurrency": "",
        "execPnl": "0",
        "marketUnit": "",
        "isLeverage": "0",
    }


def _candle_values(candle: Candle, instrument: Instrument) -> tuple[str, str, str, str, str, str]:
    digits = instrument.price_digits
    prices = [f"{instrument.price(ticks):.{digits}f}" for ticks in (candle.open, candle.high, candle.low, candle.close)]
    turnover = candle.volume * float(instrument.price(candle.close))
    return (
        prices[0],
        prices[1],
        prices[2],
        prices[3],
        f"{candle.volume:.{instrument.quantity_digits}f}",
        f"{turnover:.4f}",
    )


def candle_row(candle: Candle, instrument: Instrument) -> list[str]:
    """A candle as REST shows it."""
    return [str(candle.open_ms), *_candle_values(candle, instrument)]


def candle_push(candle: Candle, end_ms: int, interval: str, confirm: bool, instrument: Instrument, at_ms: int) -> Json:
    """A candle as the stream shows it; `confirm` says that it is closed."""
    opening, high, low, close, volume, turnover = _candle_values(candle, instrument)
    return {
        "topic": f"kline.{interval}.{instrument.symbol}",
        "type": "snapshot",
        "ts": at_ms,
        "data": [
            {
                "start": candle.open_ms,
                "end": end_ms - 1,
                "interval": interval,
                "open": opening,
                "close": close,
                "high": high,
                "low": low,
                "volume": volume,
                "turnover": turnover,
                "confirm": confirm,
                "timestamp": at_ms,
            }
        ],
    }
