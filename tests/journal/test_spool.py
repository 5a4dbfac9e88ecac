"""The spool: whole lines or none, whatever the disk does; a bad line never keeps the daemon from starting."""

import errno
import os
import subprocess
import sys

import msgspec
import pytest

from tests.journal.making import NOON, inline, make_order
from tradingd.domain.ids import Purpose
from tradingd.domain.orders import OrderStatus
from tradingd.domain.records import FlagRecord
from tradingd.journal.spool import HEADROOM_BYTES, RESERVED_BYTES, Spool


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "journal.sqlite.spool")


def test_what_was_appended_is_read_back_in_order(spool):
    for line in ("one", "two"):
        spool.append(line)
    assert spool.lines() == ["one", "two"]
    spool.clear()
    assert spool.lines() == []


def test_a_disk_that_takes_a_few_bytes_at_a_time_still_gets_the_whole_line(spool, monkeypatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: write(handle, bytes(data)[:3], at))
    spool.append("a line that is longer than three bytes")
    assert spool.lines() == ["a line that is longer than three bytes"]


def test_a_line_behind_a_torn_one_is_whole(spool, monkeypatch):
    write = os.pwrite
    writes = []

    def full(handle, data, at):
        writes.append(data)
        if len(writes) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, bytes(data)[:4], at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        spool.append("torn line")
    monkeypatch.setattr(os, "pwrite", write)
    spool.append("whole line")
    assert spool.lines() == ["torn", "whole line"]


def test_a_last_line_without_its_end_is_torn_and_left_out(spool):
    spool.append("whole")
    with spool.path.open("a") as file:
        file.write("tor")
    assert spool.lines() == ["whole"]


async def test_a_start_takes_orders_in_sets_bad_lines_aside_and_tells(path, spool):
    order, known = make_order(1, Purpose.STOP), make_order(2, Purpose.EXIT, status=OrderStatus.FILLED)
    store = inline(path)
    await store.submit((known,))
    accepted = msgspec.structs.replace(make_order(3, Purpose.STOP), status=OrderStatus.INITIALIZED)
    poison = msgspec.structs.replace(make_order(4, Purpose.STOP), reason="", signed_ms=2**80)
    lines = [b'{"request": {"client_or', msgspec.json.encode(order), b"\xff\xfe", msgspec.json.encode(known)]
    lines += [msgspec.json.encode(accepted), msgspec.json.encode(poison)]
    spool.path.write_bytes(b"\n".join(lines) + b"\ntorn at the e")
    bad = await spool.take_in(store, NOON)
    assert len(bad) == 4
    assert await store.find_order(order.client_order_id) == order
    assert await store.find_order(known.client_order_id) == known
    found = await store.find_order(accepted.client_order_id)
    assert found is not None
    assert found.status is OrderStatus.SUBMITTED
    assert spool.lines() == []
    assert spool.path.read_bytes() == bytes(RESERVED_BYTES)
    kept = spool.bad_path.read_bytes()
    assert b'{"request": {"client_or\n' in kept
    assert b"\xff\xfe\n" in kept
    assert b"torn at the e\n" in kept
    assert bad[-1] == "torn: whether its request left is not known: torn at the e"
    incidents = (await store.recover(NOON)).incidents
    assert [(each.kind, each.severity.value) for each in incidents] == [("spool_line_bad", "critical")] * 4
    assert await spool.take_in(store, NOON + 1) == []
    await store.close()


async def test_a_start_takes_the_spools_bytes_from_the_disk_and_its_lines_end_where_the_zeros_begin(path, spool):
    store = inline(path)
    assert await spool.take_in(store, NOON) == []
    status = spool.path.stat()
    assert status.st_size == RESERVED_BYTES
    assert status.st_blocks * 512 >= RESERVED_BYTES
    assert spool.lines() == []
    spool.append("one")
    spool.append("two")
    assert spool.lines() == ["one", "two"]
    assert spool.path.stat().st_size == RESERVED_BYTES
    spool.clear()
    assert spool.lines() == []
    status = spool.path.stat()
    assert (status.st_size, status.st_blocks * 512 >= RESERVED_BYTES) == (RESERVED_BYTES, True)
    await store.close()


def test_a_spool_that_fills_takes_more_of_the_disk_and_gives_it_back_when_cleared(spool):
    spool.clear()
    line = "x" * 1_000
    for _ in range(100):
        spool.append(line)
        assert spool.path.stat().st_size >= len(spool.path.read_bytes().rstrip(b"\0")) + HEADROOM_BYTES
    assert spool.lines() == [line] * 100
    spool.clear()
    assert spool.path.read_bytes() == bytes(RESERVED_BYTES)


@pytest.mark.parametrize("refusal", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_where_nothing_can_be_reserved_zeros_are_written(spool, monkeypatch, refusal):
    def cannot(handle, offset, size):
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    spool.append("one")
    spool.clear()
    spool.append("two")
    assert spool.lines() == ["two"]
    status = spool.path.stat()
    assert (status.st_size, status.st_blocks * 512 >= RESERVED_BYTES) == (RESERVED_BYTES, True)


async def test_a_start_without_room_for_the_reserve_goes_on_and_says_so(path, spool, monkeypatch):
    def full(handle, offset, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = inline(path)
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert await spool.take_in(store, NOON) == []
    assert (
        spool.trouble == f"{spool.path} has no 65536 bytes of the disk for itself: [Errno 28] No space left on device"
    )
    await store.close()


FULL_DISK = """
import os, sys
from pathlib import Path
from tradingd.journal.spool import Spool

room = Path(sys.argv[1])
spool, late = Spool(room / "spool"), Spool(room / "late")
spool.append("of an earlier run")
spool.clear()
with (room / "filler").open("wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(4096))
    except OSError as error:
        print(error.strerror)
for number in range(60):
    spool.append(f"{number} " + "x" * 900)
print(len(spool.lines()), spool.lines()[-1][:3])
try:
    late.append("x")
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.fault(79)
def test_on_a_disk_that_is_full_the_lines_of_sixty_orders_still_fit(tmp_path):
    mount = 'mount -t tmpfs -o size=512k tradingd-test "$0" && exec "$1" -c "$2" "$0"'
    done = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            mount,
            str(tmp_path),
            sys.executable,
            FULL_DISK,
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"this machine gives no small disk to fill: {done.stderr}")
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["No space left on device", "60 59 ", "No space left on device"]


async def test_a_flag_that_a_dying_process_spooled_is_in_the_journal_at_the_next_start(path, spool):
    flag = FlagRecord("quarantined:mine", "yes", "a handler never ended", NOON)
    spool.append(msgspec.json.encode(flag).decode())
    store = inline(path)
    assert await spool.take_in(store, NOON) == []
    assert (await store.recover(NOON)).flags == (flag,)
    await store.close()
