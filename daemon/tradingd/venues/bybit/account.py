"""Bybit V5: what the account holds, which modes it is in, and what was booked on it."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from tradingd.domain.account import AccountMode, AccountSnapshot
from tradingd.domain.errors import VenueError
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import Instrument
from tradingd.domain.records import LedgerRecord
from tradingd.venues.bybit.errors import ERRORS
from tradingd.venues.bybit.pages import read_all, result, rows_of
from tradingd.venues.bybit.rows import Rows, one_way
from tradingd.venues.bybit.rules import with_caps
from tradingd.venues.dialect import Caller, Params
from tradingd.venues.error_map import read_error
from tradingd.venues.reply import readable
from tradingd.venues.translate import Book, Row, number_or_zero, text_or_none

CATEGORY: Params = {"category": "linear"}
OF_ALL: Params = {**CATEGORY, "settleCoin": "USDT"}
_UNIFIED = (3, 4, 5, 6)
_MARGIN_MODES = {"cross": "REGULAR_MARGIN", "isolated": "ISOLATED_MARGIN"}
_POSITIONS_PAGE = 200
_BOOKINGS_PAGE = 50
_WINDOW_MS = 7 * 86_400_000
_BOOKINGS_RETENTION_MS = 729 * 86_400_000
"""Seven days at a time, two years at most: Bybit V5, Get Transaction Log."""

_ONE_WAY = (
    "With nothing held and no order open, set Position Mode to One-Way Mode for USDT perpetuals in the trading "
    "preferences of Bybit (one-way is mode = 0 of switch-mode)"
)


def _may_not_trade(is_read_only: bool) -> str:
    todo = "it is read-only: set it to Read-Write" if is_read_only else "tick Orders and Positions of Contract"
    return f"the API key may not trade: {todo} in API Management on Bybit"


async def read_wallet(caller: Caller) -> Any:
    """The unified account's row of wallet-balance."""
    params: Params = {"accountType": "UNIFIED"}
    value = result(await caller.read("privateGetV5AccountWalletBalance", params), "balance")
    with readable("balance"):
        return rows_of(value, "balance")[0]


async def read_positions(caller: Caller) -> list[Any]:
    """All positions that are not flat."""
    params = OF_ALL | {"limit": _POSITIONS_PAGE}
    return await read_all(caller, "privateGetV5PositionList", params, "positions")


async def read_account(caller: Caller, venue: VenueId, rows: Rows) -> AccountSnapshot:
    """Balance and positions, read at once; the error of either after both have ended."""
    requested_ms = caller.now_ms()
    wallet, held = await asyncio.gather(read_wallet(caller), read_positions(caller), return_exceptions=True)
    for each in (wallet, held):
        if isinstance(each, BaseException):
            raise each
    received_ms = caller.now_ms()
    with readable("account"):
        balance = rows.balance(wallet, received_ms)
        positions = [(row, rows.position(row)) for row in held]
        unlisted = [
            f"{row['symbol']} {row['size']}"
            for row, position in positions
            if position is None and number_or_zero(row, "size")
        ]
    known = tuple(position for _, position in positions if position is not None)
    return AccountSnapshot(venue, balance, known, requested_ms, received_ms, tuple(unlisted))


async def preflight(caller: Caller, venue: VenueId, probe: str | None, digest: str) -> AccountMode:
    """Key, kind of account and position mode. `probe` is a market whose row tells the mode even when it is flat."""
    key = result(await caller.read("privateGetV5UserQueryApi", {}), "key")
    info = result(await caller.read("privateGetV5AccountInfo", {}), "account mode")
    held = await read_positions(caller)
    if probe is not None:
        held = held + await read_all(caller, "privateGetV5PositionList", CATEGORY | {"symbol": probe}, "position mode")
    problems: list[str] = []
    with readable("account mode"):
        granted = key.get("permissions") or {}
        may = {*granted.get("ContractTrade", ()), *granted.get("Derivatives", ())}
        can_trade = int(key.get("readOnly") or 0) == 0 and bool(may & {"Order", "DerivativesTrade"})
        hedge = any(str(row.get("positionIdx", 0)) != "0" for row in held)
        if int(info["unifiedMarginStatus"]) not in _UNIFIED:
            problems.append("the account is not a unified trading account: upgrade it on Bybit")
        if hedge:
            problems.append(f"the account is in hedge mode. {_ONE_WAY}")
        if not can_trade:
            problems.append(_may_not_trade(bool(int(key.get("readOnly") or 0))))
        if "Withdraw" in (granted.get("Wallet") or ()):
            problems.append("the API key may withdraw: whoever stole it could empty the account; take that right away")
        account_id = text_or_none(key, "userID") or digest
    return AccountMode(venue, account_id, hedge, can_trade, tuple(problems))


async def prepare(caller: Caller, rules: Instrument, leverage: int, margin_mode: str) -> None:
    """Position mode looked at, margin mode of the account set where it differs, then leverage."""
    what = f"position mode of {rules.id}"
    rows = await read_all(caller, "privateGetV5PositionList", CATEGORY | {"symbol": rules.market_id}, what)
    try:
        for row in rows:
            one_way(row)
    except ValueError:
        raise VenueError(f"{rules.id} is in hedge mode", advice=_ONE_WAY) from None
    info = result(await caller.read("privateGetV5AccountInfo", {}), "margin mode")
    wanted = _MARGIN_MODES[margin_mode]
    if info.get("marginMode") != wanted:
        await _set(caller, "privatePostV5AccountSetMarginMode", {"setMarginMode": wanted}, "margin mode of the account")
    both: Params = {"buyLeverage": str(leverage), "sellLeverage": str(leverage)}
    params = CATEGORY | {"symbol": rules.market_id} | both
    await _set(caller, "privatePostV5PositionSetLeverage", params, f"leverage of {rules.id}")


async def read_caps(caller: Caller, rules: Instrument) -> Instrument:
    """The rules with the venue's steps of leverage."""
    what = f"risk limits of {rules.id}"
    rows = await read_all(caller, "publicGetV5MarketRiskLimit", CATEGORY | {"symbol": rules.market_id}, what)
    with readable(what):
        return with_caps(rules, rows)


async def _set(caller: Caller, endpoint: str, params: Params, what: str) -> None:
    reply = await caller.call(endpoint, params)
    if not (reply.ok and reply.code is None) and reply.code not in ERRORS.unchanged:
        raise read_error(ERRORS, reply, what, caller.now_ms())


async def read_bookings(caller: Caller, venue: VenueId, book: Book, since_ms: int) -> list[LedgerRecord]:
    """The transaction log, window by window, every page."""
    now_ms = caller.now_ms()
    start_ms = max(since_ms, now_ms - _BOOKINGS_RETENTION_MS)
    found: list[LedgerRecord] = []
    while start_ms <= now_ms:
        end_ms = min(start_ms + _WINDOW_MS - 1, now_ms)
        params: Params = {
            "accountType": "UNIFIED",
            "currency": "USDT",
            "startTime": start_ms,
            "endTime": end_ms,
            "limit": _BOOKINGS_PAGE,
        }
        rows = await read_all(caller, "privateGetV5AccountTransactionLog", params, "bookings")
        with readable("bookings"):
            for row in rows:
                found += _bookings(row, venue, book)
        start_ms = end_ms + 1
    return sorted(found, key=lambda each: each.time_ms)


def _bookings(row: Row, venue: VenueId, book: Book) -> Iterator[LedgerRecord]:
    """The row of an execution holds several: what was realised and what was paid in fees, each where it is not zero.
    What belongs to none, as what a liquidation costs beside its fee, is told by the venue's own word."""
    word, symbol, time_ms = str(row["type"]), str(row.get("symbol") or ""), int(row["transactionTime"])
    cash, fee, funding = (number_or_zero(row, name) for name in ("cashFlow", "fee", "funding"))
    number = str(row["id"])

    def record(kind: str, reference: str, change: Decimal) -> LedgerRecord:
        return LedgerRecord(venue, kind, reference, book.find(symbol), change, str(row["currency"]), time_ms)

    if word.startswith("TRANSFER"):
        yield record("transfer", number, number_or_zero(row, "change"))
        return
    if funding:
        yield record("funding", f"{symbol}:{time_ms}", funding)
    of_fill = bool(row.get("tradeId"))
    if of_fill and fee:
        yield record("fee", number, -fee)
    if of_fill and cash:
        yield record("realized_pnl", number, cash)
    if not of_fill and (rest := number_or_zero(row, "change") - funding):
        yield record(word.lower(), number, rest)
