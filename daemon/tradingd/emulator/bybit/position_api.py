"""TP and SL as state of a position: what trading-stop sets, and the orders that the venue makes of it."""

from __future__ import annotations

from decimal import Decimal

from tradingd.emulator.bybit.desk import Attached, Desk
from tradingd.emulator.bybit.errors import VenueError, from_refusal
from tradingd.emulator.bybit.order_api import check_position_idx, working_type
from tradingd.emulator.bybit.params import Params
from tradingd.emulator.bybit.payloads import OF_POSITION, Json
from tradingd.emulator.core.filters import ConditionalDraft
from tradingd.emulator.core.records import ZERO, Conditional, Order
from tradingd.emulator.core.refusal import Reason, Refused

MAX_PARTIAL = 20


def trading_stop(desk: Desk, params: Params) -> Json:
    """POST /v5/position/trading-stop: sets what is named, 0 takes it away, and what is as it was is `not modified`."""
    symbol = desk.instrument(params).symbol
    check_position_idx(desk, params)
    if params.has("trailingStop") or params.has("activePrice"):
        raise VenueError(10001, "the built-in venue has no trailing stop of the position")
    if not desk.exchange.account.positions[symbol].quantity:
        raise from_refusal(Refused(Reason.NO_POSITION))
    levels = [
        (is_take_profit, params.number(name)) for is_take_profit, name in ((True, "takeProfit"), (False, "stopLoss"))
    ]
    named = [(is_take_profit, level) for is_take_profit, level in levels if level is not None]
    if not named:
        raise VenueError(10001, "params error: takeProfit or stopLoss is required")
    if params.choice("tpslMode", "Full", ("Full", "Partial")) == "Partial":
        _add_partial(desk, params, symbol, named)
        return {}
    by = {True: working_type(params, "tpTriggerBy"), False: working_type(params, "slTriggerBy")}
    drafts = [(is_take_profit, level, by[is_take_profit]) for is_take_profit, level in named]
    changed = [draft for draft in drafts if not _is_set(desk, symbol, *draft)]
    if not changed:
        raise VenueError(34040)
    for is_take_profit, level, _ in changed:
        _check_level(desk, symbol, is_take_profit, level)
    for each in changed:
        _set_full(desk, symbol, *each)
    return {}


def full_level(desk: Desk, symbol: str, is_take_profit: bool) -> Conditional | None:
    """The order that stands for TP or SL of the whole position."""
    for each in desk.exchange.triggers.waiting[symbol].values():
        if each.time_in_force == OF_POSITION and each.close_position and each.is_take_profit == is_take_profit:
            return each
    return None


def _is_set(desk: Desk, symbol: str, is_take_profit: bool, level: Decimal, by: str) -> bool:
    known = full_level(desk, symbol, is_take_profit)
    if known is None:
        return not level
    return known.trigger_price == level and known.working_type == by


def _check_level(desk: Desk, symbol: str, is_take_profit: bool, level: Decimal) -> None:
    """A level lies on its own side of the price, or it is refused at once."""
    if not level:
        return
    held, base = desk.exchange.account.positions[symbol].quantity, desk.exchange.last_price(symbol)
    sign = (1 if held > 0 else -1) * (1 if is_take_profit else -1)
    if level < 0 or level % desk.exchange.instruments[symbol].tick_size:
        raise VenueError(10001, f"{'TakeProfit' if is_take_profit else 'StopLoss'} price invalid")
    if (level - base) * sign <= 0:
        name, word = ("TakeProfit" if is_take_profit else "StopLoss"), ("higher" if sign > 0 else "lower")
        raise VenueError(
            10001,
            f"{name}:{level:f} set for {'Buy' if held > 0 else 'Sell'} position should {word} "
            f"than base_price:{base:f}??LastPrice",
        )


def _set_full(desk: Desk, symbol: str, is_take_profit: bool, level: Decimal, by: str) -> None:
    """The order that there is moves and keeps its id; one that is not needed any more ends."""
    triggers, known = desk.exchange.triggers, full_level(desk, symbol, is_take_profit)
    try:
        if known is not None and level and known.working_type == by:
            triggers.amend(known, level, known.quantity, known.price)
            return
        if known is not None:
            triggers.cancel(known)
        if level:
            triggers.submit(_draft(desk, symbol, is_take_profit, level, by))
    except Refused as refusal:
        raise _level_error(refusal) from refusal


def _level_error(refusal: Refused) -> VenueError:
    if refusal.reason is Reason.WOULD_TRIGGER:
        return VenueError(10001, "the level is on the wrong side of base_price")
    return from_refusal(refusal)


def _draft(
    desk: Desk, symbol: str, is_take_profit: bool, level: Decimal, by: str, size: Decimal = ZERO, limit: Decimal = ZERO
) -> ConditionalDraft:
    held = desk.exchange.account.positions[symbol].quantity
    return ConditionalDraft(
        symbol=symbol,
        side=-1 if held > 0 else 1,
        kind=("TAKE_PROFIT" if is_take_profit else "STOP") + ("" if limit else "_MARKET"),
        is_take_profit=is_take_profit,
        trigger_price=level,
        quantity=size,
        price=limit,
        close_position=not size,
        reduce_only=bool(size),
        working_type=by,
        time_in_force=OF_POSITION,
    )


def _add_partial(desk: Desk, params: Params, symbol: str, named: list[tuple[bool, Decimal]]) -> None:
    """Each call adds; two levels of one call end each other."""
    sizes = {True: params.number("tpSize") or ZERO, False: params.number("slSize") or ZERO}
    if len(named) == 2 and sizes[True] != sizes[False]:
        raise VenueError(10001, "tpSize must equal slSize")
    waiting = desk.exchange.triggers.waiting[symbol].values()
    there = sum(1 for each in waiting if each.time_in_force == OF_POSITION and not each.close_position)
    if there + len(named) > MAX_PARTIAL:
        raise VenueError(110061, "The number of TP/SL orders exceeds the limit")
    drafts = []
    for is_take_profit, level in named:
        side = "tp" if is_take_profit else "sl"
        kind = params.choice(f"{side}OrderType", "Market", ("Market", "Limit"))
        limit = params.need_number(f"{side}LimitPrice") if kind == "Limit" else ZERO
        if sizes[is_take_profit] <= 0:
            raise VenueError(10001, f"{side}Size invalid")
        _check_level(desk, symbol, is_take_profit, level)
        drafts.append(
            _draft(
                desk,
                symbol,
                is_take_profit,
                level,
                working_type(params, f"{side}TriggerBy"),
                sizes[is_take_profit],
                limit,
            )
        )
    orders: list[Conditional] = []
    try:
        for draft in drafts:
            orders.append(desk.exchange.triggers.submit(draft))
    except Refused as refusal:
        for order in orders:
            desk.exchange.triggers.cancel(order)
        raise _level_error(refusal) from refusal
    if len(orders) == 2:
        pair(desk, orders[0].conditional_id, orders[1].conditional_id)


def pair(desk: Desk, one: int, other: int) -> None:
    """These two end each other, also after a restart."""
    desk.pairs[one], desk.pairs[other] = other, one
    desk.ledger.set_meta("tpsl_pairs", " ".join(f"{first}:{second}" for first, second in desk.pairs.items()))


def restore_pairs(desk: Desk) -> None:
    """Take the pairs over from the ledger."""
    for couple in (desk.ledger.meta("tpsl_pairs") or "").split():
        one, _, other = couple.partition(":")
        desk.pairs[int(one)] = int(other)


def end_partner(desk: Desk, fired: Conditional) -> None:
    """One of a pair has fired: the other ends."""
    partner = desk.exchange.triggers.orders.get(desk.pairs.get(fired.conditional_id, 0))
    if partner is not None and partner.conditional_id in desk.exchange.triggers.waiting[partner.symbol]:
        desk.oco_ended.add(partner.conditional_id)
        desk.exchange.triggers.cancel(partner)


def apply_attached(desk: Desk, order: Order) -> None:
    """The order has opened a position: what it brought becomes the position's, where the price still allows it."""
    attached: Attached | None = desk.attached.pop(order.order_id, None)
    desk.keep_attached()
    held = desk.exchange.account.positions[order.symbol].quantity
    if attached is None or held * order.side <= 0:
        return
    words = {"LastPrice": "CONTRACT_PRICE"}
    for is_take_profit, level, by in (
        (True, attached.take_profit, attached.take_profit_by),
        (False, attached.stop_loss, attached.stop_loss_by),
    ):
        if not level:
            continue
        known = full_level(desk, order.symbol, is_take_profit)
        if known is not None:
            desk.exchange.triggers.cancel(known)
        try:
            draft = _draft(desk, order.symbol, is_take_profit, level, words.get(by, "MARK_PRICE"))
            desk.exchange.triggers.submit(draft)
        except Refused:
            continue  # the price has left the level behind; the venue drops it
