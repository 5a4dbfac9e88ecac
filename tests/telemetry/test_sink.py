"""The far end of the log is a pipe, a terminal, a socket or a disk, each of which can fail in its own way."""

import os
import pty
import socket
import time

import pytest

from tradingd.telemetry.sink import FdSink

LINE = b"x" * 99 + b"\n"


def drain(fd: int) -> bytes:
    os.set_blocking(fd, False)
    data = b""
    while True:
        try:
            piece = os.read(fd, 65_536)
        except OSError:
            return data
        if not piece:
            return data
        data += piece


def fill(sink: FdSink, lines: int) -> float:
    started = time.perf_counter()
    for number in range(lines):
        sink.write(b"%08d " % number + b"x" * 90 + b"\n")
    return time.perf_counter() - started


def assert_whole_lines_in_order(data: bytes) -> list[int]:
    lines = data.splitlines()
    assert all(len(line) == 99 for line in lines)
    numbers = [int(line[:8]) for line in lines]
    assert numbers == sorted(set(numbers))
    return numbers


def test_a_pipe_that_nobody_reads_never_blocks_and_keeps_what_it_can() -> None:
    reader, writer = os.pipe()
    sink = FdSink(writer, max_pending_bytes=50_000)
    assert fill(sink, 5_000) < 2
    assert sink.lost_lines > 0
    taken = drain(reader)
    sink.close()
    numbers = assert_whole_lines_in_order(taken + drain(reader))
    assert numbers[-1] == 4_999, "the newest lines are those that are kept"
    assert len(numbers) + sink.take_lost() == 5_000
    assert os.get_blocking(writer), "the descriptor that others share is left as it was"
    os.close(reader)
    os.close(writer)


def test_a_stopped_terminal_never_blocks() -> None:
    master, slave = pty.openpty()
    sink = FdSink(slave, max_pending_bytes=20_000)
    assert fill(sink, 5_000) < 2
    assert sink.lost_lines > 0
    assert os.get_blocking(slave)
    sink.close(wait_s=0.01)
    os.close(master)
    os.close(slave)


def test_a_full_stream_socket_never_blocks() -> None:
    near, far = socket.socketpair()
    sink = FdSink(near.fileno(), max_pending_bytes=20_000)
    assert fill(sink, 20_000) < 5
    assert sink.lost_lines > 0
    taken = drain(far.fileno())
    sink.close()
    assert_whole_lines_in_order(taken + drain(far.fileno()))
    assert near.getblocking()
    near.close()
    far.close()


def test_a_reader_that_went_away_costs_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    sink = FdSink(writer)
    os.close(reader)
    for _ in range(3):
        sink.write(LINE)
    assert sink.lost_lines == 3
    sink.close()
    os.close(writer)


def test_a_closed_descriptor_costs_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    sink = FdSink(writer)
    sink.write(LINE)
    assert sink.take_lost() == 1
    assert sink.lost_lines == 0
    sink.close()


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    sink = FdSink(fd)
    sink.write(LINE)
    sink.write(LINE)
    assert sink.lost_lines == 2
    sink.close()
    os.close(fd)


def test_after_a_torn_line_the_next_one_begins_on_a_line_of_its_own(tmp_path) -> None:
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sink = FdSink(fd)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (150, before[1]))  # the disk is full in the middle of a line
        sink.write(LINE)
        sink.write(LINE)
        assert sink.lost_lines == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    sink.write(b"whole\n")
    sink.close()
    os.close(fd)
    assert path.read_bytes() == LINE + b"x" * 50 + b"\nwhole\n"


def test_a_file_that_others_append_to_keeps_their_lines(tmp_path) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    sink = FdSink(fd)
    sink.write(b"one\n")
    os.write(fd, b"two\n")
    sink.write(b"three\n")
    sink.close()
    os.close(fd)
    assert path.read_bytes() == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("lines", [1, 10])
def test_close_writes_what_is_pending(lines: int) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"y" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    sink = FdSink(writer)
    for _ in range(lines):
        sink.write(LINE)
    filler = drain(reader)
    sink.close()
    assert drain(reader) == LINE * lines
    assert set(filler) == {ord("y")}
    os.close(reader)
    os.close(writer)
