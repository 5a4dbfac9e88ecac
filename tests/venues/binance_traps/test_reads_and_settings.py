"""The same error codes as answers to look-ups, cancels, settings: none of them is evidence but the two that are."""

import msgspec
import pytest

from tests.venues.bench import Bench, request, send
from tests.venues.binance_traps.codes import NOTHING_TO_CHANGE, ON_CANCEL, ON_LOOK_UP, ROWS, Act, Row, Says
from tests.venues.binance_traps.test_error_codes import ENTER, EXIT, is_flat, one
from tests.venues.binance_traps.worlds import answering, minute_ms, once, play
from tests.venues.doubles import BTC
from tests.venues.faulty_proxy import answer
from tradingd.domain.account import CancelVerdict
from tradingd.domain.errors import VenueBanned, VenueError
from tradingd.ports import Priority

UNSENT = Row(-1007, 503, Says.UNKNOWN, Act.LOOK_UP)
GONE, UNKNOWN_ORDER = Row(ON_CANCEL, 400, Says.NO, Act.NOTHING), Row(ON_LOOK_UP, 400, Says.NO, Act.NOTHING)


def body(row: Row) -> str:
    if row.code:
        return msgspec.json.encode({"code": row.code, "msg": row.text}).decode()
    return row.text or "<html><body><h1>Not now</h1></body></html>"


async def test_no_error_but_one_is_read_as_there_is_no_such_order(bench: Bench) -> None:
    venue = await bench.open()
    for row in ROWS:
        venue._calls._refused.clear()  # a key that was refused is not tried again for a minute
        for path in ("GET /fapi/v1/order", "GET /fapi/v1/algoOrder"):
            bench.proxy.faults = {path: answer(row.status, body(row))}
            with pytest.raises(VenueError) as caught:
                await venue.find_order(request(), Priority.DATA)
            assert caught.value.code == row.raw_code, row
            assert isinstance(caught.value, VenueBanned) is (row.status in (418, 429)), row
    bench.proxy.faults = {}
    venue._calls._refused.clear()
    assert await venue.find_order(request(), Priority.DATA) is None, "-2013 in both books"


async def test_no_error_of_a_cancel_says_cancelled_and_one_says_look_it_up(bench: Bench) -> None:
    venue = await bench.open()
    order = (await send(bench, venue, request())).order
    assert order is not None
    for row in ROWS:
        bench.proxy.faults = {"DELETE /fapi/v1/order": answer(row.status, body(row))}
        outcome = await venue.cancel(order, Priority.CANCEL)
        assert outcome.code == row.raw_code and f"HTTP {row.status}" in outcome.message, row
        wanted = CancelVerdict.FAILED if row.says is Says.NO else CancelVerdict.AMBIGUOUS
        assert outcome.verdict is wanted, row
    bench.proxy.faults = {"DELETE /fapi/v1/order": answer(400, body(GONE))}
    outcome = await venue.cancel(order, Priority.CANCEL)
    assert (outcome.verdict, outcome.code) == (CancelVerdict.GONE, str(ON_CANCEL))


@pytest.mark.parametrize("code", NOTHING_TO_CHANGE)
async def test_nothing_to_change_is_success(bench: Bench, code: int) -> None:
    venue = await bench.open()
    row = Row(code, 400, Says.NO, Act.NOTHING)
    for path in ("POST /fapi/v1/marginType", "POST /fapi/v1/leverage"):
        bench.proxy.faults = {path: answer(row.status, body(row))}
        await venue.prepare(BTC, 5, "cross")
        assert path in bench.proxy.names()
    bench.proxy.faults = {"POST /fapi/v1/marginType": answer(400, body(GONE))}
    with pytest.raises(VenueError):
        await venue.prepare(BTC, 5, "cross")


SOME = [row for row in ROWS if row.act in (Act.LOOK_UP, Act.NOTHING)][::4]


@pytest.mark.parametrize("row", SOME, ids=lambda row: row.name)
def test_a_look_up_that_fails_gives_no_verdict_however_long_it_fails(row: Row) -> None:
    rules = [answering(UNSENT, "create", 1), answering(row, "look_up", 1, times=None, for_s=32)]
    told = once(f"look up {row.name} {row.status}", lambda: play(f"1 {ENTER}", rules, 2.2))
    verdict = one([event for event in told.events if event["event"] == "not_found"])
    assert verdict["time_ms"] > minute_ms(1) + 30_000
    assert not told.fills and told.ready


def test_a_cancel_of_what_is_not_known_any_more_is_looked_up_and_sent_again_where_it_stands() -> None:
    rule = answering(GONE, "cancel_conditional", 2)
    told = once("gone", lambda: play(f"1 {ENTER}; 2 {EXIT}", [rule], 2.8))
    steps = [e for e in told.events if e["raw_code"] == str(ON_CANCEL)]
    assert steps and steps[0]["before"] == steps[0]["after"] == "ACCEPTED"
    ended = {e["client_order_id"] for e in told.events if e["after"] == "CANCELED"}
    assert steps[0]["client_order_id"] in ended and is_flat(told)
    assert {algo["status"] for algo in told.evidence.algos} == {"CANCELED"}


def test_an_accepted_order_that_look_ups_do_not_know_is_not_taken_for_one_that_never_was() -> None:
    rule = answering(UNKNOWN_ORDER, "look_up", 1, times=None, for_s=40)
    told = once("unknown", lambda: play(f"1 {ENTER}; 2 {EXIT}", [rule], 2.5))
    assert not [e for e in told.events if e["event"] in ("not_found", "reject")]
    assert is_flat(told)
