"""A position is the sum of its fills: checked against the same arithmetic in exact fractions."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tradingd.domain.ids import StrategyId, TradeId, VenueId, VenueOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import Fill
from tradingd.domain.positions import Position, apply_fill

BTC = InstrumentId(VenueId("binance"), "BTC/USDT:USDT")
TREND = StrategyId("trend")

LOTS = st.integers(1, 5_000).map(lambda lots: Decimal(lots).scaleb(-3))
PRICES = st.integers(1, 10_000_000).map(lambda ticks: Decimal(ticks).scaleb(-1))
SIZES = st.sampled_from([Decimal(1), Decimal("0.01"), Decimal(10)])
TIMES = st.integers(1, 1_000)
STEPS = st.lists(st.tuples(st.sampled_from(list(Side)), PRICES, LOTS, TIMES), max_size=25)


def fill(number: int, side: Side, price: Decimal, quantity: Decimal, time_ms: int) -> Fill:
    return Fill(
        BTC,
        TradeId(str(number)),
        VenueOrderId("1"),
        None,
        side,
        price,
        quantity,
        Decimal(0),
        "USDT",
        None,
        False,
        time_ms,
    )


class Reference:
    """The position kept as a list of exact signed pieces of one direction, averaged when asked."""

    def __init__(self) -> None:
        self.quantity = Fraction(0)
        self.cost = Fraction(0)  # of what is held, signed like the quantity

    def take(self, side: Side, price: Decimal, quantity: Decimal) -> Fraction:
        """Book one fill; the realised profit per unit of contract size."""
        change = Fraction(quantity) * side.sign
        realized = Fraction(0)
        if self.quantity * change < 0:
            closing = min(abs(self.quantity), abs(change)) * (1 if self.quantity > 0 else -1)
            entry = self.cost / self.quantity
            realized = (Fraction(price) - entry) * closing
            self.quantity -= closing
            self.cost -= entry * closing
            change += closing
        self.quantity += change
        self.cost += change * Fraction(price)
        return realized


def close_to(number: Decimal, exact: Fraction) -> bool:
    return abs(Fraction(number) - exact) <= Fraction(1, 10**12) * (1 + abs(exact))


@given(STEPS, SIZES)
def test_quantity_entry_price_and_profit_equal_those_of_exact_fractions(steps, contract_size):
    position, reference = Position(BTC), Reference()
    for number, (side, price, quantity, time_ms) in enumerate(steps):
        change = apply_fill(position, fill(number, side, price, quantity, time_ms), contract_size, TREND)
        realized = reference.take(side, price, quantity)
        position = change.position
        assert Fraction(position.quantity) == reference.quantity
        assert close_to(change.realized_pnl, realized * Fraction(contract_size))
        if reference.quantity:
            assert position.entry_price is not None
            assert close_to(position.entry_price, reference.cost / reference.quantity)


@given(STEPS)
def test_the_quantity_is_the_signed_sum_and_each_round_trip_opens_and_closes_once(steps):
    position = Position(BTC)
    opened = closed = 0
    for number, (side, price, quantity, time_ms) in enumerate(steps):
        before = position
        change = apply_fill(position, fill(number, side, price, quantity, time_ms), strategy=TREND)
        position = change.position
        opened, closed = opened + change.opened, closed + change.closed
        assert position.quantity == before.quantity + quantity * side.sign
        assert change.flipped == (before.quantity * position.quantity < 0)
        assert position.is_flat == (position.entry_price is None)
        assert position.is_flat == (position.strategy is None)
        assert (position.opened_ms is None) == position.is_flat
        assert position.updated_ms >= max(before.updated_ms, time_ms)
        assert opened - closed == (0 if position.is_flat else 1)


@given(STEPS, PRICES)
def test_realised_and_unrealised_profit_together_are_what_cash_and_holding_are_worth(steps, mark):
    position, realized, cash = Position(BTC), Decimal(0), Fraction(0)
    for number, (side, price, quantity, time_ms) in enumerate(steps):
        change = apply_fill(position, fill(number, side, price, quantity, time_ms))
        position, realized = change.position, realized + change.realized_pnl
        cash -= Fraction(price) * Fraction(quantity) * side.sign
    worth = cash + Fraction(position.quantity) * Fraction(mark)
    assert close_to(realized + position.unrealized_pnl(mark), worth)


def test_a_position_without_a_known_entry_price_has_no_profit_to_tell():
    held = Position(BTC, Decimal(2))
    change = apply_fill(held, fill(1, Side.SELL, Decimal(100), Decimal(2), 5))
    assert change.closed
    assert change.realized_pnl == 0
    assert held.unrealized_pnl(Decimal(100)) == 0


def test_the_strategy_that_opened_keeps_the_position_whoever_adds_to_it():
    opened = apply_fill(Position(BTC), fill(1, Side.BUY, Decimal(10), Decimal(1), 1), strategy=TREND).position
    added = apply_fill(opened, fill(2, Side.BUY, Decimal(20), Decimal(1), 2)).position
    assert (opened.strategy, added.strategy) == (TREND, TREND)
    assert added.entry_price == Decimal(15)
    assert added.opened_ms == 1
