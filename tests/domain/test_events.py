"""Incidents: whatever they are about, the venue, the instrument and the strategy that follow from it are named."""

from decimal import Decimal

import pytest

from tradingd.domain.errors import Severity
from tradingd.domain.events import IncidentRaised, incident
from tradingd.domain.ids import ClientOrderId, Purpose, StrategyId, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import Order, OrderKind, OrderRequest, OrderStatus

VENUE = VenueId("binance")
BTC = InstrumentId(VENUE, "BTC/USDT:USDT")
REQUEST = OrderRequest(ClientOrderId("td-abcdefgh-1e"), BTC, Purpose.ENTRY, Side.BUY, OrderKind.MARKET, Decimal(1))
TREND = StrategyId("trend")


@pytest.mark.parametrize(
    ("about", "strategy", "named"),
    [
        (None, None, (None, None, None)),
        (VENUE, None, (VENUE, None, None)),
        (BTC, None, (VENUE, BTC, None)),
        (BTC, TREND, (VENUE, BTC, TREND)),
        (Order(REQUEST, TREND, None, OrderStatus.ACCEPTED), None, (VENUE, BTC, TREND)),
        (Order(REQUEST, None, None, OrderStatus.ACCEPTED), None, (VENUE, BTC, None)),
    ],
)
def test_an_incident_names_the_venue_the_instrument_and_the_strategy_of_what_it_is_about(about, strategy, named):
    told = incident("kind", Severity.WARNING, "detail", about, strategy)
    assert told == IncidentRaised("kind", Severity.WARNING, "detail", *named)
