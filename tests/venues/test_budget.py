"""The real budget over real sockets: the venue counts, and has nothing to complain of (P13)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from tests.emulator.helpers import Caller
from tests.venues.bench import Bench, request
from tests.venues.doubles import BINANCE_ID, BTC, Budget
from tradingd.domain.account import SubmitVerdict
from tradingd.domain.errors import VenueUnreachable
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side, TimeInForce
from tradingd.domain.orders import OrderKind, OrderRequest
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.ports import Approved, Priority
from tradingd.venues.binance import BINANCE
from tradingd.venues.binance.limits import rate_windows
from tradingd.venues.ccxt_venue import CcxtVenue

ETH = InstrumentId.parse("ETH/USDT:USDT@binance")
ELSEWHERE = 215
"""Orders that another process on the account places in the same ten seconds; 300 is the limit, entries stop at 225."""


@pytest.fixture
def speed() -> float:
    return 6.0  # ten seconds of the venue in 1.7 s


@pytest.fixture
async def limited(bench: Bench) -> AsyncIterator[tuple[Bench, CcxtVenue, RateLimiter]]:
    """An adapter on the real budget, at the beginning of one of the venue's ten seconds."""
    bench.clock.offset_ms += bench.server._model.now_ms - bench.clock.now_ms()
    limiter = RateLimiter(bench.clock, lambda ban: pytest.fail(f"banned: {ban}"))
    bench.budget = limiter  # type: ignore[assignment]
    venue = bench.build()
    limiter.add_venue(BINANCE_ID, venue.quirks.rate_plan())
    await venue.open(bench.sink)
    yield bench, venue, limiter
    await limiter.close()


async def submit(venue: CcxtVenue, clock: Any, order: OrderRequest, priority: Priority, budget: Any) -> None:
    await budget.acquire(BINANCE_ID, venue.submit_endpoint(order), priority)
    outcome = await venue.submit(Approved(order, ()), clock.now_ms(), priority)
    assert outcome.verdict is SubmitVerdict.ACCEPTED, outcome


def resting(number: int, prices: dict[InstrumentId, Decimal], venue: CcxtVenue) -> OrderRequest:
    """An entry of the smallest size, 3 % below the market; a symbol takes 200 of them."""
    instrument = (BTC, ETH)[number % 2]
    rules, price = venue.instruments[instrument], prices[instrument] * Decimal("0.97")
    return request(
        number,
        instrument=instrument,
        kind=OrderKind.LIMIT,
        limit_price=rules.round_price(price),
        quantity=rules.ceil_quantity(rules.min_notional / price),
        time_in_force=TimeInForce.GTC,
    )


@pytest.mark.fault(65)
async def test_a_hundred_entries_and_one_exit_beside_another_process_exceed_nothing_and_the_exit_leaves_first(
    limited: tuple[Bench, CcxtVenue, RateLimiter],
) -> None:
    bench, venue, limiter = limited
    other = CcxtVenue(
        BINANCE_ID, venue._credentials, bench.clock, venue._random, Budget(), endpoint=venue._endpoint,
        settings=venue._settings,
    )  # fmt: skip
    await other.open(bench.sink)
    prices = {each: await venue.mark_price(each) for each in (BTC, ETH)}
    await venue.prepare(BTC, 20, "cross")
    await venue.prepare(ETH, 20, "cross")
    await submit(venue, bench.clock, request(1), Priority.PROTECT, limiter)
    await bench.clock.sleep((10_000 - bench.clock.now_ms() % 10_000 + 100) / 1000 / bench.clock.speed)
    began_ms = bench.clock.now_ms()
    try:
        await asyncio.gather(
            *(
                submit(other, bench.clock, resting(1_000 + each, prices, venue), Priority.ENTRY, Budget())
                for each in range(ELSEWHERE)
            )
        )
        await submit(venue, bench.clock, resting(2, prices, venue), Priority.ENTRY, limiter)  # its answer tells
        entries = [
            asyncio.create_task(submit(venue, bench.clock, resting(each, prices, venue), Priority.ENTRY, limiter))
            for each in range(3, 103)
        ]
        await asyncio.sleep(0)
        assert bench.clock.now_ms() // 10_000 == began_ms // 10_000, "this machine is too slow for one window"
        way_out = request(200, side=Side.SELL, reduce_only=True)
        await submit(venue, bench.clock, way_out, Priority.EXIT, limiter)
        exited_ms = bench.clock.now_ms()
        assert sum(entry.done() for entry in entries) <= 225 - ELSEWHERE
        await asyncio.gather(*entries)
    finally:
        await other.close()
    model: Any = bench.server._model
    rows = model._desk.ledger._db.execute(
        "SELECT arrival_ms, http_status FROM requests WHERE method = 'POST' AND path = '/fapi/v1/order'"
    ).fetchall()
    assert exited_ms // 10_000 == began_ms // 10_000
    assert {status for _, status in rows} == {200}
    assert len(rows) == 1 + ELSEWHERE + 1 + 100 + 1
    per_window = Counter(arrival_ms // 10_000 for arrival_ms, _ in rows)
    assert max(per_window.values()) <= 300 and len(per_window) > 2


async def test_the_budget_is_what_the_venue_publishes(bench: Bench) -> None:
    await bench.open()
    assert set(bench.budget.windows) == {
        ("weight 1m", 60_000, 2_400, "X-MBX-USED-WEIGHT-1M", False),
        ("orders 10s", 10_000, 300, "X-MBX-ORDER-COUNT-10S", True),
        ("orders 1m", 60_000, 1_200, "X-MBX-ORDER-COUNT-1M", True),
    }


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ('{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000}', 0),
        ('{"rateLimitType":"RAW_REQUESTS","interval":"MINUTE","intervalNum":5,"limit":61000}', 0),
        (
            '{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000},'
            '{"rateLimitType":"ORDERS","interval":"DAY","intervalNum":1,"limit":200000}',
            2,
        ),
    ],
)
def test_half_of_the_limits_is_none(rows: str, found: int) -> None:
    assert len(rate_windows(f'{{"symbols":[{{"a":[1]}}],"rateLimits":[{rows}]}}')) == found
    assert rate_windows('{"symbols":[]}') == ()


@pytest.mark.parametrize(
    "row",
    [
        '{"rateLimitType":"ORDERS","interval":"FORTNIGHT","intervalNum":1,"limit":6}',
        '{"rateLimitType":"ORDERS","interval":"MINUTE","intervalNum":1,"limit":0}',
        '{"rateLimitType":"ORDERS","interval":"MINUTE","intervalNum":1}',
    ],
)
def test_a_limit_that_cannot_be_read_is_an_error(row: str) -> None:
    with pytest.raises(ValueError, match=r"rate limit|limit|FORTNIGHT"):
        rate_windows(f'{{"rateLimits":[{row}]}}')


async def test_a_venue_whose_limits_let_one_of_our_requests_never_leave_is_not_opened(bench: Bench) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("GET fapi/v1/openOrders?all costs 40")

    bench.budget.adopt = refuse  # type: ignore[assignment]
    with pytest.raises(VenueUnreachable, match="costs 40"):
        await bench.build().open(bench.sink)


def test_the_venues_windows_are_those_of_its_clock() -> None:
    plan = BINANCE.rate_plan()
    assert [(name, length_ms, limit, orders) for name, length_ms, limit, _, orders in plan.windows] == [
        ("weight 1m", 60_000, 2_400, False),
        ("orders 10s", 10_000, 300, True),
        ("orders 1m", 60_000, 1_200, True),
    ]
    assert plan.rolling == () and plan.headers is None


def test_orders_that_ended_without_a_fill_are_known_for_three_days() -> None:
    assert BINANCE.limits(receive_window_ms=None, window_scale=1).orders_kept_ms == 3 * 86_400_000


def test_the_venue_holds_as_many_conditional_orders_as_we_count_on_and_no_more() -> None:
    caller = Caller()
    codes = [
        caller.algo("BUY", "STOP_MARKET", f"{70_000 + each}", quantity="0.01", workingType="MARK_PRICE").get("code")
        for each in range((BINANCE.conditional_orders.value or 0) + 1)
    ]
    assert set(codes[:-1]) <= {None, "200"} and codes[-1] == -4045
