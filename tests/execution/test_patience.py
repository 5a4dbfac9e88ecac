"""How long a position without its stop waits for one answer."""

import asyncio
from decimal import Decimal

import pytest

from tests.execution.fakes import BTC
from tests.execution.virtual_time import in_virtual_time


@pytest.mark.parametrize(("limit_s", "first_s", "next_s"), [(0.5, 1.0, 0.2), (5, 1.0, 1.0), (60, 2.0, 2.0)])
@in_virtual_time
async def test_the_first_stop_of_a_position_gets_a_second_for_its_answer_however_short_the_limit(
    make_world, limit_s, first_s, next_s
):
    world = await make_world(execution=f"unprotected_limit_s = {limit_s}").boot()
    protection, asked = world.execution.protection, []
    patience_s = protection.patience_s

    def told(cover):
        asked.append((cover.tries, patience_s(cover)))
        return asked[-1][1]

    protection.patience_s = told
    world.enter(stop_loss=Decimal(49_000))
    await world.until(lambda: asked)
    assert asked[0] == (0, pytest.approx(first_s, abs=0.01))
    await asyncio.sleep(0)
    cover = protection.covers[BTC]
    cover.unprotected_since, cover.tries = world.clock.monotonic(), 1
    assert patience_s(cover) == pytest.approx(next_s, abs=0.01)
