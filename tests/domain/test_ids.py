"""Client order ids: legal everywhere, read back exactly, and never taken from a stranger."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingd.domain.ids import (
    MAX_CLIENT_ORDER_ID_LENGTH,
    Epoch,
    Purpose,
    base36,
    make_client_order_id,
    make_epoch,
    parse_client_order_id,
)

BINANCE = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
BYBIT = re.compile(r"^[A-Za-z0-9_-]{1,36}$")
BITGET_UNIFIED = re.compile(r"^[A-Za-z0-9_#:-]{1,32}$")

PREFIXES = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=6)
# until the year 2059 a time in ms has 8 digits in base 36, later 9
EPOCHS = st.builds(
    make_epoch,
    st.integers(1_700_000_000_000, 4_000_000_000_000),
    st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=3),
)
SEQUENCES = st.integers(1, 999_999_999)
PURPOSES = st.sampled_from(list(Purpose))


@given(PREFIXES, EPOCHS, SEQUENCES, PURPOSES)
def test_every_id_is_legal_on_all_venues_and_reads_back_as_what_it_was_made_of(prefix, epoch, sequence, purpose):
    made = make_client_order_id(prefix, epoch, sequence, purpose)
    assert len(made) <= MAX_CLIENT_ORDER_ID_LENGTH
    for form in (BINANCE, BYBIT, BITGET_UNIFIED):
        assert form.match(made)
    parsed = parse_client_order_id(made, prefix)
    assert parsed is not None
    assert (parsed.prefix, parsed.epoch, parsed.sequence, parsed.purpose) == (prefix, epoch, sequence, purpose)


def test_the_longest_prefix_and_the_largest_sequence_still_fit():
    made = make_client_order_id("tdtdtd", make_epoch(4_000_000_000_000, "zzz"), 999_999_999, Purpose.STOP)
    assert len(made) <= 32


@given(SEQUENCES, SEQUENCES, PURPOSES, PURPOSES)
def test_two_orders_never_share_an_id(one, other, purpose, other_purpose):
    epoch = make_epoch(1_700_000_000_000, "abc")
    ids = {make_client_order_id("td", epoch, one, purpose), make_client_order_id("td", epoch, other, other_purpose)}
    assert len(ids) == (1 if (one, purpose) == (other, other_purpose) else 2)


@given(PREFIXES, EPOCHS, SEQUENCES, PURPOSES, PREFIXES)
def test_an_id_under_another_prefix_is_not_ours(prefix, epoch, sequence, purpose, other):
    made = make_client_order_id(prefix, epoch, sequence, purpose)
    assert (parse_client_order_id(made, other) is not None) == (prefix == other)


@pytest.mark.parametrize(
    "foreign",
    [
        None,
        "",
        "td",
        "web_AbCdEf123",
        "ios_9f2k3",
        "autoclose-1700000000000000",
        "adl_autoclose",
        "x-cvBPrNm9abcdef0123456789",
        "td-short-1e",
        "td-lmnopqrsabc-1",
        "td-lmnopqrsabc-1z",
        "td-lmnopqrsabc-1E",
        "td-LMNOPQRSABC-1e",
        "td-lmnopqrsabc--1e",
        "td-lmnopqrsabc-1e-2",
        " td-lmnopqrsabc-1e",
        "td-lmnopqrsabc-1e\n",
        "td-lmnopqrsabc-01e",
        "td-lmnopqrsabc-0e",
        "td-lmnopqrsabc-٣e",
        "TD-lmnopqrsabc-1e",
        "tdx-lmnopqrsabc-1e",
        "td2-lmnopqrsabc-1e",
    ],
)
def test_a_foreign_id_never_reads_as_ours(foreign):
    assert parse_client_order_id(foreign, "td") is None


@given(st.text(max_size=40))
def test_whatever_reads_as_ours_is_exactly_what_we_would_make(text):
    for candidate in (text, f"td-{text}", f"td-lmnopqrsabc-{text}"):
        parsed = parse_client_order_id(candidate, "td")
        if parsed is not None:
            again = make_client_order_id(parsed.prefix, parsed.epoch, parsed.sequence, parsed.purpose)
            assert again == candidate


@pytest.mark.parametrize(
    ("prefix", "epoch", "sequence"),
    [
        ("toolong7", "lmnopqrsabc", 1),
        ("", "lmnopqrsabc", 1),
        ("t_d", "lmnopqrsabc", 1),
        ("td", "UPPERCASE12", 1),
        ("td", "short", 1),
        ("td", "lmnopqrsabc", -1),
        ("td", "lmnopqrsabc", 0),
        ("td", "lmnopqrsabc", 10**9),
        ("td", "a" * 17, 1),
    ],
)
def test_an_id_that_no_venue_would_take_is_not_made(prefix, epoch, sequence):
    with pytest.raises(ValueError, match="not legal"):
        make_client_order_id(prefix, Epoch(epoch), sequence, Purpose.ENTRY)


@given(st.integers(0, 10**20))
def test_base36_is_what_python_reads_back(number):
    assert int(base36(number), 36) == number


def test_base36_of_a_negative_number_is_refused():
    with pytest.raises(ValueError, match="non-negative"):
        base36(-1)


def test_only_an_entry_may_increase_exposure():
    assert [purpose for purpose in Purpose if purpose.may_increase_exposure] == [Purpose.ENTRY]
