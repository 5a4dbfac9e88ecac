"""The transaction log: everything that moved the wallet, one row for each execution, payment and transfer."""

from __future__ import annotations

from decimal import Decimal
from itertools import groupby

from tradingd.emulator.bybit.desk import Desk
from tradingd.emulator.bybit.errors import VenueError
from tradingd.emulator.bybit.history_api import execution_row, paged
from tradingd.emulator.bybit.params import Params
from tradingd.emulator.bybit.payloads import Json, plain, public_id
from tradingd.emulator.core.records import ZERO, Fill

Booking = tuple[int, int, str, str, str, int | None]
"""As the ledger has it: number, time, symbol, kind, USDT, trade."""

_OF_FILLS = {"Trade": "TRADE", "BustTrade": "LIQUIDATION", "AdlTrade": "ADL", "Settle": "DELIVERY"}
_OF_VENUE = {"FUNDING_FEE": "SETTLEMENT", "INSURANCE_CLEAR": "LIQUIDATION"}


def transaction_log(desk: Desk, params: Params) -> Json:
    """GET /v5/account/transaction-log: seven days at a time, newest first, 20 on a page and 50 at most; like all that
    is shown it lags behind."""
    if params.text("accountType") not in (None, "UNIFIED"):
        raise VenueError(10001, "accountType only support UNIFIED.")
    start_ms, end_ms = params.span(desk.now_ms)
    kind, currency = params.text("type"), params.text("currency")
    rows = [row for row in _rows(desk, start_ms) if int(row["transactionTime"]) <= end_ms
            and kind in (None, row["type"])] if currency in (None, "USDT") else []  # fmt: skip
    page, cursor = paged(params, rows, lambda row: (int(row["transactionTime"]), int(row["seq"])), 20, 50)
    return {"list": [{name: value for name, value in row.items() if name != "seq"} for row in page],
            "nextPageCursor": cursor}


def _rows(desk: Desk, start_ms: int) -> list[Json]:
    """What is shown by now, oldest first, each with the wallet after it."""
    fills = {(symbol, fill.trade_id): fill for symbol in desk.exchange.feeds for fill in desk.views.fills(symbol)}
    found: list[Json] = []
    balance = desk.exchange.account.wallet
    booked = desk.ledger.income(None, None, start_ms, desk.now_ms, -1)
    balance -= sum((Decimal(each[4]) for each in booked), ZERO)
    for trade, group in groupby(booked, key=lambda each: (each[2], each[5]) if each[5] is not None else each[0]):
        parts = list(group)
        balance += sum((Decimal(each[4]) for each in parts), ZERO)
        if isinstance(trade, tuple):
            fill = fills.get((trade[0], trade[1] or 0))
            row = None if fill is None else _of_fill(desk, fill, parts)
        else:
            row = _of_venue(parts[0]) if _is_shown(desk, parts[0]) else None
        if row is not None:
            found.append(row | {"cashBalance": plain(balance)})
    return found


def _is_shown(desk: Desk, booking: Booking) -> bool:
    number, time_ms = booking[0], booking[1]
    if number not in desk.log_lags:
        desk.log_lags[number] = time_ms + desk.lags.balance()
    return desk.log_lags[number] <= desk.views.now_ms


def _of_fill(desk: Desk, fill: Fill, parts: list[Booking]) -> Json:
    """What an execution realised, and its fee; a fee that is positive was paid."""
    told = execution_row(desk, fill)
    cash = sum((Decimal(each[4]) for each in parts if each[3] == "REALIZED_PNL"), ZERO)
    fee = -sum((Decimal(each[4]) for each in parts if each[3] == "COMMISSION"), ZERO)
    return _row(parts[0], _OF_FILLS[told["execType"]], cash, fee) | {
        "side": told["side"], "qty": told["execQty"], "tradePrice": told["execPrice"], "feeRate": told["feeRate"],
        "tradeId": told["execId"], "orderId": told["orderId"], "orderLinkId": told["orderLinkId"],
    }  # fmt: skip


def _of_venue(booking: Booking) -> Json:
    """Funding, a transfer, what a liquidation costs beside its fee."""
    usdt, kind = Decimal(booking[4]), booking[3]
    if kind == "FUNDING_FEE":
        return _row(booking, _OF_VENUE[kind], ZERO, ZERO) | {"funding": plain(usdt), "change": plain(usdt)}
    word = _OF_VENUE.get(kind, "TRANSFER_IN" if usdt > 0 else "TRANSFER_OUT")
    return _row(booking, word, usdt, ZERO)


def _row(booking: Booking, word: str, cash: Decimal, fee: Decimal) -> Json:
    """change = cashFlow + funding - fee."""
    number, time_ms, symbol, *_ = booking
    return {
        "id": public_id(number), "symbol": symbol, "category": "linear" if symbol else "", "side": "None",
        "transactionTime": str(time_ms), "type": word, "transSubType": "", "qty": "0", "size": "0",
        "currency": "USDT", "tradePrice": "", "funding": "", "fee": plain(fee), "cashFlow": plain(cash),
        "change": plain(cash - fee), "feeRate": "", "bonusChange": "", "tradeId": "", "orderId": "",
        "orderLinkId": "", "extraFees": "", "seq": number,
    }  # fmt: skip
