"""Looking at orders and executions: what is open, what was, and a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TypeVar

from tradingd.emulator.bybit.desk import Desk
from tradingd.emulator.bybit.errors import VenueError, invalid
from tradingd.emulator.bybit.lookups import (
    Entity,
    is_open,
    matches_filter,
    order_filter,
    parent_of,
    row_of,
    seen,
)
from tradingd.emulator.bybit.params import Params
from tradingd.emulator.bybit.payloads import Json, fill_row, number_of, public_number
from tradingd.emulator.core.records import ZERO, Fill

T = TypeVar("T")

UNFILLED_KEPT_MS = 86_400_000


def realtime(desk: Desk, params: Params) -> Json:
    """GET /v5/order/realtime: what is open; with an id, or openOnly=1, also the last 500 that are not."""
    wanted, by_id = order_filter(params), params.has("orderId") or params.has("orderLinkId")
    symbols = _symbols(desk, params, needs_one=not by_id)
    if by_id:
        found = _by_id(desk, params)
        entities = [found] if found is not None and (is_open(found) or public_number(found) in desk.recent) else []
    elif params.text("openOnly") in ("1", "2"):
        entities = [
            entity for number in desk.recent if (entity := seen(desk, number)) is not None and not is_open(entity)
        ]
    else:
        entities = _open(desk)
    rows = [each for each in entities if each.symbol in symbols and matches_filter(desk, each, wanted)]
    return _order_page(desk, params, rows)


def history(desk: Desk, params: Params) -> Json:
    """GET /v5/order/history: orders that ended, seven days at a time; they come here later than they end,
    and go after a day where nothing was filled."""
    params.check_category()
    wanted, status = order_filter(params), params.text("orderStatus")
    symbols = _symbols(desk, params, needs_one=False)
    start_ms, end_ms = params.span(desk.now_ms)
    number = _number(desk, params)
    rows: list[Entity] = []
    for key in desk.archive if number is None else (number,):
        entity = desk.archive[key].at(desk.views.now_ms) if key in desk.archive else None
        if entity is None or entity.symbol not in symbols or not matches_filter(desk, entity, wanted):
            continue
        if _is_forgotten(desk, entity):
            continue
        if (number is not None or start_ms <= entity.created_ms <= end_ms) and (
            status is None or row_of(desk, entity)["orderStatus"] == status
        ):
            rows.append(entity)
    return _order_page(desk, params, rows)


def _is_forgotten(desk: Desk, entity: Entity) -> bool:
    """One that ended without a fill is shown for a day."""
    return entity.updated_ms < desk.views.now_ms - UNFILLED_KEPT_MS and row_of(desk, entity)["cumExecQty"] in ("0", "")


def _number(desk: Desk, params: Params) -> int | None:
    """The public number that an id names, -1 for one that names nothing, None without id."""
    order_id, link_id = params.text("orderId"), params.text("orderLinkId")
    if order_id is not None:
        number = number_of(order_id)
        return -1 if number is None else number
    return None if link_id is None else desk.link_ids.get(link_id, -1)


def _by_id(desk: Desk, params: Params) -> Entity | None:
    number = _number(desk, params)
    return None if number is None else seen(desk, number)


def _open(desk: Desk) -> list[Entity]:
    orders = desk.views.open_orders(None)
    fired = {order.parent_id for order in orders}
    waiting = [each for each in desk.views.open_conditionals(None) if each.conditional_id not in fired]
    return [*orders, *waiting]


def _symbols(desk: Desk, params: Params, needs_one: bool) -> list[str]:
    params.check_category()
    symbol, base = params.text("symbol"), params.text("baseCoin")
    if symbol is not None:
        return [desk.named(symbol).symbol]
    settle = params.text("settleCoin")
    if needs_one and base is None and settle is None:
        raise VenueError(10001, "params error: symbol, settleCoin or baseCoin is required")
    if settle not in (None, "USDT"):
        return []
    return [each for each in desk.exchange.feeds if base in (None, desk.exchange.instruments[each].base)]


def _order_page(desk: Desk, params: Params, entities: Iterable[Entity]) -> Json:
    rows, cursor = paged(params, entities, lambda each: (each.created_ms, public_number(each)), 20, 50)
    return {"category": "linear", "list": [row_of(desk, each) for each in rows], "nextPageCursor": cursor}


def paged(
    params: Params, rows: Iterable[T], key: Callable[[T], tuple[int, int]], default: int, most: int
) -> tuple[list[T], str]:
    """Newest first; a page that has rows has a cursor, also the last one."""
    ordered = sorted(rows, key=key, reverse=True)
    cursor = params.text("cursor")
    if cursor is not None:
        try:
            time_ms, number = (int(part) for part in cursor.replace("%3A", ":").split(":"))
        except ValueError:
            raise invalid("cursor") from None
        ordered = [row for row in ordered if key(row) < (time_ms, number)]
    page = ordered[: params.limit(default, most)]
    return page, "{}:{}".format(*key(page[-1])) if page else ""


def executions(desk: Desk, params: Params) -> Json:
    """GET /v5/execution/list: seven days at a time, 50 on a page and 100 at most."""
    symbols = _symbols(desk, params, needs_one=False)
    start_ms, end_ms = params.span(desk.now_ms)
    number, kind = _number(desk, params), params.text("execType")
    found = [row for row in desk.funding if row["symbol"] in symbols]
    found += [execution_row(desk, fill) for symbol in symbols for fill in desk.views.fills(symbol)]
    rows = [
        row
        for row in found
        if start_ms <= int(row["execTime"]) <= end_ms
        and kind in (None, row["execType"])
        and (number is None or number_of(row["orderId"]) == number)
    ]
    page, cursor = paged(params, rows, lambda row: (int(row["execTime"]), row["seq"]), 50, 100)
    return {"category": "linear", "list": page, "nextPageCursor": cursor}


def execution_row(desk: Desk, fill: Fill, mark: Decimal = ZERO) -> Json:
    """An execution with what belongs to its order; the mark price is known only at its moment."""
    exchange = desk.exchange
    order = exchange.orders.get(fill.order_id)
    rate = exchange.account.maker_fee if fill.is_maker else exchange.account.taker_fee
    return fill_row(
        fill,
        exchange.instruments[fill.symbol],
        order,
        parent_of(desk, order) if order else None,
        desk.closed.get(fill.trade_id, ZERO),
        rate,
        mark,
    )
