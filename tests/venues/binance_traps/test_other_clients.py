"""Another client of the same account, an unmodified ccxt.pro, beside the daemon; and what the venue itself does."""

from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.helpers import ccxt_client
from tests.simulation.worlds import scripted
from tests.venues.binance_traps.worlds import Told
from tradingd.config.credentials import SIM_CREDENTIALS
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.session import SimSession
from tradingd.simulation.world import World

SYMBOL = "BTC/USDT:USDT"
Hand = Callable[[Any], Coroutine[Any, Any, Any]]


def by_hand(world: World, act: Hand) -> Any:
    """Let another client of the account do something, on the same wire."""
    daemon = world.daemon
    assert daemon is not None

    async def run() -> Any:
        session = SimSession(world.network, 0, lambda name: None, lambda: None, lambda: False)
        client = ccxt_client(
            80,
            session=session,
            apiKey=SIM_CREDENTIALS.api_key.reveal(),
            secret=SIM_CREDENTIALS.api_secret.reveal(),
            asyncio_loop=daemon.loop,
        )
        await client.load_markets()
        await client.load_time_difference()
        return await act(client)

    task = daemon.loop.create_task(run())
    for _ in range(200):
        world.run_for(0.1)
        if task.done():
            return task.result()
    raise TimeoutError


@pytest.fixture
def make(tmp_path: Path):
    made: list[World] = []

    def start(lines: str, **options: Any) -> World:
        world = scripted(tmp_path, lines, **options)
        made.append(world)
        world.start()
        world.run_for(50)
        return world

    yield start
    for world in made:
        world.close()


Make = Callable[..., World]


def net(fills: list[Any]) -> Decimal:
    return sum((Decimal(str(f["quantity"])) * (1 if f["side"] == "buy" else -1) for f in fills), Decimal(0))


def venue_holds(world: World) -> Decimal:
    return Decimal(world.venue._desk.exchange.account.positions["BTCUSDT"].quantity)


def foreign(told: Told) -> list[Any]:
    return [fill for fill in told.fills if not (fill["client_order_id"] or "").startswith("td-")]


def outcomes(told: Told) -> list[tuple[str, str]]:
    return [(intent["outcome"], intent["reason"]) for intent in told.intents]


def test_what_another_client_opens_is_booked_as_foreign_and_entries_wait(make: Make) -> None:
    world = make("2 buy 0.02 0.02")
    order = by_hand(world, lambda client: client.create_order(SYMBOL, "market", "buy", 0.02))
    world.run_for(120)
    told = Told(world)
    assert net(foreign(told)) == Decimal("0.02") == venue_holds(world)
    assert {fill["venue_order_id"] for fill in foreign(told)} == {order["id"]}
    assert outcomes(told) == [("denied", "foreign_position")]
    assert "foreign_position" in {incident["kind"] for incident in told.incidents}


def test_what_another_client_closes_is_booked_and_the_hold_and_the_sweep_begin(make: Make) -> None:
    world = make("1 buy 0.02 0.02; 3 buy 0.02 0.02; 9 buy 0.02 0.02", hold=5)
    world.run_for(40)
    held = venue_holds(world)
    assert held > 0
    by_hand(
        world, lambda client: client.create_order(SYMBOL, "market", "sell", float(held), None, {"reduceOnly": True})
    )
    world.run_for(10)
    assert not by_hand(world, lambda client: client.fetch_open_orders(SYMBOL, params={"trigger": True})), "swept"
    world.run_for(480)
    told = Told(world)
    assert outcomes(told) == [("ordered", ""), ("denied", "hold_period"), ("ordered", "")]
    assert net(foreign(told)) == -held


def test_a_stop_that_another_client_cancels_is_placed_again_within_five_seconds(make: Make) -> None:
    world = make("1 buy 0.02 0.02")
    world.run_for(40)

    async def take_away(client: Any) -> int:
        for order in await client.fetch_open_orders(SYMBOL, params={"trigger": True}):
            await client.cancel_order(order["id"], SYMBOL, {"trigger": True})
        return int(world.network.venue_ms)

    gone_ms = by_hand(world, take_away)
    world.run_for(20)
    told = Told(world)
    again = [e for e in told.events if e["purpose"] == "stop" and e["after"] == "ACCEPTED"]
    assert len(again) == 2 and again[1]["time_ms"] - gone_ms < 5_000
    standing = by_hand(world, lambda client: client.fetch_open_orders(SYMBOL, params={"trigger": True}))
    assert {order["info"]["orderType"] for order in standing} == {"STOP_MARKET", "TAKE_PROFIT_MARKET"}
    assert venue_holds(world) > 0


def test_orders_of_another_client_are_never_touched(make: Make) -> None:
    world = make(
        "1 buy 0.02 0.02; 2 exit; 4 buy 0.02 0.02; 6 exit", config='[execution]\nforeign_orders = "ignore"', hold=0
    )
    price = float(world.venue._desk.exchange.last_price("BTCUSDT"))

    async def place(client: Any) -> set[str]:
        limit = await client.create_order(SYMBOL, "limit", "buy", 0.01, price * 0.8)
        stop = await client.create_order(SYMBOL, "market", "sell", 0.01, None, {"stopLossPrice": price * 0.8})
        return {limit["id"], stop["id"]}

    placed = by_hand(world, place)
    world.run_for(480)

    async def look(client: Any) -> set[str]:
        return {
            each["id"]
            for params in ({}, {"trigger": True})
            for each in await client.fetch_open_orders(SYMBOL, params=params)
        }

    assert by_hand(world, look) == placed
    assert [outcome for outcome, _ in outcomes(Told(world))] == ["ordered"] * 4
    ours = {
        each.params.get("orderId") or each.params.get("algoId")
        for each in world.network.log.requests
        if each.method == "DELETE" and each.incarnation
    }
    assert not ours & placed


@pytest.mark.fault(48)
@pytest.mark.parametrize("mute", [False, True], ids=["streamed", "read"])
@pytest.mark.parametrize(("act", "reason"), [("liquidate", "liquidation"), ("deleverage", "auto-deleveraging")])
def test_trap_15_a_liquidation_is_booked_with_its_reason_told_and_begins_the_hold(
    make: Make, act: str, reason: str, mute: bool
) -> None:
    world = make("1 buy 0.02 0.02; 3 buy 0.02 0.02; 9 buy 0.02 0.02", hold=5)
    world.run_for(40)
    held = venue_holds(world)
    if mute:
        world.network.mute(account=True, for_us=30 * SECOND_US, half_open=False)
    world.venue.act(act, {"symbol": "BTCUSDT"})
    world.network.venue_changed()
    world.run_for(15)
    told = Told(world)
    assert net(foreign(told)) == -held and {fill["reason"] for fill in foreign(told)} == {reason}
    (close,) = told.closes
    assert close["cause"] == reason
    (incident,) = [each for each in told.incidents if each["kind"] == "closed_by_venue"]
    assert incident["severity"] == ("critical" if act == "liquidate" else "warning")
    assert reason in incident["detail"] and incident["strategy"] == "script"
    world.run_for(480)
    assert outcomes(Told(world)) == [("ordered", ""), ("denied", "hold_period"), ("ordered", "")]


def test_funding_is_booked(make: Make) -> None:
    world = make("1 buy 0.02 0.02")
    world.run_for(40)
    world.venue.act("charge_funding", {"symbol": "BTCUSDT", "rate_fraction": "0.001"})
    world.network.venue_changed()
    world.run_for(180)
    (row,) = [row for row in Told(world).ledger if row["kind"] == "funding"]
    assert row["symbol"] == SYMBOL and float(row["amount"]) < 0
    assert world.is_ready
