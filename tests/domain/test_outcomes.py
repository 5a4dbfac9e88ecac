"""What an answer to a submit or a cancel is called where a person reads it."""

import pytest

from tradingd.domain.account import CancelOutcome, CancelVerdict, SubmitOutcome, SubmitVerdict


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (
            CancelOutcome(CancelVerdict.AMBIGUOUS, None, "HTTP 200"),
            "the cancel has no readable answer: HTTP 200",
        ),
        (CancelOutcome(CancelVerdict.AMBIGUOUS), "the cancel has no readable answer"),
        (CancelOutcome(CancelVerdict.GONE, "-2011", "Unknown"), "the venue knows no such open order: -2011 Unknown"),
        (
            SubmitOutcome(SubmitVerdict.AMBIGUOUS, message="the connection failed"),
            "the order has no readable answer, and may have been executed: the connection failed",
        ),
        (
            SubmitOutcome(SubmitVerdict.NOT_EXECUTED, code="-2021", message="Order would immediately trigger."),
            "the venue refused the order: -2021 Order would immediately trigger.",
        ),
        (
            SubmitOutcome(SubmitVerdict.NOT_EXECUTED, message="the connection failed", sent=False),
            "the order could not be sent: the connection failed",
        ),
    ],
)
def test_an_answer_is_told_as_a_sentence_with_the_venues_own_code_behind_it(outcome, told):
    assert outcome.told() == told


def test_every_verdict_has_words():
    told = [SubmitOutcome(verdict).told() for verdict in SubmitVerdict]
    told += [CancelOutcome(verdict).told() for verdict in CancelVerdict]
    assert all(told)
    assert len(set(told)) == len(SubmitVerdict) + len(CancelVerdict)
