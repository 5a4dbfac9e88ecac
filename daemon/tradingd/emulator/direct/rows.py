"""The engine's records as the domain has them."""

from __future__ import annotations

from decimal import Decimal

from tradingd.domain.account import RejectKind, VenueOrder, VenuePosition
from tradingd.domain.candles import Candle
from tradingd.domain.ids import ClientOrderId, TradeId, VenueId, VenueOrderId
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import Fill, OrderKind, OrderStatus
from tradingd.domain.records import LedgerRecord
from tradingd.emulator.core import instruments, records
from tradingd.emulator.core.account import Account
from tradingd.emulator.core.records import BUY, Conditional, ConditionalStatus, Order, Position
from tradingd.emulator.core.refusal import Reason

PLAIN, CONDITIONAL = "plain", "conditional"
REFUSALS: dict[Reason, RejectKind] = {
    **{reason: RejectKind.FILTER for reason in Reason if reason.value.startswith(("quantity_", "price_"))},
    Reason.TRIGGER_NOT_POSITIVE: RejectKind.FILTER,
    Reason.NOTIONAL_TOO_SMALL: RejectKind.FILTER,
    Reason.MARKET_BAND: RejectKind.FILTER,
    Reason.MARGIN: RejectKind.MARGIN,
    Reason.LEVERAGE_CAP: RejectKind.MARGIN,
    Reason.REDUCE_ONLY: RejectKind.REDUCE_ONLY,
    Reason.WOULD_TRIGGER: RejectKind.WOULD_TRIGGER,
    Reason.FILL_OR_KILL: RejectKind.NOT_FILLABLE,
    Reason.POST_ONLY: RejectKind.WOULD_NOT_REST,
    Reason.CLOSE_POSITION_EXISTS: RejectKind.DUPLICATE_PROTECTION,
    Reason.ONLY_REDUCE: RejectKind.VENUE_REDUCE_ONLY,
    Reason.NO_OPENING: RejectKind.VENUE_REDUCE_ONLY,
}
"""What a refusal asks us to do next; whatever is not here is OTHER."""
_PLAIN_STATUS: dict[records.Status, OrderStatus] = {
    each: OrderStatus.ACCEPTED if each is records.Status.NEW else OrderStatus(each.value) for each in records.Status
}
_WAITING_STATUS = {
    ConditionalStatus.NEW: OrderStatus.ACCEPTED,
    ConditionalStatus.TRIGGERING: OrderStatus.ACCEPTED,
    ConditionalStatus.TRIGGERED: OrderStatus.TRIGGERED,
    ConditionalStatus.FINISHED: OrderStatus.TRIGGERED,
    ConditionalStatus.CANCELED: OrderStatus.CANCELED,
    ConditionalStatus.EXPIRED: OrderStatus.EXPIRED,
    ConditionalStatus.REJECTED: OrderStatus.REJECTED,
}
_BOOKINGS = {"COMMISSION": "fee", "REALIZED_PNL": "realized_pnl", "FUNDING_FEE": "funding", "TRANSFER": "transfer"}
_CLOSERS = {"adl_autoclose": "auto-deleveraging", "autoclose-": "liquidation", "settlement_autoclose": "settlement"}


def side_of(sign: int) -> Side:
    """+1 or -1."""
    return Side.BUY if sign == BUY else Side.SELL


def client_id(text: str) -> ClientOrderId | None:
    """None for an order without one."""
    return ClientOrderId(text) if text else None


def plain(order: Order, instrument: InstrumentId) -> VenueOrder:
    """An order of the plain book."""
    return VenueOrder(
        instrument=instrument,
        book=PLAIN,
        venue_order_id=VenueOrderId(str(order.order_id)),
        client_order_id=client_id(order.client_order_id),
        status=_PLAIN_STATUS[order.status],
        side=side_of(order.side),
        kind=OrderKind(order.kind.lower()),
        quantity=order.quantity,
        filled_quantity=order.filled,
        average_price=order.average_price or None,
        limit_price=order.price or None,
        trigger_price=order.trigger_price or None,
        reduce_only=order.reduce_only,
        close_position=order.close_position,
        is_child=bool(order.parent_id),
        updated_ms=order.updated_ms,
        raw_type=order.original_kind or order.kind,
    )


def conditional(order: Conditional, instrument: InstrumentId) -> VenueOrder:
    """An order that waits for a price, or has waited."""
    kinds = {"STOP_MARKET": OrderKind.STOP_MARKET, "TAKE_PROFIT_MARKET": OrderKind.TAKE_PROFIT_MARKET}
    return VenueOrder(
        instrument=instrument,
        book=CONDITIONAL,
        venue_order_id=VenueOrderId(str(order.conditional_id)),
        client_order_id=client_id(order.client_order_id),
        status=_WAITING_STATUS[order.status],
        side=side_of(order.side),
        kind=kinds.get(order.kind),
        quantity=None if order.close_position else order.quantity,
        trigger_price=order.trigger_price,
        reduce_only=order.reduce_only,
        close_position=order.close_position,
        child_venue_order_id=VenueOrderId(str(order.child_order_id)) if order.child_order_id else None,
        updated_ms=order.updated_ms,
        raw_type=order.kind,
        reject_reason=order.reason,
    )


def fill(each: records.Fill, instrument: InstrumentId) -> Fill:
    """One execution."""
    reason = next((why for begin, why in _CLOSERS.items() if each.client_order_id.startswith(begin)), "")
    return Fill(
        instrument=instrument,
        trade_id=TradeId(str(each.trade_id)),
        venue_order_id=VenueOrderId(str(each.order_id)),
        client_order_id=client_id(each.client_order_id),
        side=side_of(each.side),
        price=each.price,
        quantity=each.quantity,
        fee=each.fee_usdt,
        fee_currency="USDT",
        realized_pnl=each.realized_usdt,
        maker=each.is_maker,
        time_ms=each.time_ms,
        reason=reason,
    )


def position(held: Position, instrument: InstrumentId, mark: Decimal, account: Account) -> VenuePosition:
    """A position at a mark price."""
    margin = account.margin(held.symbol, mark, (), held)
    return VenuePosition(
        instrument=instrument,
        quantity=held.quantity,
        entry_price=held.entry_price or None,
        mark_price=mark,
        unrealized_pnl=margin.unrealized,
        initial_margin=margin.position_margin,
        leverage=Decimal(account.leverage[held.symbol]),
        isolated=account.isolated[held.symbol],
        updated_ms=held.updated_ms,
    )


def candle(
    each: records.Candle, listed: instruments.Instrument, of: InstrumentId, timeframe: str, closed: bool
) -> Candle:
    """A candle in prices."""
    prices = [listed.price(ticks) for ticks in (each.open, each.high, each.low, each.close)]
    volume = Decimal(f"{each.volume:.8f}").normalize()
    return Candle(of, timeframe, each.open_ms, prices[0], prices[1], prices[2], prices[3], volume, closed=closed)


def rules(listed: instruments.Instrument, of: InstrumentId, account: Account) -> Instrument:
    """The filters of the day."""
    return Instrument(
        id=of,
        market_id=listed.symbol,
        tick_size=listed.tick_size,
        lot_size=listed.lot_size,
        min_quantity=listed.min_quantity,
        max_quantity=listed.max_quantity,
        max_market_quantity=listed.max_market_quantity,
        min_notional=listed.min_notional_usdt,
        max_leverage=Decimal(listed.max_leverage),
        taker_fee_fraction=account.taker_fee,
        maker_fee_fraction=account.maker_fee,
        trading=listed.status == "TRADING",
        highest_buy_fraction=1 + listed.price_band_fraction,
        lowest_sell_fraction=1 - listed.price_band_fraction,
        notional_caps=tuple((bracket.leverage, Decimal(bracket.cap_usdt)) for bracket in listed.brackets),
    )


def booking(
    row: tuple[int, int, str, str, str, int | None], venue: VenueId, instrument: InstrumentId | None
) -> LedgerRecord:
    """One change of the wallet."""
    number, time_ms, _, kind, usdt, _ = row
    word = _BOOKINGS.get(kind, kind.lower())
    return LedgerRecord(venue, word, str(number), instrument, Decimal(usdt), "USDT", time_ms)
