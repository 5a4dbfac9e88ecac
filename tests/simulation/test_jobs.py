"""The daemon's jobs in virtual time: the real ones, in a daemon on the model of the venue."""

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.worlds import scripted
from tradingd.domain.account import RejectKind, SubmitOutcome, SubmitVerdict
from tradingd.domain.errors import VenueError, VenueUnreachable
from tradingd.domain.events import IncidentRaised, VenueState, VenueStateChanged
from tradingd.domain.ids import ClientOrderId, Purpose, VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import Order, OrderKind, OrderRequest

BTC = InstrumentId.parse("BTC/USDT:USDT@binance")
BINANCE = VenueId("binance")


def test_after_an_order_that_broke_a_filter_the_rules_are_read_at_once_and_not_after_each(tmp_path: Path):
    world = scripted(tmp_path, "")
    world.start()
    world.run_for(30)
    assert world.daemon is not None and world.daemon.core is not None
    core = world.daemon.core
    reads: list[float] = []
    load = core.sessions[BINANCE].venue.load_instruments

    async def counted():
        reads.append(world.now_us / 1e6)
        return await load()

    core.sessions[BINANCE].venue.load_instruments = counted  # type: ignore[method-assign]
    refused = SubmitOutcome(SubmitVerdict.NOT_EXECUTED, kind=RejectKind.FILTER, code="-1111", message="precision")
    request = OrderRequest(ClientOrderId("td-x-1e"), BTC, Purpose.ENTRY, Side.BUY, OrderKind.MARKET, Decimal(1))
    order = Order(request=request, strategy=None, intent_id=None)
    for _ in range(3):
        core.execution.router.on_trouble(order.instrument, refused)
        world.run_for(5)
    assert len(reads) == 1
    world.run_for(60)
    core.execution.router.on_trouble(order.instrument, refused)
    world.run_for(5)
    assert len(reads) == 2
    assert core.execution.router.is_ready(BINANCE)


def test_each_job_runs_and_leaves_its_row(tmp_path: Path):
    world = scripted(tmp_path, "")
    world.start()
    world.run_for(200)
    world.stop()
    with sqlite3.connect(world.settings.journal_path) as db:
        rows = dict(db.execute("SELECT name, ok FROM jobs"))
    of_all = {"tick", "health", "sweep", "candle check"}
    assert rows == dict.fromkeys(of_all | {f"{job} of binance" for job in ("reconcile", "clock probe", "balance")}, 1)


def test_a_job_that_fails_three_times_in_a_row_is_an_incident(tmp_path: Path):
    world = scripted(tmp_path, "", config="[execution]\nreconcile_interval_s = 3600")
    world.start()
    world.run_for(30)
    assert world.daemon is not None and world.daemon.core is not None
    core = world.daemon.core
    told: list[IncidentRaised] = []
    core.bus.subscribe(IncidentRaised, told.append)

    async def fails(*_given: object) -> None:
        raise VenueError("reset")  # an answer: silence would end READY

    core.execution.reconciler.read = fails  # type: ignore[method-assign, assignment]
    world.run_for(70)
    why = "balance of binance failed 3 times in a row: reset"
    assert [(each.kind, each.detail) for each in told] == [("job_failing", why)]


def test_the_peak_that_a_drawdown_counts_from_is_known_within_seconds_of_a_start(tmp_path: Path):
    """It was judged behind the first reconcile of a minute: a run of less never learned of a peak, and lost unseen."""
    world = scripted(tmp_path, "")
    world.start()
    world.run_for(25)
    world.stop()
    with sqlite3.connect(world.settings.journal_path) as db:
        assert db.execute("SELECT count(*) FROM flags WHERE name = 'peak_equity:binance'").fetchone() == (1,)


@pytest.mark.parametrize(("unanswered", "recoveries"), [((1,), 0), ((1, 3), 0), ((1, 2), 1)])
def test_a_venue_is_ready_no_more_once_it_left_a_job_twice_in_a_row_without_an_answer(
    tmp_path: Path, unanswered: tuple[int, ...], recoveries: int
):
    world = scripted(tmp_path, "", config="[execution]\nreconcile_interval_s = 3600")
    world.start()
    world.run_for(30)
    assert world.daemon is not None and world.daemon.core is not None
    core = world.daemon.core
    states: list[VenueStateChanged] = []
    core.bus.subscribe(VenueStateChanged, states.append)
    read, runs = core.execution.reconciler.read, 0

    async def mute(*given: Any, **more: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs in unanswered:
            raise VenueUnreachable("reset")
        return await read(*given, **more)

    core.execution.reconciler.read = mute  # type: ignore[method-assign]
    world.run_for(90)
    assert runs >= 4
    lost = [each.reason for each in states if each.state is VenueState.DEGRADED]
    assert lost[:1] == ["balance: reset"] * recoveries
    assert core.execution.router.is_ready(BINANCE)
