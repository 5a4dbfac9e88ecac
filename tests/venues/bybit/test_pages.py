"""Lists longer than a page and spans longer than a window: all of it, or an exception."""

import time
from decimal import Decimal
from typing import Any

import pytest

from tests.venues.bybit.bench import BTC, BYBIT_ID
from tests.venues.bybit.test_rows import STOP, execution, order
from tests.venues.doubles import CREDENTIALS
from tradingd.domain.errors import VenueUnreachable
from tradingd.domain.instruments import Instrument
from tradingd.venues.bybit import BybitDialect
from tradingd.venues.bybit.pages import read_all
from tradingd.venues.dialect import Params
from tradingd.venues.reply import Reply
from tradingd.venues.translate import Book

NOW_MS = 1_795_000_000_000
DAY_MS = 86_400_000
ONE = Decimal(1)


class Pages:
    """A venue that answers reads from a list of rows, so many on a page."""

    def __init__(self, rows: list[dict[str, Any]], size: int, *, loops: bool = False) -> None:
        self.rows, self.size, self.loops = rows, size, loops
        self.asked: list[Params] = []

    def now_ms(self) -> int:
        return NOW_MS

    async def call(self, endpoint: str, params: Params) -> Reply:
        raise AssertionError(f"nothing is to be changed by {endpoint}")

    async def ask(self, endpoint: str, params: Params) -> Reply:
        raise AssertionError(f"{endpoint} is to be read")

    async def read(self, endpoint: str, params: Params) -> Any:
        self.asked.append(params)
        rows = self.rows
        if "startTime" in params:
            first, last = int(str(params["startTime"])), int(str(params["endTime"]))
            rows = [row for row in rows if first <= int(row.get("execTime") or row["transactionTime"]) <= last]
        start = int(str(params.get("cursor") or "0"))
        more = start + self.size < len(rows)
        cursor = "0" if self.loops else str(start + self.size) if more else ""
        return {"retCode": 0, "result": {"list": rows[start : start + self.size], "nextPageCursor": cursor}}


@pytest.fixture
def rules() -> Instrument:
    return Instrument(BTC, "BTCUSDT", ONE, ONE, ONE, ONE, ONE, ONE)


@pytest.fixture
def dialect(rules: Instrument) -> BybitDialect:
    book = Book()
    book.replace({BTC: rules})
    return BybitDialect(BYBIT_ID, book, CREDENTIALS)


def executions(count: int, step_ms: int) -> list[dict[str, Any]]:
    """Newest first, as the venue lists them."""
    return [execution(execId=str(n), execTime=str(NOW_MS - n * step_ms), execPrice="1") for n in range(count)]


async def test_fills_are_read_over_every_window_and_page(dialect: BybitDialect, rules: Instrument) -> None:
    venue = Pages(executions(300, DAY_MS // 10), size=50)
    fills = await dialect.fills(venue, rules, NOW_MS - 30 * DAY_MS)
    assert [fill.trade_id for fill in fills] == [str(n) for n in reversed(range(300))]
    spans = [int(str(each["endTime"])) - int(str(each["startTime"])) for each in venue.asked]
    assert max(spans) < 7 * DAY_MS and len({each["startTime"] for each in venue.asked}) == 5


async def test_open_orders_are_read_to_the_last_page(dialect: BybitDialect, rules: Instrument) -> None:
    plain = [order(orderId=str(n)) for n in range(120)]
    waiting = [order(orderId=f"s{n}", **STOP, orderStatus="Untriggered") for n in range(9)]
    venue = Pages([*plain, *waiting, order(orderId="over", orderStatus="Filled", cumExecQty="1")], size=50)
    for which in (rules, None):
        found = await dialect.open_orders(venue, which)
        assert {each.venue_order_id for each in found} == {row["orderId"] for row in [*plain, *waiting]}
    assert {each["limit"] for each in venue.asked} == {50} and len(venue.asked) == 6
    assert venue.asked[0]["symbol"] == "BTCUSDT" and venue.asked[-1]["settleCoin"] == "USDT"


async def test_fills_of_one_millisecond_keep_their_order(dialect: BybitDialect, rules: Instrument) -> None:
    fills = await dialect.fills(Pages(executions(4, 0), size=2), rules, NOW_MS - DAY_MS)
    assert [fill.trade_id for fill in fills] == ["3", "2", "1", "0"]


async def test_fills_older_than_the_venue_keeps_are_not_asked_for(dialect: BybitDialect, rules: Instrument) -> None:
    venue = Pages([], size=50)
    started = time.monotonic()
    assert await dialect.fills(venue, rules, 0) == []
    oldest = min(int(str(each["startTime"])) for each in venue.asked)
    assert oldest == NOW_MS - 729 * DAY_MS and time.monotonic() - started < 1


async def test_a_cursor_that_leads_back_is_no_complete_list() -> None:
    with pytest.raises(VenueUnreachable):
        await read_all(Pages(executions(4, 1), size=2, loops=True), "privateGetV5OrderRealtime", {}, "open orders")


async def test_a_row_of_the_log_is_a_fee_and_a_result_or_funding_or_a_transfer(dialect: BybitDialect) -> None:
    empty = {"symbol": "BTCUSDT", "currency": "USDT", "cashFlow": "0", "fee": "0", "funding": "", "change": "0"}
    log = [
        empty | {"id": "1", "type": "TRADE", "tradeId": "9", "cashFlow": "-11.5", "fee": "0.25", "change": "-11.75"},
        empty | {"id": "2", "type": "SETTLEMENT", "funding": "-0.003676", "change": "-0.003676"},
        empty | {"id": "3", "type": "TRANSFER_IN", "symbol": "", "cashFlow": "50", "change": "50"},
        empty | {"id": "4", "type": "BONUS", "symbol": "", "change": "7"},
        empty | {"id": "5", "type": "LIQUIDATION", "cashFlow": "-2", "change": "-2"},
    ]
    rows = [row | {"transactionTime": str(NOW_MS - n * 3 * DAY_MS)} for n, row in enumerate(log)]
    found = await dialect.bookings(Pages(rows, size=2), NOW_MS - 30 * DAY_MS)
    assert [(each.kind, each.amount) for each in found] == [
        ("liquidation", Decimal(-2)),
        ("bonus", Decimal(7)),
        ("transfer", Decimal(50)),
        ("funding", Decimal("-0.003676")),
        ("fee", Decimal("-0.25")),
        ("realized_pnl", Decimal("-11.5")),
    ]
    assert sum(each.amount for each in found) == sum(Decimal(str(row["change"])) for row in log)
    assert found[3].reference == f"BTCUSDT:{NOW_MS - 3 * DAY_MS}" and found[1].instrument is None
