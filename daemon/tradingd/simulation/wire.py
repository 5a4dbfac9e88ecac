"""What crossed the wire of a world, kept for the oracle, and digested so that two runs can be compared byte by byte."""

import hashlib
from urllib.parse import parse_qsl

import msgspec


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
        """Query and form body together."""
        return dict(parse_qsl(self.query) + parse_qsl(self.body))

    @property
    def client_order_id(self) -> str | None:
        """The client id of a create, whichever service it is for."""
        params = self.params
        return params.get("newClientOrderId") or params.get("clientAlgoId")

    @property
    def is_create(self) -> bool:
        """Whether it asks for a new order."""
        return self.method == "POST" and self.path in ("/fapi/v1/order", "/fapi/v1/algoOrder")


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
