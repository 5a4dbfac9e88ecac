"""The spool file: ids of orders sent although the journal cannot commit, fsynced before their request leaves (P2).

Journal and spool are on one disk, and a full one is what stops the journal. So the spool's bytes are taken from the
disk at the start: zeros, which its lines replace.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from tradingd.domain.errors import JournalUnitRefused, Severity
from tradingd.domain.orders import Order, OrderStatus
from tradingd.domain.records import FlagRecord, IncidentRecord
from tradingd.ports import Store

SHOWN_CHARACTERS = 120
RESERVED_BYTES = 65_536
"""Room for about 90 orders."""
HEADROOM_BYTES = 16_384
"""With less than this left, more is taken from the disk, as long as it has any."""
_NO_FALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class Spool:
    """Appends lines beside the journal, each on the disk before `append` returns; raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bad_path = path.with_name(path.name + ".bad")
        self.trouble = ""
        """Why nothing could be reserved, or ""."""

    def append(self, line: str) -> None:
        """Write one line over the zeros and wait for the disk. Behind a torn line it begins a new one."""
        with _opened(self.path) as handle:
            end = _end(handle)
            torn = end > 0 and os.pread(handle, 1, end - 1) != b"\n"
            end = _write(handle, (b"\n" if torn else b"") + line.encode() + b"\n", end)
            os.fsync(handle)
            if end + HEADROOM_BYTES > os.fstat(handle).st_size:
                self._reserve(handle, end + RESERVED_BYTES)

    def lines(self) -> list[str]:
        """What was spooled; a torn last line, which names no order, is left out."""
        whole, _ = self._read()
        return [line.decode(errors="replace") for line in whole]

    def clear(self) -> None:
        """What was spooled is in the journal now: zeros in its place, and their bytes kept. Raises OSError."""
        with _opened(self.path) as handle:
            # in place, since a full disk has no room for a second file; cut short by a crash, a line is bad, not lost
            _write(handle, bytes(_end(handle)), 0)
            if os.fstat(handle).st_size > RESERVED_BYTES:
                os.ftruncate(handle, RESERVED_BYTES)
            os.fsync(handle)
            self._reserve(handle, RESERVED_BYTES)

    def _reserve(self, handle: int, size: int) -> None:
        """Take the bytes of the file from the disk. What cannot be had is no reason to stop, but to tell."""
        try:
            _allocate(handle, size)
            os.fsync(handle)
            self.trouble = ""
        except OSError as error:
            self.trouble = f"{self.path} has no {size} bytes of the disk for itself: {error}"

    async def take_in(self, store: Store, now_ms: int) -> list[str]:
        """Journal the orders that went out while the journal could not commit, as SUBMITTED: in doubt until the venue
        shows them. Returns what was wrong with each bad line: it is kept in `bad_path` and told as an incident, and
        keeps no start from happening. Raises JournalError when the journal cannot commit, OSError.
        """
        whole, torn = self._read()
        bad: list[str] = []
        for line in [*whole, *([torn] if torn else [])]:
            reason = "torn: whether its request left is not known" if line is torn else await _take_in(line, store)
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
            *whole, torn = self.path.read_bytes().rstrip(b"\0").split(b"\n")
        except FileNotFoundError:
            return [], b""
        return [line for line in whole if line], torn


async def _take_in(line: bytes, store: Store) -> str | None:
    """Journal one order, unless it is there, or a flag; returns why the line is bad."""
    try:
        with suppress(msgspec.ValidationError):
            # a flag is spooled by a process that ends at once, because a plugin does not give its thread back
            flag = msgspec.json.decode(line, type=FlagRecord)
            await store.submit((flag,), durable=True)
            return None
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


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    is_new = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        yield handle
    finally:
        os.close(handle)
    if is_new:
        _sync_directory(path.parent)


def _end(handle: int) -> int:
    """Where the zeros begin."""
    content = os.pread(handle, os.fstat(handle).st_size, 0)
    return len(content.rstrip(b"\0"))


def _write(handle: int, data: bytes, at: int) -> int:
    """Write all of `data`; returns the place behind it."""
    rest = memoryview(data)
    while rest:
        # a disk that fills up takes a part and says so only at the next try
        written = os.pwrite(handle, rest, at)
        rest, at = rest[written:], at + written
    return at


def _allocate(handle: int, size: int) -> None:
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError as error:
        if error.errno not in _NO_FALLOCATE:
            raise
        end = _end(handle)
        _write(handle, bytes(size - end), end)


def _sync_directory(directory: Path) -> None:
    """A new file's name is on the disk only once its directory is."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
