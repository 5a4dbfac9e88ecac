"""The bus keeps the order of events, and no handler can fill it up."""

from tradingd.bus import MAX_PENDING, Bus
from tradingd.domain.errors import Severity
from tradingd.domain.events import Event, IncidentRaised


def event(number: int) -> IncidentRaised:
    return IncidentRaised("test", Severity.WARNING, str(number))


def test_an_event_published_by_a_handler_comes_behind_the_current_one_for_all() -> None:
    heard: list[str] = []
    bus = Bus(lambda event, error: None)

    def first(each: IncidentRaised) -> None:
        heard.append(f"first {each.detail}")
        if each.detail == "1":
            bus.publish(event(2))

    bus.subscribe(IncidentRaised, first)
    bus.subscribe(IncidentRaised, lambda each: heard.append(f"second {each.detail}"))
    bus.publish(event(1))
    assert heard == ["first 1", "second 1", "first 2", "second 2"]


def test_a_handler_that_floods_fails_and_what_waits_is_told_all_the_same() -> None:
    heard: list[str] = []
    faults: list[BaseException] = []

    def on_fault(each: Event, error: BaseException) -> None:
        faults.append(error)
        bus.publish(event(-2))  # the daemon tells of it on the same bus

    bus = Bus(on_fault)

    def flood(each: IncidentRaised) -> None:
        if each.detail == "0":
            bus.publish(event(-1))
            for number in range(1, MAX_PENDING + 10):
                bus.publish(event(number))

    bus.subscribe(IncidentRaised, flood)
    bus.subscribe(IncidentRaised, lambda each: heard.append(each.detail))
    bus.publish(event(0))
    assert [type(fault) for fault in faults] == [BufferError]
    assert heard == ["0", "-1", *map(str, range(1, MAX_PENDING)), "-2"]
    bus.publish(event(3))
    assert heard[-1] == "3"
