"""Documented rows and frames of Binance USDT-M, read into domain types."""

from decimal import Decimal
from typing import Any

import pytest

from tests.venues.doubles import BINANCE_ID, BTC
from tests.venues.test_reads import rules
from tradingd.domain.account import VenueBalance, VenueOrder, VenuePosition
from tradingd.domain.intents import Side
from tradingd.domain.orders import Fill, OrderKind, OrderStatus
from tradingd.venues.binance.calls import with_child
from tradingd.venues.binance.rows import Rows
from tradingd.venues.binance.rules import instruments
from tradingd.venues.translate import Book, KeyExpired


@pytest.fixture
def rows() -> Rows:
    book = Book()
    book.replace({BTC: rules()})
    return Rows(BINANCE_ID, book)


def order_frame(**changes: Any) -> dict[str, Any]:
    o = {"s": "BTCUSDT", "c": "td-abcdefgh1-1e", "S": "SELL", "o": "LIMIT", "f": "GTC", "q": "0.010", "p": "7103.04",
         "ap": "0", "sp": "0", "x": "NEW", "X": "NEW", "i": 8886774, "l": "0", "z": "0", "L": "0", "N": "USDT",
         "n": "0", "T": 1568879465650, "t": 0, "m": False, "R": False, "wt": "CONTRACT_PRICE", "ot": "LIMIT",
         "ps": "BOTH", "cp": False, "rp": "0"}  # fmt: skip
    return {"e": "ORDER_TRADE_UPDATE", "E": 1568879465651, "T": 1568879465650, "o": o | changes}


def algo_frame(**changes: Any) -> dict[str, Any]:
    o = {"caid": "td-abcdefgh1-2s", "aid": 2148719, "at": "CONDITIONAL", "o": "STOP_MARKET", "s": "BTCUSDT",
         "S": "SELL", "ps": "BOTH", "f": "GTC", "q": "0", "X": "NEW", "ai": "", "ap": "0.00000", "aq": "0.00000",
         "act": "0", "tp": "750", "p": "0", "wt": "MARK_PRICE", "cp": True, "pP": False, "R": False, "tt": 0,
         "gtd": 0, "rm": ""}  # fmt: skip
    return {"e": "ALGO_UPDATE", "T": 1750515742297, "E": 1750515742303, "o": o | changes}


def test_a_new_order_is_accepted(rows: Rows) -> None:
    (order,) = rows.pushes(order_frame())
    assert isinstance(order, VenueOrder)
    assert (order.book, order.status) == ("plain", OrderStatus.ACCEPTED)
    assert (order.side, order.kind) == (Side.SELL, OrderKind.LIMIT)
    assert (order.quantity, order.limit_price, order.trigger_price) == (Decimal("0.010"), Decimal("7103.04"), None)
    assert order.average_price is None and order.updated_ms == 1568879465650 and not order.is_child


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("NEW", OrderStatus.ACCEPTED), ("PARTIALLY_FILLED", OrderStatus.PARTIALLY_FILLED),
        ("FILLED", OrderStatus.FILLED), ("CANCELED", OrderStatus.CANCELED), ("EXPIRED", OrderStatus.EXPIRED),
        ("EXPIRED_IN_MATCH", OrderStatus.EXPIRED), ("REJECTED", OrderStatus.REJECTED),
    ],
)  # fmt: skip
def test_each_status_of_a_plain_order_has_its_meaning(rows: Rows, raw: str, status: OrderStatus) -> None:
    (order,) = rows.pushes(order_frame(X=raw))
    assert isinstance(order, VenueOrder) and order.status is status


def test_a_trade_is_a_fill_and_then_an_order_update(rows: Rows) -> None:
    frame = order_frame(x="TRADE", X="PARTIALLY_FILLED", l="0.004", z="0.004", L="7103.10", ap="7103.10", n="0.0113",
                        t=77, m=True, rp="-0.02")  # fmt: skip
    fill, order = rows.pushes(frame)
    assert fill == Fill(BTC, "77", "8886774", "td-abcdefgh1-1e", Side.SELL, Decimal("7103.10"), Decimal("0.004"),  # type: ignore[arg-type]
                        Decimal("0.0113"), "USDT", Decimal("-0.02"), True, 1568879465650)  # fmt: skip
    assert isinstance(order, VenueOrder) and order.filled_quantity == Decimal("0.004")


@pytest.mark.fault(48)
@pytest.mark.parametrize(
    ("client_order_id", "execution", "reason"),
    [
        ("autoclose-1596107620040000020", "CALCULATED", "liquidation"),
        ("adl_autoclose", "TRADE", "auto-deleveraging"),
        ("settlement_autoclose-99", "TRADE", "settlement"),
        ("web_abc", "TRADE", ""),
    ],
)
def test_a_close_by_the_venue_is_told_from_a_humans(
    rows: Rows, client_order_id: str, execution: str, reason: str
) -> None:
    fill, _ = rows.pushes(order_frame(c=client_order_id, x=execution, X="FILLED", l="0.01", L="7000", t=5))
    assert isinstance(fill, Fill) and fill.reason == reason


def test_an_execution_without_a_trade_id_is_left_to_the_venues_list(rows: Rows) -> None:
    pushes = list(rows.pushes(order_frame(x="CALCULATED", X="FILLED", l="0.01", L="7000", t=0)))
    assert [type(push) for push in pushes] == [VenueOrder]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("NEW", OrderStatus.ACCEPTED), ("TRIGGERING", OrderStatus.TRIGGERED), ("TRIGGERED", OrderStatus.TRIGGERED),
        ("FINISHED", OrderStatus.TRIGGERED), ("CANCELED", OrderStatus.CANCELED), ("EXPIRED", OrderStatus.EXPIRED),
        ("REJECTED", OrderStatus.REJECTED),
    ],
)  # fmt: skip
def test_each_status_of_a_conditional_order_has_its_meaning(rows: Rows, raw: str, status: OrderStatus) -> None:
    (order,) = rows.pushes(algo_frame(X=raw, rm="Reduce Only reject"))
    assert isinstance(order, VenueOrder) and order.status is status
    assert order.book == "algo" and order.close_position and order.quantity is None
    assert order.trigger_price == 750 and order.kind is OrderKind.STOP_MARKET
    ended = status in (OrderStatus.REJECTED, OrderStatus.EXPIRED)
    assert order.reject_reason == ("Reduce Only reject" if ended else "")


def test_a_child_is_linked_by_its_order_id_whatever_its_client_order_id(rows: Rows) -> None:
    (fired,) = rows.pushes(algo_frame(X="TRIGGERED", ai="8886774"))
    assert isinstance(fired, VenueOrder) and fired.child_venue_order_id == "8886774"
    (child,) = rows.pushes(order_frame(c="made-by-the-venue", o="MARKET", ot="MARKET"))
    assert isinstance(child, VenueOrder) and child.is_child and child.client_order_id == "td-abcdefgh1-2s"
    row = {"symbol": "BTCUSDT", "id": 1, "orderId": 8886774, "side": "SELL", "price": "1", "qty": "1",
           "commission": "0", "commissionAsset": "USDT", "realizedPnl": "1", "maker": False, "time": 1}  # fmt: skip
    assert rows.fill(row, BTC).client_order_id == "td-abcdefgh1-2s"


def test_a_child_seen_before_its_parent_is_known_by_its_original_type(rows: Rows) -> None:
    (child,) = rows.pushes(order_frame(c="td-abcdefgh1-2s", o="MARKET", ot="STOP_MARKET"))
    assert isinstance(child, VenueOrder) and child.is_child and child.kind is OrderKind.MARKET


def test_an_account_update_is_balance_and_signed_positions(rows: Rows) -> None:
    assets = [{"a": "USDT", "wb": "122.5", "cw": "100", "bc": "50"}, {"a": "BNB", "wb": "1", "cw": "1", "bc": "0"}]
    held = {"s": "BTCUSDT", "pa": "-0.5", "ep": "9000", "up": "3.5", "mt": "isolated", "iw": "1", "ps": "BOTH"}
    other = held | {"s": "BTCUSDC", "pa": "1", "mt": "cross"}
    frame = {"e": "ACCOUNT_UPDATE", "E": 2, "T": 1, "a": {"m": "ORDER", "B": assets, "P": [held, other]}}
    balance, position = rows.pushes(frame)
    assert balance == VenueBalance(BINANCE_ID, "USDT", Decimal("122.5"), None, None, time_ms=1)
    assert isinstance(position, VenuePosition)
    assert (position.quantity, position.entry_price, position.isolated) == (Decimal("-0.5"), Decimal(9000), True)


def test_hedge_mode_positions_are_refused_not_added_up(rows: Rows) -> None:
    with pytest.raises(ValueError, match="LONG"):
        list(rows.pushes(order_frame(ps="LONG")))
    with pytest.raises(ValueError, match="SHORT"):
        rows.position({"symbol": "BTCUSDT", "positionSide": "SHORT", "positionAmt": "1"})


def test_an_expired_listen_key_is_told_and_other_events_tell_nothing(rows: Rows) -> None:
    assert list(rows.pushes({"e": "listenKeyExpired", "E": 1, "listenKey": "x"})) == [KeyExpired()]
    for frame in ({"e": "TRADE_LITE"}, {"result": None, "id": 1}, {"e": "ACCOUNT_CONFIG_UPDATE"}):
        assert list(rows.pushes(frame)) == []


@pytest.mark.fault(62)
@pytest.mark.parametrize("frame", ["text", 5, None, [], order_frame(X="SOMETHING_NEW"), order_frame(q="NaN")])
def test_what_cannot_be_understood_raises(rows: Rows, frame: Any) -> None:
    with pytest.raises((ValueError, KeyError)):
        list(rows.pushes(frame))


def test_what_is_not_traded_here_is_passed_over(rows: Rows) -> None:
    assert list(rows.pushes(order_frame(s="BTCUSDC"))) == list(rows.pushes(algo_frame(s="BTCUSDT_261225"))) == []


def test_the_memory_of_owners_is_bounded(rows: Rows) -> None:
    for number in range(9_000):
        list(rows.pushes(order_frame(i=number)))
    assert not rows.knows("BTCUSDT", "0") and rows.knows("BTCUSDT", "8999") and len(rows._owners) == 8_192


@pytest.mark.parametrize(
    ("child", "seen"),
    [
        (OrderStatus.ACCEPTED, OrderStatus.TRIGGERED),
        (OrderStatus.PARTIALLY_FILLED, OrderStatus.PARTIALLY_FILLED),
        (OrderStatus.FILLED, OrderStatus.FILLED),
        (OrderStatus.EXPIRED, OrderStatus.EXPIRED),
    ],
)
def test_a_triggered_order_is_as_its_child_stands(rows: Rows, child: OrderStatus, seen: OrderStatus) -> None:
    (parent,) = rows.pushes(algo_frame(X="FINISHED", ai="8886774"))
    raw = "NEW" if child is OrderStatus.ACCEPTED else child.value
    (order,) = rows.pushes(order_frame(X=raw, z="0.003", ap="7000"))
    assert isinstance(parent, VenueOrder) and isinstance(order, VenueOrder)
    both = with_child(parent, order)
    assert (both.book, both.status, both.filled_quantity) == ("algo", seen, Decimal("0.003"))


@pytest.mark.fault(61)
def test_listings_that_no_id_can_name_or_that_are_no_usdt_perpetual_are_left_out() -> None:
    def market(symbol: str, settle: str = "USDT", contract: str = "PERPETUAL") -> dict[str, Any]:
        filters = [{"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "1", "maxPrice": "0"},
                   {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
                   {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "120"},
                   {"filterType": "MIN_NOTIONAL", "notional": "50"}]  # fmt: skip
        info = {"symbol": symbol[:3], "contractType": contract, "status": "SETTLING", "filters": filters}
        return {"symbol": symbol, "settle": settle, "info": info}

    found = instruments(BINANCE_ID, [market("BTC/USDT:USDT"), market("币安/USDT:USDT"), market("BTC/USDC:USDC", "USDC"),
                                     market("BTC/USDT:USDT-261225", contract="CURRENT_QUARTER")])  # fmt: skip
    assert list(found) == [BTC] and not found[BTC].trading
