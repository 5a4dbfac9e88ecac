"""Requests over real sockets against the built-in Bybit: what goes out, and what an answer proves."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.venues.bench import send, shown
from tests.venues.bybit.bench import BTC, BYBIT_ID, BybitBench, mark, request, stop
from tests.venues.doubles import until
from tests.venues.faulty_proxy import Fault, answer, cut_body, executed_then_gone, replaced
from tradingd.domain.account import (
    AccountSnapshot,
    CancelVerdict,
    PositionProtection,
    RejectKind,
    SubmitVerdict,
    VenueOrder,
)
from tradingd.domain.candles import Candle
from tradingd.domain.errors import VenueError, VenueUnreachable
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderKind, OrderStatus
from tradingd.ports import Approved, Priority, StreamKey
from tradingd.venues import account_keeper
from tradingd.venues.ccxt_venue import CcxtVenue

CREATE = "POST /v5/order/create"
ACCOUNT_KEY = StreamKey(BYBIT_ID, "account")
CANDLES_KEY = StreamKey(BYBIT_ID, "candles", BTC.symbol, "1m")


def sent(bench: BybitBench, name: str = CREATE) -> list[dict[str, Any]]:
    return [json.loads(seen.body) for seen in bench.proxy.seen if seen.name == name]


async def hold(bench: BybitBench, venue: CcxtVenue) -> None:
    await send(bench, venue, request())
    await shown(venue, request(), OrderStatus.FILLED)


async def reads(venue: CcxtVenue, check: Callable[[PositionProtection], bool]) -> None:
    """What the position shows lags behind what was set."""
    protection = venue.state_protection
    assert protection is not None

    async def agrees() -> bool:
        return check(await protection.read(BTC, Priority.PROTECT))

    await until(agrees, 5.0)


async def test_opening_asks_for_the_linear_markets_and_nothing_signed(bench: BybitBench) -> None:
    venue = bench.build()
    await venue.open(bench.sink)
    assert {seen.name for seen in bench.proxy.seen} == {"GET /v5/market/instruments-info"}
    assert all("category=linear" in seen.query for seen in bench.proxy.seen) and len(bench.proxy.seen) == 2
    assert not any("x-bapi-sign" in seen.headers for seen in bench.proxy.seen)
    rules = venue.instruments[BTC]
    assert (rules.market_id, rules.min_notional, rules.lot_size) == ("BTCUSDT", Decimal(5), Decimal("0.001"))
    assert rules.max_market_quantity < rules.max_quantity and rules.max_leverage == 100


async def test_an_order_is_signed_with_the_journalled_time_and_our_window(bench: BybitBench) -> None:
    venue = await bench.open()
    signed_ms = bench.clock.now_ms() - 1_234
    assert (await venue.submit(Approved(request(), ()), signed_ms, Priority.ENTRY)).sent
    seen = next(seen for seen in bench.proxy.seen if seen.name == CREATE)
    assert seen.headers["x-bapi-timestamp"] == str(signed_ms) and seen.headers["x-bapi-recv-window"] == "3000"
    assert [each.name for each in bench.proxy.seen] == [CREATE], "nothing is asked before an order"


async def test_an_ack_proves_that_the_order_is_submitted_and_no_more(bench: BybitBench) -> None:
    venue = await bench.open()
    await venue.watch(ACCOUNT_KEY)
    limit = request(kind=OrderKind.LIMIT, limit_price=await mark(venue, "1.02"), post_only=True)
    outcome = await send(bench, venue, limit)
    assert outcome.verdict is SubmitVerdict.SUBMITTED and outcome.order is not None
    assert outcome.order.status is OrderStatus.SUBMITTED and outcome.order.venue_order_id
    assert not venue.limits.ack_is_acceptance
    told: VenueOrder = await bench.sink.wait_for("order", match=lambda order: order.status.is_final)
    assert told.status is OrderStatus.REJECTED and told.reject_reason == "EC_PostOnlyWillTakeLiquidity"
    assert told.client_order_id == limit.client_order_id
    await shown(venue, limit, OrderStatus.REJECTED)


async def test_a_stop_has_a_quantity_a_direction_and_the_mark_price(bench: BybitBench) -> None:
    venue = await bench.open()
    await hold(bench, venue)
    order, profit = (
        stop(2, await mark(venue, "0.9")),
        stop(3, await mark(venue, "1.1"), kind=OrderKind.TAKE_PROFIT_MARKET),
    )
    for each in (order, profit):
        assert (await send(bench, venue, each)).verdict is SubmitVerdict.SUBMITTED
        found = await shown(venue, each, OrderStatus.ACCEPTED)
        assert (found.status, found.kind, found.reduce_only) == (OrderStatus.ACCEPTED, each.kind, True)
    body = sent(bench)[1]
    wanted = {
        "side": "Sell", "orderType": "Market", "qty": "0.01", "triggerDirection": 2, "triggerBy": "MarkPrice",
        "positionIdx": 0, "reduceOnly": True,
    }  # fmt: skip
    assert {name: body[name] for name in wanted} == wanted
    assert sent(bench)[2]["triggerDirection"] == 1 and not venue.limits.close_position_stops


async def test_a_trigger_that_is_passed_already_is_refused_at_once(bench: BybitBench) -> None:
    venue = await bench.open()
    await hold(bench, venue)
    outcome = await send(bench, venue, stop(2, await mark(venue, "1.1")))
    assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, RejectKind.WOULD_TRIGGER)


@pytest.mark.parametrize("fault", [executed_then_gone, cut_body, replaced(200, ""), replaced(502, "<html>")])
async def test_an_order_whose_answer_is_lost_is_in_doubt_and_found_by_our_id(bench: BybitBench, fault: Fault) -> None:
    venue = await bench.open()
    bench.proxy.faults[CREATE] = fault
    assert (await send(bench, venue, request())).verdict is SubmitVerdict.AMBIGUOUS
    await shown(venue, request(), OrderStatus.FILLED)
    assert len(sent(bench)) == 1


async def test_an_id_that_was_used_leaves_the_order_in_doubt(bench: BybitBench) -> None:
    venue = await bench.open()
    await hold(bench, venue)
    again = await send(bench, venue, request())
    assert (again.verdict, again.code) == (SubmitVerdict.AMBIGUOUS, "110072")


@pytest.mark.fault(33)
async def test_an_order_that_realtime_forgot_is_found_in_the_history_and_an_unknown_one_in_neither(
    bench: BybitBench,
) -> None:
    venue = await bench.open()
    await hold(bench, venue)
    bench.model.act("forget_closed", {})
    bench.proxy.seen.clear()
    await shown(venue, request(), OrderStatus.FILLED)
    assert bench.proxy.names()[:2] == ["GET /v5/order/realtime", "GET /v5/order/history"]
    assert await venue.find_order(request(9), Priority.RECONCILE) is None


@pytest.mark.parametrize("body", ["", "<html>", '{"retCode":0,"retMsg":"OK","result":{}}', '{"retCode":10016}'])
async def test_a_look_up_without_a_readable_answer_is_no_not_found(bench: BybitBench, body: str) -> None:
    venue = await bench.open()
    bench.proxy.faults["GET /v5/order/history"] = answer(200, body)
    with pytest.raises(VenueError):
        await venue.find_order(request(9), Priority.RECONCILE)


async def test_another_order_in_the_answer_is_not_ours(bench: BybitBench) -> None:
    venue = await bench.open()
    row = {"symbol": "BTCUSDT", "orderLinkId": "somebody-elses", "orderStatus": "New", "updatedTime": "1"}
    body = json.dumps({"retCode": 0, "retMsg": "OK", "result": {"list": [row], "nextPageCursor": ""}})
    bench.proxy.faults["GET /v5/order/realtime"] = bench.proxy.faults["GET /v5/order/history"] = answer(200, body)
    assert await venue.find_order(request(9), Priority.RECONCILE) is None


async def test_a_cancel_is_acknowledged_and_a_second_finds_nothing(bench: BybitBench) -> None:
    venue = await bench.open()
    await venue.watch(ACCOUNT_KEY)
    order = request(kind=OrderKind.LIMIT, limit_price=await mark(venue, "0.97"))
    await send(bench, venue, order)
    found = await shown(venue, order, OrderStatus.ACCEPTED)
    assert (await venue.cancel(found, Priority.CANCEL)).verdict is CancelVerdict.CANCELED
    told = await bench.sink.wait_for("order", match=lambda each: each.status.is_final)
    assert told.status is OrderStatus.CANCELED and not told.reject_reason
    assert (await venue.cancel(found, Priority.CANCEL)).verdict is CancelVerdict.GONE, "the engine has done it"


async def test_protection_is_set_for_the_whole_position_by_the_mark_price(bench: BybitBench) -> None:
    venue = await bench.open()
    protection = venue.state_protection
    assert protection is not None and venue.quirks.protection_by_state.value
    low, high = await mark(venue, "0.95"), await mark(venue, "1.05")
    refused = await protection.set(BTC, low, None, Priority.PROTECT)
    assert refused.verdict is SubmitVerdict.NOT_EXECUTED, "nothing is held"
    await hold(bench, venue)
    for _ in range(2):  # the same again is success
        assert (await protection.set(BTC, low, high, Priority.PROTECT)).verdict is SubmitVerdict.ACCEPTED
    await reads(venue, lambda held: (held.quantity, held.stop, held.take_profit) == (Decimal("0.01"), low, high))
    body = sent(bench, "POST /v5/position/trading-stop")[-1]
    assert (body["tpslMode"], body["slTriggerBy"], body["tpTriggerBy"]) == ("Full", "MarkPrice", "MarkPrice")
    carriers = await until(lambda: venue.open_orders(BTC, Priority.RECONCILE))
    assert {order.book for order in carriers} == {"position"}
    assert (await protection.set(BTC, None, high, Priority.PROTECT)).verdict is SubmitVerdict.ACCEPTED
    await reads(venue, lambda held: held.stop is None and held.take_profit == high)
    await send(bench, venue, request(5, side=Side.SELL, reduce_only=True))
    await reads(venue, lambda held: not held.quantity and held.take_profit is None)

    async def none_left() -> bool:
        return await venue.open_orders(BTC, Priority.RECONCILE) == []

    await until(none_left, 5.0)


async def test_a_refused_level_says_what_is_wrong_with_it(bench: BybitBench) -> None:
    """One code, 10001, for a position that is gone and a level that is passed; only its words tell them apart."""
    venue = await bench.open()
    protection = venue.state_protection
    assert protection is not None
    low, high = await mark(venue, "0.95"), await mark(venue, "1.05")
    flat = await protection.set(BTC, low, None, Priority.PROTECT)
    assert (flat.verdict, flat.kind, flat.code) == (SubmitVerdict.NOT_EXECUTED, RejectKind.REDUCE_ONLY, "10001")
    await hold(bench, venue)
    for level, target in ((high, None), (None, low)):
        passed = await protection.set(BTC, level, target, Priority.PROTECT)
        assert (passed.verdict, passed.kind) == (SubmitVerdict.NOT_EXECUTED, RejectKind.WOULD_TRIGGER)
        assert "base_price" in passed.message


async def test_what_the_venue_makes_of_levels_is_told_as_a_state(bench: BybitBench) -> None:
    venue = await bench.open()
    await venue.watch(ACCOUNT_KEY)
    protection = venue.state_protection
    assert protection is not None
    await hold(bench, venue)
    outcome = await protection.set(BTC, await mark(venue, "0.95"), None, Priority.PROTECT)
    assert outcome.verdict is SubmitVerdict.ACCEPTED
    shown = await bench.sink.wait_for("order", match=lambda each: each.raw_type == "StopLoss")
    assert shown.is_state and shown.client_order_id is None


@pytest.mark.fault(45)
async def test_protection_whose_answer_is_lost_is_read_from_the_position(bench: BybitBench) -> None:
    venue = await bench.open()
    protection = venue.state_protection
    assert protection is not None
    await hold(bench, venue)
    low = await mark(venue, "0.95")
    bench.proxy.faults["POST /v5/position/trading-stop"] = executed_then_gone
    assert (await protection.set(BTC, low, None, Priority.PROTECT)).verdict is SubmitVerdict.AMBIGUOUS
    await reads(venue, lambda held: held.stop == low)


async def test_modes_are_prepared_once_and_again(bench: BybitBench) -> None:
    venue = await bench.open()
    for _ in range(2):
        await venue.prepare(BTC, 5, "isolated")
    assert len(sent(bench, "POST /v5/account/set-margin-mode")) == 1
    await hold(bench, venue)

    async def converged() -> AccountSnapshot | None:
        snapshot = await venue.account(Priority.RECONCILE)
        return snapshot if snapshot.position(BTC).quantity and snapshot.balance.initial_margin else None

    snapshot = await until(converged, 5.0)
    held, balance = snapshot.position(BTC), snapshot.balance
    assert held.quantity == Decimal("0.01") and held.leverage == 5
    assert balance.available is not None and balance.initial_margin is not None
    assert balance.available == balance.wallet - balance.initial_margin, "empty fields of the account are no zero"


async def test_what_a_position_may_be_worth_at_each_leverage_is_known_once_prepared(bench: BybitBench) -> None:
    venue = await bench.open()
    await venue.preflight()
    await venue.prepare(BTC, 10, "cross")
    rules = venue.instruments[BTC]
    steps = bench.model._desk.exchange.instruments["BTCUSDT"].brackets
    assert rules.notional_caps == tuple((step.leverage, Decimal(step.cap_usdt)) for step in steps)
    assert rules.max_leverage == Decimal(steps[0].leverage)
    assert rules.max_notional(steps[0].leverage) == Decimal(steps[0].cap_usdt)
    again = await venue.load_instruments()
    assert again[BTC].notional_caps == rules.notional_caps
    asked = [seen.parameters["symbol"] for seen in bench.proxy.seen if seen.path == "/v5/market/risk-limit"]
    assert set(asked) == {"BTCUSDT"}


@pytest.mark.fault(70)
async def test_a_key_that_may_withdraw_is_refused(bench: BybitBench) -> None:
    venue = await bench.open()
    granted = {"ContractTrade": ["Order", "Position"], "Wallet": ["AccountTransfer", "Withdraw"]}
    value = {"userID": 24600000, "readOnly": 0, "permissions": granted}
    body = json.dumps({"retCode": 0, "retMsg": "", "result": value})
    bench.proxy.faults["GET /v5/user/query-api"] = answer(200, body)
    (told,) = (await venue.preflight()).problems
    assert "may withdraw" in told


async def test_an_account_in_hedge_mode_is_told_and_not_prepared(bench: BybitBench) -> None:
    venue = await bench.open()
    mode = await venue.preflight()
    assert not mode.problems and mode.can_trade and mode.account_id
    sides = [{"symbol": "BTCUSDT", "size": "0", "side": "", "positionIdx": index} for index in (1, 2)]
    body = json.dumps({"retCode": 0, "retMsg": "OK", "result": {"list": sides, "nextPageCursor": ""}})
    bench.proxy.faults["GET /v5/position/list"] = answer(200, body)
    mode = await venue.preflight()
    assert mode.hedge_mode and "one-way" in mode.problems[0]
    with pytest.raises(VenueError, match="hedge mode"):
        await venue.prepare(BTC, 10, "cross")
    assert sent(bench, "POST /v5/position/set-leverage") == []


@pytest.mark.fault(55, 69)
@pytest.mark.parametrize(
    ("path", "changes", "problem"),
    [
        ("user/query-api", {"readOnly": 1}, "may not trade"),
        ("user/query-api", {"permissions": {"ContractTrade": [], "Wallet": ["AccountTransfer"]}}, "may not trade"),
        ("account/info", {"unifiedMarginStatus": 1}, "unified"),
    ],
)
async def test_an_account_that_cannot_trade_here_is_told(
    bench: BybitBench, path: str, changes: dict[str, Any], problem: str
) -> None:
    venue = await bench.open()
    key = {"userID": 24600000, "readOnly": 0, "permissions": {"ContractTrade": ["Order", "Position"]}}
    info = {"unifiedMarginStatus": 6, "marginMode": "REGULAR_MARGIN"}
    value = (key if path.startswith("user") else info) | changes
    bench.proxy.faults[f"GET /v5/{path}"] = answer(200, json.dumps({"retCode": 0, "retMsg": "", "result": value}))
    (told,) = (await venue.preflight()).problems
    assert problem in told


async def test_candles_come_ascending_and_the_last_is_forming(bench: BybitBench) -> None:
    venue = await bench.open()
    since_ms = bench.clock.now_ms() - 300 * 60_000
    candles = await venue.candles(BTC, "1m", since_ms, 1_000)
    opened = [candle.open_time_ms for candle in candles]
    assert opened == list(range(opened[0], opened[-1] + 1, 60_000)) and 0 <= opened[0] - since_ms < 60_000
    assert [candle.closed for candle in candles[-2:]] == [True, False] and len(candles) in (300, 301)
    assert bench.proxy.names().count("GET /v5/market/kline") == 1, "one page holds a thousand"
    assert len(await venue.candles(BTC, "1m", since_ms, 5)) == 5


async def test_subscriptions_of_the_account_are_one_message(bench: BybitBench) -> None:
    venue = await bench.open()
    await venue.watch(ACCOUNT_KEY)
    await venue.watch(ACCOUNT_KEY)
    (client,) = venue._exchange.clients.values()
    assert client.subscriptions["account"]["topics"] == ["order", "execution", "position", "wallet"]
    assert set(client.subscriptions) == {"authenticated", "account"}
    assert [path for path, _ in bench.proxy.websockets] == ["/v5/private"]
    await hold(bench, venue)
    for kind in ("order", "fill", "position", "balance"):
        await bench.sink.wait_for(kind)
    assert bench.sink.all("bad_frame") == []


async def test_candles_arrive_and_a_reconnect_subscribes_again(bench: BybitBench) -> None:
    venue = await bench.open()
    await venue.watch(CANDLES_KEY)
    candle: Candle = await bench.sink.wait_for("candle")
    assert candle.instrument == BTC and not candle.closed
    bench.proxy.drop("/v5/public/linear")
    assert (await bench.sink.wait_for("disconnect"))[0] == "candles"
    await venue.watch(CANDLES_KEY)
    seen = len(bench.sink.all("candle"))
    await bench.sink.wait_for("candle", count=seen + 1)


async def test_a_host_clock_that_is_behind_does_not_keep_the_account_deaf(bench: BybitBench) -> None:
    bench.clock.wall_offset_ms = -12_000
    venue = await bench.open()
    await venue.watch(ACCOUNT_KEY)


async def test_a_refused_login_is_told_at_once_each_time_and_forgotten_when_it_is_good(bench: BybitBench) -> None:
    venue = await bench.open()
    bench.clock.offset_ms -= 60_000
    for _ in range(2):
        async with asyncio.timeout(3):
            with pytest.raises(VenueUnreachable):
                await venue.watch(ACCOUNT_KEY)
    bench.clock.offset_ms += 60_000
    await venue.watch(ACCOUNT_KEY)


async def test_pings_are_text_sent_in_time(bench: BybitBench) -> None:
    venue = await bench.open(ping_interval_ms=100)
    await venue.watch(CANDLES_KEY)
    await venue.watch(ACCOUNT_KEY)
    await bench.sink.wait_for("alive", count=4, match=lambda kind: kind == "account")
    assert venue.quirks.ping_interval_ms.value < 20_000 and bench.sink.all("disconnect") == []


@pytest.mark.fault(16)
async def test_an_account_stream_that_does_not_tell_of_an_order_is_ended(
    bench: BybitBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_keeper, "TOLD_WITHIN_S", 0.2)
    monkeypatch.setattr(account_keeper, "CHECK_S", 0.05)
    venue = await bench.open()
    await venue.watch(ACCOUNT_KEY)
    bench.proxy.muted = True
    assert (await send(bench, venue, request())).verdict is SubmitVerdict.SUBMITTED
    stream, reason = await bench.sink.wait_for("disconnect")
    assert stream == "account" and "was not told of" in reason


@pytest.mark.fault(13, 14)
async def test_a_ban_of_the_address_is_ten_minutes(bench: BybitBench) -> None:
    venue = await bench.open()
    bench.model.act("ban", {})
    outcome = await send(bench, venue, request())
    assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, RejectKind.BANNED)
    assert 590_000 < bench.budget.bans[0][0] - bench.clock.now_ms() <= 600_000
