"""The in-process bus: a tuple of plain callables per event type, called at once and in a fixed order."""

from collections.abc import Callable
from typing import TypeVar, cast

from tradingd.domain.events import Event

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
        self._pending: list[Event] = []
        self._busy = False
        self.sequence = 0

    def subscribe(self, event_type: type[E], handler: Handler[E]) -> None:
        """Let `handler` hear every event of exactly `event_type`, after those that subscribed before."""
        key = cast("type[Event]", event_type)
        self._handlers[key] = (*self._handlers.get(key, ()), cast("Callable[[Event], None]", handler))

    def publish(self, event: Event) -> None:
        """Number `event` and call its handlers; returns when all have run, or at once from inside a handler."""
        self._pending.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._pending:
                current = self._pending.pop(0)
                self.sequence += 1
                for handler in self._handlers.get(type(current), ()):
                    try:
                        handler(current)
                    except Exception as error:
                        self._on_fault(current, error)
        finally:
            self._busy = False
