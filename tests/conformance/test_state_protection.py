"""Stop and take profit as a state of the position, on venues that keep them so; the others protect by orders."""

import asyncio
from decimal import Decimal

from tests.conformance.bench import Bench, fault
from tests.conformance.cases import Case, case, not_applicable
from tradingd.domain.account import RejectKind, SubmitOutcome, SubmitVerdict
from tradingd.domain.intents import Side
from tradingd.ports import Priority, StateProtection

Levels = tuple[Decimal | None, Decimal | None]
NONE: Levels = (None, None)


def state(bench: Bench) -> StateProtection:
    found = bench.venue.state_protection
    if found is None:
        not_applicable("protection is made of orders")
    assert found is not None
    return found


async def put(bench: Bench, stop: str | None, take_profit: str | None) -> tuple[SubmitOutcome, Levels]:
    """Set both, each as a factor of the price; what came of it, and the prices that were asked for."""
    wanted = (
        None if stop is None else await bench.price(stop),
        None if take_profit is None else await bench.price(take_profit),
    )
    return await state(bench).set(bench.btc, *wanted, Priority.PROTECT), wanted


async def carried(bench: Bench) -> Levels:
    found = await state(bench).read(bench.btc, Priority.PROTECT)
    return found.stop, found.take_profit


async def shows(bench: Bench, wanted: Levels) -> None:
    async def look() -> bool:
        return await carried(bench) == wanted

    await bench.until(look)


@case
async def test_levels_without_a_position_are_refused(bench: Bench) -> None:
    outcome, _ = await put(bench, "0.98", None)
    assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, RejectKind.REDUCE_ONLY), outcome
    assert outcome.code and outcome.message
    assert await carried(bench) == NONE
    await bench.bought()
    await bench.position("0.010")
    await asyncio.sleep(2)
    assert await carried(bench) == NONE, "what was refused came into force later"


@case
async def test_the_same_levels_again_are_success_and_change_nothing(bench: Bench) -> None:
    await bench.bought()
    first, wanted = await put(bench, "0.98", "1.05")
    await shows(bench, wanted)
    before = await bench.open_ids()
    again = await state(bench).set(bench.btc, *wanted, Priority.PROTECT)
    assert first.verdict is again.verdict is SubmitVerdict.ACCEPTED, again
    assert await carried(bench) == wanted
    assert await bench.open_ids() == before


@case
async def test_a_level_on_the_wrong_side_is_refused_and_leaves_the_old_one(bench: Bench) -> None:
    for side, held, good, bad in ((Side.BUY, "0.010", "0.98", "1.02"), (Side.SELL, "-0.010", "1.02", "0.98")):
        await bench.bought(side=side)
        await bench.position(held)
        _, wanted = await put(bench, good, None)
        await shows(bench, wanted)
        for stop, take_profit in ((bad, None), (None, good)):
            outcome, _ = await put(bench, stop, take_profit)
            assert (outcome.verdict, outcome.kind) == (SubmitVerdict.NOT_EXECUTED, RejectKind.WOULD_TRIGGER), outcome
            assert outcome.code and outcome.message
        await asyncio.sleep(2)
        assert await carried(bench) == wanted
        assert bench.held() == Decimal(held)
        bench.act("human", act="close", symbol=bench.symbol())
        await bench.position("0")


@case
async def test_levels_that_were_taken_away_close_nothing_and_may_be_taken_away_again(bench: Bench) -> None:
    await bench.bought()
    _, wanted = await put(bench, "0.98", "1.05")
    await shows(bench, wanted)
    for _ in range(2):
        outcome, _ = await put(bench, None, None)
        assert outcome.verdict is SubmitVerdict.ACCEPTED, outcome
        await shows(bench, NONE)
    await bench.move("-0.03")
    assert bench.held() == Decimal("0.010")


@case
async def test_levels_end_with_the_position(bench: Bench) -> None:
    await bench.bought()
    _, wanted = await put(bench, "0.98", "1.05")
    await shows(bench, wanted)
    bench.act("human", act="close", symbol=bench.symbol())
    await shows(bench, NONE)
    await bench.bought()
    await asyncio.sleep(2)
    assert await carried(bench) == NONE, "a new position inherited the levels of the last one"


def lost(kind: str) -> Case:
    async def work(bench: Bench) -> None:
        await bench.bought()
        state(bench)
        bench.begin(fault(kind, "create_conditional"))
        outcome, wanted = await put(bench, "0.98", None)
        assert outcome.verdict is SubmitVerdict.AMBIGUOUS, outcome
        again = await state(bench).set(bench.btc, *wanted, Priority.PROTECT)
        assert again.verdict is SubmitVerdict.ACCEPTED, again
        await shows(bench, wanted)

    return work


test_a_set_that_never_arrived_is_in_doubt_and_set_again = case(lost("lose_request"))
test_a_set_whose_answer_is_lost_is_in_doubt_and_set_again = case(lost("lose_reply"))
