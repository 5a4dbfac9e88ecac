"""What machines are told: the JSON of each topic, as docs/mqtt.md documents it."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.telemetry.conftest import StillClock
from tests.telemetry.test_narrator import BINANCE, BTC, TREND, changed, fill, order
from tradingd.bus import Bus
from tradingd.domain.errors import Severity
from tradingd.domain.events import Event, Filled, Heartbeat, IncidentRaised, IntentDenied, VenueState, VenueStateChanged
from tradingd.domain.ids import IntentId
from tradingd.domain.intents import Denial, DenyReason, Enter, Side
from tradingd.domain.orders import OrderEvent, OrderStatus
from tradingd.domain.positions import Position, apply_fill
from tradingd.telemetry.announcer import Announcer
from tradingd.telemetry.outbox import Outbox
from tradingd.telemetry.scrub import MASK, Scrubber

PAGE = (Path(__file__).parents[2] / "docs" / "mqtt.md").read_text()
HELD = {
    "instrument": str(BTC), "strategy": "trend", "quantity": "0.05", "entry_price": "42000",
    "unrealized_pnl_usdt": "1.2000", "stop_loss": "41000", "take_profit": None, "covered": False,
}  # fmt: skip
STATUS: dict[str, Any] = {
    "name": "tradingd", "mode": "sim", "version": "1", "pid": 1, "uptime_s": 1.0, "now_ms": 1, "speed": 1.0,
    "paused": None, "halted": "why", "stopping": False, "journal_writable": True, "journal_reason": None,
    "journal_unwritable_s": None, "entries_allowed": False, "equity_usdt": "10000.5", "stream_ages_s": {},
    "venues": [
        {"venue": "binance", "state": "ready", "reason": "", "equity_usdt": "10000.5", "available_usdt": "9000"},
        {"venue": "bybit", "state": "down", "reason": "reset", "equity_usdt": None, "available_usdt": None},
    ],
    "positions": [HELD, {**HELD, "covered": True}], "unknown_orders": [], "strategies": [], "denied_last": None,
    "incidents_open": 2,
}  # fmt: skip


class World:
    """An announcer on the real bus, into a real outbox."""

    def __init__(self) -> None:
        self.scrubber = Scrubber()
        self.outbox = Outbox()
        self.status: Any = lambda: STATUS

        def on_fault(event: Event, error: BaseException) -> None:
            raise AssertionError(f"{event}") from error

        self.bus = Bus(on_fault)
        self.announcer = Announcer(
            self.bus, StillClock(), self.outbox, lambda: self.status(), self.scrubber.scrub, lambda: 7
        )

    def told(self) -> dict[str, dict[str, Any]]:
        found = {}
        while (message := self.outbox.take()) is not None:
            found[message.topic] = json.loads(message.payload)
        return found


@pytest.fixture
def world() -> World:
    return World()


async def everything(world: World) -> dict[str, dict[str, Any]]:
    """One message of each topic."""
    change = apply_fill(Position(BTC), fill("1", Side.BUY, "100.50", "2", "0.1"), strategy=TREND)
    world.bus.publish(changed(OrderStatus.SUBMITTED, OrderEvent.ACCEPT, OrderStatus.ACCEPTED))
    world.bus.publish(Filled(fill("1", Side.BUY, "100.50", "2", "0.1"), order(), TREND, change.position))
    enter = Enter(BTC, Side.BUY, quantity=Decimal(1), stop_loss=Decimal(1))
    world.bus.publish(IntentDenied(IntentId("i"), TREND, enter, Denial(DenyReason.HOLD_PERIOD, "60 s left")))
    world.bus.publish(IncidentRaised("late_fill", Severity.CRITICAL, "what", BINANCE, BTC, TREND))
    world.bus.publish(Heartbeat(1, 10.0, {"binance/candles": 0.123}, Decimal("10000.50"), 1, 0, "", {}))
    await world.announcer.flush()
    return world.told()


async def test_state_is_told_in_total_and_for_each_venue(world: World):
    await world.announcer.flush()
    told = world.told()
    assert set(told) == {"state", "venue/binance/state", "venue/bybit/state"}
    assert told["state"]["open_positions"] == 2 and told["state"]["unprotected"] == 1
    assert told["state"]["halted"] == "why" and told["state"]["events_dropped"] == 7
    assert told["state"]["venues"] == {"binance": "ready", "bybit": "down"}
    assert [each["covered"] for each in told["venue/binance/state"]["positions"]] == [False, True]
    assert told["venue/bybit/state"]["positions"] == [] and told["venue/bybit/state"]["equity_usdt"] is None


async def test_state_is_told_again_only_after_a_change(world: World):
    await world.announcer.flush()
    world.told()
    await world.announcer.flush()
    assert world.told() == {}
    world.bus.publish(VenueStateChanged(BINANCE, VenueState.READY, VenueState.DOWN, "reset"))
    await world.announcer.flush()
    assert "state" in world.told()


async def test_events_are_told_as_they_come_with_exact_numbers(world: World):
    told = await everything(world)
    assert told["event/fill"]["price"] == "100.5" and told["event/fill"]["position"] == "2"
    assert told["event/order"]["status"] == "ACCEPTED" and told["event/order"]["quantity"] == "0.05"
    assert told["event/denial"]["reason"] == "hold_period" and told["event/denial"]["intent"] == "enter"
    assert told["event/incident"]["severity"] == "critical"
    assert told["heartbeat"]["equity_usdt"] == "10000.5"


async def test_every_topic_and_field_is_documented_and_no_other(world: World):
    told = await everything(world)
    documented: dict[str, set[str]] = {}
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        topics = re.findall(r"`([a-z/<>]+)`", section.splitlines()[0])
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        fields = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
        documented.update(dict.fromkeys(topics, fields))
    assert documented.pop("availability") == set()
    made = {topic.replace("binance", "<venue>"): set(fields) for topic, fields in told.items() if "bybit" not in topic}
    assert made == documented


async def test_a_secret_leaves_in_no_payload_and_the_payload_stays_json(world: World):
    world.scrubber.register('hush"hush')
    world.bus.publish(IncidentRaised("x", Severity.WARNING, 'the venue said hush"hush, signature=0123456789abcdef'))
    world.status = lambda: STATUS | {"halted": 'hush"hush'}
    await world.announcer.flush()
    told = world.told()
    assert "hush" not in str(told) and "0123456789abcdef" not in str(told)
    assert told["state"]["halted"] == MASK


async def test_a_fault_in_the_telling_is_told_and_ends_nothing(world: World, capsys: pytest.CaptureFixture[str]):
    world.status = dict
    before = structlog.get_config()
    structlog.reset_defaults()  # a daemon that ran in this process may have left its own
    try:
        await world.announcer.flush()
    finally:
        structlog.configure(**before)
    assert world.told() == {}
    assert "state_not_published" in capsys.readouterr().out
