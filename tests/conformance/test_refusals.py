"""Why a venue refuses: each ground as the kind that says what to do next, with the venue's own code."""

import pytest

from tests.conformance.bench import Bench, fault
from tests.conformance.cases import case, each
from tradingd.domain.account import CancelVerdict, RejectKind, SubmitOutcome, SubmitVerdict
from tradingd.domain.errors import VenueError, VenueUnreachable
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderRequest
from tradingd.ports import Priority


async def refused(bench: Bench, request: OrderRequest, kind: RejectKind) -> SubmitOutcome:
    """At once, definitely, and told why."""
    outcome = await bench.send(request)
    assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, kind), outcome
    assert outcome.sent and outcome.message
    assert bench.accepted(request.client_order_id) == 0
    return outcome


@case
async def test_a_venue_that_takes_only_exits_says_so_and_takes_them(bench: Bench) -> None:
    await bench.bought()
    bench.act("set_filters", symbol=bench.symbol(), reduce_only_code=-4400)
    outcome = await refused(bench, bench.order(), RejectKind.VENUE_REDUCE_ONLY)
    assert outcome.code
    leaving = bench.order(side=Side.SELL, purpose=Purpose.EXIT, reduce_only=True)
    assert (await bench.send(leaving)).verdict is not SubmitVerdict.NOT_EXECUTED
    await bench.position("0")


@case
async def test_an_order_in_the_wrong_position_mode_is_a_matter_of_configuration(bench: Bench) -> None:
    bench.exchange.account.is_hedged = True
    await refused(bench, bench.order(), RejectKind.CONFIGURATION)
    await refused(bench, await bench.stop(), RejectKind.CONFIGURATION)
    bench.exchange.account.is_hedged = False
    await bench.bought()


@case
async def test_a_symbol_that_takes_no_orders_today_is_refused_without_a_remedy(bench: Bench) -> None:
    bench.act("set_filters", symbol=bench.symbol(), status="PENDING_TRADING")
    outcome = await refused(bench, bench.order(), RejectKind.OTHER)
    assert outcome.code
    bench.act("set_filters", symbol=bench.symbol(), status="TRADING")
    await bench.bought()


@each(value=["create", "create_conditional"])
async def test_one_conditional_order_too_many_is_refused_without_a_remedy(bench: Bench, purpose: str) -> None:
    await bench.bought()
    request = await bench.stop() if purpose == "create_conditional" else bench.order()
    bench.begin(fault("answer", purpose, reply="too_many_conditionals"))
    await refused(bench, request, RejectKind.OTHER)


@pytest.mark.fault(69)
@case
async def test_a_key_that_may_only_look_looks_and_is_refused_all_else(bench: Bench) -> None:
    await bench.bought()
    order = await bench.placed(await bench.resting())
    stop = await bench.stop()
    bench.act("read_only")
    await refused(bench, bench.order(), RejectKind.AUTHENTICATION)
    await refused(bench, stop, RejectKind.AUTHENTICATION)
    assert (await bench.venue.cancel(order, Priority.CANCEL)).verdict is CancelVerdict.FAILED
    with pytest.raises(VenueError) as caught:
        await bench.venue.prepare(bench.btc, 7, "cross")
    assert not caught.value.transient and not isinstance(caught.value, VenueUnreachable)
    assert await bench.open_ids() == {order.client_order_id}
    await bench.position("0.010")
    bench.act("read_only", on=False)
    assert (await bench.venue.cancel(order, Priority.CANCEL)).verdict is CancelVerdict.CANCELED
