"""A real daemon under a service manager and with a broker: what it tells them, and that it needs neither."""

import itertools
import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.world import World
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.manager import Manager, holds
from tests.telemetry.broker import Broker, Reader

pytestmark = pytest.mark.timeout(180)
WATCHDOG_S = 1.5
STUCK = '''
"""Once there is a file `hang`, it never comes back from a call that no signal interrupts."""

import os
import signal
import time
from collections.abc import Iterator

from tradingd.strategy import Candle, Context, Intent, Strategy


class Stuck(Strategy):
    def on_candle(self, candle: Candle, ctx: Context) -> Iterator[Intent]:
        if not os.path.exists("hang"):
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        open("stuck", "w").close()
        time.sleep(3_600)
        yield
'''


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path, WATCHDOG_S)
    yield made
    made.close()


def test_a_whole_life_as_systemd_hears_it(make_world: MakeWorld, manager: Manager):
    world = make_world(3_000, **manager.environment, TRADINGD__LOG__HEARTBEAT_S="0.5")
    daemon = world.start(fresh=True)
    manager.wait(lambda: manager.lines("READY"))
    assert "binance ready" in manager.lines("STATUS")[-1]
    shown = re.compile(
        r"equity \d+(\.\d+)? USDT; \d open positions?, \d unprotected; \d orders? in doubt; entries allowed"
    )
    manager.wait(lambda: [line for line in manager.lines("STATUS") if shown.match(line)])
    began = time.monotonic()
    manager.wait(lambda: len(manager.lines("WATCHDOG", began)) >= 4)
    beats = [at_s for at_s, message in manager.told if message == "WATCHDOG=1" and at_s >= began]
    assert max(after - before for before, after in itertools.pairwise(beats)) < WATCHDOG_S
    daemon.process.send_signal(signal.SIGHUP)
    manager.wait(lambda: manager.lines("RELOADING"))
    assert abs(int(manager.lines("MONOTONIC_USEC")[0]) / 1e6 - time.monotonic()) < 5
    manager.wait(lambda: len(manager.lines("READY")) == 2)
    assert world.events["daemon_reloaded"] == 1
    daemon.end(signal.SIGTERM, 15)
    assert manager.lines("STOPPING") == ["1"] and "SIGTERM" in manager.lines("STATUS")[-1]


@pytest.mark.fault(86)
def test_a_loop_that_hangs_feeds_no_watchdog(manager: Manager, tmp_path: Path):
    (tmp_path / "stuck.py").write_text(STUCK)
    (tmp_path / "config.toml").write_text(
        '[daemon]\nstrategies_dir = "."\nspeed = 600\n[venues.binance]\n'
        '[strategies.stuck]\ninstruments = ["BTC/USDT:USDT@binance"]\n'
    )
    world = World(tmp_path, manager.environment, [])
    try:
        world.start()
        manager.wait(lambda: manager.lines("WATCHDOG"), 60)
        (tmp_path / "hang").touch()
        manager.wait((tmp_path / "stuck").exists, 60)
        since = time.monotonic() + 0.1
        time.sleep(2 * WATCHDOG_S)
        assert not manager.lines("WATCHDOG", since)
    finally:
        world.close()


def test_while_a_venue_cannot_be_reached_the_start_is_extended_and_told(manager: Manager, tmp_path: Path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        (tmp_path / "sma_cross.py").write_text(STUCK.replace("Stuck", "SmaCross"))
        (tmp_path / "config.toml").write_text(
            f'[daemon]\nmode = "live"\nstrategies_dir = "."\n[venues.binance]\n'
            f'endpoint = "http://127.0.0.1:{nobody.getsockname()[1]}"\n'
            '[strategies.sma_cross]\ninstruments = ["BTC/USDT:USDT@binance"]\n'
        )
        keys = {"TRADINGD_BINANCE_API_KEY": "key-of-nobody", "TRADINGD_BINANCE_API_SECRET": "secret-of-nobody"}
        world = World(tmp_path, {**manager.environment, **keys}, [])
        try:
            daemon = world.start()
            manager.wait(lambda: [line for line in manager.lines("STATUS") if "binance down" in line])
            manager.wait(lambda: len(manager.lines("EXTEND_TIMEOUT_USEC")) >= 2)
            assert manager.lines("READY") == []
            assert daemon.end(signal.SIGTERM, 15) < 10
        finally:
            world.close()


def test_a_broker_that_hangs_changes_nothing_about_trading(make_world: MakeWorld, tmp_path: Path):
    broker = Broker(tmp_path, login=("trader", "correct horse"))
    broker.start()
    try:
        world = make_world(
            3_000,
            TRADINGD__MQTT__ENABLED="true",
            TRADINGD__MQTT__HOST="127.0.0.1",
            TRADINGD__MQTT__PORT=str(broker.port),
            TRADINGD__MQTT__USERNAME="trader",
            TRADINGD_MQTT_PASSWORD="correct horse",
            TRADINGD__LOG__HEARTBEAT_S="0.5",
        )
        late: list[float] = []
        world.listeners.append(lambda line: late.append(line.get("delta_s", 0.0)))
        reader = Reader(broker.port, username="trader", password="correct horse")
        daemon = world.start(fresh=True)
        base = "tradingd/tradingd"
        world.wait_until(lambda: len(reader.of(f"{base}/event/fill")) >= 2, 60, "fills over MQTT")
        assert reader.of(f"{base}/availability") == ["online"]
        world.wait_until(lambda: '"binance":"ready"' in "".join(reader.of(f"{base}/state")[-1:]), 10, "the state ready")
        state = json.loads(reader.of(f"{base}/state")[-1])
        assert (state["mode"], state["venues"], state["unprotected"]) == ("sim", {"binance": "ready"}, 0)
        broker.pause()
        fills, late[:] = world.events["fill_booked"], []
        world.wait_until(lambda: world.events["fill_booked"] >= fills + 6, 60, "fills while the broker hangs")
        assert max(late) < 1.0, "the loop stood still"
        assert daemon.end(signal.SIGTERM, 15) < 10
        broker.resume()

        def shown_to_who_comes_now() -> list[str]:
            # amqtt's task that tells subscribers dies when it was stopped for longer than it waits for them
            late_reader = Reader(broker.port, username="trader", password="correct horse")
            holds(lambda: bool(late_reader.of(f"{base}/availability")), 5)
            return late_reader.of(f"{base}/availability")

        assert holds(lambda: shown_to_who_comes_now() == ["offline"], 60)
        assert "correct horse" not in world.log.read_text() + "".join(text for _, text, _ in reader.messages)
        assert b"correct horse" not in world.journal.read_bytes()
    finally:
        broker.stop()
