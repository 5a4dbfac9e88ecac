"""The control socket, over real unix sockets."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from tradingd.domain.errors import TradingdError
from tradingd.domain.ids import VenueId
from tradingd.domain.records import CommandRecord
from tradingd.gateway import control
from tradingd.gateway.commands import COMMANDS, MAX_MESSAGE_BYTES
from tradingd.gateway.control import ControlServer, ControlSocketBusy
from tradingd.gateway.control_client import DaemonUnreachable, ask
from tradingd.gateway.unix_path import connect

SECRET = "Kz7qT9vWm2Xc4Yb8Nd1Ef6Gh3Jl5Pr0S"


class Clock:
    speed = 1.0
    error_ms = 0

    def at(self, venue: VenueId) -> "Clock":
        return self

    def now_ms(self) -> int:
        return 1_000

    def wall_ms(self) -> int:
        return 2_000

    def monotonic(self) -> float:
        return 3.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Handler:
    """Answers with what it was asked; `gate` holds a flatten until it is opened."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.flattened = 0
        self.waiting = 0

    async def handle(self, command: str, arguments: dict[str, str]) -> dict[str, Any]:
        if command == "flatten":
            self.waiting += 1
            await self.gate.wait()
            self.flattened += 1
        if command == "resume":
            raise TradingdError("halted: acknowledge the incident first")
        if command == "stop":
            raise ZeroDivisionError("a fault of ours")
        if command == "status":
            return {"secret": SECRET, "odd": float("nan")}
        return {"command": command, "arguments": arguments}


class Bench:
    """One server and everything it told."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.handler = Handler()
        self.records: list[CommandRecord] = []
        self.server = ControlServer(
            path,
            self.handler,
            Clock(),
            record=self.records.append,
            scrub=lambda text: text.replace(SECRET, "***"),
            **options,
        )
        self.path = path

    async def ask(self, command: str, arguments: dict[str, str] | None = None) -> dict[str, Any]:
        return await asyncio.to_thread(ask, self.path, command, arguments or {}, 5.0)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Give way until the server's own tasks have made `condition` true."""
        for _ in range(10_000):
            if condition():
                return
            await asyncio.sleep(0.0005)
        raise AssertionError("it did not come to pass")

    async def raw(self, data: bytes) -> list[dict[str, Any]]:
        reader, writer = await asyncio.open_unix_connection(str(self.path), limit=1 << 20)
        writer.write(data)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return [json.loads(line) for line in answer.splitlines()]


@pytest.fixture
async def open_bench(tmp_path: Path):
    benches: list[Bench] = []

    async def open_bench(path: Path | None = None, **options: Any) -> Bench:
        bench = Bench(path or tmp_path / "sim.sock", **options)
        await bench.server.start()
        benches.append(bench)
        return bench

    yield open_bench
    for bench in benches:
        bench.handler.gate.set()
        await bench.server.stop()


OpenBench = Callable[..., Awaitable[Bench]]


async def test_a_command_is_carried_out_answered_and_recorded(open_bench: OpenBench) -> None:
    bench = await open_bench()
    reply = await bench.ask("pause", {"reason": "lunch"})
    assert reply == {"ok": True, "result": {"command": "pause", "arguments": {"reason": "lunch"}}}
    (record,) = bench.records
    assert record.command == "pause" and json.loads(record.arguments_json) == {"reason": "lunch"}
    assert record.source == f"control socket, uid {os.getuid()}, pid {os.getpid()}"
    assert record.received_ms == 1_000 and json.loads(record.result_json)["ok"] is True


async def test_what_changes_something_is_told_in_the_log_as_it_begins_and_what_only_reads_is_not(
    open_bench: OpenBench,
) -> None:
    """Entries that end because a hand said so must not look like a fault at night."""
    bench = await open_bench()
    by = f"uid {os.getuid()}, pid {os.getpid()}"
    with structlog.testing.capture_logs() as told:
        await bench.ask("status")
        await bench.ask("pause", {"reason": "lunch"})
        await bench.ask("resume")
        flatten = asyncio.create_task(bench.ask("flatten", {"symbol": "BTC/USDT:USDT"}))
        await bench.until(lambda: bench.handler.waiting == 1)
    bench.handler.gate.set()
    await flatten
    assert told == [
        {"event": "command_received", "log_level": "info", "command": "pause", "arguments": "reason lunch", "by": by},
        {"event": "command_received", "log_level": "info", "command": "resume", "by": by},
        {
            "event": "command_refused", "log_level": "warning", "command": "resume",
            "reason": "halted: acknowledge the incident first",
        },
        {
            "event": "command_received", "log_level": "info", "command": "flatten",
            "arguments": "symbol BTC/USDT:USDT", "by": by,
        },
    ]  # fmt: skip


async def test_text_that_no_table_takes_is_taken_as_its_escape_and_bounded(open_bench: OpenBench) -> None:
    bench = await open_bench()
    (reply,) = await bench.raw(b'{"command": "pause", "arguments": {"reason": "bad \\ud800 \\u0000"}}\n')
    assert reply["result"]["arguments"] == {"reason": "bad \\ud800 \\x00"}
    (reply,) = await bench.raw(json.dumps({"command": "pause", "arguments": {"reason": "x" * 9_000}}).encode() + b"\n")
    assert len(reply["result"]["arguments"]["reason"]) == 500
    await bench.raw(b'{"command": "\\ud800"}\n')
    assert bench.records[-1].command == "\\ud800"
    for record in bench.records:
        assert msgspec.json.encode(record)


async def test_answers_and_records_show_no_secret_and_are_strict_json(open_bench: OpenBench) -> None:
    bench = await open_bench()
    assert (await bench.ask("status"))["result"] == {"secret": "***", "odd": "NaN"}
    await bench.ask("pause", {"reason": SECRET})
    assert SECRET not in repr(bench.records)
    assert bench.records[0].result_json == '{"ok":true}'


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"command": "explode"}', "allowed: status, pause"),
        (b'{"command": ["status"]}', "is not known"),
        (b'{"arguments": {}}', "command None is not known"),
        (b'{"command": "status", "arguments": {"x": "1"}}', "allowed: none"),
        (b'{"command": "flatten", "arguments": {"market": "1"}}', "allowed: venue, symbol"),
        (b'{"command": "flatten", "arguments": {"venue": 1}}', "allowed: text"),
        (b'{"command": "flatten", "arguments": []}', "must be a JSON object"),
        (b'{"command": "incidents_ack", "arguments": {}}', "needs the argument id"),
        (b"[1, 2]", "a request is a JSON object"),
        (b"status", "not a line of JSON"),
        (b"\xff\xfe", "not a line of JSON"),
        (b"", "not a line of JSON"),
        (b"[" * 60_000, "not a line of JSON"),
    ],
)
async def test_what_cannot_be_understood_is_refused_with_what_is_allowed(
    open_bench: OpenBench, line: bytes, told: str
) -> None:
    bench = await open_bench()
    (reply,) = await bench.raw(line + b"\n")
    assert reply["ok"] is False and reply["kind"] == "bad_command" and told in reply["error"]
    assert reply["allowed"] == list(COMMANDS)
    assert len(bench.records) == 1, "what was refused is recorded too"
    assert (await bench.ask("pause"))["ok"], "and the server lives"


async def test_several_lines_on_one_connection_are_answered_in_order(open_bench: OpenBench) -> None:
    bench = await open_bench()
    replies = await bench.raw(b'{"command": "pause"}\n{"command": "nonsense"}\n{"command": "incidents"}\n')
    assert [reply["ok"] for reply in replies] == [True, False, True]


async def test_a_request_beyond_the_limit_is_refused(open_bench: OpenBench) -> None:
    bench = await open_bench()
    reader, writer = await asyncio.open_unix_connection(str(bench.path))
    writer.write(b'{"command": "pause", "arguments": {"reason": "' + b"x" * (MAX_MESSAGE_BYTES + 1))
    reply = json.loads(await asyncio.wait_for(reader.readline(), 5))
    assert reply["kind"] == "bad_command" and str(MAX_MESSAGE_BYTES) in reply["error"]
    writer.close()
    assert len(bench.records) == 1


async def test_an_expected_error_is_told_and_an_unexpected_one_only_named(open_bench: OpenBench) -> None:
    bench = await open_bench()
    refused = await bench.ask("resume")
    assert refused == {"ok": False, "kind": "refused", "error": "halted: acknowledge the incident first"}
    failed = await bench.ask("stop")
    assert failed["kind"] == "failed" and "ZeroDivisionError" in failed["error"] and "ours" not in failed["error"]
    assert len(bench.records) == 2


async def test_a_caller_that_hangs_up_does_not_stop_its_flatten(open_bench: OpenBench) -> None:
    bench = await open_bench()
    _reader, writer = await asyncio.open_unix_connection(str(bench.path))
    writer.write(b'{"command": "flatten"}\n')
    await writer.drain()
    assert (await bench.ask("pause"))["ok"]
    writer.transport.abort()
    bench.handler.gate.set()
    await bench.until(lambda: len(bench.records) == 2)
    assert bench.handler.flattened == 1
    assert [record.command for record in bench.records] == ["pause", "flatten"]


async def test_a_command_that_takes_long_is_told_to_be_pending_and_goes_on(open_bench: OpenBench) -> None:
    bench = await open_bench(command_timeout_s=0.05)
    assert (await bench.ask("flatten"))["kind"] == "pending"
    bench.handler.gate.set()
    await bench.until(lambda: bool(bench.records))
    assert bench.handler.flattened == 1


async def test_a_silent_caller_is_sent_away(open_bench: OpenBench) -> None:
    bench = await open_bench(idle_timeout_s=0.05)
    reader, writer = await asyncio.open_unix_connection(str(bench.path))
    assert json.loads(await asyncio.wait_for(reader.readline(), 5))["kind"] == "timeout"
    assert await reader.read() == b""
    writer.close()


async def busy_callers(bench: Bench, count: int) -> list[asyncio.StreamWriter]:
    """So many callers whose flatten is under way."""
    held = []
    for _ in range(count):
        _, writer = await asyncio.open_unix_connection(str(bench.path))
        writer.write(b'{"command": "flatten"}\n')
        held.append(writer)
    await bench.until(lambda: bench.handler.waiting == count)
    return held


async def test_callers_are_bounded_and_who_comes_on_top_is_told_so(open_bench: OpenBench) -> None:
    bench = await open_bench(max_clients=2)
    held = await busy_callers(bench, 2)
    for _ in range(20):
        reply = await bench.ask("status")
        assert reply["kind"] == "busy"
        assert reply["error"] == "2 callers are connected already, the most there may be: ask again in a moment"
    bench.handler.gate.set()
    for writer in held:
        writer.close()
        await writer.wait_closed()
    for _ in range(100):
        if (await bench.ask("status"))["ok"]:
            break
    else:
        pytest.fail("the places of callers that left were not given free")


async def test_a_caller_who_comes_on_top_and_asks_nothing_is_told_so_too(open_bench: OpenBench) -> None:
    bench = await open_bench(max_clients=1, idle_timeout_s=0.05)
    (held,) = await busy_callers(bench, 1)
    reader, writer = await asyncio.open_unix_connection(str(bench.path))
    assert json.loads(await asyncio.wait_for(reader.readline(), 5))["kind"] == "busy"
    writer.close()
    bench.handler.gate.set()
    held.close()


async def test_idle_callers_make_room_for_one_who_asks(open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ROOM_AFTER_S", 0.0)
    bench = await open_bench(max_clients=16)
    idle = [await asyncio.open_unix_connection(str(bench.path)) for _ in range(16)]
    reply = await bench.ask("status")
    assert reply["ok"], reply
    assert json.loads(await asyncio.wait_for(idle[0][0].readline(), 5))["kind"] == "timeout"
    for _, writer in idle:
        writer.close()


async def test_the_socket_is_for_user_and_group_only(open_bench: OpenBench) -> None:
    before = os.umask(0)
    try:
        bench = await open_bench()
    finally:
        os.umask(before)
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o660


async def test_a_path_longer_than_the_kernel_takes_works(open_bench: OpenBench, tmp_path: Path) -> None:
    path = tmp_path / ("d" * 100) / ("e" * 100) / "sim.sock"
    bench = await open_bench(path)
    assert (await bench.ask("pause"))["ok"]
    await bench.server.stop()
    assert not path.exists()


async def test_a_living_daemon_is_not_replaced(open_bench: OpenBench) -> None:
    bench = await open_bench()
    with pytest.raises(ControlSocketBusy, match=rf"runs here already \(pid {os.getpid()}"):
        await Bench(bench.path).server.start()
    assert (await bench.ask("pause"))["ok"], "and goes on undisturbed"


async def test_a_living_listener_without_our_lock_is_not_replaced(open_bench: OpenBench) -> None:
    bench = await open_bench()
    bench.path.with_name("sim.sock.lock").unlink()
    with pytest.raises(ControlSocketBusy, match="listens on"):
        await Bench(bench.path).server.start()
    assert (await bench.ask("pause"))["ok"]


async def test_a_listener_that_is_full_and_silent_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sim.sock"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen(0)
        first = connect(path, 1)
        with pytest.raises(ControlSocketBusy):
            await Bench(path).server.start()
        first.close()
    assert path.exists()


async def test_something_else_at_the_path_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sim.sock"
    path.write_text("precious")
    with pytest.raises(ControlSocketBusy, match="not a socket"):
        await Bench(path).server.start()
    assert path.read_text() == "precious"


SERVER = """
import asyncio, sys
from pathlib import Path
from tests.gateway.test_control import Bench

async def main():
    await Bench(Path(sys.argv[1])).server.start()
    print("up", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_socket_of_a_killed_daemon_is_taken_over(open_bench: OpenBench, tmp_path: Path) -> None:
    path = tmp_path / "sim.sock"
    dead = subprocess.Popen([sys.executable, "-c", SERVER, str(path)], stdout=subprocess.PIPE)  # noqa: ASYNC220
    assert dead.stdout is not None and dead.stdout.readline() == b"up\n"
    with pytest.raises(ControlSocketBusy, match=f"pid {dead.pid}"):
        await Bench(path).server.start()
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    dead.stdout.close()
    assert path.exists()
    with pytest.raises(DaemonUnreachable, match="left by a dead one"):
        ask(path, "status", {})
    bench = await open_bench(path)
    assert (await bench.ask("pause"))["ok"]


async def test_stopping_answers_who_asked_and_removes_the_socket(open_bench: OpenBench) -> None:
    bench = await open_bench()
    asking = asyncio.create_task(bench.ask("flatten"))
    idle_reader, idle_writer = await asyncio.open_unix_connection(str(bench.path))
    await bench.until(lambda: bench.handler.waiting == 1)
    stopping = asyncio.create_task(bench.server.stop())
    await asyncio.sleep(0)
    bench.handler.gate.set()
    assert (await asking)["ok"]
    await stopping
    assert await idle_reader.read() == b""
    idle_writer.close()
    assert not bench.path.exists()
    with pytest.raises(DaemonUnreachable, match="does not exist"):
        ask(bench.path, "status", {})


async def test_a_caller_that_still_listens_at_the_stop_is_no_error_of_the_event_loop(open_bench: OpenBench) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    bench = await open_bench()
    reader, writer = await asyncio.open_unix_connection(str(bench.path))
    writer.write(b'{"command": "status", "arguments": {}}\n')
    assert json.loads(await reader.readline())["ok"]
    await bench.server.stop()
    assert await reader.read() == b""
    await asyncio.sleep(0)
    writer.close()
    assert told == []


async def test_a_command_that_does_not_end_is_abandoned_at_the_stop(
    open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CLOSE_TIMEOUT_S", 0.05)
    bench = await open_bench()
    asking = asyncio.create_task(bench.ask("flatten"))
    await bench.until(lambda: bench.handler.waiting == 1)
    started = time.monotonic()
    await bench.server.stop()
    assert time.monotonic() - started < 1
    with pytest.raises(DaemonUnreachable, match="hung up"):
        await asking
    assert bench.handler.flattened == 0 and json.loads(bench.records[-1].result_json)["ok"] is False


def test_something_that_is_no_daemon_is_told_so(tmp_path: Path) -> None:
    import threading

    path = tmp_path / "sim.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def answer() -> None:
            caller, _ = other.accept()
            caller.recv(100)
            caller.sendall(b'"hello"\n')
            caller.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DaemonUnreachable, match="not a tradingd"):
            ask(path, "status", {}, 2)
        thread.join()
        with pytest.raises(DaemonUnreachable, match="did not answer within"):
            ask(path, "status", {}, 0.05)
