"""`risk=` sizes an entry so that its stop, with the fees of both ways, loses no more than that share of equity."""

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.execution.fakes import BTC, Lose, rules_of
from tests.execution.virtual_time import in_virtual_time
from tradingd.domain.ids import Purpose
from tradingd.domain.intents import CheckedEnter, Denial, DenyReason, Enter, Side, check_enter
from tradingd.execution.order_router import OrderRouter

TICKS = st.sampled_from([Decimal(each) for each in ("0.00001", "0.01", "0.1", "1", "5")])
LOTS = st.sampled_from([Decimal(each) for each in ("0.001", "0.03", "1", "7", "1000")])


@given(
    side=st.sampled_from(Side),
    tick=TICKS,
    lot=LOTS,
    contract=st.sampled_from([Decimal("0.01"), Decimal(1), Decimal(10)]),
    price_ticks=st.integers(2, 10**7),
    off=st.decimals("0.0001", "0.9", places=4),
    limit_off=st.one_of(st.none(), st.decimals("-0.01", "0.01", places=4)),
    risk=st.decimals("0.0001", "0.5", places=4),
    equity=st.decimals("0.01", "10000000", places=2),
    fee=st.decimals("0", "0.002", places=5),
)
def test_whatever_filters_price_and_stop_the_loss_at_the_stop_is_within_the_risk(
    side, tick, lot, contract, price_ticks, off, limit_off, risk, equity, fee
):
    rules = rules_of(
        BTC, tick_size=tick, lot_size=lot, min_quantity=lot, contract_size=contract, taker_fee_fraction=fee
    )
    mark = price_ticks * tick
    limit = None if limit_off is None else mark * (1 + limit_off)
    stop = (limit or mark) * (1 - off * side.sign)
    checked = check_enter(Enter(BTC, side, risk=risk, stop_loss=stop, limit_price=limit))
    assert isinstance(checked, CheckedEnter)
    draft = OrderRouter().entry(checked, rules, mark, equity)
    if isinstance(draft, Denial):
        assert draft.reason in (DenyReason.BELOW_MIN_QUANTITY, DenyReason.INVALID_INTENT, DenyReason.STOP_WRONG_SIDE)
        return
    quantity, level = draft.request.quantity, draft.stop_loss
    assert level is not None and quantity % lot == 0
    lost = quantity * contract * (abs(draft.price - level) + (draft.price + level) * fee)
    assert lost <= equity * risk * (1 + Decimal("1e-20"))
    # and no lot less than that: the next one would be too much
    assert lost + lot * contract * (abs(draft.price - level) + (draft.price + level) * fee) > equity * risk


@pytest.mark.parametrize(
    ("fields", "config", "reason", "named"),
    [
        ({"stop_loss": None}, "", "invalid_intent", "stop_loss"),
        ({"risk": 1}, "", "invalid_intent", "risk"),
        ({"risk": Decimal("0.0000001")}, "", "below_min_quantity", "minimum"),
        ({"stop_loss": Decimal(49_990)}, "max_leverage = 10", "insufficient_margin", "available"),
        ({"stop_loss": Decimal(51_000)}, "", "stop_wrong_side", "stop_loss"),
    ],
)
@in_virtual_time
async def test_a_risk_that_cannot_be_taken_is_denied_by_name(make_world, fields, config, reason, named):
    world = await make_world(risk=config).boot()
    intent = world.enter(**{"risk": Decimal("0.01"), **fields})
    assert await world.outcome_of(intent) == ("denied", reason)
    assert named in world.rows("SELECT detail FROM intents WHERE intent_id = ?", intent)[0][0]


@in_virtual_time
async def test_an_entry_by_risk_goes_out_and_its_loss_at_the_stop_is_the_risk(make_world):
    world = await make_world().boot()
    assert await world.outcome_of(world.enter(risk=Decimal("0.01"))) == ("ordered", "")
    (request,) = world.sent(Purpose.ENTRY)
    # 100 of 10,000 USDT over 1,000 of distance and 49.5 of fees
    assert request.quantity == Decimal("0.095")


@pytest.mark.fault(1, 2, 75)
@pytest.mark.parametrize("taken", [True, False])
@in_virtual_time
async def test_an_entry_by_risk_whose_answer_was_lost_in_a_crash_is_one_order_of_the_size_that_was_written(
    make_world, taken
):
    world = await make_world().boot()
    world.venue.mute = True
    world.venue.answers[Purpose.ENTRY].append(Lose(taken=taken))
    world.enter(risk=Decimal("0.01"))
    await world.until(lambda: world.sent(Purpose.ENTRY))
    await world.crash()
    world.venue.mute = False
    await world.boot()
    await asyncio.sleep(30)
    assert [request.quantity for request in world.sent(Purpose.ENTRY)] == [Decimal("0.095")]
    assert world.held() == (Decimal("0.095") if taken else 0)
    assert world.is_covered() or not taken
    assert not world.execution.state.unknown_orders()
