"""Binance USDT-M: REST rows and stream frames → domain types."""

from collections import OrderedDict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from tradingd.domain.account import VenueBalance, VenueOrder, VenuePosition
from tradingd.domain.candles import Candle
from tradingd.domain.ids import ClientOrderId, TradeId, VenueId, VenueOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.numbers import exact
from tradingd.domain.orders import Fill, OrderKind, OrderStatus
from tradingd.venues.translate import (
    Book,
    KeyExpired,
    Push,
    Row,
    number,
    number_or_none,
    number_or_zero,
    text_or_none,
)

PLAIN, ALGO = "plain", "algo"
SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
KINDS = {
    "MARKET": OrderKind.MARKET,
    "LIMIT": OrderKind.LIMIT,
    "STOP_MARKET": OrderKind.STOP_MARKET,
    "TAKE_PROFIT_MARKET": OrderKind.TAKE_PROFIT_MARKET,
}
CONDITIONAL_TYPES = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})
PLAIN_STATUS = {
    "NEW": OrderStatus.ACCEPTED,
    "NEW_INSURANCE": OrderStatus.ACCEPTED,
    "NEW_ADL": OrderStatus.ACCEPTED,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
}
ALGO_STATUS = {
    "NEW": OrderStatus.ACCEPTED,
    "TRIGGERING": OrderStatus.TRIGGERED,
    "TRIGGERED": OrderStatus.TRIGGERED,
    "FINISHED": OrderStatus.TRIGGERED,  # the child has ended, filled or not: only the child tells which
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
}
REMEMBERED_ORDERS = 8_192
"""Orders whose client order id is remembered by the venue's id, the oldest forgotten first."""


def close_reason(client_order_id: str | None) -> str:
    """Why the venue itself sent an order, from the id that it gave it; empty for orders of people and programs."""
    if client_order_id is None:
        return ""
    if client_order_id.startswith("adl_autoclose"):
        return "auto-deleveraging"
    if client_order_id.startswith("autoclose-"):
        return "liquidation"
    return "settlement" if client_order_id.startswith("settlement_autoclose") else ""


def _id(value: str | None) -> ClientOrderId | None:
    return None if value is None else ClientOrderId(value)


def one_way(row: Row, name: str) -> None:
    """Raise ValueError for a row of a hedge-mode position: net quantities would be wrong."""
    if row.get(name, "BOTH") != "BOTH":
        raise ValueError(f"position side {row[name]!r} in one-way mode")


def _remember(
    owners: OrderedDict[tuple[str, str], ClientOrderId | None], symbol: str, order_id: str, owner: ClientOrderId | None
) -> None:
    owners[symbol, order_id] = owner
    while len(owners) > REMEMBERED_ORDERS:
        owners.popitem(last=False)


def _candle(instrument: InstrumentId, timeframe: str, open_ms: int, values: list[Decimal], closed: bool) -> Candle:
    first, high, low, last, volume = values
    return Candle(instrument, timeframe, open_ms, first, high, low, last, volume, closed=closed)


class Rows:
    """Reads rows and frames of one venue; knows its instruments, and whose the orders are that it has seen.

    Fills over REST name only the venue's order id. A child belongs to the conditional order that made it; that link is
    `actualOrderId` or `ai`, never the client order id.
    """

    def __init__(self, venue: VenueId, book: Book) -> None:
        self.venue = venue
        self.book = book
        self._children: OrderedDict[tuple[str, str], ClientOrderId | None] = OrderedDict()
        self._owners: OrderedDict[tuple[str, str], ClientOrderId | None] = OrderedDict()

    def owner(self, symbol: str, order_id: str) -> ClientOrderId | None:
        """The client order id behind a plain order: of its conditional order where it is a child."""
        return self._children.get((symbol, order_id)) or self._owners.get((symbol, order_id))

    def knows(self, symbol: str, order_id: str) -> bool:
        """Whether the order's owner has been seen, be it nobody."""
        return (symbol, order_id) in self._children or (symbol, order_id) in self._owners

    def plain_order(self, row: Row) -> VenueOrder | None:
        """An order of the plain book; None on a symbol that the daemon does not trade."""
        instrument = self.book.find(row["symbol"])
        if instrument is None:
            return None
        order_id = str(row["orderId"])
        parent = self._children.get((row["symbol"], order_id))
        _remember(self._owners, row["symbol"], order_id, _id(text_or_none(row, "clientOrderId")))
        return VenueOrder(
            instrument=instrument,
            book=PLAIN,
            venue_order_id=VenueOrderId(order_id),
            client_order_id=self.owner(row["symbol"], order_id),
            status=PLAIN_STATUS[row["status"]],
            side=SIDES[row["side"]],
            kind=KINDS.get(row["type"]),
            quantity=number_or_none(row, "origQty"),
            filled_quantity=number_or_zero(row, "executedQty"),
            average_price=number_or_none(row, "avgPrice"),
            limit_price=number_or_none(row, "price"),
            trigger_price=number_or_none(row, "stopPrice"),
            reduce_only=row.get("reduceOnly") is True,
            close_position=row.get("closePosition") is True,
            is_child=parent is not None or row.get("origType", row["type"]) in CONDITIONAL_TYPES,
            updated_ms=int(row.get("updateTime") or row.get("time") or 0),
            raw_type=str(row.get("origType") or row["type"]),
        )

    def algo_order(self, row: Row) -> VenueOrder | None:
        """An order of the algo book; None on a symbol that the daemon does not trade."""
        instrument = self.book.find(row["symbol"])
        if instrument is None:
            return None
        client_order_id = _id(text_or_none(row, "clientAlgoId"))
        child = text_or_none(row, "actualOrderId")
        if child is not None:
            _remember(self._children, row["symbol"], child, client_order_id)
        return VenueOrder(
            instrument=instrument,
            book=ALGO,
            venue_order_id=VenueOrderId(str(row["algoId"])),
            client_order_id=client_order_id,
            status=ALGO_STATUS[row["algoStatus"]],
            side=SIDES[row["side"]],
            kind=KINDS.get(row["orderType"]) if row["orderType"] in CONDITIONAL_TYPES else None,
            quantity=number_or_none(row, "quantity"),
            limit_price=number_or_none(row, "price"),
            trigger_price=number_or_none(row, "triggerPrice"),
            reduce_only=row.get("reduceOnly") is True,
            close_position=row.get("closePosition") is True,
            child_venue_order_id=None if child is None else VenueOrderId(child),
            updated_ms=int(row.get("updateTime") or row.get("createTime") or 0),
            raw_type=str(row["orderType"]),
        )

    def fill(self, row: Row, instrument: InstrumentId) -> Fill:
        """A row of userTrades, which has no client order id: the owner's, where it is known."""
        one_way(row, "positionSide")
        order_id = str(row["orderId"])
        owner = self.owner(row["symbol"], order_id)
        return Fill(
            instrument=instrument,
            trade_id=TradeId(str(row["id"])),
            venue_order_id=VenueOrderId(order_id),
            client_order_id=owner,
            side=SIDES[row["side"]],
            price=number(row, "price"),
            quantity=number(row, "qty"),
            fee=number_or_zero(row, "commission"),
            fee_currency=str(row["commissionAsset"]),
            realized_pnl=number_or_zero(row, "realizedPnl"),
            maker=row.get("maker") is True,
            time_ms=int(row["time"]),
            reason=close_reason(owner),
        )

    def position(self, row: Row) -> VenuePosition | None:
        """A row of positionRisk."""
        instrument = self.book.find(row["symbol"])
        if instrument is None:
            return None
        one_way(row, "positionSide")
        return VenuePosition(
            instrument=instrument,
            quantity=number(row, "positionAmt"),
            entry_price=number_or_none(row, "entryPrice"),
            mark_price=number_or_none(row, "markPrice"),
            unrealized_pnl=number_or_zero(row, "unRealizedProfit"),
            initial_margin=number_or_zero(row, "initialMargin"),
            isolated=number_or_zero(row, "isolatedMargin") != 0,
            updated_ms=int(row.get("updateTime") or 0),
        )

    def candle(self, row: list[Any], instrument: InstrumentId, timeframe: str, closed_before_ms: int) -> Candle:
        """A row of klines; closed when its last ms lies before `closed_before_ms`, a reading of the venue's clock."""
        values = [exact(value, "a candle") for value in row[1:6]]
        return _candle(instrument, timeframe, int(row[0]), values, int(row[6]) < closed_before_ms)

    def pushes(self, frame: Any) -> Iterator[Push]:
        """What a stream frame tells; a fill comes before the order update that carries it."""
        if not isinstance(frame, dict):
            raise ValueError(f"a frame that is no JSON object but {type(frame).__name__}")
        match frame.get("e"):
            case "kline":
                yield from self._kline(frame["k"])
            case "ORDER_TRADE_UPDATE":
                yield from self._order_update(frame["o"], frame)
            case "ALGO_UPDATE":
                yield from self._algo_update(frame["o"], frame)
            case "ACCOUNT_UPDATE":
                yield from self._account_update(frame["a"], frame)
            case "listenKeyExpired":
                yield KeyExpired()

    def _kline(self, k: Row) -> Iterator[Candle]:
        instrument = self.book.find(k["s"])
        if instrument is not None:
            values = [number(k, name) for name in ("o", "h", "l", "c", "v")]
            yield _candle(instrument, str(k["i"]), int(k["t"]), values, k["x"] is True)

    def _order_update(self, o: Row, frame: Row) -> Iterator[Push]:
        instrument = self.book.find(o["s"])
        if instrument is None:
            return
        one_way(o, "ps")
        order_id = VenueOrderId(str(o["i"]))
        parent = self._children.get((o["s"], order_id))
        _remember(self._owners, o["s"], order_id, _id(text_or_none(o, "c")))
        client_order_id = self.owner(o["s"], order_id)
        if o["x"] in ("TRADE", "CALCULATED") and text_or_none(o, "t") not in (None, "-1") and number(o, "l") > 0:
            yield Fill(
                instrument=instrument,
                trade_id=TradeId(str(o["t"])),
                venue_order_id=order_id,
                client_order_id=client_order_id,
                side=SIDES[o["S"]],
                price=number(o, "L"),
                quantity=number(o, "l"),
                fee=number_or_zero(o, "n"),
                fee_currency=str(o.get("N") or "USDT"),
                realized_pnl=number_or_zero(o, "rp"),
                maker=o.get("m") is True,
                time_ms=int(o["T"]),
                reason=close_reason(client_order_id) or ("liquidation" if o["x"] == "CALCULATED" else ""),
            )
        raw_type = str(o.get("ot") or o["o"])
        yield VenueOrder(
            instrument=instrument,
            book=PLAIN,
            venue_order_id=order_id,
            client_order_id=client_order_id,
            status=PLAIN_STATUS[o["X"]],
            side=SIDES[o["S"]],
            kind=KINDS.get(o["o"]),
            quantity=number_or_none(o, "q"),
            filled_quantity=number_or_zero(o, "z"),
            average_price=number_or_none(o, "ap"),
            limit_price=number_or_none(o, "p"),
            trigger_price=number_or_none(o, "sp"),
            reduce_only=o.get("R") is True,
            close_position=o.get("cp") is True,
            is_child=parent is not None or raw_type in CONDITIONAL_TYPES,
            updated_ms=int(frame.get("T") or frame["E"]),
            raw_type=raw_type,
        )

    def _algo_update(self, o: Row, frame: Row) -> Iterator[VenueOrder]:
        instrument = self.book.find(o["s"])
        if instrument is None:
            return
        client_order_id = _id(text_or_none(o, "caid"))
        child = text_or_none(o, "ai")
        if child is not None:
            _remember(self._children, o["s"], child, client_order_id)
        status = ALGO_STATUS[o["X"]]
        reason = str(o.get("rm") or "")
        yield VenueOrder(
            instrument=instrument,
            book=ALGO,
            venue_order_id=VenueOrderId(str(o["aid"])),
            client_order_id=client_order_id,
            status=status,
            side=SIDES[o["S"]],
            kind=KINDS.get(o["o"]) if o["o"] in CONDITIONAL_TYPES else None,
            quantity=number_or_none(o, "q"),
            limit_price=number_or_none(o, "p"),
            trigger_price=number_or_none(o, "tp"),
            reduce_only=o.get("R") is True,
            close_position=o.get("cp") is True,
            child_venue_order_id=None if child is None else VenueOrderId(child),
            updated_ms=int(frame.get("T") or frame["E"]),
            raw_type=str(o["o"]),
            reject_reason=reason if status in (OrderStatus.REJECTED, OrderStatus.EXPIRED) else "",
        )

    def _account_update(self, a: Row, frame: Row) -> Iterator[Push]:
        time_ms = int(frame.get("T") or frame["E"])
        for row in a.get("B", ()):
            if row["a"] == "USDT":
                yield VenueBalance(self.venue, "USDT", number(row, "wb"), None, None, time_ms=time_ms)
        for row in a.get("P", ()):
            instrument = self.book.find(row["s"])
            if instrument is None:
                continue
            one_way(row, "ps")
            yield VenuePosition(
                instrument=instrument,
                quantity=number(row, "pa"),
                entry_price=number_or_none(row, "ep"),
                unrealized_pnl=number_or_zero(row, "up"),
                isolated=row.get("mt") == "isolated",
                updated_ms=time_ms,
            )
