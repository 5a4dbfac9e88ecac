"""Deterministic checks that mirror the venue's rules and the user's limits, before anything leaves (P6)."""

from collections.abc import Callable
from decimal import Decimal

import msgspec

from tradingd.domain.account import AccountSnapshot
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import Instrument
from tradingd.domain.intents import Denial, DenyReason, Side
from tradingd.domain.numbers import ZERO, is_multiple
from tradingd.domain.orders import OrderKind, OrderRequest
from tradingd.execution.limits import Limits, VenuePlan
from tradingd.execution.loss_limits import LossLimits
from tradingd.execution.order_router import EntryDraft
from tradingd.execution.state import TradingState
from tradingd.ports import Approved

MARKET_HEADROOM_FRACTION = Decimal("0.01")
"""A market entry may be valued by the venue at a mark price that moved since: leave 1 % to its minimum notional."""
CONDITIONAL_ORDERS_EACH = 3
"""A position may have a stop, a take profit, and while a stop is replaced a bridge."""


class EntryView(msgspec.Struct, frozen=True):
    """What the entry checks look at beside the order itself."""

    rules: Instrument
    mark_price: Decimal
    account: AccountSnapshot
    plan: VenuePlan
    conditional_orders: int | None = 200


class RiskGuard:
    """Lets an order pass as `Approved`, or denies it with the rule and the numbers. `losses` outlive a run."""

    def __init__(self, state: TradingState, limits: Limits, now_ms: Callable[[VenueId], int]) -> None:
        """`now_ms` tells the time of a venue."""
        self._state = state
        self._limits = limits
        self.losses = LossLimits(state, limits, now_ms)

    # --- every order ----------------------------------------------------------------------------------------------

    def check_filters(self, request: OrderRequest, rules: Instrument) -> Denial | None:
        """The venue's filters that hold for every order. The minimum notional is not one of them: reduce-only and
        close-position orders are exempt by the venue's own text, and checking it would leave a rest open."""
        for name, price in (("limit_price", request.limit_price), ("trigger_price", request.trigger_price)):
            if price is not None and (price <= 0 or not is_multiple(price, rules.tick_size)):
                return Denial(DenyReason.INVALID_INTENT, f"{name} {price} is not on the tick {rules.tick_size}")
            if price is not None and not rules.min_price <= price <= (rules.max_price or price):
                why = f"{name} {price}; the venue allows {rules.min_price} to {rules.max_price}"
                return Denial(DenyReason.PRICE_BAND, why)
        if request.quantity is None:
            return None if request.close_position else Denial(DenyReason.INVALID_INTENT, "an order without a quantity")
        if request.quantity <= 0 or not is_multiple(request.quantity, rules.lot_size):
            return Denial(
                DenyReason.INVALID_INTENT, f"quantity {request.quantity} is not a multiple of the lot {rules.lot_size}"
            )
        largest = rules.max_quantity if request.kind is OrderKind.LIMIT else rules.max_market_quantity
        if largest > 0 and request.quantity > largest:
            return Denial(DenyReason.ABOVE_MAX_QUANTITY, f"{request.quantity} contracts; the venue allows {largest}")
        return None

    def approve_reducing(self, request: OrderRequest, rules: Instrument) -> Approved | Denial:
        """Pass an exit or a protective order: only what the venue itself would refuse is denied (P6, P9)."""
        if not (request.reduce_only or request.close_position):
            return Denial(DenyReason.INVALID_INTENT, "an exit or a protective order must be reduce-only")
        denial = self.check_filters(request, rules)
        return denial if denial is not None else Approved(request, ("filters", "reduces"))

    # --- entries --------------------------------------------------------------------------------------------------

    def approve_entry(self, draft: EntryDraft, view: EntryView) -> Approved | Denial:
        """Pass an entry whose size, price, stop, exposure and margin are within every rule."""
        checks = (
            ("filters", self.check_filters(draft.request, view.rules)),
            ("trading", self._check_trading(view)),
            ("min_notional", self._check_min_notional(draft, view)),
            ("max_notional", self._check_max_notional(draft, view)),
            ("protection", self._check_protection(draft, view)),
            ("price_band", self._check_price_band(draft, view)),
            ("open_positions", self._check_open_positions(draft)),
            ("conditional_orders", self._check_conditional_orders(draft, view)),
            ("leverage", self._check_leverage(view)),
            ("daily_loss", self.losses.check_day(draft.request.instrument.venue)),
            ("drawdown", self.losses.check_drawdown(draft.request.instrument.venue)),
            ("margin", self._check_margin(draft, view)),
        )
        for _, denial in checks:
            if denial is not None:
                return denial
        return Approved(draft.request, tuple(name for name, _ in checks))

    def _check_trading(self, view: EntryView) -> Denial | None:
        if view.rules.trading:
            return None
        return Denial(DenyReason.REDUCE_ONLY_MODE, f"{view.rules.id} is not open for new positions at the venue")

    def _check_min_notional(self, draft: EntryDraft, view: EntryView) -> Denial | None:
        market = draft.request.limit_price is None
        least = view.rules.min_notional * (1 + MARKET_HEADROOM_FRACTION if market else 1)
        notional = view.rules.notional(draft.price, draft.request.quantity or ZERO)
        if notional >= least:
            return None
        return Denial(DenyReason.BELOW_MIN_NOTIONAL, f"{notional:.2f} USDT; the venue's minimum is {least:.2f}")

    def _check_max_notional(self, draft: EntryDraft, view: EntryView) -> Denial | None:
        most, cap = self._limits.max_position_notional_usdt, view.rules.max_notional(view.plan.leverage)
        notional = view.rules.notional(draft.price, draft.request.quantity or ZERO)
        if notional > most:
            return Denial(
                DenyReason.ABOVE_MAX_NOTIONAL, f"{notional:.2f} USDT; risk.max_position_notional_usdt allows {most}"
            )
        room = notional * (1 + MARKET_HEADROOM_FRACTION if draft.request.limit_price is None else 1)
        if cap is None or room <= cap:
            return None
        return Denial(
            DenyReason.ABOVE_MAX_NOTIONAL,
            f"{notional:.2f} USDT; at leverage {view.plan.leverage} the venue allows {cap:f}",
        )

    def _check_protection(self, draft: EntryDraft, view: EntryView) -> Denial | None:
        """The stop must be there and on the losing side of the mark price, or it would fire at once (-2021)."""
        buy = draft.request.side is Side.BUY
        mark, stop, target = view.mark_price, draft.stop_loss, draft.take_profit
        if stop is None and self._limits.require_stop:
            return Denial(DenyReason.STOP_MISSING, "risk.require_stop is true and the entry has no stop_loss")
        worst = min(mark, draft.price) if buy else max(mark, draft.price)
        best = max(mark, draft.price) if buy else min(mark, draft.price)
        if stop is not None and ((stop >= worst) if buy else (stop <= worst)):
            return Denial(
                DenyReason.STOP_WRONG_SIDE, f"stop_loss {stop} against mark price {mark}, entry {draft.price}"
            )
        if target is not None and ((target <= best) if buy else (target >= best)):
            return Denial(
                DenyReason.TAKE_PROFIT_WRONG_SIDE,
                f"take_profit {target} against mark price {mark}, entry {draft.price}",
            )
        return None

    def _check_price_band(self, draft: EntryDraft, view: EntryView) -> Denial | None:
        limit = draft.request.limit_price
        if limit is None:
            return None
        highest, lowest = view.rules.highest_buy_fraction, view.rules.lowest_sell_fraction
        if draft.request.side is Side.BUY and highest is not None and limit > view.mark_price * highest:
            why = f"limit_price {limit}; the venue allows at most {highest} of the mark price {view.mark_price}"
            return Denial(DenyReason.PRICE_BAND, why)
        if draft.request.side is Side.SELL and lowest is not None and limit < view.mark_price * lowest:
            why = f"limit_price {limit}; the venue allows at least {lowest} of the mark price {view.mark_price}"
            return Denial(DenyReason.PRICE_BAND, why)
        off = abs(limit - view.mark_price) / view.mark_price
        if off <= self._limits.price_band_fraction:
            return None
        return Denial(
            DenyReason.PRICE_BAND, f"limit_price {limit} is {off:.2%} from {view.mark_price}; risk.price_band_fraction"
        )

    def _check_open_positions(self, draft: EntryDraft) -> Denial | None:
        busy = {
            position.instrument
            for position in self._state.open_positions()
            if position.strategy is not None or position.instrument in self._state.owners
        }
        busy |= {order.instrument for order in self._state.entries()}
        busy.discard(draft.request.instrument)
        most = self._limits.max_open_positions
        if len(busy) < most:
            return None
        return Denial(DenyReason.TOO_MANY_POSITIONS, f"{len(busy)} open; risk.max_open_positions allows {most}")

    def _check_conditional_orders(self, draft: EntryDraft, view: EntryView) -> Denial | None:
        """The venue has room for the stop, the take profit and the bridge between two stops of every position."""
        if view.conditional_orders is None:
            return None
        venue, mine = draft.request.instrument.venue, draft.request.instrument
        held = {position.instrument for position in self._state.open_positions(venue)}
        held |= {order.instrument for order in self._state.entries() if order.instrument.venue == venue}
        wanted = CONDITIONAL_ORDERS_EACH * (len(held - {mine}) + 1)
        if wanted <= view.conditional_orders:
            return None
        return Denial(
            DenyReason.NOT_PROTECTABLE,
            f"{wanted} conditional orders for {len(held - {mine}) + 1} positions; the venue allows "
            f"{view.conditional_orders} on the account",
        )

    def _check_leverage(self, view: EntryView) -> Denial | None:
        allowed = Decimal(self._limits.max_leverage)
        if view.rules.max_leverage is not None:
            allowed = min(allowed, view.rules.max_leverage)
        if view.plan.leverage <= allowed:
            return None
        return Denial(DenyReason.LEVERAGE, f"leverage {view.plan.leverage}; allowed here: {allowed}")

    def _check_margin(self, draft: EntryDraft, view: EntryView) -> Denial | None:
        """Available margin covers this entry, and every entry the reading cannot know of yet, as if filled (P17)."""
        available = view.account.balance.available
        if available is None:
            return Denial(DenyReason.INSUFFICIENT_MARGIN, "the venue's available margin is not known yet")
        quantity = draft.request.quantity or ZERO
        need = self._need(view.rules, view.plan, draft.price, quantity)
        # an entry at a worse price than the mark opens with a loss, and the venue wants it covered at once
        worse = max(ZERO, (draft.price - view.mark_price) * draft.request.side.sign)
        need += view.rules.notional(worse, quantity)
        promised = ZERO
        for order in self._state.entries():
            rules = self._state.instruments.get(order.instrument)
            if order.instrument.venue != view.rules.id.venue or rules is None:
                continue
            if order.status.is_unknown or order.signed_ms >= view.account.requested_ms:
                price = order.request.limit_price or order.reference_price or view.mark_price
                promised += self._need(rules, view.plan, price, order.open_quantity)
        if need + promised <= available:
            return None
        return Denial(
            DenyReason.INSUFFICIENT_MARGIN,
            f"needs {need:.2f} USDT, {promised:.2f} promised to other entries, {available:.2f} available",
        )

    @staticmethod
    def _need(rules: Instrument, plan: VenuePlan, price: Decimal, quantity: Decimal) -> Decimal:
        notional = rules.notional(price, quantity)
        return notional / plan.leverage + notional * rules.taker_fee_fraction * 2
