"""Conditional orders: a list of their own, which waits for prices and hands plain children to the book."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from tradingd.emulator.core.checks import check_margin, check_status, reducible
from tradingd.emulator.core.filters import ConditionalDraft, check_notional, check_quantity, check_tick
from tradingd.emulator.core.records import WAITING, ZERO, Conditional, ConditionalStatus, Order
from tradingd.emulator.core.refusal import Reason, Refused
from tradingd.emulator.core.trailing import activation_is_ahead, follow, is_back

if TYPE_CHECKING:
    from tradingd.emulator.core.exchange import Exchange

MAX_CONDITIONALS = 200
MARK = "MARK_PRICE"
_NEVER_ABOVE = 1 << 60
_REJECTIONS = {
    Reason.REDUCE_ONLY: "Reduce Only reject",
    Reason.NO_OPENING: "Invalid symbol status for opening position.",
    Reason.ONLY_REDUCE: "only reduceOnly order is allowed",
    Reason.NOT_TRADING: "This symbol is not trading.",
    Reason.CLOSED: "Symbol is closed.",
    Reason.LEVERAGE_CAP: "Exceeded the maximum allowable position at current leverage.",
}
"""What ALGO_UPDATE tells of an order that was refused when it fired; the words are ours where none are published."""


class Triggers:
    """All conditional orders of the account."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.orders: dict[int, Conditional] = {}
        self.waiting: dict[str, dict[int, Conditional]] = {symbol: {} for symbol in exchange.instruments}
        self.max_waiting = MAX_CONDITIONALS
        self.one_close_per_side = True
        self._parents: dict[int, int] = {}
        self._bounds: dict[str, tuple[int, int, int, int]] = {}

    def is_waiting(self, symbol: str) -> bool:
        """Whether a price of the symbol can fire something."""
        return bool(self.waiting[symbol])

    def count_waiting(self) -> int:
        """Conditional orders that have not fired, over the whole account."""
        return sum(len(orders) for orders in self.waiting.values())

    def has_open_id(self, client_order_id: str) -> bool:
        """Whether one that waits carries that client id."""
        return any(
            order.client_order_id == client_order_id for orders in self.waiting.values() for order in orders.values()
        )

    def has_known_id(self, client_order_id: str) -> bool:
        """Whether one that ever was carries that client id."""
        return any(order.client_order_id == client_order_id for order in self.orders.values())

    def submit(self, draft: ConditionalDraft) -> Conditional:
        """Check and accept a conditional order; margin is not asked for before it fires."""
        exchange = self._exchange
        self._check(draft)
        instrument = exchange.instruments[draft.symbol]
        order = Conditional(
            conditional_id=exchange.ids.conditional,
            client_order_id=draft.client_order_id,
            symbol=draft.symbol,
            side=draft.side,
            kind=draft.kind,
            is_take_profit=draft.is_take_profit,
            trigger_price=draft.trigger_price,
            trigger_ticks=instrument.ticks(draft.trigger_price),
            price=draft.price,
            quantity=draft.quantity,
            close_position=draft.close_position,
            reduce_only=draft.reduce_only,
            working_type=draft.working_type,
            time_in_force=draft.time_in_force,
            price_protect=draft.price_protect,
            created_ms=exchange.now_ms,
            updated_ms=exchange.now_ms,
            callback_fraction=draft.callback_fraction,
            activation_ticks=instrument.ticks(draft.activation_price),
        )
        if order.trails:
            if order.activation_ticks and not activation_is_ahead(order, self._price(order)):
                raise Refused(Reason.WOULD_TRIGGER)
            order = follow(order, self._price(order))
        elif self._is_reached(order):
            raise Refused(Reason.WOULD_TRIGGER)
        exchange.ids.conditional += exchange.rng.randrange(1, 6)
        self._store(order)
        return order

    def _check(self, draft: ConditionalDraft) -> None:
        exchange = self._exchange
        instrument = exchange.instruments[draft.symbol]
        check_status(exchange, draft.symbol, draft.reduce_only or draft.close_position)
        if not draft.callback_fraction:
            check_tick(instrument, draft.trigger_price, Reason.TRIGGER_NOT_POSITIVE)
        elif draft.activation_price:
            check_tick(instrument, draft.activation_price, Reason.ACTIVATION_PRICE)
        if draft.kind in ("STOP", "TAKE_PROFIT"):
            check_tick(instrument, draft.price)
        if not draft.close_position:
            check_quantity(instrument, draft.quantity, draft.kind.endswith("MARKET"))
            if not draft.reduce_only:
                price = draft.price or draft.trigger_price or exchange.last_price(draft.symbol)
                check_notional(instrument, draft.quantity, price)
        if exchange.has_open_id(draft.client_order_id):
            raise Refused(Reason.DUPLICATE_ID)
        if self.count_waiting() >= self.max_waiting:
            raise Refused(Reason.TOO_MANY_CONDITIONALS)
        if draft.time_in_force == "GTE_GTC" and not exchange.account.positions[draft.symbol].quantity:
            raise Refused(Reason.NO_POSITION)
        if self.one_close_per_side and draft.close_position and self._has_equal(draft):
            raise Refused(Reason.CLOSE_POSITION_EXISTS)

    def cancel(self, order: Conditional) -> Conditional:
        """Take one back that has not fired."""
        if order.status not in WAITING:
            raise Refused(Reason.UNKNOWN_ORDER)
        return self._change(order, ConditionalStatus.CANCELED)

    def amend(self, order: Conditional, trigger_price: Decimal, quantity: Decimal, price: Decimal) -> Conditional:
        """Change one that has not fired; it keeps its number."""
        instrument = self._exchange.instruments[order.symbol]
        if order.status not in WAITING:
            raise Refused(Reason.UNKNOWN_ORDER)
        if (trigger_price, quantity, price) == (order.trigger_price, order.quantity, order.price):
            raise Refused(Reason.NOTHING_TO_CHANGE)
        check_tick(instrument, trigger_price, Reason.TRIGGER_NOT_POSITIVE)
        if not order.close_position:
            check_quantity(instrument, quantity, order.kind.endswith("MARKET"))
        if price:
            check_tick(instrument, price)
        order = msgspec.structs.replace(
            order,
            trigger_price=trigger_price,
            trigger_ticks=instrument.ticks(trigger_price),
            quantity=quantity,
            price=price,
            updated_ms=self._exchange.now_ms,
        )
        if self._is_reached(order):
            raise Refused(Reason.WOULD_TRIGGER)
        self._store(order)
        return order

    def cancel_all(self, symbol: str, status: ConditionalStatus = ConditionalStatus.CANCELED) -> None:
        """End all of a symbol that wait."""
        for order in list(self.waiting[symbol].values()):
            self._change(order, status)

    def check(self, symbol: str) -> None:
        """Fire what the prices of this moment have reached."""
        if not self.waiting[symbol]:
            return
        feed, now_ms = self._exchange.feeds[symbol], self._exchange.now_ms
        last, mark = feed.last(now_ms), feed.mark(now_ms)
        last_low, last_high, mark_low, mark_high = self._bounds[symbol]
        if last_low < last < last_high and mark_low < mark < mark_high:
            return
        for waiting in list(self.waiting[symbol].values()):
            order = self._follow(waiting) if waiting.trails else waiting
            if self._is_reached(order):
                self.fire(self._change(order, ConditionalStatus.TRIGGERING))

    def fire(self, order: Conditional) -> None:
        """Hand the child to the book a moment after the trigger, as the real engine does."""
        delay_ms = self._exchange.rng.randrange(20, 200)
        self._exchange.schedule(self._exchange.now_ms + delay_ms, lambda: self._place_child(order))

    def position_closed(self, symbol: str, leftovers_stay: bool) -> None:
        """The position is gone: orders tied to it expire, all others stay."""
        for order in list(self.waiting[symbol].values()):
            if order.expires_with_position or (order.close_position and not leftovers_stay):
                self._change(order, ConditionalStatus.EXPIRED)

    def expire_all(self, symbol: str) -> int:
        """The venue ends all that wait, for reasons of its own; gives how many."""
        waiting = list(self.waiting[symbol].values())
        for order in waiting:
            self._change(order, ConditionalStatus.EXPIRED)
        return len(waiting)

    def child_changed(self, child: Order) -> None:
        """A child ended: its conditional order is finished."""
        if child.is_open or child.order_id not in self._parents:
            return
        order = self.orders[self._parents.pop(child.order_id)]
        self._change(
            order, ConditionalStatus.FINISHED, child_average_price=child.average_price, child_filled=child.filled
        )

    def restore(self, order: Conditional, child: Order | None) -> None:
        """Take one over from the ledger."""
        self.orders[order.conditional_id] = order
        self._index(order)
        if order.status is ConditionalStatus.TRIGGERED and child is not None and child.is_open:
            self._parents[child.order_id] = order.conditional_id
        if order.status is ConditionalStatus.TRIGGERING:
            self.fire(order)

    def _place_child(self, order: Conditional) -> None:
        exchange = self._exchange
        is_market = order.kind.endswith("MARKET")
        quantity = order.quantity
        try:
            if order.close_position or order.reduce_only:
                most = reducible(exchange, order.symbol, order.side)
                quantity = most if order.close_position else min(quantity, most)
            else:
                check_status(exchange, order.symbol, only_reduces=False)
                check_margin(exchange, order.symbol, order.side, quantity, order.price)
        except Refused as refusal:
            self._reject(order, refusal.reason)
            return
        child = Order(
            order_id=exchange.ids.order,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            kind="MARKET" if is_market else "LIMIT",
            quantity=quantity,
            price=ZERO if is_market else order.price,
            time_in_force=order.time_in_force if order.time_in_force != "GTE_GTC" else "GTC",
            reduce_only=order.reduce_only or order.close_position,
            created_ms=exchange.now_ms,
            updated_ms=exchange.now_ms,
            original_kind=order.kind,
            trigger_price=order.trigger_price,
            working_type=order.working_type,
            close_position=order.close_position,
            parent_id=order.conditional_id,
        )
        self._parents[child.order_id] = order.conditional_id
        self._change(order, ConditionalStatus.TRIGGERED, child_order_id=child.order_id, triggered_ms=exchange.now_ms)
        exchange.accept(child)

    def _reject(self, order: Conditional, reason: Reason) -> None:
        if order.close_position:
            self._change(order, ConditionalStatus.EXPIRED)
            return
        self._change(order, ConditionalStatus.REJECTED, reason=_REJECTIONS.get(reason, "Margin is insufficient."))

    def _has_equal(self, draft: ConditionalDraft) -> bool:
        return any(
            order.close_position and order.side == draft.side and order.is_take_profit == draft.is_take_profit
            for order in self.waiting[draft.symbol].values()
        )

    def _price(self, order: Conditional) -> int:
        feed, now_ms = self._exchange.feeds[order.symbol], self._exchange.now_ms
        return feed.mark(now_ms) if order.working_type == MARK else feed.last(now_ms)

    def _follow(self, order: Conditional) -> Conditional:
        """Move the extreme of a trailing order; nobody is told of that, but a restart must know it."""
        followed = follow(order, self._price(order))
        if followed is not order:
            self.orders[order.conditional_id] = self.waiting[order.symbol][order.conditional_id] = followed
            self._exchange.ledger.put_conditional(followed)
        return followed

    def _is_reached(self, order: Conditional) -> bool:
        price = self._price(order)
        if order.trails:
            return is_back(order, price)
        return price >= order.trigger_ticks if order.fires_above else price <= order.trigger_ticks

    def _change(
        self,
        order: Conditional,
        status: ConditionalStatus,
        child_order_id: int | None = None,
        triggered_ms: int | None = None,
        reason: str = "",
        child_average_price: Decimal = ZERO,
        child_filled: Decimal = ZERO,
    ) -> Conditional:
        order = msgspec.structs.replace(
            order,
            status=status,
            updated_ms=self._exchange.now_ms,
            child_order_id=order.child_order_id if child_order_id is None else child_order_id,
            triggered_ms=order.triggered_ms if triggered_ms is None else triggered_ms,
            reason=reason,
            child_average_price=child_average_price,
            child_filled=child_filled,
        )
        self._store(order)
        return order

    def _store(self, order: Conditional) -> None:
        self.orders[order.conditional_id] = order
        self._index(order)
        self._exchange.ledger.put_conditional(order)
        self._exchange.listener.on_conditional(order, self._exchange.now_ms)

    def _index(self, order: Conditional) -> None:
        """Keep the list of waiting orders, and between which prices nothing of it can fire."""
        waiting = self.waiting[order.symbol]
        if order.status in WAITING:
            waiting[order.conditional_id] = order
        elif waiting.pop(order.conditional_id, None) is None:
            return
        bounds = [-1, _NEVER_ABOVE, -1, _NEVER_ABOVE]
        for each in waiting.values():
            if each.trails:
                bounds = [_NEVER_ABOVE, -1, _NEVER_ABOVE, -1]  # it moves with every price
                break
            offset = 2 if each.working_type == MARK else 0
            if each.fires_above:
                bounds[offset + 1] = min(bounds[offset + 1], each.trigger_ticks)
            else:
                bounds[offset] = max(bounds[offset], each.trigger_ticks)
        self._bounds[order.symbol] = (bounds[0], bounds[1], bounds[2], bounds[3])
