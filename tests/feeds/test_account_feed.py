"""Each push lands where it belongs, at once."""

from decimal import Decimal

import pytest

from tests.feeds.candle_world import BTC, candle
from tradingd.bus import Bus
from tradingd.domain.account import VenueBalance, VenueOrder, VenuePosition
from tradingd.domain.events import BalanceSeen, IncidentRaised, PositionSeen
from tradingd.domain.ids import TradeId, VenueId, VenueOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import Fill, OrderKind, OrderStatus
from tradingd.feeds.account_feed import AccountFeed

BINANCE = VenueId("binance")
ETH = InstrumentId(BINANCE, "ETH/USDT:USDT")


class Ear:
    """Takes everything in, in its order."""

    def __init__(self) -> None:
        self.heard: list[tuple] = []
        self.bus = Bus(lambda event, error: self.heard.append(("fault", error)))
        for event_type in (PositionSeen, BalanceSeen, IncidentRaised):
            self.bus.subscribe(event_type, lambda event: self.heard.append(("bus", event)))
        self.prices: list[Decimal] = []
        self.feed = AccountFeed(
            self,
            {(BTC, "1m"): self},
            self,
            self.bus,
            lambda candle: self.prices.append(candle.close),
        )

    def apply_shown(self, shown, source):
        self.heard.append(("order", shown, source))

    def apply_fill(self, fill, source):
        self.heard.append(("fill", fill, source))
        return True

    def on_candle(self, candle):
        self.heard.append(("candle", candle))

    def on_alive(self, stream):
        self.heard.append(("alive", stream))

    def on_disconnect(self, stream, reason):
        self.heard.append(("disconnect", stream, reason))

    def on_unreadable(self, stream, reason):
        self.heard.append(("unreadable", stream, reason))


@pytest.fixture
def ear():
    return Ear()


def test_order_facts_go_to_the_recorder_as_the_stream_told_them(ear):
    order = VenueOrder(
        BTC, "plain", VenueOrderId("1"), None, OrderStatus.ACCEPTED, Side.BUY, OrderKind.LIMIT, Decimal(1)
    )
    fill = Fill(
        BTC,
        TradeId("1"),
        VenueOrderId("1"),
        None,
        Side.BUY,
        Decimal(1),
        Decimal(1),
        Decimal(0),
        "USDT",
        None,
        False,
        1,
    )
    ear.feed.on_order(order)
    ear.feed.on_fill(fill)
    assert ear.heard == [("order", order, "stream"), ("fill", fill, "stream")]


def test_candles_go_to_their_own_feed_and_every_candle_is_a_price(ear):
    mine, forming = candle(1), candle(2, closed=False)
    other = candle(3)
    other = type(other)(ETH, *[getattr(other, name) for name in other.__struct_fields__[1:]])
    for each in (mine, forming, other):
        ear.feed.on_candle(each)
    assert ear.heard == [("candle", mine), ("candle", forming)]
    assert ear.prices == [mine.close, forming.close, other.close]


def test_positions_and_balances_go_to_the_bus(ear):
    position = VenuePosition(BTC, Decimal(1))
    balance = VenueBalance(BINANCE, "USDT", Decimal(1), None, None)
    ear.feed.on_position(position)
    ear.feed.on_balance(balance)
    assert ear.heard == [("bus", PositionSeen(position)), ("bus", BalanceSeen(balance))]


def test_life_and_death_of_streams_go_to_the_supervisor(ear):
    ear.feed.on_alive(BINANCE, "account")
    ear.feed.on_disconnect(BINANCE, "candles", "1006")
    assert ear.heard == [("alive", "account"), ("disconnect", "candles", "1006")]


def test_a_frame_that_cannot_be_read_goes_to_the_supervisor_with_its_stream(ear):
    ear.feed.on_bad_frame(BINANCE, "account", "not JSON")
    assert ear.heard[0] == ("unreadable", "account", "not JSON")


def test_bad_frames_are_counted_and_told_at_powers_of_ten_only(ear):
    for _ in range(1_234):
        ear.feed.on_bad_frame(BINANCE, "account", "not JSON")
    assert ear.feed.bad_frames == 1_234
    details = [heard[1].detail for heard in ear.heard if heard[0] == "bus"]
    assert details == [f"not JSON (number {number})" for number in (1, 10, 100, 1_000)]
