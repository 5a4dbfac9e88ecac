"""sd_notify against real datagram sockets."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tradingd.sd_notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@tradingd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        listener.settimeout(2)
        yield listener, address


def test_each_message_arrives_as_the_service_manager_reads_it(manager) -> None:
    listener, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    assert notifier.enabled
    for send, expected in (
        (lambda: notifier.ready("trading"), b"READY=1\nSTATUS=trading"),
        (lambda: notifier.ready(), b"READY=1"),
        (lambda: notifier.status("one\nREADY=0  two"), b"STATUS=one READY=0 two"),
        (lambda: notifier.watchdog(), b"WATCHDOG=1"),
        (lambda: notifier.extend_start(60), b"EXTEND_TIMEOUT_USEC=60000000"),
        (lambda: notifier.reloading(12.5), b"RELOADING=1\nMONOTONIC_USEC=12500000"),
        (lambda: notifier.stopping("bye"), b"STOPPING=1\nSTATUS=bye"),
    ):
        assert send() is True
        assert listener.recv(4096) == expected


@pytest.mark.parametrize("address", ["", "vsock:2:1", "relative/path", "/does/not/exist", "/" + "x" * 200])
def test_without_a_service_manager_nothing_happens(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address} if address else {})
    assert not notifier.ready() and not notifier.status("x") and not notifier.watchdog() and not notifier.stopping()


def test_a_full_socket_never_blocks(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert not all(notifier.watchdog() for _ in range(10_000))


def test_the_watchdog_is_ours_only_when_the_pid_says_so() -> None:
    assert Notifier({"WATCHDOG_USEC": "30000000"}, pid=7).watchdog_s == 30.0
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, pid=7).watchdog_s == 30.0
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, pid=7).watchdog_s is None
    assert Notifier({"WATCHDOG_USEC": "soon"}, pid=7).watchdog_s is None
    assert Notifier({}, pid=7).watchdog_s is None
