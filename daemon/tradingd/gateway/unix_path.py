"""Unix socket addresses of any length: the kernel takes 107 bytes, a state directory may have more."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_MAX_BYTES = 107


@contextlib.contextmanager
def unix_address(path: Path) -> Iterator[str]:
    """An address for bind or connect that means `path`, valid inside the block. Raises OSError."""
    if len(os.fsencode(path)) <= _MAX_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def connect(path: Path, timeout_s: float) -> socket.socket:
    """A blocking connection to `path`; raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        with unix_address(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection
