"""Each error of the venue's page, answered to the real core: raw code in the journal, meaning, action."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.venues.binance_traps.codes import LASTING, ROWS, Act, Row, Says
from tests.venues.binance_traps.worlds import Told, answering, minute_ms, once, play
from tradingd.emulator.faults.language import Rule
from tradingd.simulation.clock import START_MS
from tradingd.venues.binance.errors import SUBMIT

PASSING = [row for row in ROWS if row.act not in LASTING]
ENTRIES = [row for row in PASSING if row.act is not Act.RESIGN]
STOPS = [row for row in PASSING if row.act is not Act.CLOSE]
ENTER, EXIT = "buy 0.02 0.02", "exit"


def params(rows: list[Row]) -> Any:
    return pytest.mark.parametrize(
        ("number", "row"), [pytest.param(number, row, id=row.name) for number, row in enumerate(rows)]
    )


def of_act(*acts: Act) -> Any:
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS if row.act in acts])


def one(rows: list[Any]) -> Any:
    assert len(rows) == 1, rows
    return rows[0]


def raw(events: list[Any], row: Row, purpose: str) -> Any:
    """The one event of a slot that has the row's raw code, or its words where it has none."""
    words = row.text if row.text and "{" not in row.text else f"HTTP {row.status}"
    found = [
        event
        for event in events
        if event["purpose"] == purpose
        and (event["raw_code"] == row.raw_code if row.raw_code else words in event["detail"])
        and event["source"] == "reply"
    ]
    event = one(found)
    assert words in event["detail"] and f"HTTP {row.status}" in event["detail"], event
    return event


def quantity(fill: Any) -> Decimal:
    return Decimal(str(fill["quantity"]))


def is_flat(told: Told) -> bool:
    """Whether something was bought, and all of it sold."""
    sums = [sum(quantity(fill) for fill in told.fills if fill["side"] == side) for side in ("buy", "sell")]
    return sums[0] == sums[1] > 0


# --- entries -----------------------------------------------------------------------------------------------------


def entries() -> Told:
    lines = "; ".join(f"{number + 1} {ENTER}" for number in range(len(ENTRIES)))
    rules = [answering(row, "create", number + 1) for number, row in enumerate(ENTRIES)]
    return play(lines, rules, len(ENTRIES) + 1)


@pytest.mark.fault(7, 8)
@params(ENTRIES)
def test_an_entry_that_is_refused_or_in_doubt_has_the_venues_code_in_the_journal(number: int, row: Row) -> None:
    told = once("entries", entries)
    slot = told.within(told.events, number + 1)
    event = raw(slot, row, "entry")
    intent = one(told.within(told.intents, number + 1, key="created_ms"))
    if row.says is Says.NO:
        assert (event["event"], event["after"]) == ("reject", "REJECTED")
        assert intent["outcome"] == "failed" and (row.raw_code or f"HTTP {row.status}") in intent["detail"]
        assert [r["raw_code"] for r in told.within(told.rejections, number + 1) if r["by"] == "venue"] == [
            row.raw_code or "throttled"
        ]
    else:
        assert (event["event"], event["after"]) == ("time_out", "IN_DOUBT")
        verdict = one([e for e in slot if e["event"] == "not_found"])
        assert verdict["time_ms"] - event["time_ms"] > 5_000, "only past the fence"
        assert intent["outcome"] == "ordered"
    assert len({e["client_order_id"] for e in slot}) == 1, "one leg and no other"
    assert not told.fills


@pytest.mark.fault(47)
@params([row for row in ENTRIES if row.act is Act.RULES])
def test_a_broken_filter_has_the_filters_read_anew(number: int, row: Row) -> None:
    told = once(f"rules {row.name}", lambda: play(f"1 {ENTER}", [answering(row, "create", 1)], 2))
    assert told.sent("/fapi/v1/exchangeInfo", minute_ms(1), minute_ms(1) + 5_000)


# --- stops, exits, cancels ---------------------------------------------------------------------------------------


def rounds() -> Told:
    lines, rules = [], []
    for number, row in enumerate(STOPS):
        minute = 2 * number + 1
        lines += [f"{minute} {ENTER}", f"{minute + 1} {EXIT}"]
        rules += [answering(row, "create_conditional", minute), answering(row, "create", minute + 1)]
        rules += [answering(row, "cancel_conditional", minute + 1)]
    return play("; ".join(lines), rules, 2 * len(STOPS) + 1)


@params(STOPS)
def test_a_stop_that_is_refused_or_in_doubt_stands_within_five_seconds_all_the_same(number: int, row: Row) -> None:
    told = once("rounds", rounds)
    slot = told.within(told.events, 2 * number + 1)
    event = raw(slot, row, "stop")
    assert event["event"] == ("reject" if row.says is Says.NO else "time_out")
    fill = told.within(told.fills, 2 * number + 1)[0]
    stands = [e for e in slot if e["purpose"] == "stop" and e["after"] == "ACCEPTED"]
    assert stands and stands[0]["time_ms"] - fill["time_ms"] < 5_000
    assert "stop_not_placed" in {incident["kind"] for incident in told.incidents}


@params(STOPS)
def test_an_exit_goes_on_until_flat_whatever_the_venue_answers(number: int, row: Row) -> None:
    told = once("rounds", rounds)
    slot = told.within(told.events, 2 * number + 2)
    event = raw(slot, row, "exit")
    fills = told.within(told.fills, 2 * number + 2)
    assert {fill["side"] for fill in fills} == {"sell"}
    assert sum(map(quantity, fills)) == sum(map(quantity, told.within(told.fills, 2 * number + 1)))
    assert event["time_ms"] <= fills[0]["time_ms"] and fills[-1]["time_ms"] < event["time_ms"] + 5_000


@pytest.mark.fault(38)
@params(STOPS)
def test_a_cancel_that_fails_is_in_the_journal_and_the_order_goes_all_the_same(number: int, row: Row) -> None:
    told = once("rounds", rounds)
    slot = [e for e in told.within(told.events, 2 * number + 2) if e["purpose"] in ("stop", "take_profit")]
    words = row.raw_code or f"HTTP {row.status}"
    unchanged = [e for e in slot if e["event"] == "cancel" and e["before"] == e["after"] == "ACCEPTED"]
    failed = one(unchanged)
    assert (failed["raw_code"], failed["source"]) == (row.raw_code, "reply") and words in f"{words} {failed['detail']}"
    ended = {e["client_order_id"] for e in slot if e["after"] == "CANCELED"}
    assert failed["client_order_id"] in ended and len(ended) == 2


# --- what lasts --------------------------------------------------------------------------------------------------


@pytest.mark.fault(43)
@of_act(Act.CLOSE)
def test_a_stop_whose_level_is_passed_closes_the_position(row: Row) -> None:
    told = once(f"close {row.name}", lambda: play(f"1 {ENTER}", [answering(row, "create_conditional", 1)], 1.5))
    raw(told.events, row, "stop")
    assert is_flat(told) and told.fills[-1]["time_ms"] - told.fills[0]["time_ms"] < 5_000
    assert "emergency_close" in {i["kind"] for i in told.incidents}


@pytest.mark.fault(42)
@of_act(Act.REFETCH)
def test_an_exit_of_what_is_gone_asks_what_is_held_and_is_done(row: Row) -> None:
    """Another hand closed the position just before, and the stream tells nothing of it."""
    from_ms = minute_ms(2) - 2_000
    deaf = Rule(do="lose_push", push=("order", "fill", "account"), since_ms=from_ms, until_ms=from_ms + 20_000)
    hand = Rule(do="human", since_ms=minute_ms(2) - 20, times=1, what=(("act", "close"), ("symbol", "BTCUSDT")))
    deaf_and_closed = [deaf, hand, answering(row, "create", 2)]
    told = once(f"gone {row.name}", lambda: play(f"1 {ENTER}; 2 {EXIT}", deaf_and_closed, 2.4))
    assert "venue: human" in told.played
    refused = raw(told.events, row, "exit")
    assert told.sent("/fapi/v3/positionRisk", refused["time_ms"], refused["time_ms"] + 5_000)
    assert len(told.sent("/fapi/v1/order", from_ms, 1 << 62, "POST")) == 1, "flat is success: none behind it"
    assert is_flat(told) and not {i["kind"] for i in told.incidents} & {"exit_not_done", "position_corrected"}


@of_act(Act.ADOPT)
def test_a_stop_that_stands_already_is_found_and_adopted(row: Row) -> None:
    """The venue took the first one, says of it what it would say of a second, and its stream tells nothing of it."""
    rule = answering(row, "create_conditional", 1)
    taken = msgspec.structs.replace(rule, what=tuple(sorted((*rule.what, ("executed", True)))))
    deaf = Rule(do="lose_push", push=("order",), since_ms=minute_ms(1) - 2_000, until_ms=minute_ms(1) + 20_000)
    told = once(f"adopt {row.name}", lambda: play(f"1 {ENTER}", [deaf, taken], 1.5))
    refused = raw(told.events, row, "stop")
    assert told.sent("/fapi/v1/openAlgoOrders", refused["time_ms"], refused["time_ms"] + 2_000)
    assert len([e for e in told.events if e["purpose"] == "stop" and e["event"] == "submit"]) == 1, "and no second one"
    assert [e["status"] for e in told.events if e["purpose"] == "stop"][-1] == "ACCEPTED"
    assert not is_flat(told) and "emergency_close" not in {i["kind"] for i in told.incidents}


@pytest.mark.fault(27)
@of_act(Act.RESIGN)
def test_a_signature_out_of_time_has_the_clock_set_and_is_signed_anew_once(row: Row) -> None:
    told = once(f"resign {row.name}", lambda: play(f"1 {ENTER}", [answering(row, "create", 1)], 1.5))
    refused = raw(told.events, row, "entry")
    fill = told.fills[0]
    assert fill["client_order_id"] != refused["client_order_id"]
    assert told.sent("/fapi/v1/time", refused["time_ms"], fill["time_ms"])
    assert fill["time_ms"] - refused["time_ms"] < 5_000
    assert one(told.intents)["outcome"] == "ordered"
    told = once(f"resign twice {row.name}", lambda: play(f"1 {ENTER}", [answering(row, "create", 1, times=None)], 1.5))
    assert not told.fills and len(told.sent("/fapi/v1/order", 0, 1 << 62, "POST")) == 2
    assert (one(told.intents)["outcome"], one(told.intents)["reason"]) == ("failed", "clock")


@pytest.mark.fault(71)
@of_act(Act.REST)
def test_a_refused_key_stops_entries_for_a_minute_and_the_operator_is_told(row: Row) -> None:
    intents = f"1 {ENTER}; 2 {ENTER}; 3 {ENTER}"
    told = once(f"rest {row.name}", lambda: play(intents, [answering(row, "create", 1)], 3.5))
    raw(told.events, row, "entry")
    assert [(i["outcome"], i["reason"]) for i in told.intents] == [
        ("failed", "authentication"),
        ("denied", "instrument_blocked"),
        ("ordered", ""),
    ]
    (refused,) = [i for i in told.incidents if i["kind"] == "key_refused"]
    assert refused["severity"] == "critical" and str(row.code) in refused["detail"]


@pytest.mark.fault(54)
@of_act(Act.ALARM, Act.BLOCK)
def test_a_mistake_of_configuration_blocks_the_instrument_and_is_told(row: Row) -> None:
    told = once(f"block {row.name}", lambda: play(f"1 {ENTER}; 3 {ENTER}", [answering(row, "create", 1)], 3.5))
    raw(told.events, row, "entry")
    assert [(i["outcome"], i["reason"]) for i in told.intents] == [
        ("failed", "configuration"),
        ("denied", "instrument_blocked"),
    ]
    blocked = one([i for i in told.incidents if i["kind"] == "instrument_blocked"])
    assert blocked["severity"] == "critical" and str(row.code) in blocked["detail"]
    assert blocked["detail"].endswith("until a restart"), "and how it is lifted"


@pytest.mark.fault(45)
@of_act(Act.ALARM, Act.BLOCK)
def test_a_stop_that_no_try_can_place_is_an_alarm_and_the_position_is_closed(row: Row) -> None:
    rule = answering(row, "create_conditional", 1, times=None)
    told = once(f"no stop {row.name}", lambda: play(f"1 {ENTER}", [rule], 1.5))
    alarm = next(i for i in told.incidents if i["kind"] == "stop_not_placed")
    assert alarm["severity"] == "critical" and str(row.code) in alarm["detail"]
    bought_ms = told.fills[0]["time_ms"]
    assert is_flat(told)
    assert alarm["raised_ms"] - bought_ms < 1_000 and told.fills[-1]["time_ms"] - bought_ms < 7_000


@pytest.mark.fault(50)
@of_act(Act.EXITS_ONLY)
def test_reduce_only_says_the_venue_and_the_instrument_takes_exits_only_for_a_while(row: Row) -> None:
    minutes = 17 if row.code == -4400 else 5  # one of them until the while is over
    lines = f"1 {ENTER}; 2 {EXIT}; 3 {ENTER}; 5 {ENTER}; 17 {ENTER}"
    told = once(f"exits only {row.name}", lambda: play(lines, [answering(row, "create", 3)], minutes + 0.5))
    event = raw(told.events, row, "entry")
    assert event["event"] == "reject"
    assert [(i["outcome"], i["reason"]) for i in told.intents] == [
        ("ordered", ""),
        ("ordered", "script"),
        ("failed", "venue_reduce_only"),
        ("denied", "instrument_blocked"),
        *([("ordered", "")] if minutes > 15 else []),
    ]
    assert any(i["kind"] == "exits_only" and str(row.code) in i["detail"] for i in told.incidents)
    told = once(f"exit {row.name}", lambda: play(f"1 {ENTER}; 2 {EXIT}", [answering(row, "create", 2)], 3))
    assert is_flat(told), "exits go on"


@pytest.mark.fault(13)
@of_act(Act.BAN)
def test_while_a_ban_lasts_nothing_leaves(row: Row) -> None:
    told = once(f"ban {row.name} {row.status}", lambda: play(f"1 {ENTER}", [answering(row, "create", 1)], 4))
    event = raw(told.events, row, "entry")
    assert event["event"] == ("reject" if row.says is Says.NO else "time_out")
    ban = one(told.bans)
    last_ms = max(
        START_MS + r.sent_us // 1000
        for r in told.requests
        if r.method != "DIAL" and START_MS + r.sent_us // 1000 < ban["until_ms"]
    )
    assert last_ms <= event["time_ms"]
    expected_ms = minute_ms(1) - 2_000 + 95_000 if row.status == 418 else minute_ms(2)
    assert abs(ban["until_ms"] - expected_ms) < 1_000
    assert told.ready


@pytest.mark.fault(12)
@of_act(Act.ORDERS_OVER)
def test_too_many_orders_hold_orders_back_and_nothing_else(row: Row) -> None:
    told = once("orders over", lambda: play(f"1 {ENTER}; 2 {ENTER}", [answering(row, "create", 1)], 2.5))
    refused = raw(told.events, row, "entry")
    assert refused["event"] == "reject" and told.ready
    assert [i["outcome"] for i in told.intents] == ["failed", "ordered"] and told.fills
    window = refused["time_ms"] + 1, minute_ms(1) + 9_900
    assert not told.sent("/fapi/v1/order", *window, "POST")
    assert told.sent("/fapi/v3/account", *window), "what places no order goes on"
    assert one(told.bans)["scope"] == "orders"


# --- the table is whole ------------------------------------------------------------------------------------------


def test_every_row_of_the_page_is_among_these_and_every_code_of_ours_says_the_same() -> None:
    ours = {int(code): meaning.kind for code, meaning in SUBMIT.items()}
    for row in ROWS:
        if row.code in ours:
            assert (ours[row.code] is None) is (row.says is not Says.NO), row
        else:
            assert row.code in (0, -9999), row
    assert {row.act for row in ROWS} == set(Act)
    assert len(ROWS) == len({(row.code, row.status, row.text) for row in ROWS})
