"""Orders of every kind that the daemon sends, and what proves that the venue has them."""

import asyncio
from decimal import Decimal

from tests.conformance.bench import Bench
from tests.conformance.cases import case, not_applicable
from tradingd.domain.account import CancelVerdict, RejectKind, SubmitVerdict
from tradingd.domain.errors import Withheld
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import Side, TimeInForce
from tradingd.domain.orders import OrderKind, OrderRequest, OrderStatus
from tradingd.ports import Priority

ENDED = (OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED)


async def refused(bench: Bench, request: OrderRequest, *kinds: RejectKind) -> None:
    """The venue does not execute it: by its answer with one of these kinds, or by its end without a fill."""
    outcome = await bench.send(request)
    if outcome.verdict is SubmitVerdict.NOT_EXECUTED:
        assert outcome.kind in kinds, outcome
    else:
        assert not bench.venue.limits.ack_is_acceptance, outcome
        assert outcome.verdict is SubmitVerdict.SUBMITTED, outcome
        order = await bench.shown(request, *ENDED)
        assert order.filled_quantity == 0
    assert bench.accepted(request.client_order_id) == 0 or (await bench.shown(request, *ENDED)).filled_quantity == 0


@case
async def test_a_market_order_fills_and_every_look_tells_the_same(bench: Bench) -> None:
    await bench.listen()
    request = bench.order("0.500")
    outcome = await bench.send(request)
    taken = SubmitVerdict.ACCEPTED if bench.venue.limits.ack_is_acceptance else SubmitVerdict.SUBMITTED
    assert outcome.verdict is taken
    order = await bench.shown(request, OrderStatus.FILLED)
    assert (order.filled_quantity, order.side, order.instrument) == (request.quantity, Side.BUY, bench.btc)
    assert order.book == bench.venue.limits.order_books[0]

    async def booked() -> bool:
        return sum(fill.quantity for fill in await bench.fills()) == request.quantity

    await bench.until(booked)
    fills = await bench.fills()
    assert {fill.client_order_id for fill in fills} == {request.client_order_id}
    assert {fill.venue_order_id for fill in fills} == {order.venue_order_id}
    assert len({fill.trade_id for fill in fills}) == len(fills)
    assert all(fill.fee > 0 and fill.fee_currency == "USDT" and not fill.maker for fill in fills)
    mean = sum(fill.price * fill.quantity for fill in fills) / Decimal("0.500")
    assert order.average_price is not None
    assert abs(order.average_price - mean) < bench.rules().tick_size
    await bench.pushed("order", lambda pushed: pushed.status is OrderStatus.FILLED)
    assert {fill.trade_id for fill in bench.sink.all("fill")} == {fill.trade_id for fill in fills}


@case
async def test_a_limit_order_rests_until_it_is_reached(bench: Bench) -> None:
    request = await bench.resting("0.99")
    order = await bench.placed(request)
    assert order.status is OrderStatus.ACCEPTED
    assert (order.limit_price, order.quantity, order.kind) == (request.limit_price, request.quantity, OrderKind.LIMIT)
    assert request.client_order_id in await bench.open_ids()
    await bench.move("-0.02")
    await bench.shown(request, OrderStatus.FILLED)
    (fill,) = await bench.fills()
    assert (fill.price, fill.maker) == (request.limit_price, True)


@case
async def test_a_post_only_order_rests(bench: Bench) -> None:
    request = await bench.resting(post_only=True)
    assert (await bench.placed(request)).status is OrderStatus.ACCEPTED


@case
async def test_a_post_only_order_that_would_take_is_not_executed(bench: Bench) -> None:
    await refused(bench, await bench.resting("1.01", post_only=True), RejectKind.WOULD_NOT_REST)
    assert bench.held() == 0


@case
async def test_fill_or_kill_out_of_reach_is_not_executed(bench: Bench) -> None:
    await refused(bench, await bench.resting(time_in_force=TimeInForce.FOK), RejectKind.NOT_FILLABLE)


@case
async def test_fill_or_kill_in_reach_fills_whole(bench: Bench) -> None:
    request = await bench.resting("1.01", time_in_force=TimeInForce.FOK)
    await bench.send(request)
    assert (await bench.shown(request, OrderStatus.FILLED)).filled_quantity == request.quantity


@case
async def test_immediate_or_cancel_ends_with_what_it_could_fill(bench: Bench) -> None:
    request = await bench.resting(time_in_force=TimeInForce.IOC)
    await bench.send(request)
    assert (await bench.shown(request, *ENDED)).filled_quantity == 0
    taking = await bench.resting("1.01", time_in_force=TimeInForce.IOC)
    await bench.send(taking)
    await bench.shown(taking, OrderStatus.FILLED)


@case
async def test_reduce_only_without_a_position_is_refused(bench: Bench) -> None:
    request = bench.order(side=Side.SELL, purpose=Purpose.EXIT, reduce_only=True)
    await refused(bench, request, RejectKind.REDUCE_ONLY)
    assert bench.held() == 0


@case
async def test_reduce_only_never_turns_a_position(bench: Bench) -> None:
    await bench.bought("0.010")
    request = bench.order("0.050", side=Side.SELL, purpose=Purpose.EXIT, reduce_only=True)
    await bench.send(request)
    await bench.position("0")
    assert bench.held() == 0
    assert sum(fill.signed_quantity for fill in await bench.fills()) == 0


@case
async def test_a_stop_waits_in_the_last_book_and_fills_by_its_child(bench: Bench) -> None:
    await bench.listen()
    await bench.bought()
    request = await bench.stop()
    order = await bench.placed(request)
    assert (order.status, order.book) == (OrderStatus.ACCEPTED, bench.venue.limits.order_books[-1])
    assert (order.kind, order.side) == (OrderKind.STOP_MARKET, Side.SELL)
    assert (order.trigger_price, order.reduce_only) == (request.trigger_price, True)
    assert request.client_order_id in await bench.open_ids()
    await bench.move("-0.03")
    await bench.position("0")
    await bench.until(lambda: _ended(bench, request))
    fill = next(fill for fill in await bench.fills() if fill.side is Side.SELL)
    assert fill.client_order_id == request.client_order_id
    await bench.pushed("fill", lambda pushed: pushed.trade_id == fill.trade_id)
    assert request.client_order_id not in await bench.open_ids()


async def _ended(bench: Bench, request: OrderRequest) -> bool:
    """It has fired, and whatever look-up is asked says so."""
    order = await bench.find(request)
    return order is not None and order.status in (OrderStatus.TRIGGERED, OrderStatus.FILLED)


@case
async def test_a_take_profit_fires_above(bench: Bench) -> None:
    await bench.bought()
    request = await bench.stop("1.02", kind=OrderKind.TAKE_PROFIT_MARKET, purpose=Purpose.TAKE_PROFIT)
    order = await bench.placed(request)
    assert (order.status, order.kind) == (OrderStatus.ACCEPTED, OrderKind.TAKE_PROFIT_MARKET)
    await bench.move("0.03")
    await bench.position("0")


@case
async def test_a_stop_of_a_short_position_fires_above(bench: Bench) -> None:
    await bench.bought(side=Side.SELL)
    await bench.placed(await bench.stop("1.02", side=Side.BUY))
    await bench.move("0.03")
    await bench.position("0")


@case
async def test_a_trigger_that_is_passed_already_is_refused(bench: Bench) -> None:
    await bench.bought()
    await refused(bench, await bench.stop("1.01"), RejectKind.WOULD_TRIGGER)
    assert bench.held() == Decimal("0.010")


@case
async def test_a_close_position_stop_follows_the_size(bench: Bench) -> None:
    if not bench.venue.limits.close_position_stops:
        not_applicable("no close-position orders; protection of the whole size is a state of the position")
    await bench.bought()
    request = await bench.stop(quantity=None, close_position=True, reduce_only=False)
    order = await bench.placed(request)
    assert order.close_position
    await bench.bought("0.020")
    await bench.move("-0.03")
    await bench.position("0")


@case
async def test_a_second_close_position_stop_of_a_direction_is_refused_as_such(bench: Bench) -> None:
    if not bench.venue.limits.close_position_stops:
        not_applicable("no close-position orders; protection of the whole size is a state of the position")
    await bench.bought()
    await bench.placed(await bench.stop(quantity=None, close_position=True, reduce_only=False))
    second = await bench.stop("0.97", quantity=None, close_position=True, reduce_only=False)
    await refused(bench, second, RejectKind.DUPLICATE_PROTECTION)


@case
async def test_protection_as_a_state_is_set_read_moved_and_taken_away(bench: Bench) -> None:
    state = bench.venue.state_protection
    if state is None:
        not_applicable("protection is made of orders")
        return
    await bench.bought()
    stop, profit = await bench.price("0.98"), await bench.price("1.05")
    for wanted in ((stop, profit), (stop, profit), (await bench.price("0.97"), None), (None, None)):
        outcome = await state.set(bench.btc, wanted[0], wanted[1], Priority.PROTECT)
        assert outcome.verdict is SubmitVerdict.ACCEPTED, outcome

        async def shows(wanted: tuple[Decimal | None, Decimal | None] = wanted) -> bool:
            found = await state.read(bench.btc, Priority.PROTECT)
            return (found.stop, found.take_profit) == wanted

        await bench.until(shows)


@case
async def test_protection_as_a_state_closes_the_whole_position(bench: Bench) -> None:
    state = bench.venue.state_protection
    if state is None:
        not_applicable("protection is made of orders")
        return
    await bench.bought()
    await state.set(bench.btc, await bench.price("0.98"), None, Priority.PROTECT)
    await bench.bought("0.020")
    await bench.move("-0.03")
    await bench.position("0")


@case
async def test_no_order_leaves_before_it_is_cleared(bench: Bench) -> None:
    """The commit of a leg may take its time while the request is built; no byte of it leaves before (P2)."""
    request, cleared = bench.order(), asyncio.Event()

    async def clear() -> None:
        await cleared.wait()

    sending = asyncio.create_task(bench.send(request, clear=clear))
    await asyncio.sleep(1)  # within the window for which it was signed
    assert bench.accepted(request.client_order_id) == 0 and not sending.done()
    cleared.set()
    assert (await sending).verdict in (SubmitVerdict.ACCEPTED, SubmitVerdict.SUBMITTED)
    await bench.shown(request, OrderStatus.FILLED)


@case
async def test_an_order_that_is_withheld_never_leaves(bench: Bench) -> None:
    request = bench.order()

    async def clear() -> None:
        raise Withheld("the journal is full")

    outcome = await bench.send(request, clear=clear)
    assert (outcome.verdict, outcome.kind, outcome.sent) == (SubmitVerdict.NOT_EXECUTED, RejectKind.NOT_SENT, False)
    assert bench.accepted(request.client_order_id) == 0 and await bench.find(request) is None


@case
async def test_a_cancel_that_is_withheld_never_leaves(bench: Bench) -> None:
    request = await bench.resting()
    order = await bench.placed(request)

    async def clear() -> None:
        raise Withheld("its step was broken off")

    outcome = await bench.venue.cancel(order, Priority.CANCEL, clear)
    assert outcome.verdict is CancelVerdict.FAILED
    assert request.client_order_id in await bench.open_ids()
