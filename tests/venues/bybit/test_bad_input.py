"""What goes wrong beside trading: answers without a body, a host whose clock is off, a key without rights."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from tests.venues.bench import send
from tests.venues.bybit.bench import BTC, BYBIT_ID, BybitBench, request
from tests.venues.faulty_proxy import answer
from tradingd.domain.account import CancelVerdict, RejectKind, SubmitVerdict, VenueOrder
from tradingd.domain.errors import VenueError, VenueUnreachable
from tradingd.domain.ids import VenueOrderId
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderKind, OrderStatus
from tradingd.ports import Priority, StreamKey
from tradingd.venues.bybit.rows import LINEAR
from tradingd.venues.ccxt_venue import CcxtVenue

ACCOUNT = StreamKey(BYBIT_ID, "account")
KEY_REFUSED = '{"retCode":10005,"retMsg":"Permission denied, please check your API key permissions.","result":{}}'
SUCCESS_OF_NOTHING = '{"retCode":0,"retMsg":"OK","result":{}}'
BEHIND_MS = 12_000
READS: dict[str, tuple[str, Callable[[CcxtVenue], Awaitable[object]]]] = {
    "time": ("market/time", lambda venue: venue.server_time_ms()),
    "rules": ("market/instruments-info", lambda venue: venue.load_instruments()),
    "key": ("user/query-api", lambda venue: venue.preflight()),
    "kind of account": ("account/info", lambda venue: venue.preflight()),
    "fees": ("account/fee-rate", lambda venue: venue.preflight()),
    "candles": ("market/kline", lambda venue: venue.candles(BTC, "1m", 1_790_000_000_000, 5)),
    "mark price": ("market/tickers", lambda venue: venue.mark_price(BTC)),
    "an order": ("order/realtime", lambda venue: venue.find_order(request(), Priority.RECONCILE)),
    "an order of old": ("order/history", lambda venue: venue.find_order(request(), Priority.RECONCILE)),
    "open orders": ("order/realtime", lambda venue: venue.open_orders(BTC, Priority.RECONCILE)),
    "fills": ("execution/list", lambda venue: venue.fills(BTC, 1_790_000_000_000, Priority.RECONCILE)),
    "positions": ("position/list", lambda venue: venue.account(Priority.RECONCILE)),
    "balance": ("account/wallet-balance", lambda venue: venue.account(Priority.RECONCILE)),
    "bookings": ("account/transaction-log", lambda venue: venue.bookings(1_790_000_000_000, Priority.RECONCILE)),
    "leverage": ("position/set-leverage", lambda venue: venue.prepare(BTC, 5, "cross")),
    "risk limits": ("market/risk-limit", lambda venue: venue.prepare(BTC, 5, "cross")),
}


@pytest.mark.parametrize("body", ["", "{}", "<html></html>"])
@pytest.mark.parametrize("what", READS)
async def test_a_success_without_a_body_is_no_answer(bench: BybitBench, what: str, body: str) -> None:
    venue = await bench.open()
    path, read = READS[what]
    method = "POST" if "set-" in path else "GET"
    bench.proxy.faults[f"{method} /v5/{path}"] = answer(200, body)
    with pytest.raises(VenueUnreachable):
        await read(venue)


@pytest.mark.parametrize("body", ["", "{}", "<html></html>", '{"retCode":0,"retMsg":"OK"}', SUCCESS_OF_NOTHING])
async def test_an_order_a_cancel_and_a_stop_without_an_answers_body_are_in_doubt(bench: BybitBench, body: str) -> None:
    venue = await bench.open()
    for path in ("order/create", "order/cancel", "position/trading-stop"):
        bench.proxy.faults[f"POST /v5/{path}"] = answer(200, body)
    outcome = await send(bench, venue, request())
    assert outcome.verdict is SubmitVerdict.AMBIGUOUS and outcome.order is None
    order = VenueOrder(
        BTC,
        LINEAR,
        VenueOrderId("1"),
        request().client_order_id,
        OrderStatus.ACCEPTED,
        Side.BUY,
        OrderKind.MARKET,
        Decimal(1),
    )  # fmt: skip
    assert (await venue.cancel(order, Priority.CANCEL)).verdict is CancelVerdict.AMBIGUOUS
    assert venue.state_protection is not None
    outcome = await venue.state_protection.set(BTC, Decimal(1), None, Priority.PROTECT)
    # of a level the venue answers no more than that
    done = body == SUCCESS_OF_NOTHING
    assert outcome.verdict is (SubmitVerdict.ACCEPTED if done else SubmitVerdict.AMBIGUOUS)


@pytest.mark.fault(28)
async def test_a_host_whose_clock_is_twelve_seconds_behind_opens_is_told_so_and_trades_by_the_venues_clock(
    bench: BybitBench,
) -> None:
    bench.clock.offset_ms -= BEHIND_MS
    bench.clock.wall_offset_ms -= BEHIND_MS
    venue = bench.build(subscribe_timeout_s=3.0)
    async with asyncio.timeout(10):
        await venue.open(bench.sink)
        with pytest.raises(VenueError, match="server timestamp"):
            await venue.account(Priority.RECONCILE)
        with pytest.raises(VenueError):
            await venue.watch(ACCOUNT)  # where ccxt waits for ever at the second try
        bench.clock.offset_ms += await venue.server_time_ms() - bench.clock.now_ms()
        await venue.preflight()
        await venue.watch(ACCOUNT)
        assert (await send(bench, venue, request())).verdict is SubmitVerdict.SUBMITTED
        await bench.sink.wait_for("fill")


@pytest.mark.fault(71)
async def test_a_key_without_permission_is_told_by_code_whatever_it_is_used_for(bench: BybitBench) -> None:
    venue = await bench.open()
    for path in ("user/query-api", "position/list", "order/create"):
        method = "POST" if path == "order/create" else "GET"
        bench.proxy.faults[f"{method} /v5/{path}"] = answer(200, KEY_REFUSED)
    for read in (venue.preflight, lambda: venue.account(Priority.RECONCILE)):
        with pytest.raises(VenueError, match="check your API key") as caught:
            await read()
        assert (caught.value.code, caught.value.transient) == ("10005", False)
    outcome = await send(bench, venue, request())
    assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, RejectKind.AUTHENTICATION)
