"""Bybit V5: rows of REST and of streams, which have one shape, → domain values."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from tradingd.domain.account import (
    POSITION_BOOK,
    PositionProtection,
    RejectKind,
    VenueBalance,
    VenueOrder,
    VenuePosition,
)
from tradingd.domain.candles import Candle
from tradingd.domain.ids import ClientOrderId, TradeId, VenueId, VenueOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.numbers import exact
from tradingd.domain.orders import Fill, OrderKind, OrderStatus
from tradingd.venues.translate import Book, Push, Row, number, number_or_none, number_or_zero, text_or_none

LINEAR = "linear"
"""The one book: a conditional order keeps its id when it fires, so plain and conditional orders never share one."""
"""Marks what the venue itself places for stop and take profit of a position: a state of it, without an id of ours."""

SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
WORDS = {side: word for word, side in SIDES.items()}
INTERVALS = {"1m": "1", "3m": "3", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "2h": "120", "4h": "240"}
INTERVALS |= {"6h": "360", "12h": "720", "1d": "D", "1w": "W", "1M": "M"}
_TIMEFRAMES = {interval: timeframe for timeframe, interval in INTERVALS.items()}

STATUS = {
    "Created": OrderStatus.ACCEPTED,
    "New": OrderStatus.ACCEPTED,
    "Active": OrderStatus.ACCEPTED,
    "Untriggered": OrderStatus.ACCEPTED,
    "Triggered": OrderStatus.TRIGGERED,
    "PartiallyFilled": OrderStatus.PARTIALLY_FILLED,
    "Filled": OrderStatus.FILLED,
    "Cancelled": OrderStatus.CANCELED,
    "PartiallyFilledCanceled": OrderStatus.CANCELED,
    "Deactivated": OrderStatus.CANCELED,
    "Rejected": OrderStatus.REJECTED,
}
_REFUSALS = {
    "EC_PostOnlyWillTakeLiquidity": (OrderStatus.REJECTED, RejectKind.WOULD_NOT_REST),
    "EC_CancelForNoFullFill": (OrderStatus.REJECTED, RejectKind.NOT_FILLABLE),
    "EC_NoImmediateQtyToFill": (OrderStatus.EXPIRED, RejectKind.NOT_FILLABLE),
    "EC_LimitOrderInvalidPrice": (OrderStatus.REJECTED, RejectKind.FILTER),
    "CancelByReduceOnly": (OrderStatus.CANCELED, RejectKind.REDUCE_ONLY),
}
"""A check that failed behind the ack is told as a cancel; the reason says what it was, or the kind of cancel."""
_ASKED_FOR = ("", "UNKNOWN", "CancelByUser")
_NO_REASON = ("", "EC_NoError", "EC_PerCancelRequest")
_FILLS = {"Trade": "", "AdlTrade": "deleveraging", "BustTrade": "liquidation", "Settle": "settlement"}
"""What moves a position; Funding comes as an execution too."""
_ENDS = {"StopLoss": "stop_loss", "TakeProfit": "take_profit"}
"""Levels of the whole position. Those for a part of it, and trailing ones, are orders like others, and never ours."""


def one_way(row: Row) -> None:
    """Raise ValueError for a row of a hedge-mode position: net quantities would be wrong."""
    if str(row.get("positionIdx", 0)) != "0":
        raise ValueError(f"position index {row['positionIdx']!r} in one-way mode")


def status_of(row: Row) -> OrderStatus:
    """The order's status. A conditional order that fired is TRIGGERED until its first fill or its end."""
    status = STATUS[row["orderStatus"]]
    if status is OrderStatus.CANCELED and not number_or_zero(row, "cumExecQty"):
        return _REFUSALS.get(str(row.get("rejectReason")), (status, None))[0]
    fired = row.get("stopOrderType") not in (None, "", "UNKNOWN") and row["orderStatus"] in ("New", "Active")
    return OrderStatus.TRIGGERED if fired else status


def kind_of(row: Row) -> OrderKind | None:
    """What was asked for; a conditional order by the side on which it waits. None for what we never send."""
    if row.get("stopOrderType") in (None, "", "UNKNOWN"):
        return {"Market": OrderKind.MARKET, "Limit": OrderKind.LIMIT}.get(row["orderType"])
    if row["orderType"] != "Market" or str(row.get("triggerDirection")) not in ("1", "2"):
        return None
    rises, buys = str(row["triggerDirection"]) == "1", row["side"] == "Buy"
    return OrderKind.STOP_MARKET if rises == buys else OrderKind.TAKE_PROFIT_MARKET


def ended_by(row: Row, status: OrderStatus) -> str:
    """The venue's own word for why an order ended by itself; empty where it did not, or nobody asked it to stay."""
    if status not in (OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED):
        return ""
    reason, kind = str(row.get("rejectReason") or ""), str(row.get("cancelType") or "")
    return next((word for word in (reason, kind) if word not in (*_NO_REASON, *_ASKED_FOR)), "")


class Rows:
    """Reads rows and frames of one venue; knows its instruments."""

    def __init__(self, venue: VenueId, book: Book) -> None:
        self.venue = venue
        self.book = book

    def order(self, row: Row) -> VenueOrder | None:
        """An order of any kind; None on a symbol that the daemon does not trade."""
        instrument = self.book.find(row["symbol"])
        if instrument is None:
            return None
        one_way(row)
        status, order_id = status_of(row), VenueOrderId(str(row["orderId"]))
        client_order_id = text_or_none(row, "orderLinkId")
        conditional = row.get("stopOrderType") not in (None, "", "UNKNOWN")
        waits = row["orderStatus"] in ("Untriggered", "Deactivated")
        told = ended_by(row, status)
        return VenueOrder(
            instrument=instrument,
            book=POSITION_BOOK if row.get("stopOrderType") in _ENDS else LINEAR,
            venue_order_id=order_id,
            client_order_id=None if client_order_id is None else ClientOrderId(client_order_id),
            status=status,
            side=SIDES[row["side"]],
            kind=kind_of(row),
            quantity=number_or_none(row, "qty"),
            filled_quantity=number_or_zero(row, "cumExecQty"),
            average_price=number_or_none(row, "avgPrice"),
            limit_price=number_or_none(row, "price"),
            trigger_price=number_or_none(row, "triggerPrice"),
            reduce_only=row.get("reduceOnly") is True,
            close_position=row.get("closeOnTrigger") is True and number_or_none(row, "qty") is None,
            child_venue_order_id=order_id if conditional and not waits else None,
            updated_ms=int(row.get("updatedTime") or 0),
            raw_type=str(row.get("stopOrderType") if conditional else row["orderType"]),
            reject_code=told or None,
            reject_reason=told,
            reject_kind=_REFUSALS.get(told, (status, RejectKind.OTHER))[1],
        )

    def fill(self, row: Row) -> Fill | None:
        """An execution that moves a position; None for funding, and on a symbol that the daemon does not trade."""
        instrument, word = self.book.find(row["symbol"]), str(row["execType"])
        if instrument is None or word not in _FILLS:
            return None
        owner = text_or_none(row, "orderLinkId")
        return Fill(
            instrument=instrument,
            trade_id=TradeId(str(row["execId"])),
            venue_order_id=VenueOrderId(str(row["orderId"])),
            client_order_id=None if owner is None else ClientOrderId(owner),
            side=SIDES[row["side"]],
            price=number(row, "execPrice"),
            quantity=number(row, "execQty"),
            fee=number_or_zero(row, "execFee"),
            fee_currency=str(row.get("feeCurrency") or "USDT"),
            realized_pnl=number(row, "execPnl") if row.get("execPnl") not in (None, "") else None,
            maker=row.get("isMaker") is True,
            time_ms=int(row["execTime"]),
            reason=_FILLS[word] or _ENDS.get(str(row.get("stopOrderType")), ""),
        )

    def position(self, row: Row) -> VenuePosition | None:
        """A position, flat ones with quantity zero."""
        instrument = self.book.find(row["symbol"])
        if instrument is None:
            return None
        one_way(row)
        return VenuePosition(
            instrument=instrument,
            quantity=signed_size(row),
            entry_price=number_or_none(row, "avgPrice") or number_or_none(row, "entryPrice"),
            mark_price=number_or_none(row, "markPrice"),
            unrealized_pnl=number_or_zero(row, "unrealisedPnl"),
            initial_margin=number_or_zero(row, "positionIM"),
            leverage=number_or_none(row, "leverage"),
            updated_ms=int(row.get("updatedTime") or 0),
        )

    def protection(self, row: Row) -> PositionProtection | None:
        """Stop and take profit of a position."""
        instrument = self.book.find(row["symbol"])
        if instrument is None:
            return None
        one_way(row)
        stop, profit = number_or_none(row, "stopLoss"), number_or_none(row, "takeProfit")
        return PositionProtection(instrument, signed_size(row), stop, profit, int(row.get("updatedTime") or 0))

    def balance(self, row: Row, time_ms: int) -> VenueBalance:
        """The unified account's USDT. Cross margin tells what is available for the whole account; with isolated margin
        those fields are empty, and the coin's own numbers give it. `free` of ccxt is neither."""
        coin: Row = next((each for each in row["coin"] if each["coin"] == "USDT"), {})
        wallet = number_or_zero(coin, "walletBalance")
        margin = number_or_zero(coin, "totalPositionIM") + number_or_zero(coin, "totalOrderIM")
        bound = margin + number_or_zero(coin, "locked") + number_or_zero(coin, "bonus")
        whole = row.get("totalAvailableBalance")
        available = wallet - bound if whole in (None, "") else exact(whole, "totalAvailableBalance")
        equity = wallet if coin.get("equity") in (None, "") else number(coin, "equity")
        return VenueBalance(self.venue, "USDT", wallet, equity, available, margin, time_ms)

    def candle(self, row: list[Any], instrument: InstrumentId, timeframe: str, open_ms: int, closed: bool) -> Candle:
        """A row of kline; whether it has closed is for the caller to tell, by the venue's clock."""
        first, high, low, last, volume = (exact(value, "a candle") for value in row[1:6])
        return Candle(instrument, timeframe, open_ms, first, high, low, last, volume, closed=closed)

    def pushes(self, frame: Any) -> Iterator[Push]:
        """What a stream frame tells."""
        if not isinstance(frame, dict):
            raise ValueError(f"a frame that is no JSON object but {type(frame).__name__}")
        topic = str(frame.get("topic") or "")
        read = {"order": self.order, "execution": self.fill, "position": self.position}.get(topic)
        if read is not None:
            yield from (push for row in frame["data"] if (push := read(row)) is not None)
        elif topic == "wallet":
            time_ms = int(frame["creationTime"])
            yield from (self.balance(row, time_ms) for row in frame["data"] if row.get("accountType") == "UNIFIED")
        elif topic.startswith("kline."):
            yield from self._klines(topic, frame["data"])

    def _klines(self, topic: str, rows: list[Any]) -> Iterator[Candle]:
        _, interval, symbol = topic.split(".")
        instrument = self.book.find(symbol)
        if instrument is None:
            return
        for row in rows:
            values = [row[name] for name in ("start", "open", "high", "low", "close", "volume")]
            opened_ms, closed = int(row["start"]), row["confirm"] is True
            yield self.candle(values, instrument, _TIMEFRAMES[interval], opened_ms, closed)

    def candle_name(self, topic: str) -> str | None:
        """ccxt's name of the subscription behind a topic."""
        _, interval, symbol = topic.split(".")
        instrument = self.book.find(symbol)
        return None if instrument is None else f"ohlcv::{instrument.symbol}::{_TIMEFRAMES[interval]}"


def signed_size(row: Row) -> Decimal:
    """What is held; the venue writes a size without sign, and no side when flat."""
    size = number_or_zero(row, "size")
    return size if not size else size * SIDES[row["side"]].sign
