"""The real budget before a built-in Bybit, through unmodified ccxt: the venue counts, and never says 10006 (P13)."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.venues.bybit.bench import BTC, BybitBench, request
from tests.venues.doubles import CREDENTIALS, SeededRandom
from tests.venues.faulty_proxy import answer
from tradingd.domain.account import RejectKind, SubmitVerdict
from tradingd.domain.errors import VenueBanned
from tradingd.domain.ids import VenueId
from tradingd.domain.intents import Side, TimeInForce
from tradingd.domain.orders import OrderKind, OrderRequest
from tradingd.domain.records import BanRecord
from tradingd.emulator.bybit.limits import CONNECTIONS, CONNECTIONS_WINDOW_MS, IP_REQUESTS, IP_WINDOW_MS
from tradingd.emulator.bybit.routes import ROUTES
from tradingd.execution.rate_limiter import RateLimiter
from tradingd.ports import Approved, Priority, StreamKey
from tradingd.venues.bybit import calls
from tradingd.venues.bybit.quirks import BYBIT
from tradingd.venues.ccxt_venue import CcxtVenue

BYBIT_ID = VenueId("bybit")
CREATE = "POST /v5/order/create"


class Limited:
    """An adapter on the real budget."""

    def __init__(self, bench: BybitBench) -> None:
        self.bench = bench
        self.bans: list[BanRecord] = []
        self.limiter = RateLimiter(bench.clock, self.bans.append)
        self.limiter.add_venue(BYBIT_ID, BYBIT.rate_plan())
        bench.budget = self.limiter  # type: ignore[assignment]
        self.venue: CcxtVenue = bench.build()

    async def open(self) -> None:
        await self.venue.open(self.bench.sink)
        self.bench.clock.offset_ms += await self.venue.server_time_ms() - self.bench.clock.now_ms()

    async def submit(self, order: OrderRequest, priority: Priority) -> Any:
        await self.limiter.acquire(BYBIT_ID, self.venue.submit_endpoint(order), priority)
        return await self.venue.submit(Approved(order, ()), self.bench.clock.now_ms(), priority)

    def codes(self, path: str = "") -> list[int | None]:
        """What the venue answered, by its own record."""
        rows = self.bench.model._desk.ledger._db.execute("SELECT path, code FROM requests").fetchall()
        return [code for each, code in rows if not path or each == path]


@pytest.fixture
async def limited(bench: BybitBench) -> AsyncIterator[Limited]:
    made = Limited(bench)
    await made.open()
    yield made
    await made.limiter.close()


NAMED = {
    **dict.fromkeys(("order/create", "order/amend", "order/cancel", "order/cancel-all", "position/trading-stop"), 10),
    **dict.fromkeys(("position/set-leverage", "position/switch-mode", "user/query-api"), 10),
    **dict.fromkeys(("order/realtime", "order/history", "execution/list"), 50),
    **dict.fromkeys(("position/list", "account/wallet-balance"), 50),
}
"""What the venue's page names, requests a second."""


def test_our_limits_are_those_that_the_venue_names_and_never_above_what_the_built_in_venue_counts() -> None:
    ours = {limit.name: limit for limit in BYBIT.rate_plan().rolling}
    assert {name: ours[name].limit for name in NAMED} == NAMED
    counted = {path.removeprefix("/v5/"): route.per_second for (_, path), route in ROUTES.items() if route.per_second}
    for name, limit in ours.items():
        if limit.length_s == 1.0:
            assert limit.limit <= counted.get(name, limit.limit), name
    address, dials = ours["address"], ours["dials"]
    assert (address.limit, address.length_s * 1_000) == (IP_REQUESTS, IP_WINDOW_MS)
    assert (dials.limit, dials.length_s * 1_000) == (CONNECTIONS, CONNECTIONS_WINDOW_MS)


def resting(number: int, price: Decimal, venue: CcxtVenue) -> OrderRequest:
    rules = venue.instruments[BTC]
    return request(
        number,
        kind=OrderKind.LIMIT,
        limit_price=rules.round_price(price),
        quantity=rules.ceil_quantity(rules.min_notional / price),
        time_in_force=TimeInForce.GTC,
    )


@pytest.mark.fault(65)
async def test_many_entries_and_one_exit_beside_another_process_are_never_too_many_and_the_exit_leaves_first(
    limited: Limited,
) -> None:
    bench, venue = limited.bench, limited.venue
    price = await venue.mark_price(BTC) * Decimal("0.97")
    await limited.submit(request(1), Priority.PROTECT)
    await bench.clock.sleep(1.01)
    limited.bench.model._desk.limits.charge("/v5/order/create", 10, bench.model.now_ms)  # another process
    entries = [
        asyncio.create_task(limited.submit(resting(each, price, venue), Priority.ENTRY)) for each in range(2, 27)
    ]
    await asyncio.sleep(0)
    began = bench.clock.monotonic()
    out = await limited.submit(request(200, side=Side.SELL, reduce_only=True), Priority.EXIT)
    assert bench.clock.monotonic() - began < 0.5 and out.verdict is SubmitVerdict.SUBMITTED
    assert sum(entry.done() for entry in entries) <= 7
    outcomes = await asyncio.gather(*entries)
    assert {outcome.verdict for outcome in outcomes} == {SubmitVerdict.SUBMITTED}
    assert limited.codes("/v5/order/create") == [None] * 27


async def test_look_ups_and_reads_at_once_are_never_too_many(limited: Limited) -> None:
    venue = limited.venue
    await asyncio.gather(*(venue.open_orders(BTC, Priority.RECONCILE) for _ in range(80)),
                         *(venue.account(Priority.RECONCILE) for _ in range(40)))  # fmt: skip
    # a machine under load answers late enough for a second copy of a look-up
    assert set(limited.codes()) == {None} and len(limited.codes("/v5/order/realtime")) >= 80


@pytest.mark.fault(65)
async def test_what_another_process_has_spent_is_learnt_from_the_answer_and_not_by_a_refusal(limited: Limited) -> None:
    price = await limited.venue.mark_price(BTC) * Decimal("0.97")
    for _ in range(6):  # another process
        limited.bench.model._desk.limits.charge("/v5/order/create", 10, limited.bench.model.now_ms)
    for each in range(1, 9):
        order = resting(each, price, limited.venue)
        assert (await limited.submit(order, Priority.EXIT)).verdict is SubmitVerdict.SUBMITTED
    assert limited.codes("/v5/order/create") == [None] * 8


async def test_an_order_that_was_one_too_many_was_not_executed_and_closes_its_endpoint(limited: Limited) -> None:
    bench, limits = limited.bench, limited.bench.model._desk.limits
    for _ in range(10):
        limits.charge("/v5/order/create", 10, bench.model.now_ms)
    outcome = await limited.submit(request(1), Priority.ENTRY)
    assert (outcome.verdict, outcome.kind, outcome.code) == (SubmitVerdict.NOT_EXECUTED, RejectKind.THROTTLED, "10006")
    began = bench.clock.monotonic()
    await limited.venue.account(Priority.RECONCILE)
    assert bench.clock.monotonic() - began < 0.5
    outcome = await limited.submit(request(2), Priority.EXIT)
    assert outcome.verdict is SubmitVerdict.SUBMITTED and bench.clock.monotonic() - began > 0.7
    assert limited.codes("/v5/order/create").count(10006) == 1


async def test_too_many_requests_of_the_address_ban_all_for_ten_minutes_also_the_next_run(limited: Limited) -> None:
    bench, venue = limited.bench, limited.venue
    bench.model._desk.limits.ban(bench.model.now_ms)
    with pytest.raises(VenueBanned, match="403"):
        await venue.account(Priority.RECONCILE)
    assert limited.limiter.banned_until_ms(BYBIT_ID) == pytest.approx(bench.clock.now_ms() + 600_000, abs=2_000)
    before = len(bench.proxy.seen)
    outcome = await venue.submit(Approved(request(1), ()), bench.clock.now_ms(), Priority.PROTECT)
    assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, RejectKind.BANNED)
    after = RateLimiter(bench.clock, limited.bans.append)
    after.add_venue(BYBIT_ID, BYBIT.rate_plan())
    after.restore(limited.bans[-1])
    restarted = CcxtVenue(
        BYBIT_ID, CREDENTIALS, bench.clock, SeededRandom(), after, endpoint=f"http://127.0.0.1:{bench.proxy.port}"
    )
    with pytest.raises(VenueBanned):
        await restarted.open(bench.sink)
    assert len(bench.proxy.seen) == before


async def test_a_country_that_is_not_served_is_told_apart_from_a_ban_of_ten_minutes(limited: Limited) -> None:
    page = "The Amazon CloudFront distribution is configured to block access from your country."
    limited.bench.proxy.faults["GET /v5/market/tickers"] = answer(403, page, kind="text/html")
    with pytest.raises(VenueBanned, match="country"):
        await limited.venue.mark_price(BTC)
    assert limited.bans[-1].until_ms - limited.bench.clock.now_ms() <= 60_000
    assert "country" in limited.bans[-1].reason


def test_the_plan_knows_every_endpoint_that_the_adapter_calls() -> None:
    plan = BYBIT.rate_plan()
    named = set()
    for source in Path(calls.__file__).parent.glob("*.py"):
        for method, rest in re.findall(r'"(?:private|public)(Get|Post)V5(\w+)"', source.read_text()):
            named.add((method.upper(), rest.lower()))
    known = {(each.split(" ")[0], re.sub(r"[/-]|v5", "", each.split(" ")[1])) for each in plan.weights}
    assert len(named) > 10 and named <= known
    assert plan.order_endpoints == {CREATE} and plan.windows == ()


async def test_subscriptions_to_candles_are_paced(bench: BybitBench) -> None:
    venue = await bench.open()
    frames = ("1m", "3m", "5m", "15m", "30m", "1h")
    began = time.monotonic()
    await asyncio.gather(*(venue.watch(StreamKey(BYBIT_ID, "candles", BTC.symbol, frame)) for frame in frames))
    assert 5 * 0.125 - 0.01 <= time.monotonic() - began < 5 * 0.25 - 0.1
