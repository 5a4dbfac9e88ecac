"""What the venue booked on the wallet, read from the venue that booked it."""

from decimal import Decimal
from typing import Any

import pytest

from tests.venues.bench import Bench, request, send
from tests.venues.doubles import BTC, until
from tests.venues.faulty_proxy import answer
from tradingd.domain.errors import VenueUnreachable
from tradingd.domain.intents import Side
from tradingd.domain.records import LedgerRecord
from tradingd.ports import Priority
from tradingd.venues.binance import account

DAY_MS = 86_400_000


def act(bench: Bench, kind: str, **values: object) -> None:
    model: Any = bench.server._model
    model.act(kind, values)


@pytest.mark.parametrize("page", [1_000, 6])
async def test_all_bookings_are_read_page_by_page_and_add_up_to_the_wallet(
    bench: Bench, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "_BOOKINGS_PAGE", page)
    venue = await bench.open()
    await send(bench, venue, request(1))
    act(bench, "charge_funding", symbol="BTCUSDT", rate_fraction="0.01")
    act(bench, "transfer", usdt="-250")
    await send(bench, venue, request(2, side=Side.SELL, reduce_only=True))

    async def read() -> list[LedgerRecord] | None:
        """As soon as all is shown: the bookings explain the wallet to the last digit."""
        found = await venue.bookings(bench.clock.now_ms() - DAY_MS, Priority.RECONCILE)
        reading = await venue.account(Priority.RECONCILE)
        is_all = reading.balance.wallet == 10_000 + sum((row.amount for row in found), Decimal(0))
        return found if is_all and not reading.position(BTC).quantity else None

    rows: list[LedgerRecord] = await until(read)
    assert {row.kind for row in rows} == {"fee", "funding", "realized_pnl", "transfer"}
    assert [row.time_ms for row in rows] == sorted(row.time_ms for row in rows)
    by_kind = {row.kind: row for row in rows}
    funding, transfer = by_kind["funding"], by_kind["transfer"]
    assert funding.instrument == BTC and funding.amount < -5
    assert funding.reference == f"BTCUSDT:{funding.time_ms}"
    assert transfer.amount == -250 and transfer.instrument is None


async def test_bookings_are_asked_for_window_by_window(bench: Bench) -> None:
    venue = await bench.open()
    await venue.bookings(bench.clock.now_ms() - 20 * DAY_MS, Priority.RECONCILE)
    assert bench.proxy.names() == ["GET /fapi/v1/income"] * 3
    assert {endpoint for endpoint, _ in bench.budget.acquired} == {"GET fapi/v1/income"}
    assert venue.quirks.rate_plan().weights["GET fapi/v1/income"] == 30


async def test_a_page_that_is_no_list_is_no_empty_one(bench: Bench) -> None:
    venue = await bench.open()
    bench.proxy.faults["GET /fapi/v1/income"] = answer(200, "{}")
    with pytest.raises(VenueUnreachable):
        await venue.bookings(bench.clock.now_ms() - DAY_MS, Priority.RECONCILE)
