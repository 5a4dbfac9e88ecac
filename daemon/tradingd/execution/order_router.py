"""From a wish to the exact order of one venue: sizes, ticks, lots, kinds; the last place where numbers are rounded."""

from decimal import Decimal

import msgspec

from tradingd.domain.ids import ClientOrderId, Purpose
from tradingd.domain.instruments import Instrument, InstrumentId
from tradingd.domain.intents import CheckedEnter, Denial, DenyReason, Side, TimeInForce
from tradingd.domain.orders import OrderKind, OrderRequest

UNNAMED = ClientOrderId("")
"""The id of a draft: IdempotencyManager names it when it is written ahead."""


class EntryDraft(msgspec.Struct, frozen=True):
    """An entry with exact numbers, and the protection it wants, on the tick."""

    request: OrderRequest
    stop_loss: Decimal | None
    take_profit: Decimal | None
    price: Decimal


class OrderRouter:
    """Builds order requests from the venue's live rules; what cannot be built is denied with its rule."""

    def entry(
        self, intent: CheckedEnter, rules: Instrument, mark_price: Decimal, equity: Decimal | None
    ) -> EntryDraft | Denial:
        """The entry order for `intent` at `mark_price`; quantity is cut down to the lot, never up."""
        limit = None if intent.limit_price is None else rules.round_price(intent.limit_price)
        price = limit if limit is not None else mark_price
        stop = None if intent.stop_loss is None else rules.round_price(intent.stop_loss)
        target = None if intent.take_profit is None else rules.round_price(intent.take_profit)
        for name, level in (("limit_price", limit), ("stop_loss", stop), ("take_profit", target)):
            if level is not None and level <= 0:
                return Denial(DenyReason.INVALID_INTENT, f"{name} is below one tick of {rules.tick_size}")
        wanted = self._wanted_quantity(intent, rules, price, stop, equity)
        if isinstance(wanted, Denial):
            return wanted
        quantity = rules.floor_quantity(wanted)
        if quantity <= 0 or quantity < rules.min_quantity:
            return Denial(
                DenyReason.BELOW_MIN_QUANTITY,
                f"{wanted:f} contracts are below the venue's minimum {max(rules.min_quantity, rules.lot_size)}",
            )
        request = OrderRequest(
            client_order_id=UNNAMED,
            instrument=intent.instrument,
            purpose=Purpose.ENTRY,
            side=intent.side,
            kind=OrderKind.MARKET if limit is None else OrderKind.LIMIT,
            quantity=quantity,
            limit_price=limit,
            time_in_force=None if limit is None else intent.time_in_force,
            post_only=intent.post_only,
        )
        return EntryDraft(request, stop, target, price)

    def _wanted_quantity(
        self, intent: CheckedEnter, rules: Instrument, price: Decimal, stop: Decimal | None, equity: Decimal | None
    ) -> Decimal | Denial:
        if intent.quantity is not None:
            return intent.quantity
        if intent.notional is not None:
            return intent.notional / (price * rules.contract_size)
        if equity is None or equity <= 0:
            return Denial(DenyReason.INSUFFICIENT_MARGIN, "risk sizing needs the equity, which is not known yet")
        if stop is None or intent.risk is None:
            return Denial(DenyReason.STOP_MISSING, "risk sizing needs a stop_loss")
        # the loss at the stop and the fees of both ways together are what may be lost
        loss = abs(price - stop) + (price + stop) * rules.taker_fee_fraction
        if loss == 0:
            return Denial(DenyReason.STOP_WRONG_SIDE, f"stop_loss {stop} is at the entry's price: nothing to size by")
        return equity * intent.risk / (loss * rules.contract_size)

    def exits(self, instrument: InstrumentId, rules: Instrument, quantity: Decimal) -> list[OrderRequest]:
        """Reduce-only market orders that close `quantity` (signed, as held), each within the venue's largest size.

        Raised to the lot size: a position from before the venue made its steps larger is no multiple of them, and the
        venue cuts a reduce-only order down to what is held.
        """
        side = Side.SELL if quantity > 0 else Side.BUY
        rest = rules.ceil_quantity(abs(quantity))
        largest = rules.floor_quantity(rules.max_market_quantity)
        requests: list[OrderRequest] = []
        while rest > 0:
            part = min(rest, largest) if largest > 0 else rest
            requests.append(
                OrderRequest(
                    client_order_id=UNNAMED,
                    instrument=instrument,
                    purpose=Purpose.EXIT,
                    side=side,
                    kind=OrderKind.MARKET,
                    quantity=part,
                    reduce_only=True,
                )
            )
            rest -= part
        return requests

    def protection(
        self,
        instrument: InstrumentId,
        rules: Instrument,
        quantity: Decimal,
        purpose: Purpose,
        trigger_price: Decimal,
        *,
        close_position: bool,
    ) -> OrderRequest:
        """A protective order for the whole position: close-position where the venue has it (no size, follows changes,
        exempt from the minimum notional), else reduce-only for `quantity` (signed, as held)."""
        stop = purpose is not Purpose.TAKE_PROFIT
        return OrderRequest(
            client_order_id=UNNAMED,
            instrument=instrument,
            purpose=purpose,
            side=Side.SELL if quantity > 0 else Side.BUY,
            kind=OrderKind.STOP_MARKET if stop else OrderKind.TAKE_PROFIT_MARKET,
            quantity=None if close_position else rules.ceil_quantity(abs(quantity)),
            trigger_price=rules.round_price(trigger_price),
            reduce_only=not close_position,
            close_position=close_position,
            time_in_force=TimeInForce.GTC,
        )
