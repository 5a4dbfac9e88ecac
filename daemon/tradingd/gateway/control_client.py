"""The command line's side of the control socket: one request, one answer, no event loop."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path

from tradingd.domain.errors import TradingdError
from tradingd.gateway.commands import MAX_REPLY_BYTES, Reply
from tradingd.gateway.unix_path import connect

_SHORT_WAIT_S = 0.5


NOT_HERE = "start it with `tradingd run`, or say where it is with --config or --socket"
SILENT = "it is there, and stands still or is busy: see its process and its log; --timeout S waits longer"
ENDED = "it may have ended just now: see its log, and ask again"


class DaemonUnreachable(TradingdError):
    """No daemon answers at the socket; the text says why, `advice` what to do about it."""

    def __init__(self, text: str, advice: str = NOT_HERE) -> None:
        super().__init__(text)
        self.advice = advice


def ask(path: Path, command: str, arguments: Mapping[str, str], timeout_s: float = 60.0) -> Reply:
    """Send one command and wait for its reply; raises DaemonUnreachable."""
    try:
        connection = connect(path, timeout_s)
    except FileNotFoundError:
        raise DaemonUnreachable(f"no daemon runs here: {path} does not exist") from None
    except ConnectionRefusedError:
        raise DaemonUnreachable(f"no daemon runs here: nothing listens on {path}, it was left by a dead one") from None
    except PermissionError:
        raise DaemonUnreachable(f"{path} may not be opened by you", "join its group, or use sudo") from None
    except (TimeoutError, BlockingIOError):
        raise DaemonUnreachable(f"the daemon at {path} takes no callers", SILENT) from None
    except OSError as error:
        raise DaemonUnreachable(f"{path} cannot be reached: {error.strerror or error}") from None
    with connection:
        try:
            connection.sendall(json.dumps({"command": command, "arguments": dict(arguments)}).encode() + b"\n")
            answer = _read_line(connection, timeout_s)
        except TimeoutError:
            raise DaemonUnreachable(f"the daemon at {path} did not answer within {timeout_s:g} s", SILENT) from None
        except OSError as error:
            raise DaemonUnreachable(f"the daemon at {path} hung up: {error.strerror or error}", ENDED) from None
    try:
        reply = json.loads(answer)
    except ValueError:
        raise DaemonUnreachable(f"the daemon at {path} hung up before its answer was complete", ENDED) from None
    if not isinstance(reply, dict) or "ok" not in reply:
        raise DaemonUnreachable(f"what listens on {path} is not a tradingd")
    return reply


def _read_line(connection: socket.socket, timeout_s: float) -> bytes:
    """One line, or what came of it before the peer hung up; raises TimeoutError after `timeout_s` of silence."""
    data = bytearray()
    # In short waits: a Ctrl-C that arrives just before the wait begins is seen only when the wait ends.
    connection.settimeout(_SHORT_WAIT_S)
    waits_left = max(1, round(timeout_s / _SHORT_WAIT_S))
    while not data.endswith(b"\n"):
        try:
            piece = connection.recv(65_536)
        except TimeoutError:
            waits_left -= 1
            if not waits_left:
                raise
            continue
        if not piece or len(data) > MAX_REPLY_BYTES:
            break
        data += piece
    return bytes(data)
