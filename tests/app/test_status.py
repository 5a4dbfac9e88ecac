"""What `tradingd status` says of where entries would be denied."""

import asyncio
import io
from types import SimpleNamespace
from typing import Any

from tests.execution.fakes import BINANCE, BTC, ETH
from tests.execution.virtual_time import in_virtual_time
from tests.execution.world import World
from tradingd.app.incidents import Incidents
from tradingd.app.operator import Operator
from tradingd.app.trouble import KEY_AGAIN_S, Trouble
from tradingd.cli import status_text
from tradingd.cli.streams import Paint
from tradingd.domain.account import RejectKind, SubmitOutcome, SubmitVerdict
from tradingd.domain.events import VenueState
from tradingd.domain.ids import Epoch, VenueId


def one_session() -> dict[VenueId, Any]:
    """A venue's session without streams of its own."""
    return {BINANCE: SimpleNamespace(ask_recovery=lambda why: None, supervisor=None)}


def operator_of(world: World, sessions: dict[VenueId, Any]) -> Operator:
    """The operator of a world."""
    host: Any = SimpleNamespace(quarantined=dict)
    incidents = Incidents(world.execution.recorder, world.clock, Epoch("e1"), ())
    return Operator(world.settings, world.execution, sessions, host, incidents, world.clock, lambda why: None)


@in_virtual_time
async def test_status_names_what_takes_only_exits_and_why_until_it_takes_entries_again(make_world):
    world = await make_world().boot()
    sessions = one_session()
    operator = operator_of(world, sessions)

    def shown() -> list[str]:
        lines = status_text.status(operator.status(), Paint(io.StringIO(), {})).splitlines()
        begin = next(number for number, line in enumerate(lines) if line.startswith("entries "))
        return lines[begin : next(number for number, line in enumerate(lines) if line.startswith("venues "))]

    assert shown() == ["entries         allowed"]
    refused = SubmitOutcome(
        SubmitVerdict.NOT_EXECUTED, kind=RejectKind.AUTHENTICATION, code="-2015", message="Invalid API-key"
    )
    told = refused.told().rstrip(".")
    Trouble(world.execution, sessions, world.clock, lambda venue: None).on_outcome(BTC, refused)
    assert shown() == [
        "entries         allowed, but not on these",
        f"exits only      {BTC}: binance refuses the key: {told}",
        f"                {ETH}: binance refuses the key: {told}",
    ]
    await asyncio.sleep(KEY_AGAIN_S + 1)
    assert shown() == ["entries         allowed"]
    world.execution.state.blocked[ETH] = "the venue does not list it any more"
    assert shown()[1:] == [f"exits only      {ETH}: the venue does not list it any more"]


@in_virtual_time
async def test_what_an_operator_is_answered_promises_no_more_than_is_known(make_world):
    world = await make_world().boot()
    operator = operator_of(world, one_session())
    assert (await operator.handle("resume", {}))["entries_denied"] is None and operator.entries_denied() == ""
    await operator.handle("pause", {"reason": "lunch"})
    assert operator.entries_denied() == "paused: lunch"
    world.execution.router.mark(BINANCE, VenueState.DOWN, "it does not answer")
    assert (await operator.handle("resume", {}))["entries_denied"] == "binance: it does not answer"
    world.execution.state.accounts.clear()
    flattened = await operator.handle("flatten", {"symbol": BTC.symbol})
    assert flattened["instruments"] == {str(BTC): "not read yet"}
