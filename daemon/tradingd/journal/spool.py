"""The spool file: ids of orders sent although the journal cannot commit, fsynced before their request leaves (P2)."""

import os
from pathlib import Path

import msgspec

from tradingd.domain.errors import JournalUnitRefused, Severity
from tradingd.domain.orders import Order, OrderStatus
from tradingd.domain.records import IncidentRecord
from tradingd.ports import Store

SHOWN_CHARACTERS = 120


class Spool:
    """Appends lines beside the journal, each on the disk before `append` returns; raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bad_path = path.with_name(path.name + ".bad")

    def append(self, line: str) -> None:
        """Write one line and wait for the disk."""
        append_line(self.path, line.encode())

    def lines(self) -> list[str]:
        """What was spooled; a torn last line is left out, for its request never left."""
        whole, _ = self._read()
        return [line.decode(errors="replace") for line in whole]

    def clear(self) -> None:
        """What was spooled is in the journal now."""
        self.path.unlink(missing_ok=True)

    async def take_in(self, store: Store, now_ms: int) -> list[str]:
        """Journal the orders that went out while the journal could not commit, as SUBMITTED: in doubt until the venue
        shows them. Returns what was wrong with each bad line: it is kept in `bad_path` and told as an incident, and
        keeps no start from happening. Raises JournalError when the journal cannot commit, OSError.
        """
        whole, torn = self._read()
        bad: list[str] = []
        for line in [*whole, *([torn] if torn else [])]:
            reason = "torn: its request never left" if line is torn else await _take_in(line, store)
            if reason is None:
                continue
            append_line(self.bad_path, line)
            shown = line[:SHOWN_CHARACTERS].decode("ascii", errors="backslashreplace")
            bad.append(f"{reason}: {shown}")
            incident = IncidentRecord(
                f"spool-{now_ms}-{len(bad)}",
                "spool_line_bad",
                Severity.CRITICAL,
                f"a spooled line is no order ({bad[-1]}); kept in {self.bad_path}. Look for its order at the venue.",
                None,
                None,
                None,
                now_ms,
            )
            await store.submit((incident,), durable=True)
        self.clear()
        return bad

    def _read(self) -> tuple[list[bytes], bytes]:
        """The whole lines, and what stands behind the last of them."""
        try:
            *whole, torn = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return [], b""
        return [line for line in whole if line], torn


async def _take_in(line: bytes, store: Store) -> str | None:
    """Journal one order, unless it is there; returns why the line is bad."""
    try:
        order = msgspec.json.decode(line, type=Order)
        if await store.find_order(order.client_order_id) is None:
            await store.submit((msgspec.structs.replace(order, status=OrderStatus.SUBMITTED),), durable=True)
    except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError, JournalUnitRefused) as error:
        return str(error)
    return None


def append_line(path: Path, line: bytes) -> None:
    """Append one whole line, on the disk when this returns; raises OSError. Behind a torn line it begins a new one."""
    is_new = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        rest = memoryview((b"\n" if torn else b"") + line + b"\n")
        while rest:
            # a disk that fills up takes a part and says so only at the next try
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    if is_new:
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """A new file's name is on the disk only once its directory is."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
