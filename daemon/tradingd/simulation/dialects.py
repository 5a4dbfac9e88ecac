"""What the oracle must know of each venue's wire: its endpoints, its codes, its names for the parts of a request."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from tradingd.emulator.bybit.instruments import BYBIT_INSTRUMENTS
from tradingd.emulator.bybit.payloads import number_of, public_id
from tradingd.emulator.core.instruments import INSTRUMENTS, Instrument

Shown = dict[str, Decimal] | None
"""Positions by symbol as an answer shows them; None where it is no answer."""


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One venue's wire. Endpoints are `METHOD path`.

    `creates` ask for an order, `levels` set stop and take profit of a position, `cancels` name one order (`named` are
    the parameters that do: client id, then the venue's), `cancels_all` name none. `filter_codes` refuse an order for
    its shape, `margin_codes` for want of margin. `opening` and `market` are what makes an order one that may open, and
    one without a price. `streams` must stand for an entry. `untold_ban_ms`: how long a ban is that does not say so.
    """

    creates: tuple[str, ...]
    levels: tuple[str, ...] = ()
    cancels: tuple[str, ...]
    cancels_all: tuple[str, ...]
    named: tuple[tuple[str, ...], tuple[str, ...]]
    dull: tuple[str, ...]
    prices: tuple[str, ...]
    quantity: str
    closing: tuple[str, ...]
    kind: tuple[str, str]
    filter_codes: frozenset[int]
    margin_codes: frozenset[int]
    instruments: Mapping[str, Instrument]
    streams: tuple[str, str]
    positions: str
    shown: Callable[[Any], Shown]
    trade_id: Callable[[int], str]
    order_number: Callable[[str], str]
    untold_ban_ms: int = 0


def _binance_shown(answer: Any) -> Shown:
    return {row["symbol"]: Decimal(row["positionAmt"]) for row in answer} if isinstance(answer, list) else None


def _bybit_shown(answer: Any) -> Shown:
    if answer["retCode"] != 0:
        return None
    signs = {"Buy": 1, "Sell": -1, "": 0}
    return {row["symbol"]: Decimal(row["size"]) * signs[row["side"]] for row in answer["result"]["list"]}


DIALECTS: Mapping[str, Dialect] = {
    "binance": Dialect(
        creates=("POST /fapi/v1/order", "POST /fapi/v1/algoOrder"),
        cancels=("DELETE /fapi/v1/order", "DELETE /fapi/v1/algoOrder"),
        cancels_all=("DELETE /fapi/v1/allOpenOrders", "DELETE /fapi/v1/algoOpenOrders"),
        named=(("origClientOrderId", "clientAlgoId"), ("orderId", "algoId")),
        dull=("/fapi/v1/time", "/fapi/v1/klines", "/fapi/v1/listenKey"),
        prices=("price", "triggerPrice"),
        quantity="quantity",
        closing=("reduceOnly", "closePosition"),
        kind=("type", "MARKET"),
        filter_codes=frozenset({-1100, -1102, -1106, -1111, -1116, -1117, -1130, -2027, -4001, -4003, -4004, -4005})
        | {-4006, -4014, -4015, -4016, -4024, -4028, -4136, -4137, -4138, -4164},
        margin_codes=frozenset({-2019}),
        instruments=INSTRUMENTS,
        streams=("/private", "/market"),
        positions="GET /fapi/v3/positionRisk",
        shown=_binance_shown,
        trade_id=str,
        order_number=str,
    ),
    "bybit": Dialect(
        creates=("POST /v5/order/create",),
        levels=("POST /v5/position/trading-stop",),
        cancels=("POST /v5/order/cancel",),
        cancels_all=("POST /v5/order/cancel-all",),
        named=(("orderLinkId",), ("orderId",)),
        dull=("/v5/market/time", "/v5/market/kline"),
        prices=("price", "triggerPrice", "stopLoss", "takeProfit"),
        quantity="qty",
        closing=("reduceOnly",),
        kind=("orderType", "Market"),
        filter_codes=frozenset({10001, 110003, 110013, 110094}),
        margin_codes=frozenset({110007, 110044, 110090}),
        instruments=BYBIT_INSTRUMENTS,
        streams=("/v5/private", "/v5/public"),
        positions="GET /v5/position/list",
        shown=_bybit_shown,
        trade_id=public_id,
        order_number=lambda order_id: str(number_of(order_id)),
        untold_ban_ms=600_000,
    ),
}

CREATES = frozenset(endpoint for each in DIALECTS.values() for endpoint in each.creates)
LEVELS = frozenset(endpoint for each in DIALECTS.values() for endpoint in each.levels)
CLIENT_IDS = ("newClientOrderId", "clientAlgoId", "orderLinkId")
"""The parameters of a create that hold the client's id."""
