"""What crossed the wire of a world, kept for the oracle, and digested so that two runs can be compared byte by byte."""

import hashlib
from urllib.parse import parse_qsl

import msgspec

from tradingd.simulation.dialects import CLIENT_IDS, CREATES, LEVELS


class Exchanged(msgspec.Struct):
    """One request: when it left, reached the venue and was answered (world µs; None: never), and what was said."""

    number: int
    incarnation: int
    method: str
    path: str
    query: str
    body: str
    sent_us: int
    fate: str = ""
    arrived_us: int | None = None
    status: int | None = None
    answer: bytes = b""
    answered_us: int | None = None
    journalled: bool | None = None
    ban_ends_us: int | None = None

    @property
    def params(self) -> dict[str, str]:
        """Query and body together, as text: a form, or a JSON object."""
        found = dict(parse_qsl(self.query))
        if self.body.startswith("{"):
            sent = msgspec.json.decode(self.body, type=dict[str, str | int | float | bool | None])
            return found | {name: _text(value) for name, value in sent.items()}
        return found | dict(parse_qsl(self.body))

    @property
    def endpoint(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"

    @property
    def client_order_id(self) -> str | None:
        """The client id of a create, whichever service it is for."""
        params = self.params
        return next((params[name] for name in CLIENT_IDS if params.get(name)), None)

    @property
    def is_create(self) -> bool:
        """Whether it asks for a new order."""
        return self.endpoint in CREATES

    @property
    def is_level(self) -> bool:
        """Whether it sets stop or take profit of a position."""
        return self.endpoint in LEVELS


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class SocketLife(msgspec.Struct):
    """One websocket: when it was opened and when the daemon's side of it ended (world µs; None: still open)."""

    number: int
    incarnation: int
    path: str
    opened_us: int
    closed_us: int | None = None


class WireLog:
    """Everything that was sent, in order."""

    def __init__(self) -> None:
        self.requests: list[Exchanged] = []
        self.sockets: list[SocketLife] = []
        self.frames = 0
        self._digest = hashlib.sha256()

    def note(self, now_us: int, kind: str, *parts: bytes | str) -> None:
        """Take part of the wire into the digest."""
        self._digest.update(f"{now_us} {kind} ".encode())
        for part in parts:
            self._digest.update(part.encode() if isinstance(part, str) else part)
            self._digest.update(b"\x00")

    def hexdigest(self) -> str:
        """The digest of everything so far."""
        return self._digest.hexdigest()
