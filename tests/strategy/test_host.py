"""One handler call is one decision, journalled whole or not at all, and never asked twice (P16)."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import structlog

from tests.feeds.candle_world import BTC, MINUTE, T0, ManualClock, candle
from tests.strategy.host_world import ETH, TREND, HostWorld, load
from tradingd.domain.errors import JournalError, JournalUnitRefused, PluginError
from tradingd.domain.events import Filled, IncidentRaised, IntentDenied, OrderChanged
from tradingd.domain.ids import ClientOrderId, Purpose, StrategyId, TradeId, VenueId, VenueOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import DenyReason, Enter, Exit, Side
from tradingd.domain.orders import Fill, Order, OrderEvent, OrderKind, OrderRequest, OrderStatus
from tradingd.domain.positions import Position
from tradingd.strategy import Signal

TRADER = """
class Trader(Strategy):
    def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
        state = ctx.state(candle.instrument)
        state["seen"] = state.get("seen", 0) + 1
        yield Note(candle.instrument, "looked", {"close": candle.close, "nan": float("nan")})
        yield Enter(candle.instrument, Side.BUY, notional=ctx.available(candle.instrument) / 10, stop_loss=candle.low)
        yield Exit(candle.instrument, reason="done")
"""


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    return tmp_path / "strategies"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "sim.db"


def fill(number: int) -> Filled:
    one = Fill(
        BTC, TradeId(str(number)), VenueOrderId("9"), None, Side.BUY, Decimal(100), Decimal(1), Decimal(0), "USDT",
        None, False, T0,
    )  # fmt: skip
    return Filled(one, None, None, Position(BTC, Decimal(1)))


def order(status: OrderStatus) -> OrderChanged:
    request = OrderRequest(ClientOrderId("td-abcdefgh-1e"), BTC, Purpose.ENTRY, Side.BUY, OrderKind.MARKET, Decimal(1))
    return OrderChanged(Order(request, TREND, None, status), OrderStatus.SUBMITTED, OrderEvent.ACCEPT, "stream", T0)


async def test_a_decision_its_notes_its_state_its_intents_and_the_stream_are_one_unit(plugins, journal):
    world = HostWorld(journal, load(plugins, TRADER))
    await world.open()
    world.give(0)
    key = f"trend|candle|BTC/USDT:USDT@binance|1m|{T0 + MINUTE}"
    assert world.rows("select key, cause, outcome, error from decisions where cause = 'candle'") == [
        (key, "candle", "intents", None)
    ]
    ((note,),) = world.rows("select values_json from notes")
    assert json.loads(note) == {"close": "100", "nan": "NaN"}
    assert world.rows("select intent_id, kind, outcome from intents order by 1") == [
        (f"{key}#2", "enter", None),
        (f"{key}#3", "exit", None),
    ]
    assert world.rows("select state_json from strategy_state") == [('{"seen":1}',)]
    assert world.rows("select last_open_ms from streams") == [(T0,)]
    record, enter, late, cause_ms = world.sink.taken[0]
    assert enter == Enter(BTC, Side.BUY, notional=Decimal(100), stop_loss=Decimal(99))
    assert json.loads(record.payload_json)["notional"] == "100"
    assert (late, cause_ms) == (False, T0 + MINUTE)
    assert world.intents[1] == Exit(BTC, reason="done")
    await world.close()


async def test_what_one_venue_tells_is_dated_by_the_time_of_the_venue_that_the_intent_is_for(plugins, journal):
    """A venue's candle may call for an order on another one, whose clock shows another time."""
    elsewhere = InstrumentId(VenueId("bybit"), BTC.symbol)
    body = f"""
    class Across(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            for instrument in ctx.instruments:
                yield Exit(instrument, reason="{elsewhere}")
    """
    world = HostWorld(journal, load(plugins, body, instruments=(BTC, elsewhere)))
    await world.open()

    class Ahead(ManualClock):
        def now_ms(self) -> int:
            return world.clock.now_ms() + 87_000

    ahead = Ahead(T0)
    world.clock.at = lambda venue: ahead if venue == elsewhere.venue else world.clock  # type: ignore[method-assign]
    world.give(0)
    assert [(intent.instrument, cause_ms) for _, intent, _, cause_ms in world.sink.taken] == [
        (BTC, T0 + MINUTE),
        (elsewhere, T0 + MINUTE + 87_000),
    ]


async def test_a_recorded_decision_is_not_asked_again_after_a_restart(plugins, journal):
    loaded = load(plugins, TRADER)
    first = HostWorld(journal, loaded)
    await first.open()
    first.give(0)
    await first.close()
    again = HostWorld(journal, loaded)
    await again.open()
    again.give(0)
    assert again.intents == []
    again.give(1)
    assert len(again.intents) == 2
    assert again.rows("select state_json from strategy_state") == [('{"seen":2}',)], "the state came back"
    await again.close()


async def test_a_late_candle_says_so_to_the_pipeline_and_in_the_journal(plugins, journal):
    world = HostWorld(journal, load(plugins, TRADER))
    await world.open()
    world.give(msgspec.structs.replace(candle(0), late=True))
    assert [late for _, _, late, _ in world.sink.taken] == [True, True]
    assert world.rows("select late from decisions where cause = 'candle'") == [(1,)]
    await world.close()


async def test_a_handler_that_raises_leaves_an_error_and_nothing_else(plugins, journal):
    body = """
    class Raising(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            ctx.state(candle.instrument)["seen"] = 1
            yield Exit(candle.instrument)
            raise ValueError("no idea")
    """
    world = HostWorld(journal, load(plugins, body))
    host = await world.open()
    world.give(0)
    assert world.intents == []
    ((outcome, error),) = world.rows("select outcome, error from decisions where cause = 'candle'")
    assert (outcome, error) == ("error", "ValueError: no idea (trend.py:9)")
    assert world.rows("select count(*) from intents") == [(0,)]
    assert world.rows("select count(*) from strategy_state") == [(0,)]
    assert world.rows("select last_open_ms from streams") == [(T0,)], "the candle was delivered all the same"
    assert host.quarantined() == {}
    await world.close()


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ('ValueError("bad \\ud800")', "ValueError: bad \\ud800 (trend.py:"),
        ('ValueError("x" * 1_000_000)', "x (trend.py:"),
        ("Mute()", "Mute (its text cannot be read: SystemExit)"),
        ("Endless()", "Endless (its text cannot be read: HandlerOverran)"),
    ],
)
async def test_an_error_of_any_text_is_recorded_and_told_shortly(plugins, journal, raised, told):
    body = f"""
    class Mute(Exception):
        def __str__(self):
            raise SystemExit(1)

    class Endless(Exception):
        def __str__(self):
            while True: pass

    class Raising(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            raise {raised}
    """
    world = HostWorld(journal, load(plugins, body))
    await world.open()
    world.give(0)
    ((error,),) = world.rows("select error from decisions where cause = 'candle'")
    assert told in error
    (incident,) = world.events
    assert isinstance(incident, IncidentRaised)
    assert incident.detail == f"on_candle: {error}"
    assert len(incident.detail) < 600
    await world.close()


async def test_a_half_pair_in_the_state_is_kept_as_its_escape_and_the_exit_leaves(plugins, journal):
    body = """
    class Odd(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            ctx.state(candle.instrument)["a\\ud800"] = ["\\\\\\udfff", "\\ud83d\\ude00"]
            yield Exit(candle.instrument)
    """
    world = HostWorld(journal, load(plugins, body))
    await world.open()
    world.give(0)
    ((state,),) = world.rows("select state_json from strategy_state")
    assert json.loads(state) == {"a\\ud800": ["\\\\udfff", "\\ud83d\\ude00"]}
    assert len(world.intents) == 1
    await world.close()


async def test_a_state_is_rolled_back_in_the_dict_that_the_strategy_kept(plugins, journal):
    body = """
    class Keeping(Strategy):
        def on_start(self, ctx: Context) -> None:
            self.state = ctx.state(ctx.instruments[0])

        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            self.state["n"] = self.state.get("n", 0) + 1
            if candle.close == 101:
                raise ValueError("rolled back")
            yield Note(candle.instrument, "n", self.state)
    """
    world = HostWorld(journal, load(plugins, body))
    await world.open()
    for number in range(3):
        world.give(number)
    assert world.rows("select values_json from notes") == [('{"n":1}',), ('{"n":2}',)]
    await world.close()


async def test_a_state_that_json_cannot_keep_is_an_error_that_says_what_is_allowed(plugins, journal):
    body = """
    class Wrong(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            ctx.state(candle.instrument)["price"] = candle.close
            yield Exit(candle.instrument)
    """
    world = HostWorld(journal, load(plugins, body))
    await world.open()
    world.give(0)
    ((error,),) = world.rows("select error from decisions where cause = 'candle'")
    assert "Decimal" in error
    assert "allowed: text, finite int and float" in error
    assert world.intents == []
    await world.close()


async def test_an_intent_on_a_foreign_instrument_is_journalled_as_denied(plugins, journal):
    body = f"""
    class Greedy(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            yield Exit(InstrumentId("binance", "{ETH.symbol}"))
            yield Exit(candle.instrument)
    """
    world = HostWorld(journal, load(plugins, body))
    await world.open()
    world.give(0)
    assert world.intents == [Exit(BTC)]
    ((outcome, reason, detail),) = world.rows("select outcome, reason, detail from intents where outcome is not null")
    assert (outcome, reason) == ("denied", "not_owned")
    assert "ETH/USDT:USDT@binance is not among the instruments of strategy trend" in detail
    (denied,) = [event for event in world.events if isinstance(event, IntentDenied)]
    assert denied.denial.reason is DenyReason.NOT_OWNED
    await world.close()


@pytest.mark.parametrize(
    ("yielded", "told"),
    [
        ('"buy"', 'the handler yielded "buy" (str); allowed: Enter, Exit'),
        ("None", "the handler yielded null (NoneType)"),
        ('Exit("BTC/USDT:USDT@binance")', 'Exit.instrument is "BTC/USDT:USDT@binance" (str)'),
        ("Exit", "(StructMeta); allowed: Enter"),
    ],
)
async def test_what_is_not_an_intent_is_an_error_with_its_value(plugins, journal, yielded, told):
    body = f"""
    class Odd(Strategy):
        def on_candle(self, candle: Candle, ctx: Context):
            yield Exit(candle.instrument)
            yield {yielded}
    """
    world = HostWorld(journal, load(plugins, body))
    await world.open()
    world.give(0)
    ((error,),) = world.rows("select error from decisions where cause = 'candle'")
    assert told in error
    assert world.intents == []
    await world.close()


@pytest.mark.fault(92)
async def test_numbers_of_libraries_and_nan_reach_the_pipeline_as_plain_values(plugins, journal):
    body = """
    import numpy as np

    class Numeric(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            yield Enter(candle.instrument, "buy", notional=np.float64(50), stop_loss=np.int64(90), tag=np.str_("x"))
            yield Enter(candle.instrument, Side.SELL, quantity=float("nan"), limit_price=np.float32("inf"))
    """
    world = HostWorld(journal, load(plugins, body))
    await world.open()
    world.give(0)
    first, second = world.intents
    assert isinstance(first, Enter)
    assert isinstance(second, Enter)
    values = (first.notional, first.stop_loss, first.tag, second.limit_price)
    assert values == (50.0, "90", "x", "inf")
    assert [type(value) for value in values] == [float, str, str, str]
    payloads = [json.loads(text) for (text,) in world.rows("select payload_json from intents order by intent_id")]
    assert payloads[1]["quantity"] == "NaN"
    await world.close()


async def test_fills_and_orders_are_decisions_with_their_own_keys_asked_once(plugins, journal):
    body = """
    class Listening(Strategy):
        def on_fill(self, fill: Fill, ctx: Context) -> Iterator[Intent]:
            yield Note(fill.instrument, "filled")

        def on_order(self, order: Order, ctx: Context) -> Iterator[Intent]:
            yield Note(order.instrument, order.status)
    """
    world = HostWorld(journal, load(plugins, body))
    await world.open()
    for event in (fill(7), fill(7), fill(8)):
        world.bus.publish(event)
    for status in (OrderStatus.ACCEPTED, OrderStatus.ACCEPTED, OrderStatus.FILLED):
        world.bus.publish(order(status))
    assert [key for (key,) in world.rows("select key from decisions where cause in ('fill', 'order')")] == [
        "trend|fill|binance|BTC/USDT:USDT|7",
        "trend|fill|binance|BTC/USDT:USDT|8",
        "trend|order|td-abcdefgh-1e|ACCEPTED",
        "trend|order|td-abcdefgh-1e|FILLED",
    ]
    await world.close()


async def test_events_before_the_start_are_handled_after_on_start_in_order(plugins, journal):
    body = """
    class Ordered(Strategy):
        def on_start(self, ctx: Context) -> None:
            self.seen = ["start", len(ctx.candles(ctx.instruments[0], 5))]

        def on_fill(self, fill: Fill, ctx: Context) -> None:
            self.seen.append(fill.trade_id)

        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            yield Note(candle.instrument, "seen", {"seen": self.seen})
    """
    world = HostWorld(journal, load(plugins, body))
    host = await world.open(started=False)
    world.bus.publish(fill(1))
    world.bus.publish(fill(2))
    host.start(TREND, {BTC: [candle(-2), candle(-1)]})
    world.give(0)
    ((values,),) = world.rows("select values_json from notes")
    assert json.loads(values)["seen"] == ["start", 2, "1", "2"]
    await world.close()


async def test_a_handler_sees_candles_up_to_the_one_it_handles(plugins, journal):
    body = """
    class Looking(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            yield Note(candle.instrument, "seen", {"closes": ctx.closes(candle.instrument, 3), "now": ctx.now})
    """
    world = HostWorld(journal, load(plugins, body))
    await world.open()
    for number in range(4):
        world.give(number)
    values = [json.loads(text)["closes"] for (text,) in world.rows("select values_json from notes")]
    assert values == [["100"], ["100", "101"], ["100", "101", "102"], ["101", "102", "103"]]
    await world.close()


async def test_a_signal_is_given_once_per_key(plugins, journal):
    body = """
    class Signalled(Strategy):
        def on_signal(self, signal: Signal, ctx: Context) -> Iterator[Intent]:
            yield Exit(signal.instrument, reason=signal.payload["why"])
    """
    world = HostWorld(journal, load(plugins, body))
    host = await world.open()
    for key in ("a", "a", "b"):
        host.signal(TREND, Signal(key, "webhook", BTC, {"why": key}, T0))
    assert world.intents == [Exit(BTC, reason="a"), Exit(BTC, reason="b")]
    await world.close()


async def test_on_stop_may_still_exit_and_nothing_is_asked_after_it(plugins, journal):
    body = """
    class Stopping(Strategy):
        def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
            yield Note(candle.instrument, "asked")

        def on_stop(self, ctx: Context) -> Iterator[Intent]:
            yield Exit(ctx.instruments[0], reason="stop")
    """
    world = HostWorld(journal, load(plugins, body))
    host = await world.open()
    host.stop()
    world.give(0)
    assert world.intents == [Exit(BTC, reason="stop")]
    assert world.rows("select count(*) from notes") == [(0,)]
    await world.close()


@pytest.mark.fault(96)
async def test_one_instrument_belongs_to_one_strategy(plugins, journal):
    one, two = load(plugins, TRADER), load(plugins, TRADER, strategy="other")
    world = HostWorld(journal, one, two)
    with pytest.raises(PluginError, match="belongs to strategies trend and other"):
        await world.open()
    await world.close()


async def test_each_strategy_hears_only_its_own_instruments(plugins, journal):
    one = load(plugins, TRADER)
    two = load(plugins, TRADER, strategy="other", instruments=(ETH,))
    world = HostWorld(journal, one, two)
    await world.open()
    world.give(0)
    assert {record.strategy for record, *_ in world.sink.taken} == {StrategyId("trend")}
    await world.close()


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (JournalError("database or disk is full (SQLITE_FULL)"), "written once the journal can"),
        (JournalUnitRefused("the journal could not store a unit: NOT NULL"), "kept in *.refused beside the journal"),
    ],
)
async def test_a_decision_that_is_not_recorded_names_whose_it_is_what_it_was_and_what_happens_next(
    plugins, journal, monkeypatch, error, remedy
):
    world = HostWorld(journal, load(plugins, TRADER))
    await world.open()

    def fail(records, *, durable=True):
        future = asyncio.get_running_loop().create_future()
        future.set_exception(error)
        return future

    monkeypatch.setattr(world.store, "submit", fail)
    with structlog.testing.capture_logs() as logs:
        world.give(0)
        await asyncio.sleep(0)
    (line,) = [each for each in logs if each["event"] == "decision_not_recorded"]
    assert line["strategy"] == "trend"
    assert line["instrument"] == str(BTC)
    assert line["cause"] == f"trend|candle|BTC/USDT:USDT@binance|1m|{T0 + MINUTE}"
    assert line["what"] == "1 decision, 1 note, 1 strategystate, 2 intent, 1 stream"
    assert line["reason"] == str(error)
    assert remedy in line["remedy"]
    await world.close()


async def test_decisions_that_wait_for_the_journal_are_told_once_then_counted(plugins, journal, monkeypatch):
    world = HostWorld(journal, load(plugins, TRADER))
    await world.open()
    real, full = world.store.submit, True

    def submit(records, *, durable=True):
        if not full:
            return real(records, durable=durable)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(JournalError("database or disk is full (SQLITE_FULL)"))
        return future

    monkeypatch.setattr(world.store, "submit", submit)
    with structlog.testing.capture_logs() as logs:
        for number in range(3):
            world.give(number)
            await asyncio.sleep(0)
        full = False
        world.give(3)
        await asyncio.sleep(0.2)
        full = True
        world.give(4)
        await asyncio.sleep(0)
    told = [(each["event"], each["log_level"]) for each in logs if each["event"].startswith("decision")]
    assert told == [("decision_not_recorded", "error"), ("decisions_held", "info"), ("decision_not_recorded", "error")]
    (counted,) = [each for each in logs if each["event"] == "decisions_held"]
    assert counted["count"] == 3
    await world.close()
