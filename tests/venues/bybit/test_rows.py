"""Rows and frames as the venue's pages show them → domain values."""

from decimal import Decimal
from typing import Any

import pytest

from tests.venues.bybit.bench import BTC, BYBIT_ID
from tests.venues.doubles import CREDENTIALS
from tradingd.domain.account import RejectKind
from tradingd.domain.candles import Candle
from tradingd.domain.instruments import Instrument
from tradingd.domain.orders import OrderKind, OrderStatus
from tradingd.venues.bybit import BYBIT, BybitDialect
from tradingd.venues.bybit.rows import Rows
from tradingd.venues.translate import Book

ONE = Decimal(1)


@pytest.fixture
def book() -> Book:
    book = Book()
    book.replace({BTC: Instrument(BTC, "BTCUSDT", ONE, ONE, ONE, ONE, ONE, ONE)})
    return book


@pytest.fixture
def rows(book: Book) -> Rows:
    return Rows(BYBIT_ID, book)


def order(**changes: Any) -> dict[str, Any]:
    row = {
        "symbol": "BTCUSDT", "orderId": "5cf98598", "orderLinkId": "td-a-1e", "side": "Buy", "positionIdx": 0,
        "orderStatus": "New", "cancelType": "UNKNOWN", "rejectReason": "EC_NoError", "timeInForce": "GTC",
        "price": "72.5", "qty": "1", "avgPrice": "", "leavesQty": "0", "cumExecQty": "0", "orderType": "Limit",
        "stopOrderType": "", "triggerPrice": "", "triggerDirection": 0, "reduceOnly": False, "closeOnTrigger": False,
        "createdTime": "1672364262444", "updatedTime": "1672364262457",
    }  # fmt: skip
    return row | changes


STOP = {"side": "Sell", "orderType": "Market", "stopOrderType": "Stop", "triggerPrice": "70", "triggerDirection": 2}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"orderStatus": "New"}, OrderStatus.ACCEPTED),
        ({"orderStatus": "PartiallyFilled", "cumExecQty": "0.5"}, OrderStatus.PARTIALLY_FILLED),
        ({"orderStatus": "Filled", "cumExecQty": "1"}, OrderStatus.FILLED),
        ({"orderStatus": "Cancelled", "rejectReason": "EC_PerCancelRequest"}, OrderStatus.CANCELED),
        ({"orderStatus": "Rejected", "rejectReason": "EC_Others"}, OrderStatus.REJECTED),
        ({"orderStatus": "Cancelled", "rejectReason": "EC_PostOnlyWillTakeLiquidity"}, OrderStatus.REJECTED),
        ({"orderStatus": "Cancelled", "rejectReason": "EC_CancelForNoFullFill"}, OrderStatus.REJECTED),
        ({"orderStatus": "Cancelled", "rejectReason": "EC_NoImmediateQtyToFill"}, OrderStatus.EXPIRED),
        (
            {"orderStatus": "Cancelled", "rejectReason": "EC_NoImmediateQtyToFill", "cumExecQty": "0.4"},
            OrderStatus.CANCELED,
        ),
        ({**STOP, "orderStatus": "Untriggered"}, OrderStatus.ACCEPTED),
        ({**STOP, "orderStatus": "Deactivated"}, OrderStatus.CANCELED),
    ],
)
def test_an_order_stands_as_its_status_and_its_reason_say(
    rows: Rows, changes: dict[str, Any], status: OrderStatus
) -> None:
    read = rows.order(order(**changes))
    assert read is not None and read.status is status


@pytest.mark.fault(37)
def test_a_cancel_that_came_behind_the_last_fill_is_a_fill(rows: Rows) -> None:
    late = order(orderStatus="Filled", cumExecQty="1", cancelType="CancelByUser",
                 rejectReason="EC_OrigClOrdIDDoesNotExist")  # fmt: skip
    read = rows.order(late)
    assert read is not None and read.status is OrderStatus.FILLED and not read.reject_reason


def test_a_fired_stop_is_triggered_under_its_own_id(rows: Rows) -> None:
    for status in ("Triggered", "New"):
        read = rows.order(order(**STOP, orderStatus=status))
        assert read is not None and read.status is OrderStatus.TRIGGERED
        assert read.child_venue_order_id == read.venue_order_id == "5cf98598" and not read.is_child
    waiting = rows.order(order(**STOP, orderStatus="Untriggered"))
    assert waiting is not None and waiting.child_venue_order_id is None
    assert waiting.book == BYBIT.order_books.value[0]


@pytest.mark.parametrize(
    ("side", "direction", "kind"),
    [
        ("Sell", 2, OrderKind.STOP_MARKET),
        ("Sell", 1, OrderKind.TAKE_PROFIT_MARKET),
        ("Buy", 1, OrderKind.STOP_MARKET),
        ("Buy", 2, OrderKind.TAKE_PROFIT_MARKET),
    ],
)
def test_a_conditional_order_is_what_its_side_and_direction_make_it(
    rows: Rows, side: str, direction: int, kind: OrderKind
) -> None:
    read = rows.order(order(**STOP | {"side": side, "triggerDirection": direction}, orderStatus="Untriggered"))
    assert read is not None and read.kind is kind


def test_the_stop_of_a_position_is_in_no_book_of_orders(rows: Rows) -> None:
    row = order(**STOP | {"stopOrderType": "StopLoss", "closeOnTrigger": True}, orderLinkId="", qty="0")
    read = rows.order(row | {"orderStatus": "Untriggered"})
    assert read is not None and read.client_order_id is None and read.close_position and read.quantity is None
    assert read.book == "position" not in BYBIT.order_books.value and read.raw_type == "StopLoss"


def execution(**changes: Any) -> dict[str, Any]:
    row = {
        "symbol": "BTCUSDT", "execId": "7e2ae69c", "orderId": "f6e324ff", "orderLinkId": "td-a-1e", "side": "Sell",
        "execPrice": "95900.1", "execQty": "0.1", "execFee": "26.3725275", "execPnl": "1.5", "feeCurrency": "",
        "isMaker": False, "execTime": "1746270400353", "execType": "Trade", "stopOrderType": "UNKNOWN",
    }  # fmt: skip
    return row | changes


def test_executions_that_move_the_position_are_fills_and_funding_is_not(rows: Rows) -> None:
    kinds = {word: rows.fill(execution(execType=word)) for word in ("Trade", "BustTrade", "AdlTrade", "Settle")}
    assert {word: fill and fill.reason for word, fill in kinds.items()} == {
        "Trade": "", "BustTrade": "liquidation", "AdlTrade": "deleveraging", "Settle": "settlement"
    }  # fmt: skip
    trade = kinds["Trade"]
    assert trade is not None and trade.fee_currency == "USDT" and trade.signed_quantity == Decimal("-0.1")
    assert rows.fill(execution(execType="Funding")) is None
    assert rows.fill(execution(symbol="BTCPERP")) is None


WALLET = {
    "accountType": "UNIFIED", "totalAvailableBalance": "1235", "totalEquity": "7000",
    "coin": [{"coin": "USDT", "walletBalance": "10000", "equity": "7000", "totalPositionIM": "5000",
              "totalOrderIM": "500", "locked": "15", "bonus": "0"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("word", "reason"),
    [("StopLoss", "stop_loss"), ("TakeProfit", "take_profit"), ("PartialStopLoss", ""), ("Stop", "")],
)
def test_a_fill_at_a_level_of_the_whole_position_says_which_it_was(rows: Rows, word: str, reason: str) -> None:
    fill = rows.fill(execution(stopOrderType=word, orderLinkId=""))
    assert fill is not None and (fill.reason, fill.is_of_position) == (reason, bool(reason))


@pytest.mark.parametrize("state", ["Untriggered", "Triggered", "New", "PartiallyFilled", "Filled", "Deactivated"])
def test_only_a_level_of_the_whole_position_is_its_state_before_it_fires_and_after(rows: Rows, state: str) -> None:
    for word, quantity, is_state in (
        ("StopLoss", "0", True),
        ("TakeProfit", "0.5", True),
        ("PartialStopLoss", "1", False),
    ):
        shown = rows.order(order(**STOP | {"stopOrderType": word}, orderLinkId="", qty=quantity, orderStatus=state))
        assert shown is not None and shown.is_state is is_state, word


def test_what_is_available_is_the_accounts_with_cross_margin_and_the_coins_with_isolated(rows: Rows) -> None:
    cross = rows.balance(WALLET, 5)
    assert (cross.available, cross.wallet, cross.equity) == (Decimal(1235), Decimal(10000), Decimal(7000))
    isolated = rows.balance(WALLET | {"totalAvailableBalance": "", "totalEquity": ""}, 5)
    assert isolated.available == Decimal(10000 - 5000 - 500 - 15)


def test_a_candle_is_closed_when_the_venue_confirms_it(rows: Rows) -> None:
    bar = {"start": 1672324800000, "end": 1672324859999, "interval": "1", "open": "1", "close": "2", "high": "3",
           "low": "0.5", "volume": "2.08", "turnover": "3", "confirm": False, "timestamp": 1672324988882}  # fmt: skip
    frame = {"topic": "kline.1.BTCUSDT", "data": [bar | {"confirm": True}, bar | {"start": 1672324860000}]}
    first, second = rows.pushes(frame)
    assert isinstance(first, Candle) and isinstance(second, Candle)
    assert (first.closed, second.closed) == (True, False) and first.close == 2
    assert second.open_time_ms - first.open_time_ms == 60_000


def test_a_position_of_hedge_mode_is_never_read_as_net(rows: Rows) -> None:
    row = {"symbol": "BTCUSDT", "size": "1", "side": "Buy", "positionIdx": 1, "updatedTime": "1"}
    with pytest.raises(ValueError, match="one-way"):
        rows.position(row)


def test_a_flat_symbol_is_a_row_of_size_zero_and_a_short_has_a_sign(rows: Rows) -> None:
    flat = rows.position({"symbol": "BTCUSDT", "size": "0", "side": "", "positionIdx": 0, "avgPrice": "0"})
    short = rows.position({"symbol": "BTCUSDT", "size": "0.5", "side": "Sell", "positionIdx": 0, "avgPrice": "9"})
    assert flat is not None and flat.quantity == 0 and flat.entry_price is None
    assert short is not None and short.quantity == Decimal("-0.5")


def test_the_path_of_a_stream_tells_its_kind(book: Book) -> None:
    dialect = BybitDialect(BYBIT_ID, book, CREDENTIALS)
    assert dialect.stream_kind("wss://stream.bybit.com/v5/public/linear") == "candles"
    assert dialect.stream_kind("wss://stream.bybit.com/v5/private") == "account"
    assert dialect.stream_kind("wss://stream.bybit.com/v5/trade") is None


def test_an_answer_to_a_ping_is_no_sign_of_candles(book: Book) -> None:
    dialect = BybitDialect(BYBIT_ID, book, CREDENTIALS)
    assert dialect.is_pong({"success": True, "ret_msg": "pong", "op": "ping"})
    assert dialect.is_pong({"op": "pong", "args": ["1757405570352"]})
    assert not dialect.is_pong({"topic": "kline.1.BTCUSDT"})


def test_there_is_no_key_of_the_account_stream() -> None:
    assert BYBIT.account_key_interval_ms.value >= 86_400_000


def test_the_fence_waits_longer_for_a_venue_that_checks_after_its_answer() -> None:
    limits = BYBIT.limits(receive_window_ms=None, window_scale=1)
    assert not limits.ack_is_acceptance and limits.visibility_margin_ms == 5_000
    assert BYBIT.limits(receive_window_ms=None, window_scale=60).visibility_margin_ms == 300_000


def test_orders_that_ended_without_a_fill_are_known_for_a_day() -> None:
    assert BYBIT.limits(receive_window_ms=None, window_scale=1).orders_kept_ms == 86_400_000


def test_positions_on_many_symbols_take_no_conditional_order_from_each_other() -> None:
    assert BYBIT.limits(receive_window_ms=None, window_scale=1).conditional_orders is None


def test_times_of_reads_and_connections_are_those_of_the_other_venues() -> None:
    from tradingd.venues.binance import BINANCE

    for name in ("http_keepalive_s", "read_hedge_s", "read_limit_s"):
        assert getattr(BYBIT, name).value == getattr(BINANCE, name).value
    assert BYBIT.read_limit_s.value * 1000 == BYBIT.receive_window_ms.value


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("changes", "code", "kind"),
    [
        ({"rejectReason": "EC_PostOnlyWillTakeLiquidity"}, "EC_PostOnlyWillTakeLiquidity", RejectKind.WOULD_NOT_REST),
        ({"rejectReason": "EC_CancelForNoFullFill"}, "EC_CancelForNoFullFill", RejectKind.NOT_FILLABLE),
        ({"rejectReason": "EC_NoImmediateQtyToFill"}, "EC_NoImmediateQtyToFill", RejectKind.NOT_FILLABLE),
        ({"cancelType": "CancelByReduceOnly"}, "CancelByReduceOnly", RejectKind.REDUCE_ONLY),
        ({"orderStatus": "Rejected", "rejectReason": "EC_Others"}, "EC_Others", RejectKind.OTHER),
        ({"cancelType": "CancelByUser", "rejectReason": "EC_PerCancelRequest"}, None, RejectKind.OTHER),
    ],
)
def test_an_order_that_ended_by_itself_tells_why_in_the_venues_word_and_in_ours(rows, changes, code, kind):
    shown = rows.order(order(**{"orderStatus": "Cancelled", **changes}))
    assert (shown.reject_code, shown.reject_kind) == (code, kind)
