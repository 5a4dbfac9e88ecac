"""The outbox is bounded: what stands coalesces, of what happened the oldest goes and is counted."""

from tradingd.telemetry.outbox import Message, Outbox


def drained(outbox: Outbox) -> list[tuple[str, str]]:
    found = []
    while (message := outbox.take()) is not None:
        found.append((message.topic, message.payload))
    return found


def test_of_what_stands_only_the_newest_waits_and_it_goes_first():
    outbox = Outbox()
    outbox.publish("event", "1")
    for number in range(3):
        outbox.retain("state", str(number))
        outbox.retain(f"venue/{number}", "x")
    assert drained(outbox) == [("state", "2"), ("venue/0", "x"), ("venue/1", "x"), ("venue/2", "x"), ("event", "1")]


def test_a_full_outbox_drops_the_oldest_events_and_counts_them():
    outbox = Outbox(max_events=3)
    for number in range(5):
        outbox.publish("event", str(number))
    assert outbox.dropped == 2
    assert drained(outbox) == [("event", "2"), ("event", "3"), ("event", "4")]


def test_what_could_not_be_sent_goes_first_unless_something_newer_took_its_place():
    outbox = Outbox(max_events=2)
    outbox.retain("state", "old")
    outbox.publish("event", "1")
    state, event = outbox.take(), outbox.take()
    assert state == Message("state", "old", True) and event is not None
    outbox.retain("state", "new")
    outbox.publish("event", "2")
    outbox.give_back(state)
    outbox.give_back(event)
    assert drained(outbox) == [("state", "new"), ("event", "1"), ("event", "2")]
    outbox.publish("event", "3")
    outbox.publish("event", "4")
    outbox.give_back(event)
    assert outbox.dropped == 1
    assert drained(outbox) == [("event", "3"), ("event", "4")]


def test_a_new_connection_is_told_again_how_everything_stands():
    outbox = Outbox()
    outbox.retain("state", "1")
    outbox.publish("event", "1")
    drained(outbox)
    outbox.retain("venue", "2")
    outbox.renew()
    assert sorted(drained(outbox)) == [("state", "1"), ("venue", "2")]


def test_whoever_empties_it_is_told_of_each_message():
    outbox = Outbox()
    told: list[bool] = []
    outbox.on_filled = lambda: told.append(True)
    outbox.retain("state", "1")
    outbox.publish("event", "1")
    assert len(told) == 2
