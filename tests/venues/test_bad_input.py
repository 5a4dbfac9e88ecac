"""Answers of Binance without a body: none of them is taken for "nothing", "flat" or "done"."""

from collections.abc import Awaitable, Callable

import pytest

from tests.venues.bench import Bench, request, send
from tests.venues.doubles import BTC
from tests.venues.faulty_proxy import answer
from tradingd.domain.account import SubmitVerdict
from tradingd.domain.errors import VenueUnreachable
from tradingd.ports import Priority
from tradingd.venues.ccxt_venue import CcxtVenue

READS: dict[str, tuple[str, Callable[[CcxtVenue], Awaitable[object]]]] = {
    "time": ("v1/time", lambda venue: venue.server_time_ms()),
    "rules": ("v1/exchangeInfo", lambda venue: venue.load_instruments()),
    "candles": ("v1/klines", lambda venue: venue.candles(BTC, "1m", 1_790_000_000_000, 5)),
    "mark price": ("v1/premiumIndex", lambda venue: venue.mark_price(BTC)),
    "an order": ("v1/order", lambda venue: venue.find_order(request(), Priority.RECONCILE)),
    "a conditional order": ("v1/algoOrder", lambda venue: venue.find_order(request(), Priority.RECONCILE)),
    "open orders": ("v1/openOrders", lambda venue: venue.open_orders(BTC, Priority.RECONCILE)),
    "open conditional orders": ("v1/openAlgoOrders", lambda venue: venue.open_orders(BTC, Priority.RECONCILE)),
    "fills": ("v1/userTrades", lambda venue: venue.fills(BTC, 1_790_000_000_000, Priority.RECONCILE)),
    "bookings": ("v1/income", lambda venue: venue.bookings(1_790_000_000_000, Priority.RECONCILE)),
}


@pytest.mark.parametrize("body", ["", "<html></html>"])
@pytest.mark.parametrize("what", READS)
async def test_a_success_without_a_body_is_no_answer(bench: Bench, what: str, body: str) -> None:
    venue = await bench.open()
    path, read = READS[what]
    bench.proxy.faults[f"GET /fapi/{path}"] = answer(200, body)
    with pytest.raises(VenueUnreachable):
        await read(venue)


@pytest.mark.parametrize("body", ["", "{}", "<html></html>"])
async def test_an_order_without_an_answers_body_is_in_doubt(bench: Bench, body: str) -> None:
    venue = await bench.open()
    bench.proxy.faults["POST /fapi/v1/order"] = answer(200, body)
    outcome = await send(bench, venue, request())
    assert outcome.verdict is SubmitVerdict.AMBIGUOUS


async def account(venue: CcxtVenue) -> object:
    return await venue.account(Priority.RECONCILE)


async def prepare(venue: CcxtVenue) -> None:
    await venue.prepare(BTC, 7, "isolated")


@pytest.mark.parametrize("read", [CcxtVenue.preflight, account, prepare])
async def test_a_start_takes_no_empty_answer_for_a_mode_or_a_balance(
    bench: Bench, read: Callable[[CcxtVenue], Awaitable[object]]
) -> None:
    venue = await bench.open()
    await read(venue)
    asked = sorted(set(bench.proxy.names()))
    assert asked
    for name in asked:
        bench.proxy.faults = {name: answer(200, "")}
        with pytest.raises(VenueUnreachable):
            await read(venue)
