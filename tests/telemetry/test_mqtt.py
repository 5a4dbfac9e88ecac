"""The link to a real broker: what arrives, and what a broker that is down, slow or hanging can do. Nothing, that is."""

import asyncio
import gc
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.telemetry.broker import Broker, Reader, free_port
from tradingd.config import MqttSettings
from tradingd.config.credentials import Secret
from tradingd.telemetry import mqtt
from tradingd.telemetry.mqtt import MqttLink
from tradingd.telemetry.outbox import Message, Outbox

BASE = "tradingd/one"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    made.start()
    yield made
    made.stop()


class World:
    """Outbox and link, as the daemon has them."""

    def __init__(self) -> None:
        self.links: list[MqttLink] = []

    def link(self, port: int, password: str | None = None, delay_s: float = 0.1, **settings: object) -> Outbox:
        outbox = Outbox(max_events=50)
        secret = None if password is None else Secret(password)
        options = MqttSettings.model_validate({"enabled": True, "host": "127.0.0.1", "port": port, **settings})
        link = MqttLink(options, "one", secret, outbox, lambda attempt: delay_s)
        link.start()
        self.links.append(link)
        return outbox


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    for link in made.links:
        await link.stop(0.2)


async def until(condition: Callable[[], bool], limit_s: float = 15.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)


async def test_state_is_kept_by_the_broker_and_events_are_not(broker: Broker, world: World):
    outbox = world.link(broker.port)
    early = Reader(broker.port)
    for number in range(3):
        outbox.retain("state", f'{{"number":{number}}}')
        outbox.publish("event/order", f'{{"order":{number}}}')
    await until(lambda: len(early.of(f"{BASE}/event/order")) == 3)
    await until(lambda: early.of(f"{BASE}/state")[-1:] == ['{"number":2}'])
    late = Reader(broker.port)
    await until(lambda: len(late.messages) >= 2)
    assert set(late.messages) == {(f"{BASE}/availability", "online", True), (f"{BASE}/state", '{"number":2}', True)}


async def test_an_orderly_stop_says_offline_after_everything_else(broker: Broker, world: World):
    outbox = world.link(broker.port)
    reader = Reader(broker.port)
    await until(lambda: "online" in reader.of(f"{BASE}/availability"))
    outbox.publish("event/order", "last")
    await world.links[0].stop(5)
    await until(lambda: len(reader.messages) >= 3)
    assert [text for _, text, _ in reader.messages][-2:] == ["last", "offline"]
    await until(lambda: not any(each.name.startswith("mqtt") for each in threading.enumerate()))


async def test_the_broker_tells_the_last_will_of_a_daemon_that_vanished(broker: Broker, tmp_path: Path):
    script = f"""
import asyncio, os
from tradingd.config import MqttSettings
from tradingd.telemetry.mqtt import MqttLink
from tradingd.telemetry.outbox import Message, Outbox
async def main():
    settings = MqttSettings(enabled=True, host="127.0.0.1", port={broker.port})
    MqttLink(settings, "one", None, Outbox(), lambda attempt: 0.1).start()
    await asyncio.sleep(60)
asyncio.run(main())
"""
    daemon = subprocess.Popen([sys.executable, "-c", script])  # noqa: ASYNC220
    reader = Reader(broker.port)
    try:
        await until(lambda: reader.of(f"{BASE}/availability")[-1:] == ["online"])
    finally:
        daemon.kill()
        daemon.wait()
    await until(lambda: reader.of(f"{BASE}/availability")[-1:] == ["offline"])


async def test_a_broker_that_comes_back_empty_is_told_everything_again(broker: Broker, world: World):
    outbox = world.link(broker.port)
    outbox.retain("state", "stands")
    first = Reader(broker.port)
    await until(lambda: "stands" in first.of(f"{BASE}/state"))
    broker.stop()
    outbox.publish("event/fill", "meanwhile")
    broker.start()
    second = Reader(broker.port)
    await until(lambda: {f"{BASE}/state", f"{BASE}/availability"} <= {topic for topic, _, _ in second.messages})


async def test_an_event_that_the_broker_never_acknowledged_is_kept_for_the_next_connection(
    broker: Broker, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mqtt, "ACKNOWLEDGE_LIMIT_S", 0.3)
    outbox = world.link(broker.port)
    reader = Reader(broker.port)
    await until(lambda: "online" in reader.of(f"{BASE}/availability"))
    given_back: list[str] = []
    give_back = outbox.give_back

    def keep(message: Message) -> None:
        given_back.append(message.payload)
        give_back(message)

    monkeypatch.setattr(outbox, "give_back", keep)
    broker.pause()
    outbox.publish("event/fill", "on its way")
    await until(lambda: given_back == ["on its way"])


async def test_a_broker_that_hangs_stalls_no_loop_and_costs_only_the_oldest_events(
    broker: Broker, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mqtt, "ACKNOWLEDGE_LIMIT_S", 0.5)
    outbox = world.link(broker.port)
    reader = Reader(broker.port)
    await until(lambda: "online" in reader.of(f"{BASE}/availability"))
    broker.pause()
    longest = 0.0
    for number in range(200):
        before = time.perf_counter()
        outbox.publish("event/order", str(number) + " " * 2_000)
        outbox.retain("state", str(number))
        await asyncio.sleep(0.005)
        longest = max(longest, time.perf_counter() - before)
    assert longest < 0.2, "the loop stood still"
    assert outbox.dropped >= 140
    broker.resume()
    await until(lambda: reader.of(f"{BASE}/state")[-1:] == ["199"], 30)
    await until(lambda: reader.of(f"{BASE}/event/order")[-1:] == ["199" + " " * 2_000], 30)


async def test_a_broker_that_hung_until_after_the_stop_tells_the_last_will_all_the_same(
    broker: Broker, world: World, monkeypatch: pytest.MonkeyPatch
):
    """A connection that is given up says no goodbye: the broker would read it later, and keep `online` for ever."""
    monkeypatch.setattr(mqtt, "ACKNOWLEDGE_LIMIT_S", 0.3)
    outbox = world.link(broker.port, delay_s=60)
    reader = Reader(broker.port)
    await until(lambda: "online" in reader.of(f"{BASE}/availability"))
    broker.pause()
    outbox.publish("event/order", "unread")
    await asyncio.sleep(1)  # given up by now
    await world.links[0].stop(0.2)
    broker.resume()
    await until(lambda: reader.of(f"{BASE}/availability")[-1:] == ["offline"])


@pytest.mark.parametrize("kind", ["nobody listens", "silent", "not a broker"])
async def test_without_a_broker_start_and_stop_are_quick(world: World, kind: str):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = free_port() if kind == "nobody listens" else listener.getsockname()[1]
        listener.listen(1)
        if kind == "not a broker":

            def answer() -> None:
                connection, _ = listener.accept()
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            threading.Thread(target=answer, daemon=True).start()
        before = time.perf_counter()
        outbox = world.link(port)
        outbox.publish("event/order", "x")
        assert time.perf_counter() - before < 0.1
        await asyncio.sleep(0.3)
        before = time.perf_counter()
        await world.links[0].stop(0.5)
        assert time.perf_counter() - before < 1.0


PUBLISH_OF_2_KIB = b"\x30\x83\x10\x00\x01a" + b"x" * 2_048
FLOODS = {
    "messages that nobody subscribed to": PUBLISH_OF_2_KIB,
    "acknowledgements of nothing": b"\x40\x02\x00\x01",
    "one packet of 256 MB": b"\x30\xff\xff\xff\x7f" + b"x" * 100_000,
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_broker_that_floods_is_hung_up_on_and_told_of(
    world: World, flood: str, caplog: pytest.LogCaptureFixture
):
    """What it sends would be kept until there is no memory left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[int] = []

        def serve() -> None:
            connection, _ = listener.accept()
            sent = 0
            with connection:
                connection.recv(1_000)
                connection.sendall(b"\x20\x02\x00\x00")  # welcome
                try:
                    while sent < 50_000_000:
                        sent += connection.send(FLOODS[flood])
                except ConnectionError:
                    pass
            taken.append(sent)

        threading.Thread(target=serve, daemon=True).start()
        world.link(listener.getsockname()[1])
        await until(lambda: bool(taken), 20)
        assert taken[0] < 20_000_000, "only what the sockets themselves hold"
        await until(lambda: world.links[0]._told == mqtt.UNASKED)
        gc.collect()
        assert [each.getMessage() for each in caplog.records if each.name == "asyncio"] == []


async def test_name_and_password_are_asked_for_and_a_wrong_one_is_told_without_it(
    tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
):
    broker = Broker(tmp_path, login=("trader", "correct horse"))
    broker.start()
    try:
        world.link(broker.port, "wrong horse", username="trader")
        outbox = world.link(broker.port, "correct horse", username="trader")
        outbox.retain("state", "in")
        reader = Reader(broker.port, username="trader", password="correct horse")
        await until(lambda: "in" in reader.of(f"{BASE}/state"))
        await until(lambda: world.links[0]._attempt > 0)
        await asyncio.sleep(0.05)
    finally:
        broker.stop()
    told = capsys.readouterr()
    assert "mqtt_lost" in told.out and "horse" not in told.out + told.err


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that has signed itself."""
    directory = tmp_path_factory.mktemp("tls")
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=broker",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=directory, capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return directory


async def test_over_tls_the_broker_must_prove_who_it_is(tmp_path: Path, certificates: Path, world: World):
    broker = Broker(tmp_path, tls=certificates)
    broker.start()
    try:
        world.link(broker.port, tls=True)  # signed by nobody that the system knows
        outbox = world.link(broker.port, tls=True, ca_file=certificates / "cert.pem")
        outbox.retain("state", "sealed")
        reader = Reader(broker.port, tls_context=ssl.create_default_context(cafile=certificates / "cert.pem"))
        await until(lambda: "sealed" in reader.of(f"{BASE}/state"))
        await until(lambda: "certificate" in world.links[0]._told.lower())
    finally:
        broker.stop()
