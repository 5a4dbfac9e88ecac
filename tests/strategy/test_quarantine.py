"""P12: one plugin's fault never changes another's orders; what is quarantined stays so until it is lifted."""

import time
from pathlib import Path

import msgspec
import pytest
import structlog

from tests.feeds.candle_world import BTC, candle
from tests.strategy.host_world import ETH, TREND, HostWorld, load
from tradingd.domain.candles import Candle
from tradingd.domain.events import IncidentRaised, StrategyQuarantined
from tradingd.domain.ids import StrategyId
from tradingd.domain.intents import Exit
from tradingd.strategy.host import HostSettings

GOOD = """
class Good(Strategy):
    def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
        yield Exit(candle.instrument, reason="good")
"""
HOSTILE = {
    "an endless loop": "while True: pass",
    "an endless loop behind except Exception": """
            while True:
                try:
                    while True: pass
                except Exception:
                    continue
    """,
    "a flood": """
            while True:
                yield Note(candle.instrument, "again")
    """,
    "an endless loop in the clean-up": """
            try:
                while True:
                    yield Exit(candle.instrument)
            finally:
                while True: pass
    """,
    "an endless repr": """
            class Endless:
                def __repr__(self):
                    while True: pass
            yield Note(candle.instrument, "x", {"value": Endless()})
    """,
    "an endless str in an intent": """
            class Endless:
                def __str__(self):
                    while True: pass
            yield Enter(candle.instrument, Side.BUY, notional=Endless())
    """,
}


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    return tmp_path / "strategies"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "sim.db"


def of(instrument: object, number: int) -> Candle:
    return msgspec.structs.replace(candle(number), instrument=instrument)


def bad(code: str) -> str:
    return f"""
    class Bad(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            yield Exit(candle.instrument, reason="bad")
            {code.strip()}
    """


@pytest.mark.fault(90)
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_handler_is_quarantined_and_the_other_strategy_goes_on(plugins, journal, name):
    world = HostWorld(
        journal,
        load(plugins, bad(HOSTILE[name])),
        load(plugins, GOOD, strategy="good", instruments=(ETH,)),
        settings=HostSettings(hard_budget_ms=50),
    )
    host = await world.open()
    for number in range(2):
        world.give(of(BTC, number))
        world.give(of(ETH, number))
    assert world.intents == [Exit(ETH, reason="good")] * 2
    assert list(host.quarantined()) == [TREND]
    assert [event.strategy for event in world.events if isinstance(event, StrategyQuarantined)] == [TREND]
    assert world.rows("select outcome from decisions where strategy = 'trend' and cause = 'candle'") == [("error",)]
    assert world.rows("select count(*) from streams") == [(2,)], (
        "candles of the quarantined one are counted as delivered"
    )
    await world.close()


@pytest.mark.parametrize("raised", ["ValueError('x')", "SystemExit(3)", "KeyboardInterrupt()", "RecursionError()"])
async def test_three_errors_in_a_row_are_a_quarantine_two_are_not(plugins, journal, raised):
    body = f"""
    class Shaky(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            if candle.close != 102:
                raise {raised}
            yield Exit(candle.instrument)
    """
    world = HostWorld(journal, load(plugins, body))
    host = await world.open()
    for number in range(5):
        world.give(number)
    assert host.quarantined() == {}
    assert world.intents == [Exit(BTC)]
    world.give(5)
    assert "3 failed calls in a row" in host.quarantined()[TREND]
    kinds = [event.kind for event in world.events if isinstance(event, IncidentRaised)]
    assert kinds == ["handler_failed"] * 4 + ["strategy_quarantined"]
    await world.close()


async def test_a_quarantine_survives_a_restart_until_it_is_lifted(plugins, journal):
    body = """
    class Moody(Strategy):
        def on_start(self, ctx: Context) -> None:
            self.history = len(ctx.candles(ctx.instruments[0], 10))

        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            if candle.close == 100:
                while True: pass
            yield Exit(candle.instrument, reason=str(self.history))
    """
    loaded = load(plugins, body)
    first = HostWorld(journal, loaded, settings=HostSettings(hard_budget_ms=30))
    await first.open()
    first.give(0)
    await first.close()

    second = HostWorld(journal, loaded)
    host = await second.open()
    second.give(1)
    assert second.intents == []
    assert "did not end within 30 ms" in host.quarantined()[TREND]
    assert host.lift_quarantine(TREND) is True
    assert host.lift_quarantine(TREND) is False
    assert host.lift_quarantine(StrategyId("nobody")) is False
    second.give(2)
    assert second.intents == [Exit(BTC, reason="1")], "a new object, started with the history"
    await second.close()

    third = HostWorld(journal, loaded)
    host = await third.open()
    assert host.quarantined() == {}
    await third.close()


async def test_on_start_that_fails_or_wants_to_trade_is_a_quarantine(plugins, journal):
    body = """
    class Eager(Strategy):
        def on_start(self, ctx: Context) -> Iterator[Intent]:
            yield Note(ctx.instruments[0], "fine")
            yield Exit(ctx.instruments[0])
    """
    world = HostWorld(journal, load(plugins, body))
    host = await world.open()
    assert list(host.quarantined()) == [TREND]
    ((error,),) = world.rows("select error from decisions")
    assert "on_start yielded Exit; allowed there: Note" in error
    assert world.intents == []
    await world.close()


@pytest.mark.fault(91)
async def test_a_slow_handler_within_the_hard_budget_keeps_its_intents(plugins, journal):
    body = """
    import time

    class Slow(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            time.sleep(0.03)
            yield Exit(candle.instrument)
    """
    world = HostWorld(journal, load(plugins, body), settings=HostSettings(soft_budget_ms=10, hard_budget_ms=2_000))
    host = await world.open()
    # real time, since the manual clock stands still while a handler runs
    world.clock.monotonic = time.monotonic  # type: ignore[method-assign]
    with structlog.testing.capture_logs() as logs:
        world.give(0)
    assert [(one["event"], one["handler"]) for one in logs] == [("handler_was_slow", "on_candle")]
    assert world.intents == [Exit(BTC)]
    assert host.quarantined() == {}
    await world.close()


async def test_events_cannot_be_changed_by_a_strategy(plugins, journal):
    body = """
    class Vandal(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            candle.close = 1
            yield Exit(candle.instrument)
    """
    world = HostWorld(journal, load(plugins, body))
    await world.open()
    world.give(0)
    ((error,),) = world.rows("select error from decisions where cause = 'candle'")
    assert "immutable type" in error
    await world.close()
