"""Binance USDT-M: what the account holds."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from tradingd.domain.account import AccountSnapshot, VenueBalance
from tradingd.domain.ids import VenueId
from tradingd.venues.binance.rows import Rows
from tradingd.venues.dialect import Caller
from tradingd.venues.reply import readable
from tradingd.venues.translate import number

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
