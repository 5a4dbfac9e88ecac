"""What the venue booked on the wallet, read from a built-in Bybit through unmodified ccxt."""

from decimal import Decimal
from typing import Any

import pytest

from tests.venues.bench import send, shown
from tests.venues.bybit.bench import BTC, BybitBench, request
from tests.venues.doubles import until
from tests.venues.faulty_proxy import answer
from tradingd.domain.errors import VenueUnreachable
from tradingd.domain.intents import Side
from tradingd.domain.orders import OrderStatus
from tradingd.domain.records import LedgerRecord
from tradingd.ports import Priority
from tradingd.venues.bybit import account
from tradingd.venues.ccxt_venue import CcxtVenue

DAY_MS = 86_400_000


def act(bench: BybitBench, kind: str, **values: object) -> None:
    model: Any = bench.model
    model.act(kind, values)


async def complete(bench: BybitBench, venue: CcxtVenue, kinds: set[str]) -> list[LedgerRecord]:
    """All bookings, as soon as they are of all kinds and explain the wallet to the last digit."""

    async def read() -> list[LedgerRecord] | None:
        found = await venue.bookings(bench.clock.now_ms() - DAY_MS, Priority.RECONCILE)
        reading = await venue.account(Priority.RECONCILE)
        is_all = reading.balance.wallet == 10_000 + sum((row.amount for row in found), Decimal(0))
        return found if is_all and {row.kind for row in found} == kinds else None

    rows: list[LedgerRecord] = await until(read)
    return rows


@pytest.mark.parametrize("page", [50, 2])
async def test_all_bookings_are_read_page_by_page_and_add_up_to_the_wallet(
    bench: BybitBench, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "_BOOKINGS_PAGE", page)
    venue = await bench.open()
    await send(bench, venue, request(1))
    await shown(venue, request(1), OrderStatus.FILLED)
    act(bench, "charge_funding", symbol="BTCUSDT", rate_fraction="0.01")
    act(bench, "transfer", usdt="-250")
    await send(bench, venue, request(2, side=Side.SELL, reduce_only=True))
    await shown(venue, request(2), OrderStatus.FILLED)
    rows = await complete(bench, venue, {"fee", "funding", "realized_pnl", "transfer"})
    assert [row.time_ms for row in rows] == sorted(row.time_ms for row in rows)
    by_kind = {row.kind: row for row in rows}
    funding, transfer = by_kind["funding"], by_kind["transfer"]
    assert funding.instrument == BTC and funding.amount < -5
    assert funding.reference == f"BTCUSDT:{funding.time_ms}"
    assert transfer.amount == -250 and transfer.instrument is None
    fills = await venue.fills(BTC, bench.clock.now_ms() - DAY_MS, Priority.RECONCILE)
    fees = sum((fill.fee for fill in fills), Decimal(0))
    assert fees == -sum((row.amount for row in rows if row.kind == "fee"), Decimal(0))


async def test_what_a_liquidation_costs_beside_its_fee_is_told_apart_from_fills(bench: BybitBench) -> None:
    venue = await bench.open()
    await send(bench, venue, request(1))
    await shown(venue, request(1), OrderStatus.FILLED)
    act(bench, "liquidate", symbol="BTCUSDT")
    rows = await complete(bench, venue, {"fee", "liquidation", "realized_pnl"})
    cost = [row for row in rows if row.kind == "liquidation"]
    assert len(cost) == 1 and cost[0].amount < 0 and cost[0].instrument == BTC
    fills = await venue.fills(BTC, bench.clock.now_ms() - DAY_MS, Priority.RECONCILE)
    assert fills[-1].reason == "liquidation" and sum(row.kind == "fee" for row in rows) == len(fills)


async def test_bookings_are_asked_for_seven_days_at_a_time(bench: BybitBench) -> None:
    venue = await bench.open()
    await venue.bookings(bench.clock.now_ms() - 20 * DAY_MS, Priority.RECONCILE)
    assert bench.proxy.names() == ["GET /v5/account/transaction-log"] * 3
    assert {endpoint for endpoint, _ in bench.budget.acquired} == {"GET /v5/account/transaction-log"}


async def test_half_a_log_is_an_error(bench: BybitBench) -> None:
    venue = await bench.open()
    bench.proxy.faults["GET /v5/account/transaction-log"] = answer(200, '{"retCode":0,"result":{}}')
    with pytest.raises(VenueUnreachable):
        await venue.bookings(bench.clock.now_ms() - DAY_MS, Priority.RECONCILE)
