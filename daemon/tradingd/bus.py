"""The in-process bus: a tuple of plain callables per event type, called at once and in a fixed order."""

from collections import deque
from collections.abc import Callable
from typing import TypeVar, cast

from tradingd.domain.events import Event

MAX_PENDING = 10_000
"""So many events may wait behind the one that is told. Beyond, `publish` refuses with BufferError: the handler that
floods fails, and nothing that others have published is lost. Outside handlers nothing ever waits."""

E = TypeVar("E", bound=Event)
Handler = Callable[[E], None]


class Bus:
    """Numbers each event and fans it out synchronously. Handlers never await; the first subscriber hears first.

    A handler that raises is a fault of the daemon itself: it is told to `on_fault`, and the other handlers still hear
    the event. Publishing from inside a handler queues the event behind the current one, so every handler sees the same
    order of events.
    """

    def __init__(self, on_fault: Callable[[Event, BaseException], None]) -> None:
        self._handlers: dict[type[Event], tuple[Callable[[Event], None], ...]] = {}
        self._on_fault = on_fault
        self._pending: deque[Event] = deque()
        self._busy = False
        self._telling_fault = False
        self.sequence = 0

    def subscribe(self, event_type: type[E], handler: Handler[E]) -> None:
        """Let `handler` hear every event of exactly `event_type`, after those that subscribed before."""
        key = cast("type[Event]", event_type)
        self._handlers[key] = (*self._handlers.get(key, ()), cast("Callable[[Event], None]", handler))

    def publish(self, event: Event) -> None:
        """Number `event` and call its handlers; returns when all have run, or at once from inside a handler. Raises
        BufferError inside a handler when too many wait."""
        if len(self._pending) >= MAX_PENDING and not self._telling_fault:
            raise BufferError(f"{MAX_PENDING} events wait already; {type(event).__name__} is refused")
        self._pending.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._pending:
                current = self._pending.popleft()
                self.sequence += 1
                for handler in self._handlers.get(type(current), ()):
                    try:
                        handler(current)
                    except Exception as error:
                        self._telling_fault = True
                        self._on_fault(current, error)
                        self._telling_fault = False
        finally:
            self._busy = False
