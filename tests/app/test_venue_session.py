"""One venue from boot to READY, and back to READY after whatever broke: the same path each time (P10)."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from tests.execution.fakes import BINANCE, BTC, ETH
from tests.execution.virtual_time import in_virtual_time
from tradingd.app.refusals import Refusals, VenueRefused
from tradingd.app.venue_session import VenueSession
from tradingd.domain.account import AccountMode
from tradingd.domain.errors import JournalError, VenueBanned, VenueError
from tradingd.domain.events import IncidentRaised, VenueState, VenueStateChanged
from tradingd.domain.ids import TradeId, VenueId, VenueOrderId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.domain.orders import Fill
from tradingd.feeds.account_feed import AccountFeed
from tradingd.feeds.supervisor import Supervisor
from tradingd.ports import StreamKey

DOGE = InstrumentId(BINANCE, "DOGE/USDT:USDT")


class Session:
    """A world whose venue is brought up by a real session and a real supervisor."""

    def __init__(self, world, venues: tuple[VenueId, ...] = ()) -> None:
        self.world = world
        self.pinned: list[tuple[VenueId, str]] = []
        self.first: list[VenueState] = []
        execution = world.execution
        self.session = VenueSession(
            world.venue,
            world.settings.venues[BINANCE],
            execution,
            {},
            world.clock,
            self.pin,
            self.first_recovered,
            world.recovered.flags,
            Refusals(execution, venues or (BINANCE,), world.clock),
        )
        streams = [StreamKey(BINANCE, "candles", BTC.symbol, "1m"), StreamKey(BINANCE, "account")]
        self.supervisor = Supervisor(world.venue, streams, world.bus, world.clock, execution.retry, self.session, 10**6)
        self.session.supervisor = self.supervisor
        sink = AccountFeed(execution.recorder, {}, self.supervisor, world.bus, lambda candle: None)
        self.task = asyncio.create_task(self.session.run(sink))

    async def pin(self, venue: VenueId, account_id: str) -> None:
        self.pinned.append((venue, account_id))

    async def first_recovered(self, session: VenueSession) -> None:
        self.first.append(self.state)

    @property
    def state(self):
        return self.world.execution.router.state(BINANCE)

    def states(self) -> list[str]:
        return [event.state.value for event in self.world.events if isinstance(event, VenueStateChanged)]

    async def ready(self, limit_s: float = 30):
        return await self.world.until(lambda: self.state is VenueState.READY, limit_s)


@pytest.fixture
def begin(make_world):
    async def make(**options) -> Session:
        return Session(await make_world(**options).boot(ready=False))

    return make


@in_virtual_time
async def test_the_first_ready_comes_after_modes_streams_reconcile_and_strategies(begin):
    session = await begin()
    assert await session.ready() < 2
    calls = session.world.venue.calls
    order = [calls.index(name) for name in ("open", "preflight", "open_orders", "account")]
    assert order == sorted(order)
    assert session.pinned == [(BINANCE, "account-1")]
    assert len(session.first) == 1
    assert session.first[0] is not VenueState.READY
    assert session.session.ready.is_set()
    assert await session.world.outcome_of(session.world.enter()) == ("ordered", "")


@in_virtual_time
async def test_only_instruments_of_our_strategies_are_set_up_not_what_somebody_else_holds(begin):
    session = await begin()
    await session.ready()
    world = session.world
    world.execution.recorder.apply_fill(
        Fill(
            DOGE,
            TradeId("9"),
            VenueOrderId("9"),
            None,
            Side.BUY,
            Decimal(1),
            Decimal(5),
            Decimal(0),
            "USDT",
            None,
            False,
            world.clock.now_ms(),
        ),
        "stream",
    )
    world.venue.instruments = {**world.venue.instruments, DOGE: msgspec.structs.replace(world.venue.instruments[BTC])}
    world.venue.positions[DOGE] = Decimal(5)
    await asyncio.sleep(0.1)
    await world.crash()
    world.venue.prepared.clear()
    await world.boot(ready=False)
    again = Session(world)
    await again.ready()
    assert sorted(world.venue.prepared) == [BTC, ETH]


@pytest.mark.fault(11)
@in_virtual_time
async def test_a_venue_that_cannot_be_reached_at_start_is_waited_for(begin):
    session = await begin()
    session.world.venue.unreachable = {"*"}
    await asyncio.sleep(60)
    assert session.state is VenueState.DOWN
    assert not session.task.done()
    session.world.venue.unreachable = set()
    await session.ready()


@pytest.mark.fault(15, 64)
@pytest.mark.parametrize("kind", ["account", "candles"])
@in_virtual_time
async def test_a_broken_stream_denies_entries_until_the_venue_was_read_anew(begin, kind):
    session = await begin()
    await session.ready()
    world = session.world
    read = world.venue.calls.count("account")
    session.supervisor.on_disconnect(kind, "1006")
    assert session.state is VenueState.DEGRADED
    assert not world.execution.sweeper.has_proof(BTC)
    assert await world.outcome_of(world.enter()) == ("denied", "venue_not_ready")
    await session.ready(5)
    assert world.venue.calls.count("account") > read
    assert len(session.first) == 1


@pytest.mark.fault(52)
@in_virtual_time
async def test_a_venue_that_is_gone_is_down_within_seconds_and_asked_again_until_it_answers(begin):
    session = await begin()
    await session.ready()
    session.world.venue.unreachable = {"*"}
    session.supervisor.on_disconnect("account", "1006")
    await session.world.until(lambda: session.state is VenueState.DOWN, 10)
    await asyncio.sleep(60)
    assert session.state is VenueState.DOWN
    session.world.venue.unreachable = set()
    await session.ready(90)


@pytest.mark.parametrize("what", ["open_orders", "fills", "account", "server_time_ms"])
@in_virtual_time
async def test_no_ready_while_any_part_of_the_reading_fails(begin, what):
    session = await begin()
    await session.ready()
    session.world.venue.unreachable = {what}
    session.session.ask_recovery("test")
    await asyncio.sleep(30)
    assert session.state is not VenueState.READY
    session.world.venue.unreachable = set()
    await session.ready()


@in_virtual_time
async def test_a_journal_that_cannot_be_read_delays_and_does_not_end_the_session(begin):
    session = await begin()
    await session.ready()
    world = session.world
    world.execution.recorder._recalled_ms.clear()
    real = world.store.inner.seen_trades

    async def fails(instrument, since_ms):
        raise JournalError("disk I/O error")

    world.store.inner.seen_trades = fails
    session.session.ask_recovery("test")
    await asyncio.sleep(5)
    assert not session.task.done()
    assert session.state is not VenueState.READY
    world.store.inner.seen_trades = real
    await session.ready()


@in_virtual_time
async def test_a_ban_is_waited_out_and_the_venue_is_read_anew_behind_it(begin):
    session = await begin()
    await session.ready()
    world = session.world
    until_ms = world.clock.now_ms() + 20_000
    real = world.venue.server_time_ms

    async def banned():
        if world.clock.now_ms() < until_ms:
            raise VenueBanned("418", until_ms=until_ms)
        return await real()

    world.venue.server_time_ms = banned
    session.session.ask_recovery("418")
    await asyncio.sleep(5)
    assert session.state is VenueState.BANNED
    assert await session.ready() < 18


@pytest.mark.fault(54, 69)
@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ({"hedge_mode": True}, "one-way"),
        ({"can_trade": False}, "permission"),
        ({"problems": ("multi-assets mode is on; switch it off",)}, "multi-assets"),
    ],
)
@in_virtual_time
async def test_an_account_that_does_not_fit_ends_the_session_with_what_to_change(begin, mode, says):
    session = await begin()
    fits = AccountMode(BINANCE, "account-1", hedge_mode=False, can_trade=True)

    async def preflight() -> AccountMode:
        return msgspec.structs.replace(fits, **mode)

    session.world.venue.preflight = preflight
    with pytest.raises(VenueRefused, match=says):
        await session.task
    assert session.world.venue.prepared == []


@pytest.mark.fault(69)
@in_virtual_time
async def test_a_key_that_is_refused_ends_the_start_with_what_to_check(begin):
    session = await begin()

    async def preflight() -> AccountMode:
        raise VenueError("invalid key", code="-2015", about_key=True)

    session.world.venue.preflight = preflight
    with pytest.raises(VenueRefused, match="Check the key"):
        await session.task


@in_virtual_time
async def test_an_instrument_that_the_venue_does_not_list_is_refused_with_the_nearest(begin):
    session = await begin()
    del session.world.venue.instruments[ETH]
    with pytest.raises(VenueRefused, match="does not list ETH/USDT:USDT"):
        await session.task


@in_virtual_time
async def test_a_venue_is_up_when_it_is_ready_or_was_declared_degraded_after_ten_seconds(begin):
    session = await begin()
    session.world.venue.unreachable = {"watch"}
    for second in range(20):
        await asyncio.sleep(1)
        session.session.check_health()
        if second == 5:
            assert not session.session.up.is_set()
    assert session.state is VenueState.DEGRADED
    assert session.session.up.is_set() and not session.session.ready.is_set()
    session.world.venue.unreachable = set()
    await session.ready()
    assert session.session.ready.is_set()


@in_virtual_time
async def test_a_venue_that_was_never_read_is_not_up_however_long_it_takes(begin):
    session = await begin()
    session.world.venue.unreachable = {"*"}
    for _ in range(60):
        await asyncio.sleep(1)
        session.session.check_health()
    assert not session.session.up.is_set()


@pytest.mark.fault(47, 51)
@in_virtual_time
async def test_a_venue_whose_silence_ends_in_an_error_only_after_ten_seconds_is_declared_then(begin):
    session = await begin()
    session.world.venue.hanging = {"open"}
    session.session.check_health()
    await asyncio.sleep(11)
    session.session.check_health()
    assert (session.state, session.session.declared.is_set()) == (VenueState.STARTING, False)
    session.world.execution.router.mark(BINANCE, VenueState.DOWN, "no answer in time")
    session.session.check_health()
    assert session.session.declared.is_set()


@in_virtual_time
async def test_rules_that_are_read_anew_are_used_from_the_next_order_on_and_what_is_gone_is_blocked(begin):
    session = await begin()
    await session.ready()
    venue, state = session.world.venue, session.world.execution.state
    coarse = msgspec.structs.replace(venue.instruments[BTC], tick_size=Decimal(10))
    venue.instruments = {each: rules for each, rules in venue.instruments.items() if each != ETH} | {BTC: coarse}
    await session.session.read_rules()
    assert state.instruments[BTC].tick_size == Decimal(10)
    assert "does not list" in state.blocked[ETH]
    assert BTC not in state.blocked


@in_virtual_time
async def test_rules_that_only_an_account_is_shown_count_from_the_first_entry_on(begin):
    session = await begin()
    world = session.world
    told = {name: msgspec.structs.replace(rules, max_leverage=Decimal(7))
            for name, rules in world.venue.instruments.items()}  # fmt: skip
    preflight, prepare = world.venue.preflight, world.venue.prepare

    async def shows_more():
        world.venue.instruments = dict(told)
        return await preflight()

    async def shows_caps(instrument, leverage, margin_mode):
        await prepare(instrument, leverage, margin_mode)
        caps = ((7, Decimal(5_000)),)
        world.venue.instruments[instrument] = msgspec.structs.replace(told[instrument], notional_caps=caps)

    world.venue.preflight, world.venue.prepare = shows_more, shows_caps
    await session.ready()
    rules = world.execution.state.instruments[BTC]
    assert rules.max_leverage == 7 and rules.max_notional(5) == 5_000


@pytest.mark.fault(71)
@in_virtual_time
async def test_a_key_that_is_refused_while_a_position_is_open_is_asked_slowly_and_says_what_to_do(begin):
    session = await begin()
    await session.ready()
    world = session.world
    await world.outcome_of(world.enter())
    await world.until(lambda: not world.execution.state.position(BTC).is_flat)
    asked = []

    async def refuses(*_args, **_named):
        asked.append(world.clock.monotonic())
        raise VenueError("binance: -2015 Invalid API-key", code="-2015", about_key=True)

    world.venue.account = world.venue.open_orders = world.venue.fills = refuses
    session.session.ask_recovery("looked at anew")
    for _ in range(3):
        await asyncio.sleep(6)
        session.session.check_health()
    (told,) = (each for each in world.events if isinstance(each, IncidentRaised) and each.kind == "venue_not_ready")
    assert told.severity.value == "critical" and "-2015" in told.detail and "Check the key" in told.detail
    await asyncio.sleep(300)
    recoveries = {round(each / 5) for each in asked}
    assert len(recoveries) <= 8, "a key that is refused is not hammered"


@pytest.mark.fault(69)
@in_virtual_time
async def test_a_key_that_may_only_look_at_what_is_held_rests_entries_until_it_may_trade(begin):
    session = await begin()
    await session.ready()
    world = session.world
    await world.outcome_of(world.enter())
    await world.until(lambda: not world.execution.state.position(BTC).is_flat)
    await world.crash()
    await world.boot(ready=False)
    allowed = world.venue.prepare

    async def refuses(*_args):
        raise VenueError("binance: -2015 Invalid API-key", code="-2015", about_key=True)

    world.venue.prepare = refuses
    again = Session(world)
    await world.until(lambda: again.state is VenueState.DEGRADED, 5)
    assert "Check the key" in world.execution.router.reason(BINANCE)
    assert "venues.binance.credentials_file" in world.execution.router.reason(BINANCE)
    assert (await world.outcome_of(world.enter(instrument=ETH)))[0] == "denied"
    assert await world.outcome_of(world.exit()) == ("ordered", "test"), "an exit is tried all the same"
    world.venue.prepare = allowed
    assert await again.ready(90) > 30, "a key that is refused is not hammered"
    assert world.execution.state.blocked == {}, "what the key could not do is no fault of the instrument"


@in_virtual_time
async def test_a_leverage_that_the_venue_refuses_names_its_setting_and_not_the_key(begin):
    session = await begin()

    async def refuses(*_args):
        raise VenueError("leverage of BTC: Leverage 5 is not valid", code="-4028")

    session.world.venue.prepare = refuses
    with pytest.raises(VenueRefused, match=r"-4028.*venues\.binance\.leverage") as caught:
        await session.task
    assert "key" not in str(caught.value)


@in_virtual_time
async def test_a_venue_that_refuses_stands_back_while_another_goes_on_and_is_tried_again(make_world):
    world = await make_world().boot(ready=False)
    fits = AccountMode(BINANCE, "account-1", hedge_mode=False, can_trade=True)
    modes = [msgspec.structs.replace(fits, hedge_mode=True), fits]

    async def preflight() -> AccountMode:
        return modes.pop(0)

    world.venue.preflight = preflight
    session = Session(world, (BINANCE, VenueId("bybit")))
    await world.until(lambda: session.session.declared.is_set(), 5)
    assert session.state is VenueState.DEGRADED and not session.session.up.is_set()
    assert "hedge mode" in world.execution.router.reason(BINANCE)
    (incident,) = [each for each in world.events if isinstance(each, IncidentRaised)]
    assert incident.kind == "venue_refused" and incident.detail.endswith("bybit goes on")
    assert session.first == [], "no strategy is asked before its venue agrees with the journal"
    assert await session.ready(90) > 30
    session.task.cancel()


@in_virtual_time
async def test_the_last_venue_that_refuses_ends_the_daemon_with_what_all_said(make_world):
    world = await make_world().boot(ready=False)
    refusals = Refusals(world.execution, (BINANCE, VenueId("bybit")), world.clock)

    async def refuse(what: str) -> None:
        raise VenueRefused(what)

    declared = asyncio.Event()
    first = asyncio.create_task(refusals.outlast(BINANCE, lambda: refuse("binance: no."), declared))
    await declared.wait()
    with pytest.raises(VenueRefused, match=r"binance: no\. bybit: no\."):
        await refusals.outlast(VenueId("bybit"), lambda: refuse("bybit: no."), asyncio.Event())
    first.cancel()
