"""What an answer proves, and what the lack of one does not."""

import asyncio

import pytest

from tests.conformance.bench import Bench, fault
from tests.conformance.cases import case, each
from tradingd.domain.account import CancelVerdict, RejectKind, SubmitVerdict
from tradingd.domain.errors import VenueBanned, VenueError
from tradingd.domain.orders import OrderStatus
from tradingd.ports import Priority

NEVER_ARRIVES = ["lose_request", "reset_before"]
EXECUTED = ["lose_reply", "reset_after", "cut_body", "truncate_body", "empty_body", "html_body"]
UNKNOWN = ["unknown", "unexpected_response", "backend_timeout", "bad_gateway", "gateway_timeout", "request_timeout"]


@pytest.mark.fault(1)
@each(value=NEVER_ARRIVES)
async def test_a_request_that_never_arrives_leaves_doubt_and_no_order(bench: Bench, kind: str) -> None:
    bench.begin(fault(kind, "create"))
    request = bench.order()
    assert (await bench.send(request)).verdict is SubmitVerdict.AMBIGUOUS
    await asyncio.sleep(5)
    assert await bench.find(request) is None
    assert bench.accepted(request.client_order_id) == 0


@pytest.mark.fault(2, 5, 6)
@each(value=EXECUTED)
async def test_an_answer_that_is_lost_or_spoilt_leaves_doubt_that_a_look_up_ends(bench: Bench, kind: str) -> None:
    bench.begin(fault(kind, "create"))
    request = bench.order()
    assert (await bench.send(request)).verdict is SubmitVerdict.AMBIGUOUS
    await bench.shown(request, OrderStatus.FILLED)
    assert bench.accepted(request.client_order_id) == 1


@each(value=EXECUTED)
async def test_a_stop_whose_answer_is_spoilt_is_found(bench: Bench, kind: str) -> None:
    await bench.bought()
    request = await bench.stop()
    bench.begin(fault(kind, "create_conditional"))
    assert (await bench.send(request)).verdict is SubmitVerdict.AMBIGUOUS
    assert (await bench.shown(request)).status is OrderStatus.ACCEPTED
    assert bench.accepted(request.client_order_id) == 1


@pytest.mark.fault(7)
@each(value=UNKNOWN)
async def test_a_venue_that_does_not_know_leaves_doubt(bench: Bench, reply: str) -> None:
    bench.begin(fault("answer", "create", reply=reply, executed=True))
    request = bench.order()
    assert (await bench.send(request)).verdict is SubmitVerdict.AMBIGUOUS
    await bench.shown(request, OrderStatus.FILLED)


@pytest.mark.fault(57)
@case
async def test_the_same_client_id_again_makes_no_second_order(bench: Bench) -> None:
    request = await bench.resting()
    await bench.placed(request)
    outcome = await bench.send(request)
    assert outcome.verdict is not SubmitVerdict.ACCEPTED, "it proves that an order exists, not that this one is new"
    await asyncio.sleep(1)
    assert (await bench.shown(request)).status is OrderStatus.ACCEPTED
    assert bench.accepted(request.client_order_id) == 1


@pytest.mark.fault(27)
@case
async def test_an_order_signed_too_long_ago_is_refused_for_its_time(bench: Bench) -> None:
    request = bench.order()
    outcome = await bench.send(request, ago_ms=60_000)
    assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, RejectKind.CLOCK)
    assert bench.accepted(request.client_order_id) == 0


@pytest.mark.fault(4)
@case
async def test_an_order_that_arrives_after_its_window_is_never_executed(bench: Bench) -> None:
    limits = bench.venue.limits
    bench.begin(fault("arrive_late", "create", delay_ms=limits.receive_window_ms + 500))
    request = bench.order()
    outcome = await bench.send(request)
    assert outcome.verdict in (SubmitVerdict.NOT_EXECUTED, SubmitVerdict.AMBIGUOUS)
    await asyncio.sleep((limits.receive_window_ms + limits.visibility_margin_ms) / 1000)
    assert await bench.find(request) is None
    assert bench.held() == 0


@pytest.mark.fault(3)
@case
async def test_an_order_that_arrives_within_its_window_is_executed_once(bench: Bench) -> None:
    bench.begin(fault("arrive_late", "create", delay_ms=1_500))
    request = bench.order()
    await bench.send(request)
    await bench.shown(request, OrderStatus.FILLED)
    assert bench.accepted(request.client_order_id) == 1


@pytest.mark.fault(42, 43)
@each(value=["bad_key", "clock", "reduce_only", "would_trigger"])
async def test_a_refusal_says_what_to_do_next(bench: Bench, reply: str) -> None:
    kinds = {
        "bad_key": RejectKind.AUTHENTICATION,
        "clock": RejectKind.CLOCK,
        "reduce_only": RejectKind.REDUCE_ONLY,
        "would_trigger": RejectKind.WOULD_TRIGGER,
    }
    bench.begin(fault("answer", "create", reply=reply))
    request = bench.order()
    outcome = await bench.send(request)
    assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, kinds[reply])
    assert bench.accepted(request.client_order_id) == 0


@pytest.mark.fault(12)
@case
async def test_one_order_too_many_is_throttled_and_not_executed(bench: Bench) -> None:
    bench.begin(fault("answer", "create", reply="rate_limited"))
    request = bench.order()
    outcome = await bench.send(request)
    assert outcome.verdict is SubmitVerdict.NOT_EXECUTED
    assert outcome.kind in (RejectKind.THROTTLED, RejectKind.BANNED)
    assert bench.accepted(request.client_order_id) == 0


@pytest.mark.fault(13)
@case
async def test_a_ban_holds_everything_back_until_it_ends(bench: Bench) -> None:
    bench.begin(fault("ban", "create", for_s=30))
    outcome = await bench.send(bench.order())
    assert outcome.verdict is SubmitVerdict.NOT_EXECUTED
    assert outcome.kind in (RejectKind.BANNED, RejectKind.THROTTLED)
    with pytest.raises(VenueBanned) as caught:
        await bench.account()
    until_ms = caught.value.until_ms
    assert until_ms > bench.clock.now_ms() + 20_000
    await asyncio.sleep((until_ms - bench.clock.now_ms()) / 1000 + 2)
    await bench.bought()


@pytest.mark.fault(38)
@each(value=["lose_reply", "reset_after", "truncate_body", "empty_body", "html_body"])
async def test_a_cancel_without_a_readable_answer_is_in_doubt(bench: Bench, kind: str) -> None:
    request = await bench.resting()
    order = await bench.placed(request)
    bench.begin(fault(kind, "cancel"))
    outcome = await bench.venue.cancel(order, Priority.CANCEL)
    assert outcome.verdict in (CancelVerdict.AMBIGUOUS, CancelVerdict.GONE)
    await bench.shown(request, OrderStatus.CANCELED)
    assert (await bench.venue.cancel(order, Priority.CANCEL)).verdict is CancelVerdict.GONE


@each(value=["reset_before", "empty_body", "html_body", "truncate_body"])
async def test_a_read_that_fails_is_an_error_and_never_empty(bench: Bench, kind: str) -> None:
    await bench.bought()
    await bench.placed(await bench.resting())
    request = bench.order()
    bench.begin(fault(kind, "any", times=None))
    with pytest.raises(VenueError):
        await bench.open_ids()
    with pytest.raises(VenueError):
        await bench.fills()
    with pytest.raises(VenueError):
        await bench.account()
    with pytest.raises(VenueError):
        await bench.find(request)
    with pytest.raises(VenueError):
        await bench.venue.candles(bench.btc, "1m", bench.clock.now_ms() - 600_000, 5)
    bench.begin()
    assert await bench.find(request) is None


@pytest.mark.fault(24)
@each(value=["cut_body", "lose_reply"])
async def test_a_read_whose_answer_is_lost_once_is_asked_again(bench: Bench, kind: str) -> None:
    request = await bench.resting()
    await bench.placed(request)
    bench.begin(fault(kind, "open_orders"))
    assert await bench.open_ids() == {request.client_order_id}
