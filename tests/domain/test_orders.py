"""The one table of what may follow what: complete, and its late rows named."""

from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingd.domain.errors import IllegalTransition
from tradingd.domain.ids import ClientOrderId, Purpose, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import (
    FINAL,
    ILLEGAL,
    LATE,
    STALE,
    TRANSITIONS,
    Order,
    OrderEvent,
    OrderKind,
    OrderRequest,
    OrderStatus,
    next_status,
)

S, E = OrderStatus, OrderEvent
PAIRS = set(product(OrderStatus, OrderEvent))


def test_every_pair_of_status_and_event_is_in_exactly_one_of_the_three_sets():
    sets = [set(TRANSITIONS), set(STALE), set(ILLEGAL)]
    assert set().union(*sets) == PAIRS
    assert sum(map(len, sets)) == len(PAIRS)


def test_late_rows_are_transitions_out_of_a_final_status_and_all_of_them():
    assert set(TRANSITIONS) >= LATE
    assert {pair for pair in TRANSITIONS if pair[0] in FINAL} == LATE
    assert {event for _, event in LATE} == {E.ACCEPT, E.TRIGGER, E.FILL_PART, E.FILL_ALL}


def test_only_a_rejection_can_be_undone_by_anything_but_a_fill():
    undone = {status for status, event in LATE if event in (E.ACCEPT, E.TRIGGER)}
    assert undone == {S.REJECTED}


@pytest.mark.parametrize("status", sorted(FINAL - {S.REJECTED}))
def test_a_final_order_stays_final_whatever_comes(status):
    after = {TRANSITIONS[pair] for pair in PAIRS if pair[0] is status and pair in TRANSITIONS}
    assert after <= FINAL


def test_not_found_is_a_verdict_on_a_leg_in_doubt_only():
    assert [status for status, event in TRANSITIONS if event is E.NOT_FOUND] == [S.IN_DOUBT]


def test_in_doubt_is_reached_only_by_a_lost_answer():
    assert {pair for pair, after in TRANSITIONS.items() if after is S.IN_DOUBT} == {(S.SUBMITTED, E.TIME_OUT)}


def test_nothing_returns_to_a_status_before_the_wire():
    assert not {S.INITIALIZED} & set(TRANSITIONS.values())
    assert {pair for pair, after in TRANSITIONS.items() if after is S.SUBMITTED} == {(S.INITIALIZED, E.SUBMIT)}


@pytest.mark.parametrize(("status", "event"), sorted(PAIRS))
def test_the_function_follows_the_table(status, event):
    if (status, event) in ILLEGAL:
        with pytest.raises(IllegalTransition, match=f"{event} is impossible in status {status}"):
            next_status(status, event)
    else:
        assert next_status(status, event) is TRANSITIONS.get((status, event))


VENUE_EVENTS = st.sampled_from([E.ACCEPT, E.TRIGGER, E.FILL_PART, E.FILL_ALL, E.CANCEL, E.EXPIRE, E.TIME_OUT])


@given(st.lists(VENUE_EVENTS, max_size=12))
def test_what_a_venue_can_tell_in_any_order_never_meets_an_illegal_pair(events):
    status = S.SUBMITTED
    for event in events:
        status = next_status(status, event) or status
    assert status is not S.INITIALIZED


@given(st.permutations([E.ACCEPT, E.FILL_PART, E.FILL_ALL, E.TIME_OUT]))
def test_an_order_that_filled_is_filled_in_whatever_order_it_is_told(events):
    status = S.SUBMITTED
    for event in events:
        status = next_status(status, event) or status
    assert status is S.FILLED


def order(purpose: Purpose, quantity: str | None, filled: str, status: OrderStatus) -> Order:
    request = OrderRequest(
        ClientOrderId("td-lmnopqrsabc-1e"),
        InstrumentId(VenueId("binance"), "BTC/USDT:USDT"),
        purpose,
        Side.BUY,
        OrderKind.LIMIT,
        None if quantity is None else Decimal(quantity),
    )
    return Order(request, None, None, status, filled_quantity=Decimal(filled))


def test_what_may_still_fill_is_what_is_open_and_nothing_once_final():
    assert order(Purpose.ENTRY, "2", "0.5", S.PARTIALLY_FILLED).open_quantity == Decimal("1.5")
    assert order(Purpose.ENTRY, "2", "0.5", S.CANCELED).open_quantity == 0
    assert order(Purpose.STOP, None, "0", S.ACCEPTED).open_quantity == 0


@pytest.mark.parametrize("status", list(OrderStatus))
def test_an_entry_needs_margin_until_it_is_final_and_nothing_else_ever_does(status):
    assert order(Purpose.ENTRY, "1", "0", status).needs_exposure_margin == (status not in FINAL)
    assert not order(Purpose.EXIT, "1", "0", status).needs_exposure_margin
