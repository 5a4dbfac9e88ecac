"""Whatever text a plugin writes, its decision is recorded and its exit leaves: from the handler's call to the venue."""

import asyncio
import shutil
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.execution.fakes import BTC
from tests.execution.virtual_time import VirtualLoop, in_virtual_time
from tests.execution.world import TREND, World
from tradingd.app.account_view import StateAccountView
from tradingd.domain.candles import Candle
from tradingd.domain.events import CandleClosed
from tradingd.domain.ids import VenueId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import CancelOrders, Enter, Exit, Note, Protect, Side
from tradingd.strategy.base import Strategy
from tradingd.strategy.host import StrategyHost
from tradingd.strategy.loader import LoadedStrategy, Plugin
from tradingd.strategy.timer import SignalTimer

HALF = "bad \ud800 text"
any_text = st.text(st.characters(), max_size=40)
"""Half surrogate pairs and NULs among its characters."""


class Writer(Strategy):
    """Writes one text wherever a plugin can."""

    text: str = ""

    def on_candle(self, candle, ctx):
        text: Any = self.text
        ctx.state(candle.instrument)[text[:100]] = {"at": [text[:100]]}
        yield Note(candle.instrument, text, {text: text, "list": [text, {text: (text,)}]})
        yield Enter(candle.instrument, Side.BUY, quantity=text, limit_price=text, tag=text)
        yield Enter(candle.instrument, text, quantity=1, time_in_force=text, post_only=text, expire_candles=text)
        yield Enter(InstrumentId(VenueId(text), text), Side.BUY, quantity=1)
        yield Protect(candle.instrument, stop_loss=text)
        yield CancelOrders(candle.instrument)
        yield Exit(candle.instrument, reason=text)


def host_of(world, plugin, text):
    loaded = LoadedStrategy(
        TREND, Plugin(plugin.__name__, Path(__file__), plugin, {}, "0" * 64), (BTC,), "1m", 10, {"text": text}
    )
    host = StrategyHost(
        strategies=[loaded],
        bus=world.bus,
        clock=world.clock,
        store=world.execution.recorder,
        account=StateAccountView(world.execution.state),
        sink=world.execution.pipeline,
        timer=SignalTimer(),
        recovered=world.recovered,
    )
    host.subscribe()
    host.start(TREND, {})
    return host


def give_candle(world, number):
    start_ms = world.clock.now_ms() // 60_000 * 60_000 + number * 60_000
    one = Decimal(1)
    world.bus.publish(CandleClosed(Candle(BTC, "1m", start_ms, one, one, one, one, one)))


async def leaves(directory, text):
    world = await World(directory).boot()
    await world.open_position()
    host_of(world, Writer, text)
    give_candle(world, 0)
    await world.until(lambda: world.venue.positions[BTC] == 0)
    await world.until_flat()
    assert world.faults == []
    assert world.rows("SELECT outcome FROM decisions WHERE cause = 'candle'") == [("intents",)]
    assert world.rows("SELECT count(*) FROM notes, strategy_state") == [(1,)]
    outcomes = dict(world.rows("SELECT substr(intent_id, -1), outcome FROM intents WHERE decision IS NOT 'd1'"))
    assert outcomes == {"2": "denied", "3": "denied", "4": "denied", "5": "denied", "6": "done", "7": "ordered"}
    assert world.execution.switches.halted == ""
    assert world.execution.recorder.journal_writable
    assert not {"journal_unit_refused", "journal_not_writable", "step_failed"} & set(world.incidents())
    ((longest,),) = world.rows("SELECT max(length(detail)) FROM intents")
    assert longest < 2_000
    await world.crash()


@given(any_text)
@example(HALF)
@example("\ud83d\ude00 \0 and \x1b[2J")
@example("x" * 1_000_000)
@example("\udfff" * 1_000_000)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_text_an_intent_carries_its_decision_is_recorded_and_the_exit_leaves(empty_journal, text):
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        shutil.copy(empty_journal, Path(name) / "journal.db")
        runner.run(leaves(Path(name), text))


@in_virtual_time
async def test_an_exit_whose_text_no_file_takes_leaves_by_the_spool_all_the_same(make_world):
    world = await make_world().boot()
    await world.open_position()
    world.submit(Exit(BTC, HALF))
    await world.until(lambda: world.venue.positions[BTC] == 0)
    assert len(world.spool.lines()) == 1
    assert "step_failed" not in world.incidents()
