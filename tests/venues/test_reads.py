"""What is read over REST: complete, or an error."""

import json
from collections.abc import Awaitable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from tests.venues.bench import Bench, mark, request, send, stop
from tests.venues.doubles import BINANCE_ID, BTC, CREDENTIALS, until
from tests.venues.faulty_proxy import Exchange, answer, cut_body, gone
from tradingd.domain.account import AccountSnapshot
from tradingd.domain.errors import BadInstrument, VenueError, VenueUnreachable
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.numbers import ZERO
from tradingd.domain.orders import OrderKind
from tradingd.ports import Priority, StreamKey
from tradingd.venues.binance import BINANCE, BinanceDialect
from tradingd.venues.dialect import Params
from tradingd.venues.reply import Reply
from tradingd.venues.translate import Book

MINUTE_MS, DAY_MS = 60_000, 86_400_000


async def test_opening_asks_for_the_exchange_info_and_nothing_else(bench: Bench) -> None:
    await bench.build().open(bench.sink)
    assert bench.proxy.names() == ["GET /fapi/v1/exchangeInfo"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<html>\n soon " + "x" * 90, "binance answered what is no list of instruments: '<html> soon xxx"),
        ("[]", "binance answered what is no list of instruments: '[]'"),
        ('{"code":0}', "binance answered what is no list of instruments: '{\"code\":0}'"),
        ('{"symbols":[{"symbol":"BTCU', 'binance answered what is no list of instruments: \'{"symbols":[{'),
        ("", "binance answered what is no list of instruments: an empty answer"),
        ('{"timezone":"UTC","symbols":[]}', "binance: the venue lists no USDT perpetual"),
    ],
)
async def test_what_is_no_list_of_instruments_is_quoted(bench: Bench, body: str, told: str) -> None:
    bench.proxy.faults["GET /fapi/v1/exchangeInfo"] = answer(200, body)
    with pytest.raises(VenueUnreachable) as raised:
        await bench.build().open(bench.sink)
    assert str(raised.value).startswith(told) and len(str(raised.value)) < 160


async def test_the_rules_are_the_venues_own_filters(bench: Bench) -> None:
    venue = await bench.open()
    rules = venue.instruments[BTC]
    assert (rules.tick_size, rules.lot_size, rules.min_notional) == (Decimal("0.10"), Decimal("0.001"), Decimal(50))
    assert rules.max_market_quantity == 120 and rules.trading and rules.max_leverage is None
    await venue.preflight()
    assert venue.instruments[BTC].max_leverage == 125
    await venue.load_instruments()
    assert venue.instruments[BTC].max_leverage == 125


@pytest.mark.fault(54, 69)
async def test_preflight_names_the_account_and_what_is_wrong_with_it(bench: Bench) -> None:
    venue = await bench.open()
    mode = await venue.preflight()
    assert mode.account_id.startswith("sim") and mode.can_trade and not mode.hedge_mode and mode.problems == ()
    bench.proxy.faults["GET /fapi/v1/accountConfig"] = answer(
        200, '{"canTrade":false,"dualSidePosition":true,"multiAssetsMargin":true}'
    )
    bench.proxy.faults["GET /fapi/v3/balance"] = answer(200, "[]")
    mode = await venue.preflight()
    assert mode.hedge_mode and not mode.can_trade and len(mode.problems) == 3
    # the venue tells it of the account; what the key may do is learnt by the first setting, at the same start
    assert any("account may not trade" in each and "Enable Futures" in each for each in mode.problems)
    assert len(mode.account_id) == 16 and CREDENTIALS.api_key.reveal() not in mode.account_id


@pytest.mark.fault(53)
async def test_preparing_twice_is_success_and_a_refusal_is_an_error(bench: Bench) -> None:
    venue = await bench.open()
    for _ in range(2):
        await venue.prepare(BTC, 7, "isolated")
    with pytest.raises(VenueError) as raised:
        await venue.prepare(BTC, 126, "isolated")
    assert raised.value.code == "-4028"


async def test_the_account_shows_available_margin_equity_and_signed_positions(bench: Bench) -> None:
    venue = await bench.open()
    before = await venue.account(Priority.RECONCILE)
    assert before.balance.available == before.balance.wallet == 10_000 and before.position(BTC).quantity == ZERO
    await send(bench, venue, request())

    async def converged() -> AccountSnapshot | None:
        reading = await venue.account(Priority.RECONCILE)
        return reading if reading.position(BTC).quantity and reading.balance.wallet < 10_000 else None

    after = await until(converged)
    position = after.position(BTC)
    assert position.quantity == Decimal("0.010") and position.entry_price and position.mark_price
    assert after.balance.available is not None and after.balance.available < after.balance.wallet
    assert after.requested_ms <= after.received_ms


@pytest.mark.parametrize("path", ["/fapi/v3/account", "/fapi/v3/positionRisk"])
async def test_half_an_account_is_no_account(bench: Bench, path: str) -> None:
    venue = await bench.open()
    for fault in (gone, cut_body, answer(200, "{}"), answer(200, ""), answer(200, '[{"symbol":"BTCUSDT"}]')):
        bench.proxy.faults = {f"GET {path}": fault}
        with pytest.raises(VenueUnreachable):
            await venue.account(Priority.RECONCILE)


async def test_what_is_held_on_a_market_that_is_not_ours_is_named_and_breaks_nothing(bench: Bench) -> None:
    venue = await bench.open()
    rows = [
        {"symbol": "BTCUSDC", "positionAmt": "0.5", "positionSide": "BOTH"},
        {"symbol": "OLDUSDT", "positionAmt": "0", "positionSide": "BOTH"},
    ]
    bench.proxy.faults = {"GET /fapi/v3/positionRisk": answer(200, json.dumps(rows))}
    shown = await venue.account(Priority.RECONCILE)
    assert shown.unlisted == ("BTCUSDC 0.5",)
    assert shown.positions == ()


@pytest.mark.fault(94)
async def test_only_candles_that_ended_by_the_venues_clock_are_closed(bench: Bench) -> None:
    venue = await bench.open()
    bench.clock.offset_ms += 10 * MINUTE_MS  # a clock of ours that is wrong must close nothing
    now_ms = await venue.server_time_ms()
    candles = await venue.candles(BTC, "1m", now_ms - now_ms % MINUTE_MS - 5 * MINUTE_MS, 20)
    assert [candle.closed for candle in candles] == [True] * 5 + [False]
    assert [b.open_time_ms - a.open_time_ms for a, b in pairwise(candles)] == [MINUTE_MS] * 5
    with pytest.raises(BadInstrument):
        await venue.candles(InstrumentId.parse("NO/USDT:USDT@binance"), "1m", 0, 1)


async def test_candles_are_read_page_by_page(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Scripted()
    opens = range(0, 2_500 * MINUTE_MS, MINUTE_MS)

    def klines(params: Params) -> list[Any]:
        first, limit = int(str(params["startTime"])), int(str(params["limit"]))
        return [[ms, "1", "2", "0.5", "1.5", "3", ms + MINUTE_MS - 1] for ms in opens if ms >= first][:limit]

    caller.answers["fapiPublicGetKlines"] = klines
    candles = await dialect().candles(caller, rules(), "1m", 0, 2_300)
    assert [candle.open_time_ms for candle in candles] == list(opens)[:2_300]
    assert [params["limit"] for _, params in caller.asked] == [1_000, 1_000, 300]


class Scripted:
    """A venue of prepared pages, for amounts of history that the built-in one does not have."""

    def __init__(self, now_ms: int = 200 * DAY_MS) -> None:
        self.asked: list[tuple[str, Params]] = []
        self.answers: dict[str, Any] = {}
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    async def read(self, endpoint: str, params: Params) -> Any:
        self.asked.append((endpoint, params))
        return self.answers[endpoint](params)

    async def call(self, endpoint: str, params: Params) -> Reply:
        return Reply(wrote=True, status=200, value=await self.read(endpoint, params))

    async def ask(self, endpoint: str, params: Params) -> Reply:
        return await self.call(endpoint, params)


def rules() -> Instrument:
    one = Decimal(1)
    return Instrument(BTC, "BTCUSDT", one, one, one, one, one, one)


def dialect() -> BinanceDialect:
    book = Book()
    book.replace({BTC: rules()})
    return BinanceDialect(BINANCE_ID, book, CREDENTIALS)


def trade(number: int, time_ms: int, order: int = 1) -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "id": number, "orderId": order, "side": "BUY", "price": "10.5", "qty": "0.1",
            "commission": "0.01", "commissionAsset": "USDT", "realizedPnl": "0", "maker": False, "time": time_ms,
            "positionSide": "BOTH"}  # fmt: skip


def serve_trades(caller: Scripted, trades: list[dict[str, Any]]) -> None:
    """As the venue's page says: by fromId alone, or by a window of at most seven days."""

    def user_trades(params: Params) -> list[Any]:
        limit = int(str(params["limit"]))
        if "fromId" in params:
            assert "startTime" not in params and "endTime" not in params
            return [row for row in trades if row["id"] >= int(str(params["fromId"]))][:limit]
        first = int(str(params["startTime"]))
        last = int(str(params.get("endTime", first + 7 * DAY_MS - 1)))
        assert last - first <= 7 * DAY_MS and caller.now_ms() - first <= 90 * DAY_MS
        return [row for row in trades if first <= row["time"] <= last][:limit]

    def all_orders(params: Params) -> list[Any]:
        order = {"symbol": "BTCUSDT", "orderId": 1, "clientOrderId": "autoclose-1", "status": "FILLED", "side": "BUY",
                 "type": "LIMIT"}  # fmt: skip
        return [order] if int(str(params["orderId"])) <= 1 else []

    caller.answers |= {"fapiPrivateGetUserTrades": user_trades, "fapiPrivateGetAllOrders": all_orders}


@pytest.mark.fault(59)
async def test_fills_are_read_over_every_window_and_page() -> None:
    caller = Scripted()
    start_ms = caller.now_ms() - 30 * DAY_MS
    times = [start_ms + 5, start_ms + 8 * DAY_MS, *(start_ms + 16 * DAY_MS + n for n in range(2_500)), caller.now_ms()]
    serve_trades(caller, [trade(100 + number, time_ms) for number, time_ms in enumerate(times)])
    fills = await dialect().fills(caller, rules(), start_ms)
    assert [int(fill.trade_id) for fill in fills] == list(range(100, 100 + len(times)))
    assert {fill.reason for fill in fills} == {"liquidation"}


async def test_a_page_of_fills_is_the_longest_that_the_venue_gives() -> None:
    caller = Scripted()
    serve_trades(caller, [trade(7, caller.now_ms() - DAY_MS)])
    await dialect().fills(caller, rules(), caller.now_ms() - 2 * DAY_MS)
    assert {params["limit"] for _, params in caller.asked} == {1_000}


async def test_fills_before_the_wanted_time_are_left_out() -> None:
    caller = Scripted()
    start_ms = caller.now_ms() - DAY_MS
    serve_trades(caller, [trade(1, start_ms - 1), trade(2, start_ms), trade(3, start_ms + 1)])
    assert [fill.trade_id for fill in await dialect().fills(caller, rules(), start_ms)] == ["2", "3"]


@pytest.mark.fault(59)
async def test_fills_older_than_the_venue_keeps_are_not_asked_for() -> None:
    caller = Scripted()
    serve_trades(caller, [trade(7, caller.now_ms() - DAY_MS)])
    fills = await dialect().fills(caller, rules(), 0)
    assert [fill.trade_id for fill in fills] == ["7"]
    assert min(int(str(params["startTime"])) for _, params in caller.asked if "startTime" in params) > 0


async def test_a_page_that_repeats_itself_is_an_error_not_an_endless_loop() -> None:
    caller = Scripted()
    page = [trade(number, caller.now_ms() - 10) for number in range(1_000)]
    caller.answers["fapiPrivateGetUserTrades"] = lambda params: page
    with pytest.raises(VenueUnreachable):
        await dialect().fills(caller, rules(), caller.now_ms() - DAY_MS)


@pytest.mark.parametrize("at", [1, 2])
async def test_a_page_that_fails_fails_the_whole_read(at: int) -> None:
    caller = Scripted()
    serve_trades(caller, [trade(number, caller.now_ms() - 10) for number in range(2_500)])
    serve = caller.answers["fapiPrivateGetUserTrades"]

    def failing(params: Params) -> Any:
        if len(caller.asked) > at:
            raise VenueUnreachable("cut")
        return serve(params)

    caller.answers["fapiPrivateGetUserTrades"] = failing
    with pytest.raises(VenueUnreachable):
        await dialect().fills(caller, rules(), caller.now_ms() - DAY_MS)


async def test_the_rate_plan_knows_every_endpoint_that_the_adapter_calls(bench: Bench) -> None:
    """The venue's own count of our weight and orders equals what our table says of the calls we made."""
    venue = bench.build()
    await venue.open(bench.sink)
    bench.clock.offset_ms += await venue.server_time_ms() - bench.clock.now_ms()
    await venue.preflight()
    await venue.prepare(BTC, 5, "cross")
    await venue.watch(StreamKey(BINANCE_ID, "candles", BTC.symbol, "1m"))
    await venue.watch(StreamKey(BINANCE_ID, "account"))
    for limit in (50, 100, 300, 700, 1_000):
        await venue.candles(BTC, "1m", bench.clock.now_ms() - 100 * MINUTE_MS, limit)
    entry = request(kind=OrderKind.LIMIT, limit_price=await mark(venue, "0.97"))
    accepted = (await send(bench, venue, entry)).order
    await send(bench, venue, request(2))
    guard = (await send(bench, venue, stop(3, await mark(venue, "0.97")))).order
    assert accepted is not None and guard is not None
    for instrument in (BTC, None):
        await venue.open_orders(instrument, Priority.CANCEL)
    await venue.find_order(request(9), Priority.RECONCILE)
    await venue.cancel(accepted, Priority.CANCEL)
    await venue.cancel(guard, Priority.CANCEL)
    await venue.account(Priority.RECONCILE)
    await venue.fills(BTC, bench.clock.now_ms() - DAY_MS, Priority.RECONCILE)
    plan = BINANCE.rate_plan()
    endpoints = [endpoint for endpoint, _ in bench.budget.acquired]
    ours = sum(plan.weights.get(endpoint, plan.default_weight) for endpoint in endpoints)
    used = [int(headers["X-MBX-USED-WEIGHT-1M"]) for _, headers in bench.budget.observed]
    assert max(used) == ours
    assert {venue.submit_endpoint(order) for order in (entry, stop(3, ZERO))} == plan.order_endpoints
    orders = [int(headers.get("X-MBX-ORDER-COUNT-1M", "0")) for _, headers in bench.budget.observed]
    assert max(orders) == 3 and not set(endpoints) & plan.order_endpoints


async def test_the_budget_hears_when_a_request_left_beside_what_its_answer_counts(bench: Bench) -> None:
    venue = await bench.open()

    async def slow(exchange: Exchange) -> None:
        bench.clock.offset_ms += 5_000
        exchange.writer.write(await exchange.forward())

    bench.proxy.faults["GET /fapi/v1/premiumIndex"] = slow
    before_ms = bench.clock.now_ms()
    await venue.mark_price(BTC)
    assert "X-MBX-USED-WEIGHT-1M" in bench.budget.observed[-1][1]
    assert before_ms <= bench.budget.sent_ms[-1] <= bench.clock.now_ms() - 5_000


async def test_reads_queue_at_the_priority_of_their_caller(bench: Bench) -> None:
    venue = await bench.open()
    await venue.account(Priority.EXIT)
    await venue.server_time_ms(Priority.PROTECT)
    await venue.mark_price(BTC, Priority.CANCEL)
    assert [priority for _, priority in bench.budget.acquired] == [
        Priority.EXIT, Priority.EXIT, Priority.PROTECT, Priority.CANCEL,
    ]  # fmt: skip


async def test_recovery_and_the_price_of_an_entry_do_not_queue_behind_a_backfill_of_candles(bench: Bench) -> None:
    venue = bench.build()

    async def asked(work: Awaitable[Any]) -> set[Priority]:
        bench.budget.acquired.clear()
        await work
        return {priority for _, priority in bench.budget.acquired}

    assert await asked(venue.open(bench.sink)) == {Priority.RECONCILE}
    assert await asked(venue.server_time_ms()) == {Priority.RECONCILE}
    bench.clock.offset_ms += await venue.server_time_ms() - bench.clock.now_ms()
    assert await asked(venue.preflight()) == {Priority.RECONCILE}
    assert await asked(venue.prepare(BTC, 5, "cross")) == {Priority.RECONCILE}
    assert await asked(venue.mark_price(BTC)) == {Priority.ENTRY}
    assert await asked(venue.candles(BTC, "1m", bench.clock.now_ms() - 5 * MINUTE_MS, 5)) == {Priority.DATA}
    assert await asked(venue.load_instruments()) == {Priority.DATA}


async def test_a_host_where_nothing_listens_is_told_in_plain_words_and_without_a_url(bench: Bench) -> None:
    venue = await bench.open()
    await bench.proxy.stop()
    for _ in range(2):  # the first finds the connection closed that stood
        with pytest.raises(VenueUnreachable) as raised:
            await venue.server_time_ms()
    assert str(raised.value) == f"binance fapiPublicGetTime: 127.0.0.1:{bench.proxy.port} does not answer"


async def test_a_venue_that_is_not_open_says_so(bench: Bench) -> None:
    with pytest.raises(VenueUnreachable):
        await bench.build().server_time_ms()


def test_the_fence_constants_grow_with_a_faster_built_in_venue() -> None:
    limits = BINANCE.limits(receive_window_ms=None, window_scale=1)
    scaled = BINANCE.limits(receive_window_ms=None, window_scale=60)
    assert (limits.receive_window_ms, limits.visibility_margin_ms) == (3_000, 2_000)
    assert (scaled.receive_window_ms, scaled.visibility_margin_ms) == (180_000, 120_000)
    assert BINANCE.limits(receive_window_ms=5_000, window_scale=1).receive_window_ms == 5_000
