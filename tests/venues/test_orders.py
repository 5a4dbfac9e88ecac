"""Orders over real sockets: what goes out, and what an answer proves."""

import asyncio
import logging
from decimal import Decimal

import pytest

from tests.venues.bench import ALGO, ORDER, Bench, mark, request, send, shown, stop
from tests.venues.doubles import BTC, KEY, SECRET, until
from tests.venues.faulty_proxy import (
    Fault,
    answer,
    cut_body,
    executed_then_gone,
    executed_then_mute,
    gone,
    replaced,
    truncated_json,
)
from tradingd.domain.account import CancelVerdict, RejectKind, SubmitOutcome, SubmitVerdict
from tradingd.domain.errors import VenueBanned, VenueError, VenueUnreachable, Withheld
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side, TimeInForce
from tradingd.domain.orders import OrderKind, OrderStatus
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.ports import Approved, Priority, call_context


async def test_an_accepted_order_carries_the_venues_id(bench: Bench) -> None:
    venue = await bench.open()
    outcome = await send(bench, venue, request())
    assert outcome.verdict is SubmitVerdict.ACCEPTED
    assert outcome.order is not None and outcome.order.venue_order_id.isdigit()
    assert outcome.order.client_order_id == "td-abcdefgh1-1e"
    assert outcome.order.status is OrderStatus.FILLED and outcome.order.filled_quantity == Decimal("0.010")
    assert venue.limits.ack_is_acceptance


async def test_an_order_is_signed_with_the_journalled_time_and_our_window(bench: Bench) -> None:
    venue = await bench.open()
    signed_ms = bench.clock.now_ms() - 1_234
    orders = [Approved(request(number), ()) for number in (1, 2, 3)]
    await asyncio.gather(
        *(venue.submit(order, signed_ms + index, Priority.ENTRY) for index, order in enumerate(orders))
    )
    sent = [seen.parameters for seen in bench.proxy.seen if seen.name == ORDER]
    assert sorted(int(each["timestamp"]) for each in sent) == [signed_ms, signed_ms + 1, signed_ms + 2]
    assert {each["recvWindow"] for each in sent} == {"3000"}
    assert call_context.get() is None


async def test_an_order_goes_out_exactly_as_it_was_journalled(bench: Bench) -> None:
    venue = await bench.open()
    price = await mark(venue, "0.97")
    order = request(7, kind=OrderKind.LIMIT, quantity=Decimal("0.0100"), limit_price=price, post_only=True)
    outcome = await send(bench, venue, order)
    assert outcome.order is not None and outcome.order.status is OrderStatus.ACCEPTED
    sent = next(seen.parameters for seen in bench.proxy.seen if seen.name == ORDER)
    assert {name: sent[name] for name in ("symbol", "side", "type", "quantity", "price", "timeInForce")} == {
        "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.01",
        "price": f"{price.normalize():f}", "timeInForce": "GTX",
    }  # fmt: skip
    assert sent["newClientOrderId"] == "td-abcdefgh1-7e"


@pytest.mark.parametrize("force", list(TimeInForce))
async def test_each_time_in_force_is_sent_by_its_own_name(bench: Bench, force: TimeInForce) -> None:
    venue = await bench.open()
    order = request(kind=OrderKind.LIMIT, limit_price=await mark(venue, "1.001"), time_in_force=force)
    outcome = await send(bench, venue, order)
    assert outcome.verdict is SubmitVerdict.ACCEPTED
    assert bench.proxy.seen[-1].parameters["timeInForce"] == force.value


async def test_a_close_position_stop_has_no_quantity_and_no_reduce_only(bench: Bench) -> None:
    venue = await bench.open()
    await send(bench, venue, request())
    outcome = await send(bench, venue, stop(2, await mark(venue, "0.98")))
    assert outcome.verdict is SubmitVerdict.ACCEPTED
    assert outcome.order is not None and outcome.order.book == "algo" and outcome.order.close_position
    sent = next(seen.parameters for seen in bench.proxy.seen if seen.name == ALGO)
    assert sent["closePosition"] == "true" and sent["workingType"] == "MARK_PRICE" and sent["type"] == "STOP_MARKET"
    assert "quantity" not in sent and "reduceOnly" not in sent and "newClientOrderId" not in sent
    assert sent["clientAlgoId"] == "td-abcdefgh1-2s"
    assert venue.limits.close_position_stops
    assert not venue.quirks.protection_by_state.value and venue.state_protection is None


async def test_a_reduce_only_take_profit_keeps_its_quantity(bench: Bench) -> None:
    venue = await bench.open()
    await send(bench, venue, request())
    order = stop(3, await mark(venue, "1.02"), kind=OrderKind.TAKE_PROFIT_MARKET, quantity=Decimal("0.005"),
                 close_position=False, reduce_only=True)  # fmt: skip
    outcome = await send(bench, venue, order)
    assert outcome.order is not None and outcome.order.quantity == Decimal("0.005") and outcome.order.reduce_only
    sent = next(seen.parameters for seen in bench.proxy.seen if seen.name == ALGO)
    assert sent["reduceOnly"] == "true" and sent["quantity"] == "0.005" and "closePosition" not in sent


async def test_a_submit_takes_no_budget_of_its_own(bench: Bench) -> None:
    venue = await bench.open()
    await send(bench, venue, request())
    assert bench.budget.acquired == []
    assert venue.submit_endpoint(request()) == "POST fapi/v1/order"
    assert venue.submit_endpoint(stop(1, Decimal(1))) == "POST fapi/v1/algoOrder"


SPOILED: dict[str, Fault] = {
    "a body cut in the middle": cut_body,
    "a truncated body with status 200": truncated_json,
    "an empty body with status 200": replaced(200, ""),
    "a page of HTML with status 200": replaced(200, "<html><body>maintenance</body></html>", "text/html"),
    "another order's answer": replaced(
        200, '{"orderId":1,"clientOrderId":"other","symbol":"BTCUSDT","status":"NEW","side":"BUY","type":"MARKET"}'
    ),
    "an empty object": replaced(200, "{}"),
    "a close without an answer": executed_then_gone,
    "no answer in time": executed_then_mute,
    "HTTP 502": replaced(502, "<html>Bad Gateway</html>", "text/html"),
    "HTTP 504": replaced(504, "", "text/html"),
    "HTTP 408": replaced(408, "", "text/html"),
    "HTTP 503 of unknown outcome": replaced(503, '{"code":-1000,"msg":"Unknown error, please check your request."}'),
    "HTTP 403 of a firewall": replaced(403, "<html>denied</html>", "text/html"),
    "status unknown": replaced(503, '{"code":-1007,"msg":"Timeout waiting for response from backend server."}'),
    "a code that nobody knows": replaced(400, '{"code":-7777,"msg":"?"}'),
    "an error body cut off": replaced(400, '{"code":-2019,"msg":"Margin is insuff'),
}


@pytest.mark.fault(2, 5, 6)
@pytest.mark.parametrize("spoiled", SPOILED)
async def test_an_executed_order_without_a_readable_answer_is_ambiguous(bench: Bench, spoiled: str) -> None:
    venue = await bench.open(request_timeout_s=0.3)
    bench.proxy.faults[ORDER] = SPOILED[spoiled]
    outcome = await send(bench, venue, request())
    assert outcome.verdict is SubmitVerdict.AMBIGUOUS and outcome.sent and outcome.order is None
    assert outcome.message
    assert bench.proxy.names().count(ORDER) == 1
    found = await shown(venue, request())
    assert found.client_order_id == request().client_order_id and found.venue_order_id


@pytest.mark.fault(1)
async def test_an_order_lost_before_the_venue_is_ambiguous_too(bench: Bench) -> None:
    venue = await bench.open()
    bench.proxy.faults[ORDER] = gone
    outcome = await send(bench, venue, request())
    assert outcome.verdict is SubmitVerdict.AMBIGUOUS and outcome.sent
    assert await venue.find_order(request(), Priority.RECONCILE) is None


@pytest.mark.fault(11)
async def test_an_order_that_found_no_connection_was_not_sent(bench: Bench) -> None:
    venue = await bench.open()
    await bench.proxy.stop()
    await asyncio.sleep(0)
    outcome = SubmitOutcome(SubmitVerdict.ACCEPTED)
    for _ in range(3):  # connections that were kept alive end first
        outcome = await send(bench, venue, request())
    assert outcome.verdict is SubmitVerdict.NOT_EXECUTED and outcome.kind is RejectKind.NOT_SENT and not outcome.sent


async def test_an_order_on_a_closed_venue_was_not_sent(bench: Bench) -> None:
    outcome = await send(bench, bench.build(), request())
    assert (outcome.verdict, outcome.kind, outcome.sent) == (SubmitVerdict.NOT_EXECUTED, RejectKind.NOT_SENT, False)


@pytest.mark.fault(57)
async def test_the_same_client_order_id_twice_is_ambiguous_since_an_order_has_it(bench: Bench) -> None:
    venue = await bench.open()
    order = request(kind=OrderKind.LIMIT, limit_price=await mark(venue, "0.97"))
    await send(bench, venue, order)
    again = await send(bench, venue, order)
    assert (again.verdict, again.code) == (SubmitVerdict.AMBIGUOUS, "-4116")


async def test_a_refusal_tells_code_kind_and_text(bench: Bench) -> None:
    venue = await bench.open()
    outcome = await send(bench, venue, request(quantity=Decimal(900)))
    assert outcome.verdict is SubmitVerdict.NOT_EXECUTED and outcome.sent
    passed = await send(bench, venue, stop(2, await mark(venue, "1.02")))
    assert (passed.kind, passed.code) == (RejectKind.WOULD_TRIGGER, "-2021")
    naked = request(3, side=Side.SELL, reduce_only=True)
    assert (await send(bench, venue, naked)).kind is RejectKind.REDUCE_ONLY
    small = request(4, quantity=Decimal("0.0001"))
    assert (await send(bench, venue, small)).kind is RejectKind.FILTER


async def test_a_clock_that_is_off_is_told_as_such(bench: Bench) -> None:
    venue = await bench.open()
    outcome = await venue.submit(Approved(request(), ()), bench.clock.now_ms() - 60_000, Priority.ENTRY)
    assert (outcome.verdict, outcome.kind, outcome.code) == (SubmitVerdict.NOT_EXECUTED, RejectKind.CLOCK, "-1021")


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "wait_ms"),
    [
        (418, {}, '{"code":-1003,"msg":"Way too many; IP(1.2.3.4) banned until %d."}', RejectKind.BANNED, 77_000),
        (429, {"Retry-After": "7"}, '{"code":-1003,"msg":"Too many requests."}', RejectKind.THROTTLED, 7_000),
        (429, {}, '{"code":-1003,"msg":"Too many requests."}', RejectKind.THROTTLED, None),
        (429, {}, "<html>slow down</html>", RejectKind.THROTTLED, None),
    ],
)
async def test_a_ban_reaches_the_budget_with_its_end(
    bench: Bench, status: int, headers: dict[str, str], body: str, kind: RejectKind, wait_ms: int | None
) -> None:
    venue = await bench.open()
    now_ms = bench.clock.now_ms()
    bench.proxy.faults[ORDER] = answer(status, body % (now_ms + 77_000) if "%d" in body else body, headers=headers)
    outcome = await send(bench, venue, request())
    assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, kind)
    until_ms = bench.budget.bans[-1][0]
    if wait_ms is None:
        assert until_ms % 60_000 == 0 and now_ms < until_ms <= now_ms + 61_000
    else:
        assert abs(until_ms - now_ms - wait_ms) < 1_000


@pytest.mark.parametrize(
    ("status", "code", "orders_only"), [(429, -1015, True), (418, -1015, False), (429, -1003, False)]
)
async def test_too_many_orders_close_the_orders_and_nothing_else(
    bench: Bench, status: int, code: int, orders_only: bool
) -> None:
    venue = await bench.open()
    body = f'{{"code":{code},"msg":"Too many new orders; current limit is 300 orders per 10 SECOND."}}'
    bench.proxy.faults[ORDER] = answer(status, body)
    await send(bench, venue, request())
    closed, banned = bench.budget.closed, bench.budget.bans
    assert (len(closed), len(banned)) == ((1, 0) if orders_only else (0, 1))
    assert not orders_only or closed[0] % 10_000 == 0


async def test_a_read_during_a_ban_says_until_when(bench: Bench) -> None:
    venue = await bench.open()
    until_ms = bench.clock.now_ms() + 300_000
    bench.proxy.faults["GET /fapi/v1/openAlgoOrders"] = answer(418, f'{{"code":-1003,"msg":"banned until {until_ms}"}}')
    with pytest.raises(VenueBanned) as raised:
        await venue.open_orders(BTC, Priority.CANCEL)
    assert raised.value.until_ms == until_ms


async def test_while_the_budget_is_closed_nothing_leaves(bench: Bench) -> None:
    venue = await bench.open()
    accepted = await send(bench, venue, request(kind=OrderKind.LIMIT, limit_price=await mark(venue, "0.97")))
    assert accepted.order is not None
    bench.budget.banned = True
    bench.proxy.seen.clear()
    assert (await venue.cancel(accepted.order, Priority.CANCEL)).verdict is CancelVerdict.FAILED
    with pytest.raises(VenueBanned):
        await venue.find_order(request(), Priority.RECONCILE)
    assert bench.proxy.seen == []


async def test_an_order_whose_budget_was_taken_before_the_ban_does_not_leave_during_it(bench: Bench) -> None:
    await bench.open()
    venue, limiter = bench.build(), RateLimiter(bench.clock, lambda ban: None)
    limiter.add_venue(venue.id, venue.quirks.rate_plan())
    venue._budget = limiter
    await venue.open(bench.sink)
    await limiter.acquire(venue.id, venue.submit_endpoint(request()), Priority.ENTRY)
    bench.proxy.faults["GET /fapi/v1/openAlgoOrders"] = answer(418, "{}", headers={"Retry-After": "120"})
    with pytest.raises(VenueBanned):  # while the leg is committed, another request hears of the ban
        await venue.open_orders(BTC, Priority.CANCEL)
    bench.proxy.seen.clear()
    outcome = await send(bench, venue, request())
    assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, RejectKind.BANNED)
    assert not outcome.sent and "HTTP 418" in outcome.message
    assert bench.proxy.seen == []


async def test_open_orders_come_from_both_books(bench: Bench) -> None:
    venue = await bench.open()
    await send(bench, venue, request())
    await send(bench, venue, stop(2, await mark(venue, "0.98")))
    await send(bench, venue, request(3, kind=OrderKind.LIMIT, limit_price=await mark(venue, "0.97")))
    wanted = {("algo", "td-abcdefgh1-2s"), ("plain", "td-abcdefgh1-3e")}

    async def both_shown(instrument: InstrumentId | None) -> bool:
        orders = await venue.open_orders(instrument, Priority.CANCEL)
        return {(order.book, order.client_order_id) for order in orders} == wanted

    await until(lambda: both_shown(BTC))
    await until(lambda: both_shown(None))
    assert venue.limits.order_books == ("plain", "algo")


@pytest.mark.parametrize("book", ["openOrders", "openAlgoOrders"])
async def test_half_a_list_of_open_orders_is_no_list(bench: Bench, book: str) -> None:
    venue = await bench.open()
    for fault in (gone, answer(200, "{}"), answer(200, '[{"algoId":1}]'), answer(400, '{"code":-1003,"msg":"?"}')):
        bench.proxy.faults[f"GET /fapi/v1/{book}"] = fault
        with pytest.raises(VenueError):
            await venue.open_orders(BTC, Priority.CANCEL)


async def test_an_order_is_unknown_only_when_both_books_say_so(bench: Bench) -> None:
    venue = await bench.open()
    for order in (request(), stop(2, Decimal(60_000))):
        assert await venue.find_order(order, Priority.RECONCILE) is None
    asked = {seen.name for seen in bench.proxy.seen}
    assert asked == {"GET /fapi/v1/order", "GET /fapi/v1/algoOrder"}
    for book in asked:
        for fault in (gone, answer(200, ""), answer(400, '{"code":-1021,"msg":"?"}'), answer(200, '{"x":1}')):
            bench.proxy.faults = {book: fault}
            with pytest.raises(VenueUnreachable):
                await venue.find_order(request(), Priority.RECONCILE)


async def test_a_cancel_says_cancelled_gone_or_in_doubt(bench: Bench) -> None:
    venue = await bench.open(request_timeout_s=0.3)
    await send(bench, venue, request())
    limit = (await send(bench, venue, request(2, kind=OrderKind.LIMIT, limit_price=await mark(venue, "0.97")))).order
    guard = (await send(bench, venue, stop(3, await mark(venue, "0.98")))).order
    assert limit is not None and guard is not None
    bench.proxy.faults["DELETE /fapi/v1/order"] = executed_then_gone
    assert (await venue.cancel(limit, Priority.CANCEL)).verdict is CancelVerdict.AMBIGUOUS
    assert bench.proxy.names().count("DELETE /fapi/v1/order") == 1, "resent behind our back"
    bench.proxy.faults.clear()
    outcome = await venue.cancel(limit, Priority.CANCEL)
    assert (outcome.verdict, outcome.code) == (CancelVerdict.GONE, "-2011")
    assert (await venue.cancel(guard, Priority.CANCEL)).verdict is CancelVerdict.CANCELED
    assert (await venue.cancel(guard, Priority.CANCEL)).verdict is CancelVerdict.GONE


async def test_no_secret_appears_in_outcomes_errors_or_logs(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    venue = await bench.open(request_timeout_s=0.3)
    texts = [repr(venue)]
    for fault in (*SPOILED.values(), answer(400, f'{{"code":-2015,"msg":"bad {KEY} {SECRET} signature=abcdef"}}')):
        bench.proxy.faults = {ORDER: fault, "GET /fapi/v3/account": fault}
        texts.append(repr(await send(bench, venue, request())))
        with pytest.raises(VenueError) as raised:
            await venue.account(Priority.RECONCILE)
        texts.append(f"{raised.value!r} {raised.value.__dict__} {raised.value.__cause__!r}")
    texts += [f"{record.getMessage()} {record.exc_info}" for record in caplog.records]
    for text in texts:
        assert KEY not in text and SECRET not in text and "signature=a" not in text, text


async def test_an_order_leaves_only_when_it_is_cleared(bench: Bench) -> None:
    venue = await bench.open()
    cleared = asyncio.Event()

    async def clear() -> None:
        await cleared.wait()

    signed_ms = bench.clock.now_ms()
    sending = asyncio.create_task(venue.submit(Approved(request(), ()), signed_ms, Priority.ENTRY, clear))
    await venue.server_time_ms()  # a whole request's time later
    assert ORDER not in [seen.name for seen in bench.proxy.seen] and not sending.done()
    cleared.set()
    assert (await sending).verdict is SubmitVerdict.ACCEPTED
    (sent,) = [seen.parameters for seen in bench.proxy.seen if seen.name == ORDER]
    assert int(sent["timestamp"]) == signed_ms


async def test_an_order_that_is_withheld_never_leaves(bench: Bench) -> None:
    venue = await bench.open()

    async def clear() -> None:
        raise Withheld("the journal is full")

    outcome = await venue.submit(Approved(request(), ()), bench.clock.now_ms(), Priority.ENTRY, clear)
    assert (outcome.verdict, outcome.kind, outcome.sent) == (SubmitVerdict.NOT_EXECUTED, RejectKind.NOT_SENT, False)
    assert ORDER not in [seen.name for seen in bench.proxy.seen]


async def test_an_order_that_waited_for_its_commit_does_not_leave_into_a_ban(bench: Bench) -> None:
    venue = await bench.open()

    async def clear() -> None:
        bench.budget.banned = True

    outcome = await venue.submit(Approved(request(), ()), bench.clock.now_ms(), Priority.ENTRY, clear)
    assert (outcome.verdict, outcome.kind, outcome.sent) == (SubmitVerdict.NOT_EXECUTED, RejectKind.BANNED, False)
    assert ORDER not in [seen.name for seen in bench.proxy.seen]
