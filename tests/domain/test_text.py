"""Text from outside: whatever str it is, every file and table takes what is kept of it."""

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from tradingd.domain.text import MAX_CHARACTERS, storable


@given(st.text(st.characters(), max_size=600))
def test_any_text_becomes_short_utf_8_without_nul_and_good_text_stays_as_it_is(text):
    kept = storable(text)
    assert len(kept) <= MAX_CHARACTERS
    assert "\0" not in kept
    assert kept.encode("utf-8").decode("utf-8") == kept
    (back,) = sqlite3.connect(":memory:").execute("SELECT ?", (kept,)).fetchone()
    assert back == kept
    is_good = "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)
    assert not is_good or kept == text[:MAX_CHARACTERS]


def test_what_cannot_be_kept_is_seen_as_its_escape():
    assert storable("bad \ud800 and \0") == "bad \\ud800 and \\x00"
    assert storable("\ud800" * 10**6) == ("\\ud800" * 84)[:500]
