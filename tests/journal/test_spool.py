"""The spool: whole lines or none, whatever the disk does; a bad line never keeps the daemon from starting."""

import errno
import os

import msgspec
import pytest

from tests.journal.making import NOON, inline, make_order
from tradingd.domain.ids import Purpose
from tradingd.domain.orders import OrderStatus
from tradingd.journal.spool import Spool


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
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data)[:3]))
    spool.append("a line that is longer than three bytes")
    assert spool.lines() == ["a line that is longer than three bytes"]


def test_a_line_behind_a_torn_one_is_whole(spool, monkeypatch):
    write = os.write
    writes = []

    def full(handle, data):
        writes.append(data)
        if len(writes) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, bytes(data)[:4])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        spool.append("torn line")
    monkeypatch.setattr(os, "write", write)
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
    assert not spool.path.exists()
    kept = spool.bad_path.read_bytes()
    assert b'{"request": {"client_or\n' in kept
    assert b"\xff\xfe\n" in kept
    assert b"torn at the e\n" in kept
    incidents = (await store.recover(NOON)).incidents
    assert [(each.kind, each.severity.value) for each in incidents] == [("spool_line_bad", "critical")] * 4
    assert await spool.take_in(store, NOON + 1) == []
    await store.close()
