"""Orders, fills, positions and events in Binance's JSON shapes: numbers as strings, times in milliseconds."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from tradingd.emulator.core.instruments import Instrument
from tradingd.emulator.core.records import BUY, Candle, Conditional, Fill, Order, Position

Json = dict[str, Any]


def plain(value: Decimal) -> str:
    """A decimal without exponent and without trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def side_word(side: int) -> str:
    """+1 and -1 as the venue writes them."""
    return "BUY" if side == BUY else "SELL"


def order_row(order: Order, instrument: Instrument) -> Json:
    """A plain order as REST shows it."""
    price, quantity = instrument.price_digits, instrument.quantity_digits
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status.value,
        "clientOrderId": order.client_order_id,
        "price": f"{order.price:.{price}f}",
        "avgPrice": f"{order.average_price:.{price + 4}f}",
        "origQty": f"{order.quantity:.{quantity}f}",
        "executedQty": f"{order.filled:.{quantity}f}",
        "cumQuote": f"{order.quote:.5f}",
        "timeInForce": order.time_in_force,
        "type": order.kind,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": side_word(order.side),
        "positionSide": "BOTH",
        "stopPrice": f"{order.trigger_price:.{price}f}",
        "workingType": order.working_type,
        "priceProtect": False,
        "origType": order.original_kind,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": order.good_till_ms,
        "time": order.created_ms,
        "updateTime": order.updated_ms,
    }


def order_reply(order: Order, instrument: Instrument) -> Json:
    """A plain order as its own create, cancel or amend call answers: without the creation time."""
    row = order_row(order, instrument)
    del row["time"]
    row["cumQty"] = row["executedQty"]
    return row


def conditional_row(order: Conditional, instrument: Instrument) -> Json:
    """A conditional order as REST shows it."""
    price, quantity = instrument.price_digits, instrument.quantity_digits
    row = {
        "algoId": order.conditional_id,
        "clientAlgoId": order.client_order_id,
        "algoType": "CONDITIONAL",
        "orderType": order.kind,
        "symbol": order.symbol,
        "side": side_word(order.side),
        "positionSide": "BOTH",
        "timeInForce": order.time_in_force,
        "quantity": f"{order.quantity:.{quantity}f}",
        "algoStatus": order.status.value,
        "actualOrderId": str(order.child_order_id) if order.child_order_id else "",
        "actualPrice": f"{order.child_average_price:.{price + 4}f}",
        "triggerPrice": f"{order.trigger_price:.{price}f}",
        "price": f"{order.price:.{price}f}",
        "icebergQuantity": None,
        "tpTriggerPrice": "0.000",
        "tpPrice": "0.000",
        "slTriggerPrice": "0.000",
        "slPrice": "0.000",
        "tpOrderType": "",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": order.working_type,
        "priceMatch": "NONE",
        "closePosition": order.close_position,
        "priceProtect": order.price_protect,
        "reduceOnly": order.reduce_only,
        "createTime": order.created_ms,
        "updateTime": order.updated_ms,
        "triggerTime": order.triggered_ms,
        "goodTillDate": 0,
    }
    if order.trails:
        activation = instrument.price(order.activation_ticks)
        row.update(callbackRate=plain(order.callback_fraction * 100), activatePrice=f"{activation:.{price}f}")
    return row


def fill_row(fill: Fill, instrument: Instrument) -> Json:
    """A fill as the list of account fills shows it."""
    return {
        "symbol": fill.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "side": side_word(fill.side),
        "price": f"{fill.price:.{instrument.price_digits}f}",
        "qty": f"{fill.quantity:.{instrument.quantity_digits}f}",
        "realizedPnl": f"{fill.realized_usdt:.8f}",
        "quoteQty": f"{fill.price * fill.quantity:.8f}",
        "commission": f"{fill.fee_usdt:.8f}",
        "commissionAsset": "USDT",
        "time": fill.time_ms,
        "positionSide": "BOTH",
        "buyer": fill.side == BUY,
        "maker": fill.is_maker,
    }


def _average(price: Decimal) -> str:
    return f"{price:.7f}".rstrip("0").rstrip(".")


def order_event(order: Order, execution: str, fill: Fill | None, at_ms: int, event_ms: int) -> Json:
    """ORDER_TRADE_UPDATE."""
    body: Json = {
        "s": order.symbol,
        "c": order.client_order_id,
        "S": side_word(order.side),
        "o": "LIQUIDATION" if order.client_order_id.startswith("autoclose-") else order.kind,
        "f": order.time_in_force,
        "q": plain(order.quantity),
        "p": plain(order.price),
        "ap": _average(order.average_price),
        "sp": plain(order.trigger_price),
        "x": execution,
        "X": order.status.value,
        "i": order.order_id,
        "l": "0",
        "z": plain(order.filled),
        "L": "0",
        "n": "0",
        "N": "USDT",
        "T": at_ms,
        "t": 0,
        "b": "0",
        "a": "0",
        "m": False,
        "R": order.reduce_only,
        "wt": order.working_type,
        "ot": order.original_kind,
        "ps": "BOTH",
        "cp": order.close_position,
        "rp": "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "EXPIRE_MAKER",
        "pm": "NONE",
        "gtd": order.good_till_ms,
        "er": "0",
    }
    if fill is not None:
        body.update(
            l=plain(fill.quantity),
            L=plain(fill.price),
            n=plain(fill.fee_usdt),
            t=fill.trade_id,
            m=fill.is_maker,
            rp=plain(fill.realized_usdt),
        )
    return {"e": "ORDER_TRADE_UPDATE", "T": at_ms, "E": event_ms, "o": body}


def fill_event(order: Order, fill: Fill, at_ms: int, event_ms: int) -> Json:
    """TRADE_LITE: the short form of a fill, which comes before the long one."""
    return {
        "e": "TRADE_LITE",
        "E": event_ms,
        "T": at_ms,
        "s": order.symbol,
        "q": plain(order.quantity),
        "p": plain(order.price),
        "m": fill.is_maker,
        "c": order.client_order_id,
        "S": side_word(order.side),
        "L": plain(fill.price),
        "l": plain(fill.quantity),
        "t": fill.trade_id,
        "i": order.order_id,
    }


def conditional_event(order: Conditional, at_ms: int, event_ms: int) -> Json:
    """ALGO_UPDATE."""
    body: Json = {
        "caid": order.client_order_id,
        "aid": order.conditional_id,
        "at": "CONDITIONAL",
        "o": order.kind,
        "s": order.symbol,
        "S": side_word(order.side),
        "ps": "BOTH",
        "f": order.time_in_force,
        "q": plain(order.quantity),
        "X": order.status.value,
        "ai": str(order.child_order_id or ""),
        "tp": plain(order.trigger_price),
        "p": plain(order.price),
        "V": "EXPIRE_MAKER",
        "wt": order.working_type,
        "pm": "NONE",
        "cp": order.close_position,
        "pP": order.price_protect,
        "R": order.reduce_only,
        "tt": order.triggered_ms,
        "gtd": 0,
        "rm": order.reason,
    }
    if order.child_order_id:
        body.update(
            ap=f"{order.child_average_price:.5f}",
            aq=plain(order.child_filled),
            act="MARKET" if order.kind.endswith("MARKET") else "LIMIT",
        )
    return {"e": "ALGO_UPDATE", "T": at_ms, "E": event_ms, "o": body}


def account_event(
    wallet: Decimal,
    cross_wallet: Decimal,
    change: Decimal,
    cause: str,
    positions: Iterable[tuple[Position, Decimal, bool]],
    at_ms: int,
    event_ms: int,
) -> Json:
    """ACCOUNT_UPDATE; positions come with their unrealised profit and whether they are isolated, `change` is what came
    or went besides profit and fees."""
    return {
        "e": "ACCOUNT_UPDATE",
        "T": at_ms,
        "E": event_ms,
        "a": {
            "m": cause,
            "B": [{"a": "USDT", "wb": f"{wallet:.8f}", "cw": f"{cross_wallet:.8f}", "bc": plain(change)}],
            "P": [
                {
                    "s": position.symbol,
                    "pa": plain(position.quantity),
                    "ep": plain(position.entry_price),
                    "bep": plain(position.entry_price),
                    "cr": plain(position.realized_usdt),
                    "up": f"{unrealized:.8f}",
                    "mt": "isolated" if isolated else "cross",
                    "iw": plain(position.isolated_usdt),
                    "ps": "BOTH",
                    "ma": "USDT",
                }
                for position, unrealized, isolated in positions
            ],
        },
    }


def candle_row(candle: Candle, close_ms: int, instrument: Instrument) -> list[Any]:
    """A candle as REST shows it; prices exact, volumes rounded."""
    digits, tick = instrument.price_digits, instrument.price_unit
    quote = candle.volume * candle.close * float(tick)
    return [
        candle.open_ms,
        f"{candle.open * tick:.{digits}f}",
        f"{candle.high * tick:.{digits}f}",
        f"{candle.low * tick:.{digits}f}",
        f"{candle.close * tick:.{digits}f}",
        f"{candle.volume:.{instrument.quantity_digits}f}",
        close_ms,
        f"{quote:.5f}",
        candle.count,
        f"{candle.volume / 2:.{instrument.quantity_digits}f}",
        f"{quote / 2:.5f}",
        "0",
    ]


def candle_frame(
    candle: Candle, close_ms: int, interval: str, is_closed: bool, event_ms: int, instrument: Instrument
) -> str:
    """A kline event; written by hand because it is the one frame that is sent all the time."""
    digits, tick, lot = instrument.price_digits, instrument.price_unit, instrument.quantity_digits
    quote = candle.volume * candle.close * float(tick)
    closed = "true" if is_closed else "false"
    return (
        f'{{"e":"kline","E":{event_ms},"s":"{instrument.symbol}","k":{{"t":{candle.open_ms},"T":{close_ms},'
        f'"s":"{instrument.symbol}","i":"{interval}","f":-1,"L":-1,"o":"{candle.open * tick:.{digits}f}",'
        f'"c":"{candle.close * tick:.{digits}f}","h":"{candle.high * tick:.{digits}f}",'
        f'"l":"{candle.low * tick:.{digits}f}","v":"{candle.volume:.{lot}f}","n":{candle.count},"x":{closed},'
        f'"q":"{quote:.4f}","V":"{candle.volume / 2:.{lot}f}","Q":"{quote / 2:.4f}","B":"0"}}}}'
    )
