"""Each retCode of the venue, and what the daemon takes it for. The expectations are written out here, not derived."""

import json

import pytest

from tradingd.domain.account import CancelVerdict, RejectKind, SubmitVerdict
from tradingd.domain.errors import VenueBanned, VenueError, VenueUnreachable
from tradingd.venues.bybit.errors import ERRORS
from tradingd.venues.error_map import ban_until_ms, classify_cancel, classify_submit, read_error
from tradingd.venues.reply import Reply

NOW_MS = 1_790_000_012_345
IN_DOUBT = None

MEANINGS: list[tuple[int, RejectKind | None]] = [
    (10000, IN_DOUBT),
    (10016, IN_DOUBT),
    (10019, IN_DOUBT),
    (429, IN_DOUBT),
    (500000, IN_DOUBT),
    (3400214, IN_DOUBT),
    (170007, IN_DOUBT),
    (110072, IN_DOUBT),
    (110001, IN_DOUBT),
    (999999, IN_DOUBT),
    (10001, RejectKind.CONFIGURATION),
    (10002, RejectKind.CLOCK),
    (10003, RejectKind.AUTHENTICATION),
    (10004, RejectKind.AUTHENTICATION),
    (10005, RejectKind.AUTHENTICATION),
    (10006, RejectKind.THROTTLED),
    (10018, RejectKind.BANNED),
    (110003, RejectKind.FILTER),
    (110094, RejectKind.FILTER),
    (110004, RejectKind.MARGIN),
    (110007, RejectKind.MARGIN),
    (110012, RejectKind.MARGIN),
    (110044, RejectKind.MARGIN),
    (110092, RejectKind.WOULD_TRIGGER),
    (110093, RejectKind.WOULD_TRIGGER),
    (110017, RejectKind.REDUCE_ONLY),
    (110009, RejectKind.OTHER),
    (110020, RejectKind.OTHER),
    (110057, RejectKind.OTHER),
    (110074, RejectKind.OTHER),
    (110023, RejectKind.VENUE_REDUCE_ONLY),
]


def refused(code: int, status: int = 200, text: str = "as the venue says") -> Reply:
    value = {"retCode": code, "retMsg": text, "result": {}, "retExtInfo": {}, "time": 1_790_429_418_000}
    return Reply(wrote=True, status=status, body=json.dumps(value), failure="SomeCcxtClass")


@pytest.mark.fault(7, 8, 42, 43)
@pytest.mark.parametrize(("code", "kind"), MEANINGS)
def test_a_code_means_to_a_submit(code: int, kind: RejectKind | None) -> None:
    outcome = classify_submit(ERRORS, refused(code), None)
    assert outcome.verdict is (SubmitVerdict.AMBIGUOUS if kind is IN_DOUBT else SubmitVerdict.NOT_EXECUTED)
    assert outcome.code == str(code) and "as the venue says" in outcome.message and outcome.sent
    if kind is not IN_DOUBT:
        assert outcome.kind is kind


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Qty invalid", RejectKind.FILTER),
        ("Price invalid", RejectKind.FILTER),
        ("StopLoss price invalid", RejectKind.FILTER),
        ("The number of contracts exceeds minimum limit allowed", RejectKind.FILTER),
        ("The number of contracts exceeds maximum limit allowed: too large", RejectKind.FILTER),
        ("can not set tp/sl/ts for zero position", RejectKind.REDUCE_ONLY),
        ("position idx not match position mode", RejectKind.CONFIGURATION),
        ("params error: orderLinkId invalid", RejectKind.CONFIGURATION),
    ],
)
def test_the_words_beside_10001_tell_what_it_asks_for(text: str, kind: RejectKind) -> None:
    outcome = classify_submit(ERRORS, refused(10001, text=text), None)
    assert (outcome.verdict, outcome.kind, outcome.code) == (SubmitVerdict.NOT_EXECUTED, kind, "10001")


def test_every_code_of_the_table_is_among_these_expectations_or_a_sibling_of_one() -> None:
    expected = {str(code) for code, _ in MEANINGS}
    by_why: dict[str, set[str]] = {}
    for code, meaning in ERRORS.submit.items():
        by_why.setdefault(meaning.why, set()).add(code)
    assert {why for why, codes in by_why.items() if not codes & expected} == set()


def test_the_digits_of_the_time_in_a_body_are_no_code() -> None:
    reply = Reply(wrote=True, status=200, body='{"retCode":0,"retMsg":"OK","result":{},"time":1790429418110}', value={})
    assert reply.ok and reply.code is None


@pytest.mark.parametrize("status", [400, 404, 409, 429, 500, 502, 504])
def test_an_http_error_without_a_code_leaves_an_order_in_doubt(status: int) -> None:
    reply = Reply(wrote=True, status=status, body="<html>nginx</html>", failure="ExchangeNotAvailable")
    assert classify_submit(ERRORS, reply, None).verdict is SubmitVerdict.AMBIGUOUS


@pytest.mark.parametrize("body", ["", "OK", '{"retCode":0,"retMsg":"OK","result":{"orderId":'])
def test_http_200_without_an_order_leaves_it_in_doubt(body: str) -> None:
    reply = Reply(wrote=True, status=200, body=body, value=None)
    assert classify_submit(ERRORS, reply, None).verdict is SubmitVerdict.AMBIGUOUS


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (110001, CancelVerdict.GONE),
        (110008, CancelVerdict.GONE),
        (110010, CancelVerdict.GONE),
        (10006, CancelVerdict.FAILED),
        (10002, CancelVerdict.FAILED),
        (10016, CancelVerdict.AMBIGUOUS),
        (999999, CancelVerdict.AMBIGUOUS),
    ],
)
def test_a_code_means_to_a_cancel(code: int, verdict: CancelVerdict) -> None:
    assert classify_cancel(ERRORS, refused(code), cancelled=False).verdict is verdict


def test_too_many_requests_of_the_address_ban_it_for_ten_minutes_and_a_limit_of_one_endpoint_bans_nothing() -> None:
    assert ban_until_ms(ERRORS, 403, {}, "403, access too frequent", NOW_MS) == NOW_MS + 600_000
    other = ban_until_ms(ERRORS, 403, {}, "The Amazon CloudFront distribution is blocked in your country", NOW_MS)
    assert other is not None and other <= NOW_MS + 60_000
    assert ban_until_ms(ERRORS, 200, {}, refused(10006).body, NOW_MS) is None
    assert ban_until_ms(ERRORS, 429, {}, "", NOW_MS) is None


def test_a_read_that_failed_is_banned_unreachable_or_refused() -> None:
    banned = Reply(wrote=True, status=403, body="403, access too frequent", failure="RateLimitExceeded")
    assert isinstance(read_error(ERRORS, banned, "balance", NOW_MS), VenueBanned)
    for code in (10006, 10016, 10002):
        assert isinstance(read_error(ERRORS, refused(code), "balance", NOW_MS), VenueUnreachable), code
    plain = read_error(ERRORS, refused(10005), "balance", NOW_MS)
    assert type(plain) is VenueError and not plain.transient and plain.code == "10005"


def test_the_code_of_an_address_over_its_limit_bans_for_ten_real_minutes_whatever_the_status() -> None:
    body = '{"retCode":10018,"retMsg":"Exceeded the IP Rate Limit."}'
    assert ban_until_ms(ERRORS, 200, {}, body, NOW_MS) == NOW_MS + 600_000
    assert ban_until_ms(ERRORS, 403, {}, "403, access too frequent", NOW_MS, speed=60.0) == NOW_MS + 36_000_000
    assert ban_until_ms(ERRORS, 200, {}, body.replace("10018", "10006"), NOW_MS) is None
    assert ban_until_ms(ERRORS, 429, {}, '{"retCode":10429,"retMsg":"System protection"}', NOW_MS) is None
