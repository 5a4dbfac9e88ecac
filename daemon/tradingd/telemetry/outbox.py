"""What is to be published and has not been: bounded, filled by the daemon, emptied by whoever has a connection."""

import threading
from collections import deque
from collections.abc import Callable

import msgspec

MAX_EVENTS = 1_000


class Message(msgspec.Struct, frozen=True):
    """One message; `retain`: how something stands, rather than something that happened."""

    topic: str
    payload: str
    retain: bool


class Outbox:
    """A Publisher that only remembers. Of what stands, the newest payload of each topic waits; of what happened, the
    newest MAX_EVENTS, and older ones are dropped and counted. Filled by one thread, emptied by another.

    `on_filled` is called after each message and must not wait.
    """

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self.on_filled: Callable[[], None] = lambda: None
        self._max_events = max_events
        self._lock = threading.Lock()
        self._events: deque[Message] = deque()
        self._retained: dict[str, Message] = {}
        self._waiting: dict[str, Message] = {}
        self._dropped = 0

    def retain(self, topic: str, payload: str) -> None:
        """How something stands now."""
        message = Message(topic, payload, True)
        with self._lock:
            self._retained[topic] = self._waiting[topic] = message
        self.on_filled()

    def publish(self, topic: str, payload: str) -> None:
        """Something that happened."""
        with self._lock:
            if len(self._events) >= self._max_events:
                self._events.popleft()
                self._dropped += 1
            self._events.append(Message(topic, payload, False))
        self.on_filled()

    def take(self) -> Message | None:
        """The next message to send: how things stand goes first."""
        with self._lock:
            if self._waiting:
                return self._waiting.pop(next(iter(self._waiting)))
            return self._events.popleft() if self._events else None

    def give_back(self, message: Message) -> None:
        """It could not be sent, or nobody knows: it goes first, unless something newer took its place."""
        with self._lock:
            if message.retain:
                self._waiting.setdefault(message.topic, message)
            elif len(self._events) < self._max_events:
                self._events.appendleft(message)
            else:
                self._dropped += 1

    def renew(self) -> None:
        """A new connection, perhaps to a broker that has lost what it kept: tell again how everything stands."""
        with self._lock:
            self._waiting.update({topic: each for topic, each in self._retained.items() if topic not in self._waiting})

    @property
    def dropped(self) -> int:
        """How many events were dropped since the start."""
        return self._dropped
