"""Binance USDT-M: what the account holds."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from tradingd.domain.account import AccountSnapshot, VenueBalance
from tradingd.domain.ids import VenueId
from tradingd.domain.records import LedgerRecord
from tradingd.venues.binance.rows import Rows
from tradingd.venues.dialect import Caller, Params
from tradingd.venues.reply import readable
from tradingd.venues.translate import Book, Row, number, text_or_none

A = TypeVar("A")
B = TypeVar("B")


async def both(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Two reads at once; the error of either, after both have ended."""
    a, b = await asyncio.gather(first, second, return_exceptions=True)
    for result in (a, b):
        if isinstance(result, BaseException):
            raise result
    return a, b  # type: ignore[return-value]  # mypy does not narrow through the loop


def listed(rows: Any) -> list[Any]:
    """A page that is a list; an empty object in its place is no empty list."""
    if not isinstance(rows, list):
        raise TypeError(f"expected a list, got {type(rows).__name__}")
    return rows


async def read_account(caller: Caller, venue: VenueId, rows: Rows) -> AccountSnapshot:
    """Balance from account, positions with entry and mark price from positionRisk."""
    requested_ms = caller.now_ms()
    account, risk = await both(
        caller.read("fapiPrivateV3GetAccount", {}), caller.read("fapiPrivateV3GetPositionRisk", {})
    )
    received_ms = caller.now_ms()
    with readable("account"):
        balance = VenueBalance(
            venue=venue,
            currency="USDT",
            wallet=number(account, "totalWalletBalance"),
            equity=number(account, "totalMarginBalance"),
            available=number(account, "availableBalance"),
            initial_margin=number(account, "totalInitialMargin"),
            time_ms=received_ms,
        )
        positions = [(row, rows.position(row)) for row in listed(risk)]
        unlisted = [
            f"{row['symbol']} {row['positionAmt']}"
            for row, position in positions
            if position is None and number(row, "positionAmt") != 0
        ]
    known = tuple(position for _, position in positions if position is not None)
    return AccountSnapshot(venue, balance, known, requested_ms, received_ms, tuple(unlisted))


_KINDS = {
    "COMMISSION": "fee",
    "REALIZED_PNL": "realized_pnl",
    "FUNDING_FEE": "funding",
    "TRANSFER": "transfer",
    "INTERNAL_TRANSFER": "transfer",
    "CROSS_COLLATERAL_TRANSFER": "transfer",
    "COIN_SWAP_DEPOSIT": "transfer",
    "COIN_SWAP_WITHDRAW": "transfer",
    "STRATEGY_UMFUTURES_TRANSFER": "transfer",
    "WELCOME_BONUS": "transfer",
}
"""The venue's words of GET income that have a word here; the others keep theirs, in small letters."""
_BOOKINGS_PAGE = 1_000
_BOOKINGS_WINDOW_MS = 7 * 86_400_000
_BOOKINGS_RETENTION_MS = 89 * 86_400_000
"""Seven days at a time, three months at most: Binance USDⓈ-M, Get Income History."""


async def read_bookings(caller: Caller, venue: VenueId, book: Book, since_ms: int) -> list[LedgerRecord]:
    """GET income, window by window and page by page. A page begins with the ms that ended the one before."""
    now_ms = caller.now_ms()
    start_ms = max(since_ms, now_ms - _BOOKINGS_RETENTION_MS)
    found: dict[tuple[str, str], LedgerRecord] = {}
    while start_ms <= now_ms:
        end_ms = min(start_ms + _BOOKINGS_WINDOW_MS - 1, now_ms)
        params: Params = {"startTime": start_ms, "endTime": end_ms, "limit": _BOOKINGS_PAGE}
        rows = await caller.read("fapiPrivateGetIncome", params)
        with readable("bookings"):
            read = [_booking(row, venue, book) for row in listed(rows)]
            found.update({(each.kind, each.reference): each for each in read if each.currency == "USDT"})
        full = len(rows) >= _BOOKINGS_PAGE
        last_ms = max((each.time_ms for each in read), default=end_ms)
        start_ms = max(last_ms, start_ms + 1) if full else end_ms + 1
    return sorted(found.values(), key=lambda each: each.time_ms)


def _booking(row: Row, venue: VenueId, book: Book) -> LedgerRecord:
    """Funding is named by market and time: one payment, however its row is numbered. tranId counts per kind."""
    word, time_ms = str(row["incomeType"]), int(row["time"])
    kind, symbol = _KINDS.get(word, word.lower()), str(row.get("symbol") or "")
    trade = text_or_none(row, "tradeId")
    reference = (
        f"{symbol}:{time_ms}" if kind == "funding" else f"{row['tranId']}:{trade}" if trade else str(row["tranId"])
    )
    currency = str(row["asset"])
    return LedgerRecord(venue, kind, reference, book.find(symbol), number(row, "income"), currency, time_ms)
