"""Each code of the venue, and what the daemon takes it for. The expectations are written out here, not derived."""

import pytest

from tradingd.domain.account import CancelVerdict, RejectKind, SubmitVerdict
from tradingd.domain.errors import VenueBanned, VenueError, VenueUnreachable
from tradingd.venues.binance.errors import ERRORS
from tradingd.venues.error_map import ban_until_ms, classify_cancel, classify_submit, read_error
from tradingd.venues.reply import Reply

NOW_MS = 1_790_000_012_345
IN_DOUBT = None

MEANINGS: list[tuple[int, int, RejectKind | None]] = [
    # code, HTTP status, kind of refusal or in doubt
    (-1021, 400, RejectKind.CLOCK),
    (-5028, 400, RejectKind.CLOCK),
    (-1022, 400, RejectKind.AUTHENTICATION),
    (-2014, 401, RejectKind.AUTHENTICATION),
    (-2015, 401, RejectKind.AUTHENTICATION),
    (-1003, 429, RejectKind.THROTTLED),
    (-1003, 418, RejectKind.BANNED),
    (-1015, 429, RejectKind.THROTTLED),
    (-1008, 503, RejectKind.THROTTLED),
    (-1006, 503, IN_DOUBT),
    (-1007, 408, IN_DOUBT),
    (-1007, 503, IN_DOUBT),
    (-1000, 400, IN_DOUBT),
    (-1001, 503, IN_DOUBT),
    (-4116, 400, IN_DOUBT),
    (-2018, 400, RejectKind.MARGIN),
    (-2019, 400, RejectKind.MARGIN),
    (-2027, 400, RejectKind.MARGIN),
    (-2021, 400, RejectKind.WOULD_TRIGGER),
    (-4142, 400, RejectKind.WOULD_TRIGGER),
    (-2022, 400, RejectKind.REDUCE_ONLY),
    (-4118, 400, RejectKind.REDUCE_ONLY),
    (-4164, 400, RejectKind.FILTER),
    (-5029, 400, RejectKind.FILTER),
    (-5021, 400, RejectKind.NOT_FILLABLE),
    (-5022, 400, RejectKind.WOULD_NOT_REST),
    (-1111, 400, RejectKind.FILTER),
    (-4014, 400, RejectKind.FILTER),
    (-4023, 400, RejectKind.FILTER),
    (-4003, 400, RejectKind.FILTER),
    (-4004, 400, RejectKind.FILTER),
    (-4005, 400, RejectKind.FILTER),
    (-4016, 400, RejectKind.FILTER),
    (-4024, 400, RejectKind.FILTER),
    (-4120, 400, RejectKind.CONFIGURATION),
    (-4130, 400, RejectKind.DUPLICATE_PROTECTION),
    (-4061, 400, RejectKind.CONFIGURATION),
    (-1106, 400, RejectKind.CONFIGURATION),
    (-4509, 400, RejectKind.OTHER),
    (-4045, 400, RejectKind.OTHER),
    (-2025, 400, RejectKind.OTHER),
    (-4136, 400, RejectKind.CONFIGURATION),
    (-4137, 400, RejectKind.CONFIGURATION),
    (-4138, 400, RejectKind.CONFIGURATION),
    (-1100, 400, RejectKind.CONFIGURATION),
    (-4015, 400, RejectKind.CONFIGURATION),
    (-4087, 400, RejectKind.VENUE_REDUCE_ONLY),
    (-4105, 400, RejectKind.VENUE_REDUCE_ONLY),
    (-4106, 400, RejectKind.VENUE_REDUCE_ONLY),
    (-4107, 400, RejectKind.VENUE_REDUCE_ONLY),
    (-4189, 400, RejectKind.VENUE_REDUCE_ONLY),
    (-4400, 400, RejectKind.VENUE_REDUCE_ONLY),
    (-4401, 400, RejectKind.VENUE_REDUCE_ONLY),
    (-2013, 400, IN_DOUBT),
    (-2011, 400, IN_DOUBT),
    (-9999, 400, IN_DOUBT),
]


def refusal(status: int, body: str, headers: dict[str, str] | None = None) -> Reply:
    return Reply(wrote=True, status=status, headers=headers or {}, body=body, failure="SomeCcxtClass")


def coded(code: int, status: int = 400) -> Reply:
    return refusal(status, f'{{"code":{code},"msg":"as the venue says"}}')


@pytest.mark.fault(7, 8, 57)
@pytest.mark.parametrize(("code", "status", "kind"), MEANINGS)
def test_a_code_means_to_a_submit(code: int, status: int, kind: RejectKind | None) -> None:
    outcome = classify_submit(ERRORS, coded(code, status), None)
    assert outcome.verdict is (SubmitVerdict.AMBIGUOUS if kind is IN_DOUBT else SubmitVerdict.NOT_EXECUTED)
    assert outcome.code == str(code) and "as the venue says" in outcome.message and outcome.sent
    if kind is not IN_DOUBT:
        assert outcome.kind is kind


def test_every_code_of_the_table_is_among_these_expectations_or_a_sibling_of_one() -> None:
    expected = {str(code) for code, _, _ in MEANINGS}
    by_why: dict[str, set[str]] = {}
    for code, meaning in ERRORS.submit.items():
        by_why.setdefault(meaning.why, set()).add(code)
    uncovered = {why for why, codes in by_why.items() if not codes & expected}
    assert uncovered <= {"rejected by the engine", "the symbol takes no such order now"}


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (503, "Service Unavailable.", SubmitVerdict.NOT_EXECUTED),
        (503, '{"code":0,"msg":"Service Unavailable."}', SubmitVerdict.NOT_EXECUTED),
        (503, "<html><h1>503 Service Unavailable</h1></html>", SubmitVerdict.AMBIGUOUS),
        (503, '{"msg":"Unknown error, please check your request or try again later."}', SubmitVerdict.AMBIGUOUS),
        (400, "Service Unavailable.", SubmitVerdict.AMBIGUOUS),
        (200, '{"orderId":12', SubmitVerdict.AMBIGUOUS),
        (200, "", SubmitVerdict.AMBIGUOUS),
        (500, "", SubmitVerdict.AMBIGUOUS),
    ],
)
def test_a_text_proves_a_refusal_only_where_the_venue_promises_it(
    status: int, body: str, verdict: SubmitVerdict
) -> None:
    assert classify_submit(ERRORS, refusal(status, body), None).verdict is verdict


def test_no_answer_at_all_is_in_doubt_and_no_request_at_all_is_not() -> None:
    assert classify_submit(ERRORS, Reply(wrote=True, failure="RequestTimeout"), None).verdict is SubmitVerdict.AMBIGUOUS
    unsent = classify_submit(ERRORS, Reply(failure="ExchangeNotAvailable"), None)
    assert (unsent.verdict, unsent.kind, unsent.sent) == (SubmitVerdict.NOT_EXECUTED, RejectKind.NOT_SENT, False)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (coded(-2011), CancelVerdict.GONE),
        (coded(-1021), CancelVerdict.FAILED),
        (coded(-1003, 429), CancelVerdict.FAILED),
        (coded(-1007, 503), CancelVerdict.AMBIGUOUS),
        (coded(-9999), CancelVerdict.AMBIGUOUS),
        (Reply(wrote=True, failure="RequestTimeout"), CancelVerdict.AMBIGUOUS),
        (Reply(failure="ExchangeNotAvailable"), CancelVerdict.FAILED),
        (Reply(wrote=True, status=200, body='{"a":1}', value={"a": 1}), CancelVerdict.AMBIGUOUS),
    ],
)
def test_a_cancel_is_done_gone_failed_or_in_doubt(reply: Reply, verdict: CancelVerdict) -> None:
    assert classify_cancel(ERRORS, reply, cancelled=False).verdict is verdict


@pytest.mark.parametrize(
    ("reply", "kind", "transient"),
    [
        (Reply(wrote=True, failure="RequestTimeout"), VenueUnreachable, True),
        (refusal(200, "<html>"), VenueUnreachable, True),
        (refusal(502, "bad gateway"), VenueUnreachable, True),
        (coded(-1007, 503), VenueUnreachable, True),
        (coded(-1021), VenueUnreachable, True),
        (coded(-1003, 418), VenueBanned, True),
        (coded(-1121), VenueError, False),
        (coded(-2015, 401), VenueError, False),
    ],
)
def test_a_failed_read_says_whether_a_new_try_may_help(reply: Reply, kind: type[VenueError], transient: bool) -> None:
    error = read_error(ERRORS, reply, "a read", NOW_MS)
    assert type(error) is kind and error.transient is transient


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("status", "headers", "body", "until_ms"),
    [
        (200, {}, "banned until 1790000099999", None),
        (400, {}, '{"code":-1003}', None),
        (429, {"Retry-After": "12"}, "banned until 1790000099999", NOW_MS + 12_000),
        (418, {"retry-after": "soon"}, "IP(1.2.3.4) banned until 1790000099999.", 1_790_000_099_999),
        (418, {}, "banned until 1690000099999", 1_790_000_040_000),
        (429, {}, '{"code":-1003,"msg":"Too many requests"}', 1_790_000_040_000),
        (429, {}, '{"code":-1015,"msg":"Too many new orders; limit is 300 orders per 10 SECOND"}', 1_790_000_020_000),
        (429, {}, '{"code":-1015,"msg":"Too many new orders; limit is 1200 orders per MINUTE"}', 1_790_000_040_000),
        (403, {}, "<html>", 1_790_000_040_000),
    ],
)
def test_a_ban_ends_by_header_then_text_then_window(
    status: int, headers: dict[str, str], body: str, until_ms: int | None
) -> None:
    assert ban_until_ms(ERRORS, status, headers, body, NOW_MS) == until_ms


def test_a_code_inside_a_text_is_no_code() -> None:
    assert refusal(400, "the price 429 and the id -2019").code is None
    assert Reply(wrote=True, status=200, body='{"code":"200","msg":"success"}', value={"code": "200"}).code is None
    assert Reply(wrote=True, status=200, body='[{"code":-2011}]', value=[{"code": -2011}]).code is None


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(wrote=True, failure="RequestTimeout"), "no answer in time"),
        (Reply(failure="ExchangeNotAvailable"), "the connection failed"),
        (Reply(wrote=True, status=502, failure="ExchangeNotAvailable"), "the connection failed HTTP 502"),
        (Reply(wrote=True, status=503, failure="ExchangeNotAvailable", body="busy"), "HTTP 503 busy"),
    ],
)
def test_a_reply_names_no_class_of_the_client(reply: Reply, told: str) -> None:
    assert reply.message == told
